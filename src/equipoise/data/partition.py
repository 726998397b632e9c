"""Handing out the parts of a split so that what trains cannot reach what tests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from equipoise.data.dataset import Dataset
from equipoise.data.splits import Split
from equipoise.errors import DataError


@dataclass(frozen=True)
class FitData:
    """All that training, selection and tuning ever see: no test sample can be reached from here.

    Attributes:
        train: Samples to train on.
        validation: Samples to select by.
    """

    train: Dataset
    validation: Dataset


def partition(dataset: Dataset, split: Split) -> tuple[FitData, Dataset]:
    """Divide a data set by a split.

    Args:
        dataset: The data.
        split: Rows of each part.

    Returns:
        Copies of the training and validation samples, and apart from them the test samples.

    Raises:
        DataError: The split does not belong to the data, or its parts overlap.

    Example:
        >>> from equipoise.data.sources import open_dataset
        >>> from equipoise.data.splits import make_splits
        >>> data = open_dataset({"a": np.arange(40.0).reshape(20, 2)}, target=[0, 1] * 10)
        >>> fit, test = partition(data, make_splits(data)[0])
        >>> len(fit.train), len(fit.validation), len(test)
        (14, 2, 4)
    """
    rows = np.concatenate([split.train, split.validation, split.test])
    if len(rows) and (rows.min() < 0 or rows.max() >= len(dataset)):
        raise DataError(f"{dataset.schema.name}: split {split.name!r} has row {rows.max()}, but there are {len(dataset)} samples")
    if len(np.unique(rows)) < len(rows):
        raise DataError(f"{dataset.schema.name}: split {split.name!r} has samples in two of its parts")
    return FitData(dataset.subset(split.train), dataset.subset(split.validation)), dataset.subset(split.test)
