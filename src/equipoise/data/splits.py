"""Dividing samples into train, validation and test: given, stratified, by groups, or in folds."""

from __future__ import annotations

import hashlib
import json
import warnings
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from equipoise.config import SplitOptions
from equipoise.data.columns import few
from equipoise.data.dataset import Dataset
from equipoise.data.schema import CLASSES
from equipoise.data.strata import strata
from equipoise.errors import ConfigError, DataError

PARTS = ("train", "validation", "test")


@dataclass(frozen=True, eq=False)
class Split:
    """Which samples are used for what.

    Attributes:
        train: Rows to train on, ascending, int64 of shape (train samples,).
        validation: Rows to select by.
        test: Rows for the final test alone.
        name: ``given``, ``holdout``, or repeat and fold.
        hash: Fingerprint of the ids in each part, whatever the order of the rows.
    """

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]
    name: str
    hash: str


@dataclass(frozen=True, eq=False)
class _Samples:
    """Some rows with what divisions look at; rows are in the order of their ids, so that the order of a file means nothing."""

    rows: NDArray[np.int64]
    target: NDArray[np.int64]  # class codes, or strata
    group: NDArray[np.int64] | None
    classes: bool = True  # each must be on both sides of a division

    def __getitem__(self, index: NDArray[np.int64] | NDArray[np.bool_] | slice) -> _Samples:
        return replace(
            self,
            rows=self.rows[index],
            target=self.target[index],
            group=None if self.group is None else self.group[index],
        )

    def __len__(self) -> int:
        return len(self.rows)


def make_splits(dataset: Dataset, options: SplitOptions | None = None) -> list[Split]:
    """Divide the labelled samples of a data set.

    A split that the data state is used as it is; where it names no validation samples, some are cut from its training part.
    Otherwise samples are divided with equal shares of each class (each stratum, see :mod:`equipoise.data.strata`) in every part,
    and with no group on two sides where the data state groups. With folds, fold ``f`` of repeat ``r`` is at position
    ``r * folds + f``.

    Args:
        dataset: The data.
        options: Fractions, folds and the seed.

    Returns:
        One split, or ``folds * repeats`` of them.

    Raises:
        ConfigError: The options contradict each other or the data.
        DataError: The data cannot be divided so: a class or a part would be empty, or a group is on two sides.

    Example:
        >>> from equipoise.data.sources import open_dataset
        >>> data = open_dataset({"a": np.arange(40.0).reshape(20, 2)}, target=[0, 1] * 10)
        >>> split = make_splits(data)[0]
        >>> len(split.train), len(split.validation), len(split.test)
        (14, 2, 4)
    """
    options = options or SplitOptions()
    _check_options(dataset, options)
    samples = _labelled(dataset)
    classes = dataset.schema.classes if dataset.schema.task in CLASSES else ()
    if dataset.split is not None:
        return [_given(dataset, dataset.split, samples, options)]
    if options.folds == 0:
        _check_counts(samples, classes, 3, "for a train, a validation and a test part", dataset.schema.name)
        rest, test = _cut(samples, options.test_fraction, options.split_seed, 0)
        train, validation = _cut(rest, options.validation_fraction, options.split_seed, 1)
        return [_finish(dataset, "holdout", train, validation, test)]
    _check_counts(samples, classes, max(3, options.folds), f"for {options.folds} folds", dataset.schema.name)
    splits = []
    for repeat in range(options.repeats):
        number = _fold_numbers(samples, options.folds, options.split_seed, repeat)
        for fold in range(options.folds):
            rest, test = samples[number != fold], samples[number == fold]
            train, validation = _cut(rest, options.validation_fraction, options.split_seed, 1 + repeat * options.folds + fold)
            splits.append(_finish(dataset, f"repeat_{repeat}_fold_{fold}", train, validation, test))
    return splits


def split_without_test(dataset: Dataset, options: SplitOptions | None = None) -> Split:
    """Divide all labelled samples into a training and a validation part, with none kept for a test.

    A split that the data state is not used.

    Args:
        dataset: The data.
        options: The share of the validation part, and the seed.

    Raises:
        DataError: The data cannot be divided so.

    Example:
        >>> from equipoise.data.sources import open_dataset
        >>> data = open_dataset({"a": np.arange(40.0).reshape(20, 2)}, target=[0, 1] * 10)
        >>> split = split_without_test(data)
        >>> len(split.train), len(split.validation), len(split.test)
        (16, 4, 0)
    """
    options = options or SplitOptions()
    samples = _labelled(dataset)
    train, validation = _cut(samples, options.validation_fraction, options.split_seed, 1)
    return _finish(dataset, "without_test", train, validation, samples[:0], needed=("train", "validation"))


def _check_options(dataset: Dataset, options: SplitOptions) -> None:
    if options.folds == 1:
        raise ConfigError("option: folds = 1 is no cross-validation, expected 0 for one split or at least 2")
    if dataset.split is not None and options.folds:
        raise ConfigError(
            f"option: folds = {options.folds} contradicts the split in column {dataset.schema.split!r}; "
            "leave the column unused with split = none"
        )
    if options.folds == 0 and options.repeats > 1:
        raise ConfigError(f"option: repeats = {options.repeats} needs folds, expected repeats = 1 or at least 2 folds")
    count = max(1, options.folds * options.repeats)
    if options.fold >= count:
        raise ConfigError(f"option: fold = {options.fold} is out of range, there are {count} splits, counted from 0")


def _labelled(dataset: Dataset) -> _Samples:
    name = dataset.schema.name
    if dataset.target is None or not dataset.labelled.any():
        raise DataError(f"{name}: samples cannot be divided for training because none has a label")
    rows = np.argsort(dataset.ids, kind="stable").astype(np.int64)
    rows = rows[dataset.labelled[rows]]
    group = None if dataset.group is None else np.unique(dataset.group[rows], return_inverse=True)[1].astype(np.int64)
    schema = dataset.schema
    samples = _Samples(rows, strata(dataset.target[rows], schema.task), group, schema.task in CLASSES)
    if samples.classes and len(found := np.unique(samples.target)) < 2:
        only = schema.classes[int(found[0])]
        raise DataError(f"{name}: all samples have the class {only!r}, expected at least two classes")
    return samples


def _check_counts(samples: _Samples, classes: tuple[str, ...], needed: int, purpose: str, name: str) -> None:
    if len(samples) < needed:
        raise DataError(f"{name}: found {len(samples)} sample{'s' * (len(samples) != 1)}, expected at least {needed} {purpose}")
    counts = np.bincount(samples.target, minlength=len(classes))
    smallest = int(counts.argmin())
    if classes and counts[smallest] < needed:
        found = f"class {classes[smallest]!r} has {counts[smallest]} sample{'s' * bool(counts[smallest] != 1)}"
        raise DataError(f"{name}: {found}, expected at least {needed} {purpose}")
    if samples.group is not None:
        groups = len(np.unique(samples.group))
        if groups < needed:
            raise DataError(f"{name}: found {groups} group{'s' * (groups != 1)}, expected at least {needed} {purpose}")


def _cut(samples: _Samples, fraction: float, seed: int, purpose: int) -> tuple[_Samples, _Samples]:
    """Cut off a share of each class (of the groups); gives what stays and what is cut off."""
    if samples.group is not None:
        # a share of groups is one fold of grouped folds, or all folds but one where the share is large
        small = min(fraction, 1 - fraction)
        folds = min(max(2, round(1 / small)), len(np.unique(samples.group)))
        if folds < 2:
            raise DataError("only one group is left to divide into a training and a validation part, expected at least two")
        chosen = (_fold_numbers(samples, folds, seed, purpose) == 0) == (fraction <= 0.5)
        return samples[~chosen], samples[chosen]
    order, rank, counts = _ranked(samples.target, seed, purpose)
    if not samples.classes:
        # rounded shares of small strata would not add up: what is taken is at even distances in the list sorted by stratum
        share = np.clip(fraction, 1 / len(samples), 1 - 1 / len(samples))
        taken = np.diff(np.floor(np.arange(len(samples) + 1) * share + 0.5)) > 0
        chosen = taken[np.argsort(order)]
        return samples[~chosen], samples[chosen]
    size = np.clip(np.rint(counts * fraction), np.minimum(1, counts - 1), counts - 1)
    chosen = np.zeros(len(samples), dtype=bool)
    chosen[order] = rank < size[samples.target[order]]
    return samples[~chosen], samples[chosen]


def _ranked(target: NDArray[np.int64], seed: int, purpose: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """A random order sorted by class, the rank of each of its samples within its class, and the size of each class."""
    shuffled = np.random.default_rng([seed, purpose]).permutation(len(target))
    order = shuffled[np.argsort(target[shuffled], kind="stable")]
    counts = np.bincount(target)
    first = np.cumsum(counts) - counts
    return order, np.arange(len(target)) - first[target[order]], counts


def _fold_numbers(samples: _Samples, folds: int, seed: int, purpose: int) -> NDArray[np.int64]:
    """The fold of each sample, of shape (samples,): equal shares of each class, no group in two folds."""
    number = np.empty(len(samples), dtype=np.int64)
    if samples.group is None:
        # dealing out a list sorted by class gives every fold its share of each class and the same size
        order, _, _ = _ranked(samples.target, seed, purpose)
        number[order] = np.arange(len(order)) % folds
        return number
    from sklearn.model_selection import StratifiedGroupKFold

    random_state = int(np.random.default_rng([seed, purpose]).integers(2**31))
    with warnings.catch_warnings():
        # classes that are rarer than the folds are no news: groups come first, and classes missing from train are an error
        warnings.filterwarnings("ignore", message="The least populated class")
        try:
            cuts = StratifiedGroupKFold(folds, shuffle=True, random_state=random_state).split(
                samples.target, samples.target, samples.group
            )
            for fold, (_, chosen) in enumerate(cuts):
                number[chosen] = fold
        except ValueError as error:
            raise DataError(f"groups cannot be divided into {folds} parts with all classes: {error}") from error
    return number


def _given(dataset: Dataset, words: NDArray[np.str_], samples: _Samples, options: SplitOptions) -> Split:
    own = words[samples.rows]
    train, validation, test = (samples[own == part] for part in PARTS)
    column = f"{dataset.schema.name}: column {dataset.schema.split!r}"
    for part, rows in (("train", train), ("test", test)):
        if len(rows) == 0:
            raise DataError(f"{column} names no labelled {part} sample")
    if len(validation) == 0:
        if train.group is not None and len(np.unique(train.group)) < 2:
            raise DataError(f"{column} names no validation sample, and its training part has one group, expected two to cut it")
        train, validation = _cut(train, options.validation_fraction, options.split_seed, 1)
    return _finish(dataset, "given", train, validation, test)


def _finish(
    dataset: Dataset, name: str, train: _Samples, validation: _Samples, test: _Samples, needed: tuple[str, ...] = PARTS
) -> Split:
    """Check the parts and fingerprint them."""
    place = f"{dataset.schema.name}: split {name!r}"
    parts = dict(zip(PARTS, (train, validation, test), strict=True))
    for part in needed:
        if len(parts[part]) == 0:
            raise DataError(f"{place}: the {part} part is empty ({len(dataset)} samples)")
    _check_training(dataset, train, place)
    if dataset.group is not None:
        for first, second in (("train", "validation"), ("train", "test"), ("validation", "test")):
            both = np.intersect1d(dataset.group[parts[first].rows], dataset.group[parts[second].rows])
            if len(both):
                raise DataError(
                    f"{place}: group {few(both)} of column {dataset.schema.group!r} is in both {first} and {second}, expected one"
                )
    rows = {part: np.sort(samples.rows) for part, samples in parts.items()}
    ids = [np.sort(dataset.ids[rows[part]]).tolist() for part in PARTS]
    return Split(**rows, name=name, hash=hashlib.sha256(json.dumps(ids).encode()).hexdigest()[:16])


def _check_training(dataset: Dataset, train: _Samples, place: str) -> None:
    """Check that there is something to learn of every class, label and number."""
    schema, target = dataset.schema, dataset.target
    assert target is not None
    own = target[train.rows]
    if schema.task in CLASSES:
        lacking = np.setdiff1d(np.arange(len(schema.classes)), own)
        if len(lacking):
            names = [schema.classes[code] for code in lacking]
            raise DataError(f"{place}: class {few(names)} has no sample in the training part")
        return
    same = np.flatnonzero(own.min(0) == own.max(0))
    if len(same):
        first = int(same[0])
        what, expected = ("label", "both 0 and 1") if schema.task == "multilabel" else ("number", "different numbers")
        found = f"{what} {schema.classes[first]!r} is {own[0, first]:g} in all samples of the training part"
        raise DataError(f"{place}: {found}, expected {expected}")
