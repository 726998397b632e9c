from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from equipoise.config import ReadOptions
from equipoise.data.sources import open_dataset
from equipoise.errors import DataError


@pytest.fixture
def table(tmp_path: Path) -> Path:
    frame = pd.DataFrame(np.arange(40.0).reshape(8, 5), columns=["a_1", "a_2", "b.1", "b.2", "other"])
    frame.loc[2, ["a_1", "a_2"]] = np.nan
    frame.loc[3, "a_1"] = np.nan
    frame["label"] = ["u", "NA"] * 4
    frame["video"] = ["v", "w"] * 4
    frame["split"] = ["train"] * 4 + ["val", "test"] * 2
    frame.to_csv(tmp_path / "wide.csv", index=False)
    return tmp_path / "wide.csv"


def test_prefixes_are_inferred(table: Path) -> None:
    data = open_dataset(table, ReadOptions(group="video"))
    assert data.schema.names == ("a", "b")
    assert data.schema["b"].columns == ("b.1", "b.2")
    assert data.schema.classes == ("NA", "u")
    assert data.present["a"].tolist() == [True, True, False] + [True] * 5
    assert data.ids.tolist() == [str(number) for number in range(8)]
    assert data.split is not None
    assert data.split.tolist() == ["train"] * 4 + ["validation", "test"] * 2
    assert data.group is not None
    assert data.group.tolist() == ["v", "w"] * 4
    assert data.schema.format == "table"


@pytest.mark.parametrize("suffix", [".tsv", ".parquet"])
def test_other_formats_read_the_same(table: Path, suffix: str) -> None:
    frame = pd.read_csv(table, keep_default_na=False, na_values=[""])
    other = table.with_suffix(suffix)
    if suffix == ".tsv":
        frame.to_csv(other, sep="\t", index=False)
    else:
        frame.to_parquet(other)
    first, second = open_dataset(table), open_dataset(other)
    assert first.schema.classes == second.schema.classes
    np.testing.assert_array_equal(first.target, second.target)
    pd.testing.assert_frame_equal(first.inputs["a"], second.inputs["a"])


def test_modalities_are_stated(table: Path) -> None:
    options = ReadOptions(modalities={"first": {"prefix": "a"}, "rest": ["other", "b.2"]})
    data = open_dataset(table, options)
    assert data.schema["first"].columns == ("a_1", "a_2")
    assert data.schema["rest"].columns == ("other", "b.2")
    (table.parent / "wide.dataset.yaml").write_text("modalities: {first: {prefix: a}, rest: {columns: [other, b.2]}}\n")
    again = open_dataset(table)
    assert again.schema["rest"] == data.schema["rest"]


@pytest.mark.parametrize(
    ("modalities", "sentence"),
    [
        ({"x": {"prefix": "zz"}}, "no column begins with 'zz', the prefix of modality 'x'"),
        ({"x": ["a_1", "a_3"]}, "column 'a_3' of modality 'x' does not exist, did you mean 'a_2'"),
        ({"x": ["a_1", "label"]}, "column 'label' is the id, target, split or group, which is no input of modality 'x'"),
        ({"x": ["a_1"], "y": {"prefix": "a"}}, "column 'a_1' belongs to both 'x' and 'y'"),
        ({"x": {"file": "wide.csv"}}, "'file' does not apply"),
        ({"x": {"columns": ["a_1"], "kind": "image"}}, "kind 'image' is stated, but it is a table"),
        ({"x": {"columns": []}}, "modality 'x' has no columns"),
    ],
)
def test_wrongly_stated(table: Path, modalities: dict[str, object], sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        open_dataset(table, ReadOptions(modalities=modalities))


def test_a_column_of_splits_that_says_something_else_is_named(table: Path) -> None:
    frame = pd.read_csv(table, keep_default_na=False)
    frame["split"] = ["left", "right"] * 4
    frame.to_csv(table, index=False)
    data = open_dataset(table)
    assert data.split is None
    assert any("column 'split' has none of the words train, val and test" in note for note in data.schema.notes)
    assert "split" not in {column for item in data.schema.modalities for column in item.columns}


def test_nothing_to_infer(tmp_path: Path) -> None:
    pd.DataFrame({"x": [1, 2], "y1": [1, 2], "label": [0, 1]}).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match=r"cannot tell which columns belong to which modality .* state them, for example"):
        open_dataset(tmp_path / "t.csv")


def test_ids(table: Path) -> None:
    frame = pd.read_csv(table, keep_default_na=False)
    frame["id"] = [f"{number:03}" for number in range(8)]
    frame.to_csv(table, index=False)
    assert open_dataset(table).ids.tolist()[:2] == ["000", "001"]
    frame["id"] = ["000"] * 8
    frame.to_csv(table, index=False)
    assert open_dataset(table).ids.tolist()[:2] == ["0", "1"]
    with pytest.raises(DataError, match=r"wide\.csv: id '000' repeats"):
        open_dataset(table, ReadOptions(id="id"))
    with pytest.raises(DataError, match=r"wide\.csv has no id column 'idd', did you mean 'id'"):
        open_dataset(table, ReadOptions(id="idd"))


def test_categories_that_differ_in_most_samples_are_told(tmp_path: Path) -> None:
    days = pd.date_range("2024-01-01", periods=40).strftime("%Y-%m-%d")
    table = pd.DataFrame({"a_day": days, "a_ward": ["n", "s"] * 20, "a_x": np.arange(40.0), "label": [0, 1] * 20})
    table.to_csv(tmp_path / "t.csv", index=False)
    (note,) = open_dataset(tmp_path / "t.csv", ReadOptions(modalities={"a": {"prefix": "a_"}})).schema["a"].notes
    assert note.endswith("modality 'a': 'a_day' differs in most samples, so that its categories tell nothing about others")
    stated = ReadOptions(modalities={"a": {"prefix": "a_", "categorical": ["a_day"]}})
    assert open_dataset(tmp_path / "t.csv", stated).schema["a"].notes == ()
