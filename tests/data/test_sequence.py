from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import equipoise
from equipoise.config import PreprocessingOptions, ReadOptions
from equipoise.data import preprocessing, rows
from equipoise.data.dataset import Dataset
from equipoise.data.describe import describe_yaml, facts
from equipoise.data.export import export
from equipoise.data.fingerprint import fingerprint
from equipoise.data.loader import Loader, make_part
from equipoise.data.partition import partition
from equipoise.data.preprocessing import Preprocessing
from equipoise.data.sequences import Frames, real_steps
from equipoise.data.sources import open_dataset
from equipoise.data.splits import make_splits
from equipoise.errors import DataError
from tests.data.test_describe import assert_equal
from tests.end_to_end.harness import QUICK, call, done

LENGTHS = [3, 1, 5, 2] * 6
LABELS = ["a", "b"] * 12
MOTION = {"motion": {"kind": "sequence"}}


def walks(lengths: list[int] = LENGTHS) -> list[np.ndarray]:
    """Sequences of two channels, some values of which are missing within them."""
    rng = np.random.default_rng(0)
    found = [rng.normal(size=(length, 2)) * [1, 9] + [0, 30] for length in lengths]
    found[0][1] = np.nan
    found[2][3, 0] = np.nan
    return found


def ragged(**more: Any) -> Dataset:
    return open_dataset({"motion": walks(), "face": np.random.default_rng(1).normal(size=(24, 3)), **more}, target=LABELS)


def lengths(data: Dataset) -> list[int]:
    return real_steps(np.asarray(data.inputs["motion"][:])).sum(axis=1).tolist()


def video(rows: int = 60, groups: int = 6) -> pd.DataFrame:
    """Frames of videos, not one after another but each video's in order; the label says which video is fast."""
    rng = np.random.default_rng(0)
    frames = pd.DataFrame(rng.normal(size=(rows, 3)), columns=["pos_x", "pos_y", "pos_z"])
    frames["face_a"], frames["face_b"] = rng.normal(size=(2, rows))
    frames["video"] = [f"v{row % groups}" for row in range(rows)]
    frames["frame"] = np.arange(rows) // groups
    frames["label"] = np.where(np.arange(rows) % groups % 2 == 0, "fast", "slow")
    return frames


WINDOWS = {"position": {"prefix": "pos_", "window": 4}, "face": {"prefix": "face_"}}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    video().to_csv(tmp_path / "videos.csv", index=False)
    return tmp_path / "videos.csv"


def read(table: Path, **more: Any) -> Dataset:
    return open_dataset(table, ReadOptions(modalities=WINDOWS, group="video", **more))


@pytest.mark.parametrize("form", ["list", "objects", "tensors", "tables"])
def test_lists_of_arrays(form: str) -> None:
    items: Any = walks()
    if form == "objects":
        items = np.empty(24, dtype=object)
        items[:] = walks()
    elif form == "tensors":
        items = [torch.from_numpy(item) for item in items]
    elif form == "tables":
        items = [pd.DataFrame(item) for item in items]
    data = open_dataset({"motion": items}, target=LABELS)
    modality = data.schema["motion"]
    assert (modality.kind, modality.shape, modality.columns) == ("sequence", (5, 2), ("0", "1"))
    assert lengths(data) == LENGTHS
    for row, item in enumerate(walks()):
        np.testing.assert_array_equal(data.inputs["motion"][row, : len(item)], item)
    assert np.isnan(data.inputs["motion"][1, 1:]).all()


def test_missing_sequences() -> None:
    items: list[Any] = walks()
    items[4] = None
    data = open_dataset({"motion": items, "face": np.ones((24, 2)) * np.arange(24)[:, None]}, target=LABELS)
    assert np.flatnonzero(~data.present["motion"]).tolist() == [4]
    prepared = Preprocessing.fit(data).transform(data)["motion"]
    assert (prepared[4] == 0).all()
    alone = open_dataset({"motion": [items[0]], "face": np.ones((1, 2))}, labelled=False, schema=data.schema)
    assert alone.schema["motion"].shape == (3, 2)
    nothing = open_dataset({"face": np.ones((3, 2))}, labelled=False, schema=data.schema)
    assert not nothing.present["motion"].any()
    assert Preprocessing.fit(data).transform(nothing)["motion"].shape == (3, 3, 5)


def test_archive_with_lengths(tmp_path: Path) -> None:
    frames = {"motion": np.concatenate(walks()), "motion_lengths": LENGTHS}
    np.savez(tmp_path / "set.npz", **frames, face=ragged().inputs["face"], label=LABELS)
    data = open_dataset(tmp_path / "set.npz")
    np.testing.assert_array_equal(data.inputs["motion"], ragged().inputs["motion"])
    assert "motion: {key: motion, kind: sequence}" in describe_yaml(data)
    absent = {"motion_lengths": [*LENGTHS[:-1], 0], "motion_present": [True] * 23 + [False], "motion": frames["motion"][:-2]}
    data = open_dataset({**absent, "face": np.eye(24)}, target=LABELS)
    assert data.schema["motion"].present == 23


def test_a_dense_array_and_one_on_disk(tmp_path: Path) -> None:
    whole = np.asarray(ragged().inputs["motion"])
    stated = ReadOptions(modalities={**MOTION, "face": {}})
    memory = open_dataset({"motion": whole, "face": np.eye(24)}, stated, target=LABELS)
    np.save(tmp_path / "motion.npy", whole)
    np.save(tmp_path / "face.npy", np.eye(24))
    pd.DataFrame({"label": LABELS}).to_csv(tmp_path / "labels.csv", index=False)
    disk = open_dataset(tmp_path, ReadOptions(modalities={**MOTION, "face": {}}))
    assert lengths(disk) == lengths(memory) == LENGTHS
    assert Preprocessing.fit(disk).to_json() == Preprocessing.fit(memory).to_json()
    # without a word about it, samples of two dimensions are pictures
    assert open_dataset({"motion": whole}, target=LABELS).schema["motion"].kind == "image"


@pytest.mark.parametrize("order", [None, "time"])
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_long_table_in_a_folder(tmp_path: Path, order: str | None, suffix: str) -> None:
    ids = [f"p{number}" for number in range(24)]
    pd.DataFrame({"id": ids, "label": LABELS}).to_csv(tmp_path / "labels.csv", index=False)
    pd.DataFrame({"id": ids, "age": np.arange(24.0)}).to_csv(tmp_path / "face.csv", index=False)
    frames = pd.DataFrame(np.concatenate(walks()), columns=["x", "y"])
    frames.insert(0, "id", np.repeat(ids, LENGTHS))
    frames["time"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(np.concatenate([np.arange(each) for each in LENGTHS]), "h")
    frames = frames[frames["id"] != "p5"]
    if order is None:
        frames = frames.drop(columns="time")
    frames = frames.sample(frac=1, random_state=0) if order else frames
    frames.to_csv(tmp_path / "motion.csv", index=False) if suffix == "csv" else frames.to_parquet(
        tmp_path / "motion.parquet", index=False
    )
    own = {"kind": "sequence", "order": order} if order else {"kind": "sequence"}
    data = open_dataset(tmp_path, ReadOptions(modalities={"motion": own, "face": {}}))
    assert data.schema["motion"].columns == ("x", "y")
    assert not data.present["motion"][5]
    expected = np.asarray(ragged().inputs["motion"])
    expected[5] = np.nan
    np.testing.assert_allclose(data.inputs["motion"], expected, rtol=1e-12)
    (tmp_path / "dataset.yaml").write_text(describe_yaml(data))
    assert_equal(open_dataset(tmp_path), data)
    (tmp_path / "dataset.yaml").unlink()
    assert_equal(open_dataset(tmp_path, labelled=False, schema=data.schema), data)


def test_windows_by_hand(table: Path) -> None:
    data = read(table)
    modality = data.schema["position"]
    assert (modality.kind, modality.shape, modality.window) == ("sequence", (4, 3), 4)
    assert modality.columns == ("pos_x", "pos_y", "pos_z")
    frames = video()
    found = np.asarray(data.inputs["position"][:])
    for row in range(60):
        before = frames[(frames["video"] == frames["video"][row]) & (frames["frame"] <= frames["frame"][row])]
        expected = before[["pos_x", "pos_y", "pos_z"]].to_numpy()[-4:]
        np.testing.assert_allclose(found[row, : len(expected)], expected)
        assert np.isnan(found[row, len(expected) :]).all()


def test_windows_sorted_by_a_column(table: Path) -> None:
    whole = read(table)
    order = np.random.default_rng(1).permutation(60)
    video().iloc[order].to_csv(table, index=False)
    own = {**WINDOWS["position"], "order": "frame"}
    data = open_dataset(table, ReadOptions(modalities={**WINDOWS, "position": own}, group="video"))
    np.testing.assert_allclose(data.inputs["position"][:], whole.inputs["position"][order])
    assert "position: {prefix: pos_, kind: sequence, window: 4, order: frame}" in describe_yaml(data)
    (table.parent / "videos.dataset.yaml").write_text(describe_yaml(data))
    assert_equal(open_dataset(table), data)
    assert_equal(open_dataset(table, labelled=False, schema=data.schema), data)


def test_windows_in_memory_and_in_a_folder(table: Path, tmp_path: Path) -> None:
    frames = video()
    arrays = {"position": frames[["pos_x", "pos_y", "pos_z"]].to_numpy(), "video": frames["video"], "frame": frames["frame"]}
    stated = ReadOptions(modalities={"position": {"window": 4, "order": "frame"}}, group="video")
    np.testing.assert_allclose(
        open_dataset(arrays, stated, target=frames["label"]).inputs["position"][:], read(table).inputs["position"][:]
    )
    folder = tmp_path / "folder"
    folder.mkdir()
    frames[["label", "video"]].rename_axis("id").to_csv(folder / "labels.csv")
    some = frames.index != 6  # the second frame of video 0
    frames.loc[some, ["pos_x", "pos_y", "pos_z"]].rename_axis("id").to_csv(folder / "position.csv")
    frames[["face_a"]].rename_axis("id").to_csv(folder / "face.csv")
    data = open_dataset(folder, ReadOptions(modalities={"position": {"window": 4}, "face": {}}, group="video"))
    assert np.flatnonzero(~data.present["position"]).tolist() == [6]
    third = np.asarray(data.inputs["position"][:])[12]
    assert np.isnan(third).all(axis=1).tolist() == [False, True, False, True]  # a gap within, and the end


def test_windows_take_the_room_of_their_frames_and_hide_other_parts(table: Path) -> None:
    data = read(table)
    train = data.subset(np.flatnonzero(data.group == "v3"))
    assert train.inputs["position"].frames.shape == (10, 3)
    np.testing.assert_array_equal(train.inputs["position"][:], data.inputs["position"][:][data.group == "v3"])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(train)).inputs["position"][:], train.inputs["position"][:])


def test_statistics_ignore_padding_and_missing_values() -> None:
    data = ragged()
    fitted = Preprocessing.fit(data)
    steps = np.concatenate(walks())
    mean, deviation = np.nanmean(steps, axis=0), np.nanstd(steps, axis=0)
    prepared = fitted.transform(data)["motion"]
    assert fitted.shapes["motion"] == prepared.shape[1:] == (3, 5)
    assert prepared.dtype == np.float32
    for row, item in enumerate(walks()):
        expected = (np.where(np.isnan(item), mean, item) - mean) / deviation
        np.testing.assert_allclose(prepared[row, :2, : len(item)], expected.T, rtol=1e-5, atol=1e-6)
        assert prepared[row, 2].tolist() == [1.0] * len(item) + [0.0] * (5 - len(item))
        assert (prepared[row, :, len(item) :] == 0).all()
    raw = Preprocessing.fit(data, PreprocessingOptions(standardize=False, impute="zero")).transform(data)["motion"]
    np.testing.assert_array_equal(raw[0, :2, :3].T, np.nan_to_num(walks()[0]).astype(np.float32))


def test_the_length_is_that_of_training_or_stated() -> None:
    train = ragged().subset(np.array([0, 1, 3]))
    fitted = Preprocessing.fit(train)
    assert fitted.shapes["motion"] == (3, 3)
    longer = fitted.transform(ragged())["motion"]
    short = open_dataset({"motion": [item[:3] for item in walks()], "face": np.eye(24)[:, :3]}, target=LABELS)
    np.testing.assert_array_equal(longer, fitted.transform(short)["motion"])  # the first steps are kept
    stated = Preprocessing.fit(ragged(), PreprocessingOptions(sequence_length=2))
    assert stated.shapes["motion"] == (3, 2)
    assert stated.transform(ragged())["motion"][2, -1].tolist() == [1, 1]
    assert Preprocessing.fit(train, PreprocessingOptions(sequence_length=9)).shapes["motion"] == (3, 3)


def test_chunks_and_streams_change_nothing(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = read(table)
    fitted = Preprocessing.fit(data)
    whole = fitted.transform(data)["position"]
    for module in (rows, preprocessing):
        monkeypatch.setattr(module, "CHUNK", 50)
    np.testing.assert_array_equal(fitted.transform(data)["position"], whole)
    again = Preprocessing.fit(data).modalities["position"]
    np.testing.assert_allclose(again.steps.mean, fitted.modalities["position"].steps.mean, rtol=1e-12)
    memory, stream = (make_part(data, fitted, torch.device("cpu"), kind) for kind in ("memory", "stream"))
    for mine, theirs in zip(Loader(memory, 16).epoch(0), Loader(stream, 16).epoch(0), strict=True):
        assert torch.equal(mine.inputs["position"], theirs.inputs["position"])


def test_fitted_on_the_training_part_only(table: Path) -> None:
    data = read(table)
    split = make_splits(data)[0]
    frames = video()
    frames.loc[split.test, ["pos_x", "pos_y"]] += 1000
    frames.to_csv(table, index=False)
    honest, other = (partition(each, split)[0].train for each in (data, read(table)))
    assert Preprocessing.fit(honest).to_json() == Preprocessing.fit(other).to_json()


def test_json_round_trip_is_exact() -> None:
    data = ragged()
    fitted = Preprocessing.fit(data)
    text = json.dumps(fitted.to_json(), allow_nan=False)
    again = Preprocessing.from_json(json.loads(text))
    assert json.dumps(again.to_json()) == text
    np.testing.assert_array_equal(again.transform(data)["motion"], fitted.transform(data)["motion"])
    before = json.loads(text)
    del before["options"]["sequence_length"]  # a run made before there were sequences
    assert Preprocessing.from_json(before).options == PreprocessingOptions()


def test_facts_and_copies(table: Path, tmp_path: Path) -> None:
    found = facts(ragged())["modalities"]["motion"]
    assert found["steps"] == {"shortest": 1, "median": 2, "longest": 5}
    assert (found["missing_values"], found["constant_columns"]) == (3, [])
    for number, data in enumerate((ragged(), read(table))):
        again = open_dataset(export(data, tmp_path / f"out{number}"))
        assert_equal(again, data)
        assert fingerprint(again) == fingerprint(data)
    frames = video()
    frames.loc[0, "pos_x"] += 1
    frames.to_csv(table, index=False)
    assert fingerprint(read(table)) != fingerprint(data)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            {"motion": [np.ones((2, 3)), np.ones((0, 3))]},
            "data: 'motion': item 1 has no time step, expected at least one, or None",
        ),
        ({"motion": [np.ones((2, 3)), np.ones((1, 4))]}, "item 1 has 4 channels, expected 3"),
        ({"motion": [np.ones((2, 3)), np.ones(3)]}, r"item 1 is no array of shape \(time, channels\)"),
        (
            {"motion": [np.full((2, 3), "a"), np.full((1, 3), "b")]},
            "modality 'motion' holds values of type <U1, expected numbers",
        ),
        ({"motion": [np.full((2, 1), np.inf), np.ones((1, 1))]}, "column 0, 0 is infinite for sample '0'"),
        ({"motion": np.ones((5, 3)), "motion_lengths": [2, 2]}, "'motion' has 5 time steps, but its lengths add up to 4"),
        (
            {"motion": np.ones((5, 3)), "motion_lengths": [5, 0]},
            "1 samples have length 0, the first in row 1; expected at least one",
        ),
        (
            {"motion": np.ones((5, 3)), "motion_lengths": [6, -1]},
            "lengths must be whole numbers, one per sample, found '6', '-1'",
        ),
        ({"motion": np.ones((5, 3)), "motion_lengths": [2.5, 2.5]}, "lengths must be whole numbers"),
        ({"motion": np.ones((5, 3, 2)), "motion_lengths": [2, 3]}, r"has shape \(5, 3, 2\), expected all time steps one after"),
        ({"motion": np.ones((2, 3))}, r"samples have shape \(3,\), expected \(time, channels\); state window .*motion_lengths"),
        ({"motion": np.ones((2, 3, 4, 5))}, r"samples have shape \(3, 4, 5\), expected \(time, channels\)"),
    ],
)
def test_what_is_refused(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        open_dataset(values, ReadOptions(modalities=MOTION), target=[0, 1])


def test_sequences_of_different_lengths_in_an_archive_without_lengths(tmp_path: Path) -> None:
    objects = np.empty(2, dtype=object)
    objects[:] = [np.ones((2, 3)), np.ones((1, 3))]
    np.savez(tmp_path / "set.npz", motion=objects, label=[0, 1])
    with pytest.raises(DataError, match=r"pickled Python objects.*all time steps in one array NAME, .* NAME_lengths"):
        open_dataset(tmp_path / "set.npz")


@pytest.mark.parametrize(
    ("modality", "more", "sentence"),
    [
        ({"prefix": "pos_", "window": 4}, {}, "modality 'm': windows of 4 rows overlap, .* state group, the column"),
        ({"prefix": "pos_", "window": 4}, {"group": "none"}, "windows of 4 rows overlap"),
        (
            {"prefix": "pos_", "window": 1},
            {"group": "video"},
            "m: window = '1' is not valid, expected a whole number of at least 2",
        ),
        ({"prefix": "pos_", "window": "2.5"}, {"group": "video"}, "window = '2.5' is not valid"),
        ({"prefix": "pos_", "window": 4, "kind": "tabular"}, {"group": "video"}, "kind 'tabular' and a window are stated"),
        ({"prefix": "pos_", "window": 4, "categorical": ["pos_x"]}, {"group": "video"}, "categorical columns are stated"),
        ({"prefix": "pos_", "kind": "sequence"}, {"group": "video"}, r"samples have shape \(3,\), .*; state window for the rows"),
        ({"prefix": "pos_", "order": "frame"}, {}, "order = 'frame' is stated, but neither a window nor kind: sequence"),
        (
            {"prefix": "pos_", "window": 4, "order": "fram"},
            {"group": "video"},
            "its order is stated by column 'fram', which the data",
        ),
        (
            {"prefix": "pos_", "window": 4, "order": "label"},
            {"group": "video"},
            "must hold numbers or times, found 'fast', 'slow'",
        ),
        (
            {"columns": ["pos_x", "frame", "word"], "window": 4},
            {"group": "video"},
            "column 'word' holds words, expected numbers in a",
        ),
    ],
)
def test_windows_that_are_refused(table: Path, modality: dict[str, Any], more: dict[str, Any], sentence: str) -> None:
    video().assign(word=["up", "down"] * 30).to_csv(table, index=False)
    with pytest.raises(DataError, match=sentence):
        open_dataset(table, ReadOptions(modalities={"m": modality}, **more))


def test_a_split_that_cuts_a_group_is_refused(table: Path) -> None:
    video().assign(split=["train"] * 30 + ["test"] * 30).to_csv(table, index=False)
    with pytest.raises(DataError, match="group 'v0', 'v1', 'v2' and 2 more of column 'video' is in both"):
        make_splits(read(table))


def test_what_does_not_fit_a_trained_run_is_refused(table: Path) -> None:
    schema = read(table).schema
    for change, sentence in (
        (video().drop(columns="pos_y"), "modality 'position': column 'pos_y' is missing"),
        (video().drop(columns="video"), "windows of 4 rows overlap, .* state group"),
        (video().assign(video=[None, "v"] * 30), "30 samples have no group"),
        (video().assign(pos_x="left"), "column 'pos_x' has text"),
    ):
        change.to_csv(table, index=False)
        with pytest.raises(DataError, match=sentence):
            open_dataset(table, labelled=False, schema=schema)
    with pytest.raises(DataError, match="modality 'motion' has 3 channels, expected 2"):
        open_dataset({"motion": [np.ones((2, 3)), None], "face": np.eye(2)}, labelled=False, schema=ragged().schema)
    with pytest.raises(DataError, match="kind 'tabular' is expected, but it holds sequences of different lengths"):
        open_dataset({"face": [np.ones((2, 3)), np.ones((1, 3))]}, labelled=False, schema=ragged().schema)


def test_taking_frames_equals_taking_sequences() -> None:
    frames = Frames(np.concatenate(walks()), np.array(LENGTHS))
    chosen = np.array([5, -1, 0, 2, 2])
    found = frames.take(chosen)
    assert found.lengths.tolist() == [1, 0, 3, 5, 5]
    np.testing.assert_array_equal(found.values, np.concatenate([walks()[row] for row in chosen if row >= 0]))


def test_commands(table: Path, tmp_path: Path) -> None:
    run, stated = tmp_path / "run", ("--modalities", json.dumps(WINDOWS), "--group", "video")
    assert "time steps of position: 4 per sample (median; 1 to 4)" in done("data", "describe", table, *stated)
    done("fit", table, *stated, *QUICK, "--encoder.position.width", "8", "--out", run)
    done("evaluate", run, table, "--part", "test", "--out", tmp_path / "metrics.json")
    loaded = equipoise.load(run)
    assert loaded.config["encoders"]["position"] == {"name": "tcn", "width": "8"}
    assert json.loads((tmp_path / "metrics.json").read_text())["metrics"]["position"] == loaded.summary["test"]["position"]
    new = video(25, 5).drop(columns="label")
    new.loc[[0, 5, 10, 15, 20], ["pos_x", "pos_y", "pos_z"]] = np.nan  # one video lacks the modality
    new.to_csv(tmp_path / "new.csv", index=False)
    assert "absent: position in 5" in done("predict", run, tmp_path / "new.csv", "--out", tmp_path / "p.csv")
    new.iloc[:, 3:].to_csv(tmp_path / "new.csv", index=False)
    assert "absent: position in 25" in done("predict", run, tmp_path / "new.csv", "--out", tmp_path / "q.csv")
    assert "state group" in call("fit", table, *stated[:2], *QUICK, "--out", tmp_path / "no").error()
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("method", ["aim", "mmlora", "mwam"])
def test_methods_that_look_into_encoders_and_inputs_take_sequences(method: str) -> None:
    data = ragged()
    run = equipoise.fit(data, method=method, epochs=2, device="cpu", progress=False)
    assert set(run.metrics) == {"fused", "motion", "face"}


def test_frames_of_gestures(shared_data: Path) -> None:
    modalities = {"position": {"prefix": "pos_", "window": 32, "order": "frame"}, "velocity": {"prefix": "vel", "window": 8}}
    data = open_dataset(shared_data / "gesture_phase", ReadOptions(group="video", modalities=modalities))
    assert data.schema["position"].shape == (32, 18)
    fit, _ = partition(data, make_splits(data)[0])
    prepared = Preprocessing.fit(fit.train).transform(fit.train)
    assert prepared["position"].shape == (len(fit.train), 19, 32)
    assert np.isfinite(prepared["velocity"]).all()
