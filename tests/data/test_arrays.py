from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_array

from equipoise.config import ReadOptions
from equipoise.data.sources import open_dataset
from equipoise.errors import DataError


def arrays(**more: Any) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {"a": rng.normal(size=(6, 3)), "b": rng.integers(0, 255, (6, 4, 5, 3)).astype(np.uint8), "y": [0, 1] * 3, **more}


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ((3,), "tabular"),
        ((8, 8), "image"),
        ((3, 8, 8), "image"),
        ((8, 8, 4), "image"),
        ((8, 8, 8), "array"),
        ((2, 2, 2, 2), "array"),
    ],
)
def test_kinds(shape: tuple[int, ...], kind: str) -> None:
    modality = open_dataset({"m": np.random.default_rng(0).normal(size=(4, *shape))}, target=[0, 1, 0, 1]).schema["m"]
    assert modality.kind == kind
    assert modality.shape == shape
    assert modality.columns == (("0", "1", "2") if kind == "tabular" else ())


def test_archive_and_memory_agree(tmp_path: Path) -> None:
    more = {"split": ["train", "test"] * 3, "ids": list("uvwxyz"), "speaker": ["s", "t"] * 3, "a_present": [True] * 5 + [False]}
    np.savez(tmp_path / "set.npz", **arrays(**more))
    options = ReadOptions(group="speaker")
    first, second = open_dataset(tmp_path / "set.npz", options), open_dataset(arrays(**more), options)
    for data in (first, second):
        assert data.schema.names == ("a", "b")
        assert data.ids.tolist() == list("uvwxyz")
        assert data.present["a"].tolist() == [True] * 5 + [False]
        assert data.split is not None
        assert data.group is not None
        np.testing.assert_array_equal(data.inputs["b"], arrays()["b"])
    assert (first.schema.name, first.schema.format) == ("set", "archive")


def test_tables_tensors_and_target() -> None:
    table = pd.DataFrame({"u": [1.0, 2.0, 3.0, 4.0], "v": ["x", "y", "x", "y"]}, index=[3, 1, 2, 0])
    data = open_dataset(
        {"t": table, "z": torch.ones(4, 2, dtype=torch.bfloat16), "w": torch.ones(4, 2, requires_grad=True)}, target=list("abab")
    )
    assert data.schema["t"].categorical == ("v",)
    assert data.schema.classes == ("a", "b")
    assert data.inputs["z"].dtype == np.float32
    assert data.inputs["t"]["u"].tolist() == [1.0, 2.0, 3.0, 4.0]


def test_text_arrays_are_categories() -> None:
    data = open_dataset({"t": np.array([["x", "1"], ["y", "2"], ["x", "3"]])}, target=[0, 1, 0])
    assert data.schema["t"].categorical == ("0",)
    assert data.inputs["t"]["1"].tolist() == [1.0, 2.0, 3.0]


def test_nan_rows_are_absent() -> None:
    values = arrays()
    values["a"][1] = np.nan
    values["a"][2, 0] = np.nan
    assert open_dataset(values).present["a"].tolist() == [True, False, True, True, True, True]


def test_stated_modalities() -> None:
    values = arrays(age=np.arange(6.0))
    assert open_dataset(values).schema.names == ("a", "b")
    data = open_dataset(values, ReadOptions(modalities={"years": {"key": "age"}, "picture": {"key": "b", "kind": "array"}}))
    assert data.schema.names == ("years", "picture")
    assert data.schema["years"].shape == (1,)
    assert data.schema["picture"].kind == "array"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"c": np.ones((5, 2))}, "arrays differ in their number of rows .*c 5"),
        ({"c": np.full((6, 2), np.nan)}, "modality 'c': no sample has it"),
        ({"c": np.array(3.0)}, "'c' is a single value"),
        ({"c": [[1, 2], [3]]}, "'c' cannot be made an array"),
        ({"c": csr_array(np.eye(6))}, "'c' is a sparse matrix, expected an array, a table or a tensor"),
        ({"c": torch.eye(6).to_sparse()}, "'c' is a sparse matrix"),
        ({"c": pd.DataFrame(np.eye(6, 2), columns=pd.MultiIndex.from_tuples([("u", "v"), ("u", "w")]))}, "names of 2 levels"),
        ({"": np.eye(6)}, "one of the arrays has an empty name"),
        ({"c": np.ones((6, 0))}, "modality 'c' has samples of shape .0,., which hold no value"),
        ({"c": np.full((6, 2), "2020-01-01", dtype="datetime64[D]")}, "modality 'c' holds values of type datetime64"),
        ({"c": np.full((6, 2, 2), "x")}, "modality 'c' holds values of type <U1"),
        ({"a_present": [0.5] * 6}, "'a_present' must say which samples have the modality"),
        ({"label": [0, 1] * 3}, "any of 'y', 'label' could be the target"),
        ({"id": list("uvwxyy")}, "id 'y' repeats"),
        ({"y": np.array([0, 1, 0, 1, 0, np.nan])}, "1 of 6 samples have no label: '5'"),
        ({"a": np.where(np.eye(6, 3) == 1, np.inf, 0.0)}, "modality 'a': column 0 is infinite for sample '0'"),
    ],
)
def test_bad_arrays(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        open_dataset({**arrays(), **change})


def test_bad_options() -> None:
    with pytest.raises(DataError, match="modality 'x' has no array 'x', choose from"):
        open_dataset(arrays(), ReadOptions(modalities={"x": {}}))
    with pytest.raises(DataError, match="array 'y' cannot be both the modality 'x' and a label"):
        open_dataset(arrays(), ReadOptions(modalities={"x": {"key": "y"}}))
    with pytest.raises(DataError, match="kind 'image' is stated, but its samples have shape"):
        open_dataset(arrays(), ReadOptions(modalities={"a": {"kind": "image"}}))
    with pytest.raises(DataError, match="has no id column 'idd'"):
        open_dataset(arrays(), ReadOptions(id="idd"))
    with pytest.raises(DataError, match=r"the target 'target' has shape .6, 2, 2., expected .samples,. or .samples, outputs."):
        open_dataset({"a": np.eye(6)}, target=np.zeros((6, 2, 2)))
    with pytest.raises(DataError, match="target is given twice"):
        open_dataset(arrays(), ReadOptions(target="y"), target=[0] * 6)


def test_tables_in_different_orders() -> None:
    first = pd.DataFrame({"u": [1.0, 2.0]}, index=["p", "q"])
    with pytest.raises(DataError, match="tables 'm' and 'n' have a different index"):
        open_dataset({"m": first, "n": first.iloc[::-1]}, target=[0, 1])
    with pytest.raises(DataError, match="has the column 'u' twice"):
        open_dataset({"m": pd.concat([first, first], axis=1)}, target=[0, 1])
