"""One division of a data set, prepared once and shared by all runs on it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from equipoise.config import PreprocessingOptions, SplitOptions
from equipoise.data.dataset import Dataset
from equipoise.data.fingerprint import fingerprint
from equipoise.data.graph import SampleGraph
from equipoise.data.loader import MemoryPart, Part, make_part
from equipoise.data.partition import FitData, partition
from equipoise.data.preprocessing import Preprocessing
from equipoise.data.schema import Schema
from equipoise.data.splits import Split, make_splits, split_without_test
from equipoise.training.reuse import PhaseMemory


@dataclass(frozen=True, eq=False)
class _Kept:
    """A part, and what it was made of.

    Attributes:
        dataset: The raw samples.
        preprocessing: How they were prepared.
        loading: The options ``loader`` and ``workers``.
        part: The prepared samples.
    """

    dataset: Dataset
    preprocessing: Preprocessing
    loading: tuple[str, int]
    part: Part

    def serves(self, preprocessing: Preprocessing, loading: tuple[str, int]) -> bool:
        """Return whether this is the part that another preparation and loading would give."""
        same = len(self._same(preprocessing)) == len(preprocessing.modalities)
        return same and (isinstance(self.part, MemoryPart) or loading == self.loading)

    def inputs(self, preprocessing: Preprocessing) -> dict[str, Tensor]:
        """Return the samples in memory of each modality that another preprocessing prepares in the same way."""
        return {name: self.part.inputs[name] for name in self._same(preprocessing)} if isinstance(self.part, MemoryPart) else {}

    def _same(self, preprocessing: Preprocessing) -> list[str]:
        return [name for name, item in preprocessing.modalities.items() if item is self.preprocessing.modalities[name]]


@dataclass(eq=False)
class _Shared:
    """What the runs on a fold share: the preprocessing fitted last, and of each part the samples prepared last.

    A modality is fitted and prepared anew only when a run wants another form of it than the run before, and no more than one
    form of each is in memory.
    """

    preprocessing: Preprocessing | None = None
    parts: dict[tuple[int, torch.device, bool], _Kept] = field(default_factory=dict)

    def fitted(self, train: Dataset, options: PreprocessingOptions, own: Preprocessing) -> Preprocessing:
        """Return the preprocessing by these options, made of the fold's ``own`` and of the last one as far as they agree."""
        last = self.preprocessing
        if last is None or last.options != options:
            last = self.preprocessing = Preprocessing.fit(train, options, [own] if last is None else [own, last])
        return last

    def part(self, dataset: Dataset, preprocessing: Preprocessing, device: torch.device, loading: tuple[str, int]) -> Part:
        """Return a part, made of the last one of the same samples as far as they agree."""
        place = (id(dataset), device, loading[0] == "stream")
        kept = self.parts.get(place)
        if kept is None or not kept.serves(preprocessing, loading):
            known = {} if kept is None else kept.inputs(preprocessing)
            kept = None
            self.parts.pop(place, None)  # a form that is no longer used goes before the new one comes
            kept = _Kept(dataset, preprocessing, loading, make_part(dataset, preprocessing, device, *loading, known=known))
            self.parts[place] = kept
        return kept.part


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
        phases: What runs on the fold trained that others can use.

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
    phases: PhaseMemory = field(default_factory=PhaseMemory, repr=False)
    _shared: _Shared = field(default_factory=_Shared, repr=False)
    _tested: _Shared = field(default_factory=_Shared, repr=False)

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
        """Return a prepared part; no modality is prepared twice in a row in the same form, unless a run's own graph is in it.

        Args:
            name: ``train``, ``validation`` or ``test``.
            device: Where the samples go.
            loader: See :func:`~equipoise.data.loader.make_part`.
            workers: Worker processes when data are streamed.
            graph: The graph that encoders use, if any do.
        """
        dataset = {"train": self.data.train, "validation": self.data.validation, "test": self.test}[name]
        if graph is not None:
            return make_part(dataset, self.preprocessing, device, loader, workers, graph)
        shared = self._tested if name == "test" else self._shared
        return shared.part(dataset, self.preprocessing, device, (loader, workers))

    def prepared(self, options: PreprocessingOptions) -> Fold:
        """Return the fold with the preprocessing fitted by these options; itself, if it is so already."""
        if options == self.preprocessing.options:
            return self
        return replace(self, preprocessing=self._shared.fitted(self.data.train, options, self.preprocessing))

    def without_test(self) -> Fold:
        """Return the fold for choosing something: what is measured is the validation part, and no test sample is in reach."""
        return replace(self, test=self.data.validation, _tested=self._shared)
