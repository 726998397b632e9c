"""Targets by task, from values to what training gets, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from equipoise.config import ReadOptions, SplitOptions
from equipoise.data.dataset import Dataset
from equipoise.data.describe import describe_yaml, facts
from equipoise.data.export import export
from equipoise.data.fingerprint import fingerprint
from equipoise.data.schema import Schema
from equipoise.data.sources import open_dataset
from equipoise.data.splits import make_splits
from equipoise.data.strata import strata
from equipoise.data.targets import read_target
from equipoise.errors import DataError

IDS = np.array(["i0", "i1", "i2", "i3"])
RANDOM = np.random.default_rng(0)


def read(columns: dict[str, Any], task: str | None = None, **options: Any) -> tuple[list[Any], str, tuple[str, ...]]:
    found = read_target(columns, IDS, task, options.pop("classes", None), **{"labelled": True, "place": "here", **options})
    return found.values.tolist(), found.task, found.classes


def dataset(target: Any, task: str | None = None, samples: int | None = None, **more: Any) -> Dataset:
    inputs = {"a": RANDOM.normal(size=(len(target), 2)), "b": RANDOM.normal(size=(len(target), 3)), **more}
    return open_dataset(inputs, ReadOptions(task=task), target=target)


def test_what_is_inferred() -> None:
    assert read({"y": ["b", "a", "b", "a"]}) == ([1, 0, 1, 0], "classification", ("a", "b"))
    assert read({"y": [0, 1, 0, 1]})[1] == "classification"
    several = {"rain": ["1", "0", "true", "0"], "snow": [0.0, 1.0, 1.0, 0.0]}
    assert read(several) == ([[1, 0], [0, 1], [1, 1], [0, 0]], "multilabel", ("rain", "snow"))


def test_what_is_stated() -> None:
    assert read({"y": ["1.5", "-2", "1e3", "0"]}, "regression") == ([[1.5], [-2], [1000], [0]], "regression", ("y",))
    assert read({"y": [1, 0, 0, 1]}, "multilabel") == ([[1], [0], [0], [1]], "multilabel", ("y",))
    assert read({"y": [10, 9, 10, 2]}, "ordinal") == ([2, 1, 2, 0], "ordinal", ("2", "9", "10"))
    stated = ("low", "mid", "high")
    assert read({"y": ["mid", "low", "high", "low"]}, "ordinal", classes=stated) == ([1, 0, 2, 0], "ordinal", stated)
    many = np.linspace(0, 1, 50)
    found = read_target({"y": many}, many.astype(str), "classification", None, labelled=True, place="here")
    assert len(found.classes) == 50


def test_unknown_targets_are_nan_where_they_may_be() -> None:
    values, _, _ = read({"x": ["1", "NA", "", "0"], "y": [1, 1, 0, 0]}, labelled=False)
    np.testing.assert_array_equal(np.array(values), np.array([[1, 1], [np.nan, 1], [np.nan, 0], [0, 0]]))
    data = open_dataset(
        {"a": np.eye(3), "y": np.array([1.5, np.nan, 2.0])}, ReadOptions(target="y", task="regression"), labelled=False
    )
    assert data.labelled.tolist() == [True, False, True]
    assert facts(data)["unlabelled"] == 1


@pytest.mark.parametrize(
    ("columns", "task", "sentence"),
    [
        (
            {"x": [1, 0, 1, 0], "y": [0, 2, 0, 0]},
            None,
            "column 'y' holds 2 for sample 'i1', expected a label of 0 or 1; to predict",
        ),
        ({"x": [1, 0, 1, 0], "y": [0, 2, 0, 0]}, "multilabel", "column 'y' holds 2 for sample 'i1', expected a label of 0 or 1$"),
        ({"y": [1.0, np.inf, 0, 0]}, "regression", "column 'y' is infinite for sample 'i1', expected a finite number"),
        ({"y": ["1", "inf", "0", "0"]}, "regression", "column 'y' is infinite for sample 'i1', expected a finite number"),
        ({"y": [1.0, np.nan, 0, 0]}, "regression", "1 of 4 samples have no target: 'i1'"),
        ({"y": ["1", "tall", "0", "0"]}, "regression", "column 'y': 'tall' of sample 'i1' is no number .1 such samples."),
        ({"y": ["a", "b", "a", "b"]}, "ordinal", "column 'y': the order of the classes 'a', 'b' is not known, state it"),
        ({"x": [1, 0, 1, 0], "y": [0, 1, 0, 0]}, "ordinal", "ordinal has one target column, found 'x', 'y'"),
    ],
)
def test_what_is_refused(columns: dict[str, Any], task: str | None, sentence: str) -> None:
    with pytest.raises(DataError, match=f"^here: .*{sentence}|^here: {sentence}"):
        read(columns, task)


def test_classes_of_labels_and_numbers_are_refused() -> None:
    with pytest.raises(DataError, match="classes are stated, which only classification and ordinal have"):
        read({"y": [1, 0, 1, 0]}, "regression", classes=("1", "0"))


def test_a_quantity_is_never_guessed() -> None:
    with pytest.raises(DataError, match=r"looks like a quantity .50 different numbers., expected classes; .* task = regression"):
        dataset(np.linspace(0, 1, 50))
    assert dataset(np.linspace(0, 1, 50), "regression").schema.task == "regression"


def test_targets_in_memory() -> None:
    values = RANDOM.integers(0, 2, (40, 3))
    data = dataset(values)
    assert (data.schema.task, data.schema.classes, data.schema.target) == (
        "multilabel", ("target_0", "target_1", "target_2"), ("target_0", "target_1", "target_2"),
    )  # fmt: skip
    assert data.target is not None
    assert data.target.dtype == np.float32
    np.testing.assert_array_equal(data.target, values)
    named = dataset(pd.DataFrame(values, columns=["x", "y", "z"]))
    assert named.schema.classes == ("x", "y", "z")
    column = dataset(np.linspace(0, 1, 40)[:, None], "regression")
    assert (column.schema.target, column.target.shape) == ("target", (40, 1))  # type: ignore[union-attr]
    by_name = open_dataset({"a": np.eye(3), "u": [1, 0, 1], "v": [0, 0, 1]}, target=["u", "v"])
    assert by_name.schema.classes == ("u", "v")
    again = open_dataset({"a": np.eye(2), "target": np.ones((2, 3))}, ReadOptions(target="target"), schema=by_name_schema(data))
    assert again.schema.classes == data.schema.classes
    with pytest.raises(DataError, match="found 2 target columns, the model was trained on 3"):
        open_dataset({"a": np.eye(2), "target": np.ones((2, 2))}, ReadOptions(target="target"), schema=by_name_schema(data))
    with pytest.raises(DataError, match="the target 'target' has the column 'a' twice or under a key of the data"):
        open_dataset({"a": np.eye(2)}, target=pd.DataFrame({"a": [1, 0], "b": [1, 0]}))


def by_name_schema(data: Dataset) -> Schema:
    """The schema of a data set as a stored run holds it."""
    return Schema.from_json(data.schema.to_json())


@pytest.mark.parametrize("kind", ["multilabel", "regression", "ordinal"])
def test_export_and_describe_read_back(kind: str, tmp_path: Path) -> None:
    target = {
        "multilabel": RANDOM.integers(0, 2, (30, 2)),
        "regression": RANDOM.normal(size=(30, 2)),
        "ordinal": np.array(["low", "high", "mid"])[np.arange(30) % 3],
    }[kind]
    options = ReadOptions(task=kind)
    if kind == "ordinal":
        write_table(tmp_path, target)
        data = open_dataset(tmp_path / "in.csv")
    else:
        data = open_dataset({"a": RANDOM.normal(size=(30, 2)), "b": RANDOM.normal(size=(30, 2))}, options, target=target)
    assert f"task: {kind}\n" in describe_yaml(data)
    folder = export(data, tmp_path / "out")
    back = open_dataset(folder)
    assert (back.schema.task, back.schema.classes, back.schema.targets) == (kind, data.schema.classes, data.schema.targets)
    assert back.target is not None
    assert data.target is not None
    np.testing.assert_allclose(back.target, data.target, rtol=1e-12)


def write_table(folder: Path, target: Any) -> None:
    table = pd.DataFrame(RANDOM.normal(size=(len(target), 4)), columns=["a_0", "a_1", "b_0", "b_1"])
    table.assign(label=target).to_csv(folder / "in.csv", index=False)
    (folder / "in.dataset.yaml").write_text("task: ordinal\nclasses: [low, mid, high]\n")


def test_unknown_task_in_dataset_yaml(tmp_path: Path) -> None:
    write_table(tmp_path, ["low"] * 5)
    (tmp_path / "in.dataset.yaml").write_text("task: regresion\n")
    with pytest.raises(DataError, match="task: 'regresion' is unknown, did you mean 'regression'"):
        open_dataset(tmp_path / "in.csv")


def test_the_task_is_part_of_the_identity() -> None:
    inputs = {"a": np.arange(20.0).reshape(10, 2)}
    target = [0, 1] * 5
    kinds = [fingerprint(open_dataset(inputs, ReadOptions(task=task), target=target)) for task in (None, "ordinal", "regression")]
    assert len(set(kinds)) == 3


def test_strata_of_numbers_are_equally_large_bins_in_order() -> None:
    values = RANDOM.normal(size=(100, 1))
    found = strata(values, "regression")
    assert np.bincount(found).tolist() == [10] * 10
    assert all(values[found == low].max() <= values[found == low + 1].min() for low in range(9))


def test_strata_of_labels_keep_frequent_combinations_and_gather_rare_ones() -> None:
    frequent = np.repeat([[1, 0, 0], [1, 1, 0]], 12, axis=0)
    rare = np.array([[1, 0, 1], [0, 1, 1], [0, 0, 0]])
    found = strata(np.concatenate([frequent, rare]).astype(np.float32), "multilabel")
    assert len(set(found[:12])) == len(set(found[12:24])) == 1
    assert found[24] == found[25] not in {found[0], found[12], found[26]}


@pytest.mark.parametrize("folds", [0, 5])
def test_every_part_has_its_share(folds: int) -> None:
    labels = (RANDOM.random((400, 4)) < [0.5, 0.3, 0.1, 0.05]).astype(int)
    numbers = RANDOM.exponential(size=400)
    for data in (dataset(labels), dataset(numbers, "regression")):
        assert data.target is not None
        whole = data.target.mean(0)
        for split in make_splits(data, SplitOptions(folds=folds)):
            rows = [split.train, split.validation, split.test]
            assert sorted(np.concatenate(rows).tolist()) == list(range(400))
            for part in (split.train, split.test):
                np.testing.assert_allclose(data.target[part].mean(0), whole, atol=0.25 * data.target.std(0).max())


def test_groups_stay_together_whatever_the_task() -> None:
    target, group = RANDOM.normal(size=120), np.repeat(np.arange(30), 4).astype(str)
    data = open_dataset(
        {"a": RANDOM.normal(size=(120, 2)), "patient": group}, ReadOptions(task="regression", group="patient"), target=target
    )
    (split,) = make_splits(data)
    parts = [set(group[rows]) for rows in (split.train, split.validation, split.test)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 30


def test_there_must_be_something_to_learn() -> None:
    with pytest.raises(DataError, match="number 'target' is 3 in all samples of the training part, expected different numbers"):
        make_splits(dataset(np.full(40, 3.0), "regression"))
    never = np.stack([np.arange(40) % 2, np.zeros(40)], 1)
    with pytest.raises(DataError, match="label 'target_1' is 0 in all samples of the training part, expected both 0 and 1"):
        make_splits(dataset(never))
    with pytest.raises(DataError, match="found 2 samples, expected at least 3"):
        make_splits(dataset(np.array([1.0, 2.0]), "regression"))
