from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from equipoise.data.files import read_archive, read_array, read_table, read_yaml, table_columns
from equipoise.errors import DataError


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (self.path,))  # type: ignore[return-value]


def test_text_columns_stay_as_written(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("id,label,x\n007,NA,NA\n008,None,1.5\n")
    table = read_table(path, text=("id", "label"))
    assert table["id"].tolist() == ["007", "008"]
    assert table["label"].tolist() == ["NA", "None"]
    assert np.isnan(table["x"][0])
    assert table["x"][1] == 1.5


def test_floats_are_read_to_the_last_bit(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=1000) * 10.0 ** np.random.default_rng(1).integers(-200, 30, 1000)
    pd.DataFrame({"x": values}).to_csv(tmp_path / "t.csv", index=False)
    np.testing.assert_array_equal(read_table(tmp_path / "t.csv")["x"].to_numpy(), values)


@pytest.mark.parametrize("mark", ["﻿", ""])
def test_byte_order_mark_is_no_part_of_a_name(tmp_path: Path, mark: str) -> None:
    (tmp_path / "t.tsv").write_text(f"{mark}id\tx\n1\t2\n", encoding="utf-8")
    assert table_columns(tmp_path / "t.tsv") == ["id", "x"]


def test_parquet_index_becomes_a_column(tmp_path: Path) -> None:
    pd.DataFrame({"x": [1, 2]}, index=pd.Index(["a", "b"], name="id")).to_parquet(tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet")["id"].tolist() == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("t.csv", b"", "is empty, expected a csv table"),
        ("t.csv", b"a,b\n", "has no rows"),
        ("t.csv", b"a,b\n1,2\n1,2,3\n", "cannot be read as a csv table: line 3 has 3 values, expected 2"),
        ("t.csv", b'a,b\n1,2\n"1,2', "a quotation mark in row 2 is never closed"),
        ("t.csv", b"\0" * 9, "holds bytes of value zero, expected a csv table in UTF-8"),
        ("t.csv", b"a,b\n1,2,3\n1,2,3\n", "cannot be read as a csv table"),
        ("t.csv", b"a,a\n1,2\n", "column 'a' occurs twice"),
        ("t.csv", b"a;b\n1;2\n", "is not separated by ','"),
        ("t.csv", b"a,b\n\xff\xfe,2\n", "cannot be read as a csv table"),
        ("t.parquet", b"", "is empty"),
        ("t.parquet", b"PAR1 nothing of the kind", "cannot be read as a parquet table"),
        ("t.npy", b"", "is empty"),
        ("t.npy", b"\x93NUMPY\x01\x00", "cannot be read as an npy array"),
        ("t.npy", b"garbage", "is not an npy array"),
        ("t.npz", b"", "is empty"),
        ("t.npz", b"PK\x03\x04 garbage", "cannot be read as an npz archive"),
        ("t.yaml", b"a: [1", "cannot be read as YAML"),
    ],
)
def test_damaged_files(tmp_path: Path, name: str, content: bytes, sentence: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    read = {".npy": read_array, ".npz": read_archive, ".yaml": read_yaml}.get(path.suffix, read_table)
    with pytest.raises(DataError, match=sentence) as error:
        read(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"t\.csv does not exist"):
        read_table(tmp_path / "t.csv")
    (tmp_path / "f.csv").mkdir()
    with pytest.raises(DataError, match="is a folder"):
        read_table(tmp_path / "f.csv")


def test_truncated_files(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(1000.0))
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:500])
    with pytest.raises(DataError, match=r"a\.npy cannot be read"):
        read_array(tmp_path / "a.npy")
    np.savez(tmp_path / "a.npz", x=np.arange(1000.0))
    (tmp_path / "a.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:500])
    with pytest.raises(DataError, match=r"a\.npz cannot be read"):
        read_archive(tmp_path / "a.npz")
    pd.DataFrame({"x": np.arange(1000.0)}).to_parquet(tmp_path / "a.parquet")
    (tmp_path / "a.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:500])
    with pytest.raises(DataError, match=r"a\.parquet cannot be read"):
        read_table(tmp_path / "a.parquet")


@pytest.mark.parametrize("end", ["x,1.0", "x,1.0,", '"x, y",1.0', "x"])
def test_table_cut_off_in_mid_row(tmp_path: Path, end: str) -> None:
    """Read on, the lost values would be missing ones and the lost rows samples without the modality."""
    path = tmp_path / "t.csv"
    path.write_text(f"id,a,b,c\nu,1,2,3\nv,1,2,3\n{end}")
    found = end.replace(", ", " ").count(",") + 1
    with pytest.raises(DataError, match=rf"t\.csv, line 4: the last row has {found} of 4 values .* the file was cut off"):
        read_table(path, text=("id",))
    path.with_suffix(".tsv").write_text("id\ta\nu")
    with pytest.raises(DataError, match="line 2: the last row has 1 of 2 values"):
        read_table(path.with_suffix(".tsv"))


@pytest.mark.parametrize("end", ["w,1,2", "w,1,2\n", "w,1,2\r\n", "w,,", "w\n", 'w,1,"two\nlines"'])
def test_what_is_no_cut_is_read(tmp_path: Path, end: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"id,a,b\nu,1,2\n{end}")
    assert read_table(path)["id"].tolist() == ["u", "w"]


def test_cut_in_a_row_longer_than_a_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("equipoise.data.files._BLOCK", 16)
    path = tmp_path / "t.csv"
    names = ",".join(f"c{number}" for number in range(40))
    path.write_text(f"{names}\n{',1' * 39}\n{',1' * 38}")
    with pytest.raises(DataError, match="line 3: the last row has 39 of 40 values"):
        read_table(path)
    path.write_text(f"{names}\n{',1' * 39}\n{',1' * 39}")
    assert len(read_table(path)) == 2


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    fired = tmp_path / "fired"
    trap = np.array([Trap(fired)], dtype=object)
    np.save(tmp_path / "a.npy", trap, allow_pickle=True)
    np.savez(tmp_path / "a.npz", x=trap)
    (tmp_path / "b.npy").write_bytes(pickle.dumps(Trap(fired)))
    (tmp_path / "b.npz").write_bytes(pickle.dumps(Trap(fired)))
    (tmp_path / "a.yaml").write_text(f"a: !!python/object/apply:pathlib.Path.touch [{fired}]\n")
    with pytest.raises(DataError, match="holds pickled Python objects"):
        read_array(tmp_path / "a.npy")
    with pytest.raises(DataError, match=r"a\.npz/x holds pickled Python objects"):
        read_archive(tmp_path / "a.npz")
    with pytest.raises(DataError, match="pickle"):
        read_array(tmp_path / "b.npy")
    with pytest.raises(DataError, match="pickle"):
        read_archive(tmp_path / "b.npz")
    assert read_yaml(tmp_path / "a.yaml") == {"a": [str(fired)]}
    assert not fired.exists()


def test_yaml_scalars_stay_text(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("classes: [no, yes, 01, 1.0, null]\n")
    assert read_yaml(tmp_path / "a.yaml") == {"classes": ["no", "yes", "01", "1.0", "null"]}


def test_mislabelled_arrays(tmp_path: Path) -> None:
    with (tmp_path / "a.npy").open("wb") as file:
        np.savez(file, x=np.ones(2))
    with pytest.raises(DataError, match=r"rename it to a\.npz"):
        read_array(tmp_path / "a.npy")
    with (tmp_path / "b.npz").open("wb") as file:
        np.save(file, np.ones(2))
    with pytest.raises(DataError, match=r"rename it to b\.npy"):
        read_archive(tmp_path / "b.npz")


def test_an_array_that_was_cut_off(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((50, 4)))
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:300])
    with pytest.raises(DataError, match=r"a\.npy cannot be read as an npy array: the file was cut off"):
        read_array(tmp_path / "a.npy")
