"""One csv, tsv or parquet file that does not fit into memory gives what the same file gives in memory."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import equipoise
from equipoise.config import ReadOptions
from equipoise.data import arrow, delimited, memory, named_rows, progress, scratch
from equipoise.data.columns import as_text
from equipoise.data.dataset import Dataset
from equipoise.data.delimited import DelimitedTable
from equipoise.data.files import read_table, table_columns
from equipoise.data.loader import Loader, make_part
from equipoise.data.named_rows import NamedRows
from equipoise.data.preprocessing import Preprocessing
from equipoise.data.rows import MappedRows
from equipoise.data.schema import Schema
from equipoise.data.sources import open_dataset
from equipoise.errors import DataError

ROWS = 60
ROOM = 120_000
"""Bytes that are said to be free: enough for all modalities of the table below but ``numbers``."""

MODALITIES = {
    "numbers": {"prefix": "n_"},
    "facts": {"prefix": "f_", "categorical": ["f_ward"]},
    "picture": {"columns": ["picture"]},
    "review": {"columns": ["review"], "kind": "text"},
    "steps": {"prefix": "w_", "window": 3, "order": "time"},
}
OPTIONS = ReadOptions(modalities=MODALITIES, group="site")


def table() -> pd.DataFrame:
    """Rows with columns of every kind; what is missing or different is so in one half only."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.normal(size=(ROWS, 100)), columns=[f"n_{number}" for number in range(100)])
    frame.loc[40:44, [name for name in frame if name.startswith("n_")]] = np.nan
    frame["n_0"] = random.integers(-5, 5, ROWS)
    frame["n_1"] = np.where(np.arange(ROWS) < 50, np.arange(ROWS), np.nan)
    frame["n_2"] = random.normal(size=ROWS) * 1e-30
    flags = random.integers(0, 2, ROWS).astype(bool)
    other = {
        "id": [f"{number:03}" for number in range(ROWS)],
        "label": ["NA", "u", "1.0"] * 20,
        "split": ["train"] * 40 + ["val", "test"] * 10,
        "site": ["07", "7", "8"] * 20,
        "time": random.permutation(ROWS),
        "f_ward": random.integers(1, 4, ROWS),
        "f_count": random.integers(1, 9, ROWS),
        "f_flag": flags,
        "f_gap": np.where(np.arange(ROWS) < 45, flags, None),
        "f_word": np.where(np.arange(ROWS) < 30, "x", random.choice(["x", "y y", "z,"], ROWS)),
        "picture": [f"p{number % 4}.png" if number % 7 else None for number in range(ROWS)],
        "review": [f"order {number} came late, but it came\nwell" if number % 5 else None for number in range(ROWS)],
        "w_1": random.normal(size=ROWS),
        "w_2": random.integers(0, 5, ROWS),
    }
    return pd.concat([frame, pd.DataFrame(other)], axis=1)


def write(frame: pd.DataFrame, path: Path) -> Path:
    if path.suffix == ".parquet":
        frame.to_parquet(path, index=False, row_group_size=25)
    else:
        frame.to_csv(path, sep="\t" if path.suffix == ".tsv" else ",", index=False)
    return path


@pytest.fixture(params=[".csv", ".parquet"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The table in a file, beside its pictures."""
    for number in range(4):
        Image.fromarray(np.full((4, 4, 3), 60 * number, dtype=np.uint8)).save(tmp_path / f"p{number}.png")
    return write(table(), tmp_path / f"wide{request.param}")


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Opens data as if little memory were free, a few rows at a time."""

    def read(source: Path, options: ReadOptions | None = None, *, room: int = ROOM, **more: Any) -> Dataset:
        with monkeypatch.context() as patch:
            patch.setattr(memory, "free_bytes", lambda: room)
            patch.setattr(delimited, "_PIECE", 20_000)
            patch.setattr(arrow, "_BATCH", 700)
            return open_dataset(source, options, **more)

    return read


def assert_same(first: Dataset, second: Dataset) -> None:
    assert first.schema == second.schema
    for name in ("ids", "target", "split", "group"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    for name, value in first.inputs.items():
        other = second.inputs[name]
        np.testing.assert_array_equal(first.present[name], second.present[name])
        if isinstance(value, pd.DataFrame) and isinstance(other, pd.DataFrame):
            pd.testing.assert_frame_equal(value, other)
        else:
            np.testing.assert_array_equal(*(np.asarray(item[:], dtype=np.float64) for item in (value, other)))


def test_both_routes_give_the_same_data(path: Path, little: Any) -> None:
    whole, large = open_dataset(path, OPTIONS), little(path, OPTIONS)
    assert isinstance(large.inputs["numbers"], NamedRows)
    assert isinstance(large.inputs["numbers"].matrix, MappedRows)
    assert isinstance(whole.inputs["numbers"], pd.DataFrame)
    assert whole.schema["facts"].categorical == ("f_ward", "f_flag", "f_gap", "f_word")
    assert whole.schema["picture"].kind == "image"
    assert_same(whole, large)


def test_tabs_separate_as_commas_do(tmp_path: Path, little: Any) -> None:
    path = write(table().drop(columns="picture"), tmp_path / "wide.tsv")
    assert_same(open_dataset(path), little(path))


def test_prefixes_and_paths_are_found_in_both(path: Path, little: Any) -> None:
    whole, large = open_dataset(path), little(path)
    assert whole.schema.names == ("picture", "n", "f", "w")
    assert isinstance(large.inputs["n"], NamedRows)
    assert_same(whole, large)


def test_a_trained_run_reads_both_the_same(path: Path, little: Any) -> None:
    schema = open_dataset(path, OPTIONS).schema
    frame = table().drop(columns=["review", "label", "split"]).iloc[::-1, ::-1]
    new = write(frame, path.with_stem("new"))
    whole = open_dataset(new, labelled=False, schema=schema)
    large = little(new, labelled=False, schema=schema)
    assert isinstance(large.inputs["numbers"], NamedRows)
    assert not large.present["review"].any()
    assert large.ids[0] == "059"
    assert_same(whole, large)


def test_booleans_and_words_that_were_numbers_in_training(path: Path, little: Any) -> None:
    options = ReadOptions(modalities={"numbers": ["n_0", "n_1"], "rest": ["n_2"]})
    schema = open_dataset(path, options).schema
    words = [str(number) for number in range(ROWS)]
    new = write(table().assign(n_0=np.arange(ROWS) % 2 == 0, n_1=words), path.with_stem("new"))
    whole, large = open_dataset(new, schema=schema), little(new, schema=schema, room=1000)
    assert isinstance(large.inputs["numbers"], NamedRows)
    assert_same(whole, large)


def test_training_gets_the_same_batches(path: Path, little: Any) -> None:
    options = ReadOptions(modalities={"numbers": MODALITIES["numbers"], "facts": MODALITIES["facts"]})
    parts = []
    for data, loader in ((open_dataset(path, options), "memory"), (little(path, options), "stream")):
        fitted = Preprocessing.fit(data)
        parts.append(make_part(data, fitted, torch.device("cpu"), loader))
    for mine, theirs in zip(*(Loader(part, 16).epoch(0) for part in parts), strict=True):
        for name, value in mine.inputs.items():
            torch.testing.assert_close(value, theirs.inputs[name])


def test_predictions_are_the_same(path: Path, little: Any) -> None:
    options = {"modalities": {"numbers": MODALITIES["numbers"], "facts": MODALITIES["facts"]}}
    run = equipoise.fit(path, epochs=1, progress=False, device="cpu", **options)
    whole = run.predictor.predict(path)
    large = run.predictor.predict(little(path, labelled=False, schema=run.predictor.schema))
    np.testing.assert_array_equal(whole.ids, large.ids)
    np.testing.assert_allclose(whole.probabilities, large.probabilities, rtol=1e-6)


@pytest.mark.parametrize("word", ["oops", "True", "inf"])
def test_a_word_in_the_last_rows_is_the_same_error(path: Path, little: Any, word: str) -> None:
    frame = table()
    frame["n_5"] = [*frame["n_5"][:-2].fillna(0).astype(str), word, "1"]
    write(frame, path)
    for read in (open_dataset, little):
        what = "is infinite" if word == "inf" else f"has text where numbers are expected: {word!r}"
        with pytest.raises(DataError, match=f"modality 'numbers': column 'n_5' {what} for sample '058'"):
            read(path, OPTIONS)


@pytest.mark.parametrize(
    ("modalities", "words"),
    [
        ({"x": {"prefix": "n_"}, "y": {"prefix": "f_"}}, "'f_flag', 'f_gap', 'f_word'"),
        ({"x": {"prefix": "n_"}, "y": {"columns": ["f_count", "f_ward"], "categorical": ["f_ward"]}}, "'f_ward'"),
        ({"x": {"prefix": "n_"}, "y": {"columns": ["review"], "kind": "text"}}, "'review'"),
        ({"x": {"prefix": "n_"}, "y": {"columns": ["w_1"], "window": 3}}, "'w_1'"),
    ],
)
def test_only_numbers_stay_on_disk(path: Path, little: Any, modalities: Any, words: str) -> None:
    with pytest.raises(DataError, match=rf"modality 'y' takes more than .* only numbers can stay on disk.* without {words}$"):
        little(path, ReadOptions(modalities=modalities, group="site"), room=100)
    assert little(path, ReadOptions(modalities=modalities, group="site"), room=12_000).inputs["y"].shape[0] == ROWS


@pytest.mark.parametrize(
    "cells",
    [
        ["1", "2", "-3", "4"],
        ["1", "", "2", "3"],
        ["1", "2.5", "NA", "1e400"],
        ["", "", "", ""],
        ["007", "08", "9", "10"],
        ["True", "False", "TRUE", "false"],
        ["True", "", "False", "NA"],
        ["True", "1", "False", "0"],
        ["1", "2", "x", "003"],
        ["a", '"b\nb"', '"c,""c"', "NA"],
        ["2020-01-01", "2020-01-02", "", "x"],
        [" 1", "2 ", "3", " "],
    ],
)
def test_types_are_those_of_the_whole_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cells: list[str]) -> None:
    path = tmp_path / "t.csv"
    path.write_text("u,v,w\n" + "".join(f"x{number},{cell},1\n" for number, cell in enumerate(cells)), newline="")
    monkeypatch.setattr(delimited, "_PIECE", 1)
    found = DelimitedTable.open(path, ["u", "v", "w"], frozenset(), ["u"])
    pd.testing.assert_frame_equal(found.table(["w", "v"]), read_table(path)[["w", "v"]])
    assert found.rows == 4
    assert found.values(["u"])["u"].tolist() == ["x0", "x1", "x2", "x3"]


@pytest.mark.parametrize(
    "cells", [["9223372036854775807", "9223372036854775808", "1", "2"], ["99999999999999999999", "1", "2", "3"]]
)
def test_long_numbers_keep_their_digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cells: list[str]) -> None:
    path = tmp_path / "t.csv"
    path.write_text("v\n" + "\n".join(cells) + "\n")
    monkeypatch.setattr(delimited, "_PIECE", 1)
    assert as_text(DelimitedTable.open(path, ["v"], frozenset(), []).table(["v"])["v"]).tolist() == cells
    assert as_text(read_table(path)["v"]).tolist() == cells


@pytest.mark.parametrize("piece", [1, 40, 10_000])
@pytest.mark.parametrize(
    "text",
    [
        "id,a_1,a_2,b_1,b_2,label\n1,2,3,4,5,x\n2,3,4,5,6,y\n",
        "\ufeffid,a_1,a_2,b_1,b_2,label\r\n1,2,3,4,5,x\r\n2,3,4,5,6,y",
        '\n\n"id","a_1","a_2",b_1,b_2,label\n\n1,2,3,4,5,x\n\n"2",3,4,5,6,"y\nz"\n\n',
        "id,a_1,a_2,b_1,b_2,label\n1,2,3,4,5,x\n2,3,4,5,6,y\n3,4,5,6,7,x\n4,5\n",
        "id,a_1,a_2,b_1,b_2,label\n1,2\n2,3,4,5,6,y\n3,4,5,6,7,x\n",
        ",a_1,a_2,b_1,b_2,id,label\n0,1,2,3,4,5,x\n1,2,3,4,5,6,y\n",
        'id,"a_\n1",a_2,b_1,b_2,label\n1,2,3,4,5,x\n2,3,4,5,6,y\n',
    ],
)
def test_files_of_odd_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, piece: int) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text, encoding="utf-8", newline="")
    monkeypatch.setattr(delimited, "_PIECE", piece)
    names = table_columns(path)
    found = DelimitedTable.open(path, names, frozenset({"id", "label"}), ["id", "label"])
    pd.testing.assert_frame_equal(found.table(names), read_table(path, ("id", "label")))


def damaged(path: Path, row: int, edit: Any) -> Path:
    lines = path.read_bytes().split(b"\n")
    lines[row] = edit(lines[row])
    path.write_bytes(b"\n".join(lines))
    return path


@pytest.mark.parametrize("row", [1, 2, 9, 10, 11, 12, 13, 14, 15, 16, 39, 40])
def test_a_long_row_is_named_wherever_a_piece_ends(tmp_path: Path, little: Any, row: int) -> None:
    path = write(table().drop(columns="review")[:40], tmp_path / "t.csv")
    columns = len(table_columns(path))
    damaged(path, row, lambda line: line + b",1")
    with pytest.raises(DataError, match=rf"t\.csv, line {row + 1}: the row has {columns + 1} values, expected {columns}"):
        little(path)
    damaged(path, row, lambda line: line + b",,,2,")
    with pytest.raises(DataError, match=rf"t\.csv, line {row + 1}: the row has {columns + 5} values"):
        little(path)
    for number in range(1, 41):
        damaged(path, number, lambda line: line.rstrip(b",12") + b",")
    with pytest.raises(DataError, match=rf"t\.csv, line 2: the row has {columns + 1} values"):
        little(path)


@pytest.mark.parametrize(
    ("row", "edit", "sentence"),
    [
        (38, lambda line: b"caf\xe9" + line, r"t\.csv cannot be read as a csv table in UTF-8: byte 0xe9 at place 4 of line 39"),
        (40, lambda line: line[: len(line) // 2], r"t\.csv, line 41: the last row has \d+ of \d+ values .* the file was cut off"),
        (20, lambda line: b'"' + line, r"t\.csv cannot be read as a csv table: .*"),
    ],
)
def test_damage_deep_in_a_file(tmp_path: Path, little: Any, row: int, edit: Any, sentence: str) -> None:
    path = write(table().drop(columns="review")[:40], tmp_path / "t.csv")
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    damaged(path, row, edit)
    with pytest.raises(DataError, match=sentence) as caught:
        little(path)
    assert "\n" not in str(caught.value)


def test_a_damaged_page_of_a_parquet_file(tmp_path: Path) -> None:
    path = write(table(), tmp_path / "t.parquet")
    content = bytearray(path.read_bytes())
    content[4:150] = b"\xff" * 146
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"t\.parquet cannot be read as a parquet table"):
        open_dataset(path)
    table()[:0].to_parquet(path)
    with pytest.raises(DataError, match=r"t\.parquet has no rows"):
        open_dataset(path)


def test_too_little_room_on_disk(path: Path, little: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(9, 9, 0))
        with pytest.raises(DataError, match=r"does not fit into memory, and its copy of up to 46\.9 KiB not into .* TMPDIR"):
            little(path, OPTIONS)
    if not Path("/dev/full").exists():
        pytest.skip("no device that is always full")
    full = path.parent / "full"
    full.mkdir()
    (full / "rows.npy").symlink_to("/dev/full")
    monkeypatch.setattr(scratch, "scratch_folder", lambda: full)
    with pytest.raises(DataError, match=r"wide.* does not fit into memory, and its copy .* TMPDIR"):
        little(path, OPTIONS)


@pytest.mark.parametrize("room", [0, 3000, 2**40])
def test_columns_of_a_file_are_read_in_few_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    values = np.random.default_rng(0).normal(size=(30, 7))
    np.save(tmp_path / "a.npy", values)
    monkeypatch.setattr(named_rows, "free_bytes", lambda: room)
    monkeypatch.setattr(named_rows, "CHUNK", 50)
    rows = NamedRows.of(MappedRows.open(tmp_path / "a.npy"), "abcdefg").select("gbacd")
    chosen = np.array([3, 20, 1, 29])
    blocks = list(rows.column_blocks(chosen, 2))
    assert [block.shape[1] for block in blocks] == [2, 2, 1]
    np.testing.assert_array_equal(np.concatenate(blocks, 1), values[chosen][:, [6, 1, 0, 2, 3]])


def test_the_schema_is_checked(path: Path, little: Any) -> None:
    schema: Schema = open_dataset(path, ReadOptions(modalities={"numbers": {"prefix": "n_"}})).schema
    new = write(table().drop(columns="n_7"), path.with_stem("new"))
    for read in (open_dataset, little):
        with pytest.raises(DataError, match=r"column 'n_7' is missing .1 of the 100 columns"):
            read(new, schema=schema)


def test_names_of_files_are_told_by_every_row(tmp_path: Path, little: Any) -> None:
    names = [f"a{number}.wav" for number in range(39)]
    for last, kind in (("b.wav", True), ("none", False), ("b.png", False), ("", True)):
        frame = table().drop(columns=["picture", "review"])[:40].assign(sound=[*names, last])
        for suffix, read in itertools.product((".csv", ".parquet"), (open_dataset, little)):
            path = write(frame, tmp_path / f"t{suffix}")
            if kind:
                with pytest.raises(DataError, match=r"files cannot be used: .*a0.wav"):
                    read(path)
            else:
                assert "sound" not in read(path).schema.names


@pytest.mark.parametrize(("rank", "seconds", "shown"), [("0", -1.0, True), ("0", 60.0, False), ("1", -1.0, False)])
def test_a_bar_is_shown_to_who_waits(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], rank: str, seconds: float, shown: bool
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # a terminal, as far as rich can tell
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setattr(progress, "_PATIENCE", seconds)
    assert list(progress.with_rows(["ab", "c"], 3, "reading rows")) == ["ab", "c"]
    assert ("reading rows" in capsys.readouterr().err) == shown
