from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from equipoise.config import ReadOptions
from equipoise.data.builtin import BUILTIN
from equipoise.data.readers import READERS
from equipoise.data.schema import Schema
from equipoise.data.sources import open_dataset
from equipoise.errors import DataError


def test_the_readers_are_discovered() -> None:
    assert READERS.names() == ["archive", "folder", "hugging_face", "memory", "omics", "parquet_parts", "table"]


@pytest.mark.parametrize("name", sorted(BUILTIN))
def test_embedded_sets(name: str) -> None:
    data = open_dataset(name)
    assert data.schema.name == name
    assert data.schema.samples == len(data)
    assert len(data.schema.modalities) in (3, 4)


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gausian does not exist; embedded sets: did you mean 'gaussian'\?"):
        open_dataset("gausian")
    with pytest.raises(DataError, match=r"nowhere/set\.csv does not exist$"):
        open_dataset(tmp_path / "nowhere" / "set.csv")
    with pytest.raises(DataError, match="cannot open 'int' as data"):
        open_dataset(3)  # type: ignore[arg-type]
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(DataError, match=r"a\.txt is no data that can be read"):
        open_dataset(tmp_path / "a.txt")
    with pytest.raises(DataError, match="target is given as an array, which is for data in memory"):
        open_dataset(tmp_path, target=[1])


def test_a_folder_called_like_an_embedded_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "digits").mkdir()
    np.savez(tmp_path / "digits" / "d.npz", a=np.eye(4), y=[0, 1, 0, 1])
    monkeypatch.chdir(tmp_path)
    assert len(open_dataset("digits")) == 1797
    assert len(open_dataset("./digits")) == 4
    assert len(open_dataset(Path("digits"))) == 4


def test_reading_to_a_schema(folder: Path) -> None:
    trained = open_dataset(folder).schema
    again = Schema.from_json(trained.to_json())
    blood = pd.read_csv(folder / "blood.csv")
    blood["extra"] = "e"
    blood[["extra", "sex", "score", "age", "patient"]].to_csv(folder / "blood.csv", index=False)
    np.save(folder / "unknown.npy", np.eye(3))
    data = open_dataset(folder, schema=again)
    assert data.schema["blood"].columns == ("age", "sex", "score")
    assert data.inputs["blood"].columns.tolist() == ["age", "sex", "score"]
    assert data.schema.names == trained.names


def test_classes_come_from_the_schema(folder: Path, edit: Callable[..., None]) -> None:
    trained = open_dataset(folder).schema
    labels = pd.read_csv(folder / "labels.csv")
    labels["label"] = "b"
    labels.to_csv(folder / "labels.csv", index=False)
    data = open_dataset(folder, schema=trained)
    assert data.schema.classes == ("a", "b")
    assert data.target is not None
    assert set(data.target.tolist()) == {1}
    edit(folder / "labels.csv", 3, "label", "c")
    with pytest.raises(DataError, match="column 'label': label 'c' of sample 'p03' is none of the classes 'a', 'b'"):
        open_dataset(folder, schema=trained)
    kept = open_dataset(folder, schema=trained, labelled=False)
    assert kept.target is not None
    assert kept.target[3] == -1
    labels.drop(columns="label").to_csv(folder / "labels.csv", index=False)
    assert open_dataset(folder, schema=trained, labelled=False).target is None
    with pytest.raises(DataError, match="no column is called label"):
        open_dataset(folder, schema=trained)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda t: t.drop(columns="age"), "modality 'blood': column 'age' is missing .1 of the 3 columns"),
        (
            lambda t: t.assign(age="old"),
            "modality 'blood': column 'age' has text where numbers are expected: 'old' for sample 'p00'",
        ),
    ],
)
def test_tables_that_do_not_fit(folder: Path, change: Callable[[Any], Any], sentence: str) -> None:
    trained = open_dataset(folder).schema
    change(pd.read_csv(folder / "blood.csv")).to_csv(folder / "blood.csv", index=False)
    with pytest.raises(DataError, match=sentence):
        open_dataset(folder, schema=trained)


def test_arrays_that_do_not_fit(folder: Path) -> None:
    trained = open_dataset(folder).schema
    np.save(folder / "scan.npy", np.zeros((12, 5, 7)))
    with pytest.raises(DataError, match=r"modality 'scan' has samples of shape \(5, 7\), expected \(5, 6\)"):
        open_dataset(folder, schema=trained)
    with pytest.raises(DataError, match="modality 'blood' is an array of numbers, expected a table with columns 'age'"):
        open_dataset({"blood": np.ones((2, 3))}, schema=trained, labelled=False)
    with pytest.raises(DataError, match="none of the modalities 'blood', 'genes', 'scan' is in the data"):
        open_dataset({"x": np.ones((2, 3))}, schema=trained, labelled=False)
    for path in (folder / "blood.csv", folder / "genes.parquet"):
        path.unlink()
    (folder / "scan.npy").rename(folder / "scam.npy")
    with pytest.raises(DataError, match="no file is one of the modalities 'blood', 'genes', 'scan', found 'scam'"):
        open_dataset(folder, schema=trained)


def test_categories_that_became_numbers(tmp_path: Path) -> None:
    train = pd.DataFrame({"a_code": ["1", "2"], "a_x": [1.0, 2.0], "b_x": [1, 2], "b_y": [3, 4], "label": [0, 1]})
    options = ReadOptions(modalities={"a": {"prefix": "a_", "categorical": ["a_code"]}, "b": {"prefix": "b_"}})
    train.to_csv(tmp_path / "t.csv", index=False)
    trained = open_dataset(tmp_path / "t.csv", options).schema
    pd.DataFrame({"a_code": [2.0, np.nan], "a_x": [1.0, 2.0]}).to_csv(tmp_path / "new.csv", index=False)
    data = open_dataset(tmp_path / "new.csv", options, schema=trained, labelled=False)
    assert data.inputs["a"]["a_code"].tolist() == ["2", None]
    assert not data.present["b"].any()
    assert len(data.inputs["b"]) == 2
    again = open_dataset(tmp_path / "new.csv", schema=trained, labelled=False)
    assert again.inputs["a"]["a_code"].tolist() == ["2", None]


def test_other_layout_than_in_training(folder: Path) -> None:
    trained = open_dataset(folder).schema
    blood = pd.read_csv(folder / "blood.csv").sort_values("patient")
    data = open_dataset(
        {"blood": blood.drop(columns="patient"), "scan": np.load(folder / "scan.npy")}, schema=trained, labelled=False
    )
    assert data.present["scan"].all()
    assert not data.present["genes"].any()
    assert open_dataset(folder / "blood.csv", schema=trained, labelled=False).present["blood"].all()


def test_evaluation_needs_no_split_and_no_groups(tmp_path: Path) -> None:
    options = ReadOptions(group="video", split="part")
    values: dict[str, Any] = {"a": np.eye(4), "y": [0, 1, 0, 1]}
    trained = open_dataset({**values, "video": list("uvwx"), "part": ["train", "test"] * 2}, options).schema
    assert open_dataset(values, options, schema=trained).group is None


def test_the_schema_needs_no_heavy_import() -> None:
    code = "import sys, equipoise.data.schema; sys.exit(any(name in sys.modules for name in ('pandas', 'torch', 'sklearn')))"
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}, check=False).returncode == 0


@pytest.mark.parametrize("name", ["fused", "name"])
def test_names_with_a_meaning_of_their_own_are_refused(name: str) -> None:
    with pytest.raises(DataError, match=f"modality '{name}'.*state another name"):
        open_dataset({name: np.eye(4), "b": np.ones((4, 2))}, target=[0, 1, 0, 1])


def test_arrays_of_one_value_per_sample_are_no_modality() -> None:
    with pytest.raises(DataError, match=r"data: no modality found; 'age' has one value per sample: state"):
        open_dataset({"age": np.arange(9.0)}, target=[0, 1, 2] * 3)


def test_a_list_of_arrays_of_different_shapes() -> None:
    ragged = [np.zeros(size % 3 + 1) for size in range(9)]
    with pytest.raises(
        DataError, match=r"'walk' cannot be made an array: its items have shapes such as \(1,\), \(2,\); expected"
    ):
        open_dataset({"walk": ragged}, target=[0, 1, 2] * 3)
