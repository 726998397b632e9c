"""Sequences that are files, one per sample: in a folder, in a column of paths, and what can be wrong with them."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

import equipoise
from equipoise.config import ReadOptions
from equipoise.data import recordings
from equipoise.data.dataset import Dataset
from equipoise.data.describe import describe_yaml, facts
from equipoise.data.export import export
from equipoise.data.fingerprint import fingerprint
from equipoise.data.loader import Loader, make_part
from equipoise.data.preprocessing import Preprocessing
from equipoise.data.recordings import StoredFrames
from equipoise.data.sequences import real_steps
from equipoise.data.sources import open_dataset
from equipoise.errors import ConfigError, DataError
from tests.end_to_end.harness import QUICK, call, done, summary

LENGTHS = [4, 7, 2, 5, 9, 3] * 4
SENSORS = {"sensors": {"file": "sensors", "kind": "sequence", "order": "time"}}


def walk(number: int) -> pd.DataFrame:
    """A recording of two channels whose steps are not in the order of time; the class shows in the mean."""
    rng = np.random.default_rng(number)
    steps = rng.normal(size=(LENGTHS[number], 2)) + 3 * (number % 2)
    frame = pd.DataFrame(steps, columns=["ax", "ay"])
    frame.insert(0, "time", np.arange(len(frame)) / 8)
    return frame.sample(frac=1, random_state=number)


def name(number: int) -> str:
    return f"sample_{number:03}"


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """24 samples with recordings of csv, all but one of which have one, and a table of two numbers."""
    folder = tmp_path / "study"
    (folder / "sensors").mkdir(parents=True)
    ids = [name(number) for number in range(24)]
    pd.DataFrame({"sample": ids, "label": ["slow", "fast"] * 12}).to_csv(folder / "labels.csv", index=False)
    body = pd.DataFrame(np.random.default_rng(0).normal(size=(24, 2)), columns=["age", "weight"])
    body.insert(0, "sample", ids)
    body.to_csv(folder / "body.csv", index=False)
    for number in range(24):
        if number != 5:
            walk(number).to_csv(folder / "sensors" / f"{name(number)}.csv", index=False)
    return folder


def state(study: Path, **sensors: Any) -> None:
    own = {**SENSORS["sensors"], **sensors}
    (study / "dataset.yaml").write_text(yaml.safe_dump({"modalities": {"sensors": own, "body": {}}}, sort_keys=False))


def rows(data: Dataset) -> np.ndarray:
    return np.asarray(data.inputs["sensors"][np.arange(len(data))])


def expected_rows() -> np.ndarray:
    found = np.full((24, 9, 2), np.nan)
    for number in range(24):
        if number != 5:
            found[number, : LENGTHS[number]] = walk(number).sort_values("time")[["ax", "ay"]]
    return found


def test_a_folder_of_files_is_recognised(study: Path) -> None:
    data = open_dataset(study)
    sensors = data.schema["sensors"]
    assert (sensors.kind, sensors.shape, sensors.present) == ("sequence", (9, 3), 23)
    assert sensors.columns == ("time", "ax", "ay")  # nothing says that time is none
    assert data.schema.names == ("body", "sensors")
    assert real_steps(rows(data)).sum(axis=1).tolist() == [0 if number == 5 else LENGTHS[number] for number in range(24)]


def test_steps_are_sorted_and_their_order_is_no_channel(study: Path) -> None:
    state(study)
    data = open_dataset(study)
    assert data.schema["sensors"].columns == ("ax", "ay")
    np.testing.assert_array_equal(rows(data), expected_rows())
    assert data.present["sensors"].tolist() == [number != 5 for number in range(24)]


@pytest.mark.parametrize("form", ["csv", "CSV", "tsv", "parquet", "npy", "quoted", "times", "other order", "text of Windows"])
def test_formats_hold_the_same(study: Path, form: str) -> None:
    state(study, order="0" if form == "npy" else "time")
    for path in (study / "sensors").glob("*.csv"):
        frame = pd.read_csv(path)
        if form == "npy":
            path.unlink()
            np.save(path.with_suffix(".npy"), frame.to_numpy())
        elif form == "parquet":
            path.unlink()
            frame.to_parquet(path.with_suffix(".parquet"), index=False)
        elif form in ("tsv", "CSV"):
            path.unlink()
            frame.to_csv(path.with_suffix(f".{form}"), sep="\t" if form == "tsv" else ",", index=False)
        elif form == "quoted":
            frame.astype(str).to_csv(path, index=False, quoting=1)
        elif form == "times":
            frame["time"] = (pd.Timestamp("2024-05-01") + pd.to_timedelta(frame["time"], unit="s")).astype(str)
            frame.to_csv(path, index=False)
        elif form == "other order":
            frame[["ay", "time", "ax"] if int(path.stem[-1]) % 2 else frame.columns].to_csv(path, index=False)
        elif form == "text of Windows":
            path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    np.testing.assert_array_equal(rows(open_dataset(study)), expected_rows())


def test_missing_cells(study: Path) -> None:
    state(study)
    (study / "sensors" / "sample_000.csv").write_text("time,ax,ay\n2,,6\n\n1,NA,5\n0,3,\n")
    found = open_dataset(study)
    np.testing.assert_array_equal(rows(found)[0, :3], [[3, np.nan], [np.nan, 5], [np.nan, 6]])
    assert facts(found)["modalities"]["sensors"]["missing_values"] == 3


def test_chosen_channels(study: Path) -> None:
    for path in (study / "sensors").glob("*.csv"):
        pd.read_csv(path).assign(activity="walks", place=1).to_csv(path, index=False)
    state(study, columns=["ay"])
    np.testing.assert_array_equal(rows(open_dataset(study)), expected_rows()[..., 1:])
    state(study, options={"channels": ["ay", "ax"]})
    data = open_dataset(study)
    assert data.schema["sensors"].columns == ("ay", "ax")
    np.testing.assert_array_equal(rows(data), expected_rows()[..., ::-1])
    state(study)
    with pytest.raises(DataError, match=r"23 of 23 files cannot be used: .*sample_000.csv \(column 'activity', line 2: 'walks'"):
        open_dataset(study)
    state(study, options={"chanels": ["ay"]})
    with pytest.raises(ConfigError, match=r"modality 'sensors': options: unknown option 'chanels', did you mean 'channels'"):
        open_dataset(study)


def with_paths(study: Path) -> pd.DataFrame:
    table = pd.read_csv(study / "labels.csv").merge(pd.read_csv(study / "body.csv"))
    table["motion"] = [None if number == 5 else f"sensors/{name(number)}.csv" for number in range(24)]
    return table


def test_a_column_of_paths(study: Path) -> None:
    state(study)
    by_folder = open_dataset(study)
    table = with_paths(study)
    table.to_csv(study / "all.csv", index=False)
    sensors = {"columns": ["motion"], "kind": "sequence", "order": "time"}
    stated = ReadOptions(modalities={"sensors": sensors, "body": ["age", "weight"]}, target="label")
    by_table = open_dataset(study / "all.csv", stated)
    paths = [study / path if isinstance(path, str) else None for path in table["motion"]]
    in_memory = open_dataset(
        {"motion": paths, "body": table[["age", "weight"]]},
        ReadOptions(modalities={"sensors": {"key": "motion", "kind": "sequence", "order": "time"}, "body": {}}),
        target=table["label"],
    )
    for data in (by_table, in_memory):
        np.testing.assert_array_equal(rows(data), rows(by_folder))
        np.testing.assert_array_equal(data.present["sensors"], by_folder.present["sensors"])
    # a trained run finds the column again, and describing states it
    again = open_dataset(study / "all.csv", schema=by_table.schema, labelled=False)
    np.testing.assert_array_equal(rows(again), rows(by_folder))
    (study / "all.dataset.yaml").write_text(describe_yaml(by_table))
    assert "columns: [motion], kind: sequence, order: time, options: {channels: [ax, ay]}" in describe_yaml(by_table)
    assert fingerprint(open_dataset(study / "all.csv")) == fingerprint(by_table)
    table["motion"] = None
    table.to_csv(study / "all.csv", index=False)
    nobody = open_dataset(study / "all.csv", ReadOptions(), schema=by_table.schema, labelled=False)
    assert not nobody.present["sensors"].any()


def test_two_samples_of_one_file(study: Path) -> None:
    paths = [study / "sensors" / f"{name(number // 2)}.csv" for number in range(6)]
    options = ReadOptions(modalities={"sensors": {"kind": "sequence", "order": "time"}})
    found = rows(open_dataset({"sensors": paths}, options, target=[0, 1] * 3))
    np.testing.assert_array_equal(found, expected_rows()[[0, 0, 1, 1, 2, 2], :7])


def test_what_is_described_and_exported_reads_the_same(study: Path, tmp_path: Path) -> None:
    state(study)
    data = open_dataset(study)
    (study / "dataset.yaml").write_text(describe_yaml(data))
    assert fingerprint(open_dataset(study)) == fingerprint(data)
    copy = open_dataset(export(data, tmp_path / "copy"))
    np.testing.assert_array_equal(rows(copy), rows(data))


def test_the_fingerprint_is_that_of_the_content(study: Path, tmp_path: Path) -> None:
    state(study)
    before = fingerprint(open_dataset(study))
    path = study / "sensors" / "sample_003.csv"
    content = path.read_text()
    path.write_text(content)
    assert fingerprint(open_dataset(study)) == before
    path.write_text(content.replace("0.125,", "0.125,1"))
    assert fingerprint(open_dataset(study)) != before


def test_what_does_not_fit_stays_on_disk(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state(study)
    data = open_dataset(study)
    for limit in (0, 200, 1000):  # every file, some of them, or only the padded whole does not fit
        monkeypatch.setattr(recordings, "fits", lambda size, limit=limit: size <= limit)
        stored = open_dataset(study)
        assert isinstance(stored.inputs["sensors"], StoredFrames)
        np.testing.assert_array_equal(rows(stored), rows(data))
        assert stored.schema == data.schema
        assert fingerprint(stored) == fingerprint(data)
    part = stored.subset(np.array([3, 5, 1]))
    assert len(pickle.dumps(part.inputs["sensors"])) < 2000
    np.testing.assert_array_equal(rows(part), rows(data)[[3, 5, 1]])
    preparation = Preprocessing.fit(data)
    batches = {
        kind: [batch.inputs["sensors"] for batch in Loader(make_part(whole, preparation, torch.device("cpu"), kind), 8).ordered()]
        for kind, whole in (("memory", data), ("stream", stored))
    }
    for first, second in zip(*batches.values(), strict=True):
        np.testing.assert_array_equal(first, second)


def broken(content: bytes | str | None, suffix: str = ".csv") -> Callable[[Path], None]:
    """Replace a recording."""

    def change(folder: Path) -> None:
        path = folder / "sample_002.csv"
        path.unlink()
        if content is not None:
            path.with_suffix(suffix).write_bytes(content.encode() if isinstance(content, str) else content)

    return change


def saved(array: Any, **more: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / "sample_002.csv").unlink()
        np.save(folder / "sample_002.npy", array, **more)

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (broken(""), "sample_002.csv (is empty)"),
        (broken("time,ax,ay\n"), "sample_002.csv (has no time step)"),
        (broken("time,ax,ay\n0,1,2\n1,x,2\n"), "sample_002.csv (column 'ax', line 3: 'x', expected finite numbers"),
        (broken("time,ax,ay\n\n0,1,2\n1,1,-inf\n"), "sample_002.csv (column 'ay', line 4: '-inf', expected finite numbers"),
        (broken("time,ax,ay\n0,1,2\n1,1\n"), "sample_002.csv (line 3 has 2 values, expected one for each of 3 columns)"),
        (broken("time,ax\n0,1\n"), "sample_002.csv (lacks the column 'ay')"),
        (broken("ax,ay\n0,1\n"), "sample_002.csv (lacks the column 'time')"),
        (broken("time,ax,ay,az\n0,1,2,3\n"), "sample_002.csv (has the column 'az', which other files lack)"),
        (broken("time,ax,ax\n0,1,2\n"), "sample_002.csv (column 'ax' occurs twice)"),
        (broken("0.5,1,2\n0,1,2\n"), "sample_002.csv (its first line holds numbers ('0.5', '1', '2'), expected the names"),
        (broken("time;ax;ay\n0;1;2\n"), "sample_002.csv (lacks the column 'ax', 'ay', 'time')"),
        (broken("time,ax,ay\nnoon,1,2\n"), "sample_002.csv (column 'time': the column that states the order must hold numbers"),
        (broken(b"time,ax,ay\n0,\xff,2\n"), "sample_002.csv (damaged: 'utf-8' codec can't decode"),
        (broken(b"PAR1 nonsense", ".parquet"), "sample_002.parquet (damaged: "),
        (broken(pickle.dumps([1, 2]), ".npy"), "sample_002.npy (is no npy array of numbers; pickled objects are refused"),
        (saved(np.array([{}, []], dtype=object)), "sample_002.npy (is no npy array of numbers; pickled objects are refused"),
        (saved(np.zeros(5)), "sample_002.npy (holds values of type float64 in shape (5,), expected numbers of shape (time, ch"),
        (saved(np.zeros((5, 3)).astype(str)), "sample_002.npy (holds values of type <U32 in shape (5, 3), expected numbers"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(
    study: Path, change: Callable[[Path], None], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    state(study)
    change(study / "sensors")
    with pytest.raises(DataError) as caught:
        open_dataset(study)
    message = str(caught.value)
    assert message.startswith(f"{study}: modality 'sensors': 1 of 23 files cannot be used: {study / 'sensors' / words}")
    assert message.endswith("; to treat their samples as absent, set skip_damaged")
    assert "\n" not in message
    data = open_dataset(study, ReadOptions(skip_damaged=True))
    assert np.flatnonzero(~data.present["sensors"]).tolist() == [2, 5]
    assert "1 of 23 files cannot be used" in capsys.readouterr().err
    assert words in facts(data)["modalities"]["sensors"]["notes"][0]


def test_arrays_of_another_number_of_channels(study: Path) -> None:
    for number, path in enumerate(sorted((study / "sensors").iterdir())):
        path.unlink()
        np.save(path.with_suffix(".npy"), np.ones((4, 3 if number == 7 else 2)))
    with pytest.raises(DataError, match=r"1 of 23 files cannot be used: .*sample_008.npy \(has 3 channels, expected 2\)"):
        open_dataset(study)


def test_columns_without_a_name(study: Path) -> None:
    for path in (study / "sensors").glob("*.csv"):
        pd.read_csv(path).to_csv(path)  # with the numbers of the rows, as pandas writes where nothing is said
    state(study)
    with pytest.raises(DataError, match=r"sample_000.csv has a column without a name, expected a name for every channel"):
        open_dataset(study)
    state(study, columns=["ax", "ay"])
    np.testing.assert_array_equal(rows(open_dataset(study)), expected_rows())


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("../secret.csv", r"modality 'motion': the path '../secret.csv' leads out of .*study; state the folder .* by root"),
        ("sensors/nothing.csv", r"1 of 23 files cannot be used: .*nothing.csv \(does not exist\)"),
        ("sensors", r"1 of 23 files cannot be used: .*sensors \(ends in '', expected .csv, .tsv, .parquet, .npy\)"),
        ("labels.txt", r"1 of 23 files cannot be used: .*labels.txt \(ends in '.txt'"),
    ],
)
def test_paths_that_are_refused(study: Path, path: str, words: str) -> None:
    walk(0).to_csv(study.parent / "secret.csv", index=False)
    table = with_paths(study)
    table.loc[3, "motion"] = path
    table.to_csv(study / "all.csv", index=False)
    options = ReadOptions(modalities={"motion": {"columns": ["motion"], "kind": "sequence"}, "body": ["age"]}, target="label")
    with pytest.raises(DataError, match=words):
        open_dataset(study / "all.csv", options)


def test_statements_that_do_not_fit(study: Path) -> None:
    with_paths(study).to_csv(study / "all.csv", index=False)
    for more, words in (
        ({"window": 4}, "column 'motion' holds words, expected numbers in a sequence"),
        ({"categorical": ["motion"]}, "categorical columns are stated, expected numbers only in sequences"),
    ):
        own = {"motion": {"columns": ["motion"], "kind": "sequence", **more}, "body": ["age"]}
        with pytest.raises(DataError, match=words):
            open_dataset(study / "all.csv", ReadOptions(modalities=own, target="label", group="sample"))
    table = with_paths(study)
    table["motion"] = None
    with pytest.raises(DataError, match="modality 'motion': no sample has a file"):
        open_dataset({"motion": table["motion"]}, ReadOptions(modalities={"motion": {"kind": "sequence"}}), target=table["label"])


def test_folders_of_other_tables_are_left_alone(study: Path) -> None:
    before = fingerprint(open_dataset(study))
    for folder in ("backup", "body"):
        (study / folder).mkdir()
        (study / folder / "old.csv").write_text("a,b\n1,2\n")
    assert fingerprint(open_dataset(study)) == before
    state(study)
    assert open_dataset(study).schema.names == ("sensors", "body")
    walk(0).to_csv(study / "body" / "sample_000.csv", index=False)
    (study / "dataset.yaml").unlink()
    with pytest.raises(DataError, match=r"body.csv and the folder body are both modality 'body', expected one"):
        open_dataset(study)
    (study / "body" / "sample_000.csv").unlink()
    walk(0).to_csv(study / "sensors" / "stranger.csv", index=False)
    with pytest.raises(DataError, match=r"sensors: 1 of its 24 ids are not among the 24 samples of .*'stranger'"):
        open_dataset(study)


def test_numbers_as_names(tmp_path: Path) -> None:
    """Files called like numbers find their column although nothing else says that it holds ids."""
    (tmp_path / "sensors").mkdir()
    for number in range(8):
        walk(number).to_csv(tmp_path / "sensors" / f"{number:03}.csv", index=False)
    table = pd.DataFrame({"row": range(100, 108), "recording": [f"{n:03}" for n in range(8)], "label": [0, 1] * 4})
    table.to_csv(tmp_path / "labels.csv", index=False)
    data = open_dataset(tmp_path, ReadOptions(target="label"))
    assert (data.schema.id, data.schema["sensors"].present) == ("recording", 8)


def test_from_the_shell(study: Path, tmp_path: Path) -> None:
    state(study)
    described = done("data", "describe", study)
    assert "time steps of sensors: 5 per sample (median; 2 to 9)" in described
    run = tmp_path / "run"
    done("fit", study, *QUICK, "--epochs", "6", "--test-fraction", "0.25", "--out", run)
    assert summary(run)["samples"]["test"] == 6
    evaluated = done("evaluate", run, study, "--part", "test")
    assert "accuracy" in evaluated

    new = tmp_path / "new"
    (new / "sensors").mkdir(parents=True)
    for number in range(4):
        frame = walk(number + 6)[["ay", "time", "ax"]].assign(extra=1)  # a trained run takes the columns that it knows
        frame.to_csv(new / "sensors" / f"n{number}.csv", index=False)
    out = tmp_path / "predictions.csv"
    done("predict", run, new, "--out", out)
    found = pd.read_csv(out)
    assert found["id"].tolist() == [f"n{number}" for number in range(4)]
    assert found["sensors.present"].all()
    assert not found["body.present"].any()
    (new / "sensors" / "n1.csv").write_text("time,ax\n0,1\n")
    words = call("predict", run, new, "--out", out).error()
    assert "modality 'sensors': 1 of 4 files cannot be used: " in words
    assert "n1.csv (lacks the column 'ay')" in words
    answer = call("predict", run, new, "--skip-damaged", "true", "--out", out)
    assert answer.code == 0
    assert "1 sample has no modality at all: 'n1'; they are left out" in answer.err


def test_a_model_of_recordings_takes_other_sequences(study: Path) -> None:
    state(study)
    run = equipoise.fit(study, epochs=1, device="cpu", progress=False)
    steps = [walk(number).sort_values("time")[["ax", "ay"]].to_numpy() for number in range(4)]
    files = run.predictor.read(study).subset(np.arange(4))
    by_files = run.predictor.predict(files).probabilities
    arrays = run.predict({"sensors": steps, "body": pd.read_csv(study / "body.csv")[["age", "weight"]][:4]}).probabilities
    np.testing.assert_allclose(arrays, by_files, atol=1e-6)
