"""Nothing that is reachable from what training gets holds a value of a test sample."""

from __future__ import annotations

import gc
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from equipoise.config import ReadOptions
from equipoise.data.dataset import Dataset
from equipoise.data.partition import FitData, partition
from equipoise.data.preprocessing import Preprocessing
from equipoise.data.rows import MappedRows
from equipoise.data.sources import open_dataset
from equipoise.data.splits import make_splits

NUMBER = 123456.75
WORD = "forbidden-word"


def reachable(root: object) -> list[object]:
    """Everything that can be reached from ``root`` without passing through code."""
    seen: dict[int, object] = {}
    queue = [root]
    while queue:
        item = queue.pop()
        if id(item) in seen or isinstance(item, (type, ModuleType, FunctionType)):
            continue
        seen[id(item)] = item
        queue += gc.get_referents(item)
        if isinstance(item, np.ndarray) and item.base is not None:
            queue.append(item.base)
        if isinstance(item, pd.DataFrame):
            queue += [item[name].to_numpy() for name in item]
    return list(seen.values())


def holds_sentinel(root: object) -> bool:
    for item in reachable(root):
        if isinstance(item, str) and WORD in item:
            return True
        if isinstance(item, np.ndarray) and item.dtype.kind == "f" and (item == NUMBER).any():
            return True
        if isinstance(item, np.ndarray) and item.dtype.kind in "US" and WORD in item.ravel().tolist():
            return True
        if isinstance(item, (float, np.floating)) and float(item) == NUMBER:
            return True
    return False


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    """A given split whose test samples alone hold the sentinels: in a table, an array, a file, an id and a group."""
    rng = np.random.default_rng(0)
    test = np.arange(30) % 3 == 0
    ids = np.array([f"s{number}" for number in range(30)], dtype=object)
    ids[0] = WORD
    labels = pd.DataFrame({"id": ids, "label": rng.permutation([0, 1] * 15), "who": np.arange(30).astype(str), "split": "train"})
    labels.loc[test, "split"] = "test"
    labels.loc[3, "who"] = WORD
    labels.to_csv(tmp_path / "labels.csv", index=False)
    table = pd.DataFrame({"id": ids, "x": rng.normal(size=30), "c": rng.choice(["u", "v"], 30)})
    table.loc[test, "x"] = NUMBER
    table.loc[test, "c"] = WORD
    table.to_parquet(tmp_path / "table.parquet")
    array = rng.normal(size=(30, 4, 4))
    array[test] = NUMBER
    np.save(tmp_path / "mapped.npy", array)
    np.savez(tmp_path / "kept.npz", id=ids.astype(str), rows=array)
    return open_dataset(tmp_path, ReadOptions(group="who"))


def test_the_search_finds_what_is_there(data: Dataset) -> None:
    assert holds_sentinel(data)
    for name in ("table", "kept"):
        assert holds_sentinel(data.inputs[name])
    assert holds_sentinel(data.ids)
    assert holds_sentinel(data.inputs["mapped"][slice(None)])
    view = np.full((4, 2), NUMBER)[:0]
    assert holds_sentinel([view])


def test_test_samples_cannot_be_reached(data: Dataset) -> None:
    split = make_splits(data)[0]
    fit, test = partition(data, split)
    assert isinstance(fit, FitData)
    assert holds_sentinel(test)
    assert not holds_sentinel(fit)
    mapped = fit.train.inputs["mapped"]
    assert isinstance(mapped, MappedRows)
    assert mapped.rows.tolist() == split.train.tolist()
    assert not (mapped[slice(None)] == NUMBER).any()
    assert not holds_sentinel(Preprocessing.fit(fit.train))


def test_parts_are_copies(data: Dataset) -> None:
    fit, test = partition(data, make_splits(data)[0])
    values: Any = fit.train.inputs["kept"]
    assert not np.shares_memory(values, data.inputs["kept"])
    assert values.base is None
    assert fit.train.schema.samples == len(fit.train)
    assert test.schema.samples == 10
    assert sorted([*fit.train.ids, *fit.validation.ids, *test.ids]) == sorted(data.ids)
