"""One division of a data set, prepared once and shared by all runs on it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch

from equipoise.config import PreprocessingOptions, SplitOptions
from equipoise.data.dataset import Dataset
from equipoise.data.fingerprint import fingerprint
from equipoise.data.graph import SampleGraph
from equipoise.data.loader import Part, make_part
from equipoise.data.partition import FitData, partition
from equipoise.data.preprocessing import Preprocessing
from equipoise.data.schema import Schema
from equipoise.data.splits import Split, make_splits, split_without_test


@dataclass(frozen=True, eq=False)
class Fold:
    """The parts of a data set, and the preprocessing fitted on its training part.

    Attributes:
        data: Samples to train on and to select by.
        test: Samples for the final test; there may be none.
        split: Which rows are in which part.
        preprocessing: Fitted on the training part.
        splitting: The options that the data were divided by.
        fingerprint: That of the whole data set.
        schema: That of the whole data set.

    Example:
        >>> from equipoise.data.sources import open_dataset
        >>> from equipoise.run import fit
        >>> fold = Fold.of(open_dataset("wisconsin"))
        >>> runs = [fit(fold, method=name, epochs=1, progress=False) for name in ("joint", "late")]
        >>> runs[0].summary["samples"]["test"] == len(fold.test)
        True
    """

    data: FitData
    test: Dataset
    split: Split
    preprocessing: Preprocessing
    splitting: SplitOptions
    fingerprint: str
    schema: Schema
    _parts: dict[tuple[object, ...], Part] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls, dataset: Dataset, splitting: SplitOptions | None = None, preprocessing: PreprocessingOptions | None = None
    ) -> Fold:
        """Divide a data set and fit the preprocessing.

        Args:
            dataset: The data.
            splitting: How they are divided, and which of the folds this is.
            preprocessing: What is done to raw inputs.

        Raises:
            ConfigError: The options contradict each other or the data.
            DataError: The data cannot be divided or prepared so.
        """
        splitting = splitting or SplitOptions()
        return cls._made(dataset, make_splits(dataset, splitting)[splitting.fold], splitting, preprocessing)

    @classmethod
    def for_training(
        cls, dataset: Dataset, splitting: SplitOptions | None = None, preprocessing: PreprocessingOptions | None = None
    ) -> Fold:
        """Divide all samples into those to train on and those to select by; a run on the fold has no test metrics.

        Args:
            dataset: The data; a split that they state is not used.
            splitting: The share of the validation part, and the seed.
            preprocessing: What is done to raw inputs.

        Raises:
            DataError: The data cannot be divided or prepared so.
        """
        splitting = splitting or SplitOptions()
        return cls._made(dataset, split_without_test(dataset, splitting), splitting, preprocessing)

    @classmethod
    def _made(cls, dataset: Dataset, split: Split, splitting: SplitOptions, preprocessing: PreprocessingOptions | None) -> Fold:
        data, test = partition(dataset, split)
        fitted = Preprocessing.fit(data.train, preprocessing)
        return cls(data, test, split, fitted, splitting, fingerprint(dataset), dataset.schema)

    def part(self, name: str, device: torch.device, loader: str, workers: int, graph: SampleGraph | None = None) -> Part:
        """Return the prepared ``train`` or ``validation`` part; it is prepared once, unless a run's own graph is in it.

        Args:
            name: ``train`` or ``validation``.
            device: Where the samples go.
            loader: See :func:`~equipoise.data.loader.make_part`.
            workers: Worker processes when data are streamed.
            graph: The graph that encoders use, if any do.
        """
        dataset: Dataset = getattr(self.data, name)
        if graph is not None:
            return make_part(dataset, self.preprocessing, device, loader, workers, graph)
        key = (name, device, loader, workers)
        if key not in self._parts:
            self._parts[key] = make_part(dataset, self.preprocessing, device, loader, workers)
        return self._parts[key]

    def prepared(self, options: PreprocessingOptions) -> Fold:
        """Return the fold with the preprocessing fitted by these options; itself, if it is so already."""
        if options == self.preprocessing.options:
            return self
        return replace(self, preprocessing=Preprocessing.fit(self.data.train, options), _parts={})

    def without_test(self) -> Fold:
        """Return the fold for choosing something: what is measured is the validation part, and no test sample is in reach."""
        return replace(self, test=self.data.validation)
