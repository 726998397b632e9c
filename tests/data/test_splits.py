from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from equipoise.config import ReadOptions, SplitOptions
from equipoise.data.dataset import Dataset
from equipoise.data.partition import partition
from equipoise.data.sources import open_dataset
from equipoise.data.splits import Split, make_splits
from equipoise.errors import ConfigError, DataError

Make = Callable[..., Dataset]


def grouped(labels: list[Any], groups: list[Any], **columns: Any) -> Dataset:
    values = {"a": np.random.default_rng(0).normal(size=(len(labels), 2)), "y": labels, "who": groups, **columns}
    return open_dataset(values, ReadOptions(group="who"))


def parts(split: Split) -> list[np.ndarray]:
    return [split.train, split.validation, split.test]


def assert_divides(split: Split, rows: int) -> None:
    assert sorted(np.concatenate(parts(split)).tolist()) == list(range(rows))
    for part in parts(split):
        assert part.dtype == np.int64
        assert (np.diff(part) > 0).all()


def test_holdout_is_stratified(make: Make) -> None:
    data = make([0] * 100 + [1] * 60 + [2] * 5)
    assert data.target is not None
    (split,) = make_splits(data)
    assert_divides(split, 165)
    counts = np.array([np.bincount(data.target[part], minlength=3) for part in parts(split)])
    assert counts.tolist() == [[68, 41, 3], [12, 7, 1], [20, 12, 1]]
    assert split.name == "holdout"


def test_seed_decides(make: Make) -> None:
    data = make([0, 1] * 30)
    first, again, other = (make_splits(data, SplitOptions(split_seed=seed))[0] for seed in (1, 1, 2))
    assert first.hash == again.hash != other.hash
    assert len(first.hash) == 16


def test_order_of_rows_means_nothing(make: Make) -> None:
    data = make([0, 1] * 30, id=[f"s{number}" for number in range(60)])
    shuffled = data.subset(np.random.default_rng(0).permutation(60))
    for options in (SplitOptions(), SplitOptions(folds=3)):
        for one, other in zip(make_splits(data, options), make_splits(shuffled, options), strict=True):
            assert one.hash == other.hash
            assert set(data.ids[one.test]) == set(shuffled.ids[other.test])


def test_folds(make: Make) -> None:
    data = make([0] * 31 + [1] * 20)
    assert data.target is not None
    splits = make_splits(data, SplitOptions(folds=5, repeats=2))
    assert [split.name for split in splits][4:6] == ["repeat_0_fold_4", "repeat_1_fold_0"]
    assert len({split.hash for split in splits}) == 10
    for split in splits:
        assert_divides(split, 51)
        assert np.bincount(data.target[split.test])[1] == 4
        assert len(np.unique(data.target[split.validation])) == 2
    for repeat in (splits[:5], splits[5:]):
        assert sorted(np.concatenate([split.test for split in repeat]).tolist()) == list(range(51))


@pytest.mark.parametrize("options", [SplitOptions(), SplitOptions(folds=4, repeats=2), SplitOptions(test_fraction=0.7)])
def test_groups_stay_together(options: SplitOptions) -> None:
    rng = np.random.default_rng(0)
    data = grouped(rng.integers(0, 3, 300).tolist(), rng.integers(0, 30, 300).tolist())
    assert data.group is not None
    for split in make_splits(data, options):
        assert_divides(split, 300)
        members = [set(data.group[part]) for part in parts(split)]
        assert not members[0] & members[1]
        assert not members[0] & members[2]
        assert not members[1] & members[2]
    if options.folds == 0:
        assert abs(len(split.test) / 300 - options.test_fraction) < 0.1


def test_given_split(make: Make) -> None:
    words = ["train"] * 40 + ["test"] * 20
    (split,) = make_splits(make([0, 1] * 30, split=words))
    assert split.test.tolist() == list(range(40, 60))
    assert len(split.validation) == 6
    assert split.name == "given"
    (split,) = make_splits(make([0, 1] * 30, split=["val"] * 20 + words[20:]))
    assert split.validation.tolist() == list(range(20))


def test_only_labelled_samples() -> None:
    values = {"a": np.random.default_rng(0).normal(size=(60, 2)), "y": ["u", "v", ""] * 20}
    data = open_dataset(values, labelled=False)
    assert data.target is not None
    (split,) = make_splits(data)
    assert sorted(np.concatenate(parts(split)).tolist()) == np.flatnonzero(data.target >= 0).tolist()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"folds": 1}, "folds = 1 is no cross-validation"),
        ({"repeats": 2}, "repeats = 2 needs folds"),
        ({"fold": 1}, "fold = 1 is out of range, there are 1 splits"),
        ({"fold": 6, "folds": 3, "repeats": 2}, "fold = 6 is out of range, there are 6 splits"),
    ],
)
def test_contradicting_options(make: Make, options: dict[str, int], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        make_splits(make([0, 1] * 30), SplitOptions(**options))


def test_impossible_divisions(make: Make) -> None:
    with pytest.raises(ConfigError, match="folds = 3 contradicts the split in column 'split'"):
        make_splits(make([0, 1] * 3, split=["train", "val", "test"] * 2), SplitOptions(folds=3))
    with pytest.raises(DataError, match="all samples have the class '7', expected at least two classes"):
        make_splits(make([7] * 10))
    with pytest.raises(
        DataError, match="data: class 'b' has 2 samples, expected at least 3 for a train, a validation and a test part"
    ):
        make_splits(make(["a"] * 10 + ["b"] * 2))
    with pytest.raises(DataError, match="data: class 'b' has 4 samples, expected at least 5 for 5 folds"):
        make_splits(make(["a"] * 10 + ["b"] * 4), SplitOptions(folds=5))
    with pytest.raises(DataError, match="data: found 4 groups, expected at least 5 for 5 folds"):
        make_splits(grouped([0, 1] * 10, list("abcd") * 5), SplitOptions(folds=5))
    with pytest.raises(DataError, match="column 'split' names no labelled test sample"):
        make_splits(make([0, 1] * 3, split=["train", "val"] * 3))
    with pytest.raises(DataError, match="split 'given': class '2' has no sample in the training part"):
        make_splits(make([0, 1, 2, 2] * 3, split=["train", "train", "val", "test"] * 3))
    with pytest.raises(DataError, match="split 'given': group 'a' of column 'who' is in both train and test"):
        make_splits(grouped([0, 1] * 5, list("aabbaccccd"), split=["train"] * 4 + ["test"] + ["val"] * 5))
    with pytest.raises(DataError, match="none has a label"):
        make_splits(open_dataset({"a": np.eye(3)}, labelled=False))
    with pytest.raises(DataError, match="its training part has one group"):
        make_splits(grouped([0, 1] * 5, list("aaaaaabbbb"), split=["train"] * 6 + ["test"] * 4))


def test_partition_checks_the_split(make: Make) -> None:
    data = make([0, 1] * 10)
    rows = np.arange(3)
    with pytest.raises(DataError, match="split 's' has samples in two of its parts"):
        partition(data, Split(rows, rows, rows + 3, "s", ""))
    with pytest.raises(DataError, match="split 's' has row 42, but there are 20 samples"):
        partition(data, Split(rows, rows + 3, rows + 40, "s", ""))


def test_a_stated_none_leaves_the_split_column_unused() -> None:
    arrays = {"a": np.arange(80.0).reshape(40, 2), "split": np.array(["train"] * 30 + ["test"] * 10)}
    dataset = open_dataset(arrays, ReadOptions(split="none"), target=[0, 1] * 20)
    assert dataset.split is None
    assert len(make_splits(dataset, SplitOptions(folds=5))) == 5
