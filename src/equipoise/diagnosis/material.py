"""What every measure of a diagnosis starts from: one pass of the model over the training and the judged samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from equipoise.batch import Outputs
from equipoise.data.dataset import Dataset
from equipoise.data.fingerprint import fingerprint
from equipoise.data.loader import Part
from equipoise.diagnosis.grading import GRADINGS, Grading, make_grading
from equipoise.diagnosis.grading.classes import log_probabilities
from equipoise.errors import DataError
from equipoise.functional.bootstrap import bootstrap, interval
from equipoise.inference.predictor import Predictor
from equipoise.nn.multimodal import MultimodalModel
from equipoise.run import Run

RESAMPLES = 1000


@dataclass(frozen=True)
class Estimate:
    """A number and the 95 % interval that it would have over other samples.

    Attributes:
        value: The number.
        low: Lower end.
        high: Upper end.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Said:
    """What a model says about some labelled samples; beside outputs and part, everything is on the CPU.

    Attributes:
        ids: Sample ids of shape (samples,).
        part: The prepared samples.
        outputs: What the model gave.
        target: Targets, one per sample, as in :class:`~equipoise.data.dataset.Dataset`.
        present: Per modality which samples have it.
        group: Codes of the groups that samples belong to, of shape (samples,), where the data state groups.
        read: Turns logits into what is said, see :meth:`equipoise.diagnosis.grading.base.Grading.read`.
    """

    ids: NDArray[np.str_]
    part: Part
    outputs: Outputs
    target: Tensor
    present: dict[str, Tensor]
    group: Tensor | None = None
    read: Callable[[Tensor], Tensor] = log_probabilities

    def groups(self, rows: Tensor | None = None) -> Tensor | None:
        """Return the groups that intervals resample: None where samples are independent, or where there is one group only.

        Args:
            rows: Which samples are looked at, booleans of shape (samples,).
        """
        if self.group is None:
            return None
        groups = self.group if rows is None else self.group[rows]
        return groups if len(groups.unique()) > 1 else None

    @cached_property
    def fused(self) -> Tensor:
        """What the fused output says (log-probabilities, log-odds, standardised numbers), float64 of shape (samples, outputs)."""
        return self.read(self.outputs.logits)

    @cached_property
    def own(self) -> dict[str, Tensor]:
        """What each modality says by itself, likewise."""
        return {name: self.read(value) for name, value in self.outputs.unimodal.items()}

    @cached_property
    def features(self) -> dict[str, Tensor]:
        """Features of each modality, of shape (samples, width)."""
        return {name: value.float().cpu() for name, value in self.outputs.features.items()}


def observe(predictor: Predictor, dataset: Dataset) -> Said:
    """Pass samples through a model once; samples without a label are left out.

    Raises:
        DataError: No sample has a label.
    """
    labelled = np.zeros(0, np.int64) if dataset.target is None else np.flatnonzero(dataset.labelled)
    if not len(labelled):
        raise DataError(f"{dataset.schema.name}: no sample has a known label, so there is nothing to judge by")
    dataset = dataset.subset(labelled)
    assert dataset.target is not None
    part = predictor.part(dataset)
    present = {name: torch.from_numpy(mask) for name, mask in dataset.present.items()}
    target, group = torch.from_numpy(dataset.target), None if part.group is None else part.group.cpu()
    read = GRADINGS[predictor.task.name].read
    return Said(dataset.ids, part, predictor.outputs(part), target, present, group, read)


@dataclass(frozen=True)
class Material:
    """A trained model and what it says.

    Attributes:
        predictor: The model.
        train: What it says about the samples that it was trained on.
        judged: What it says about samples that training never saw.
    """

    predictor: Predictor
    train: Said
    judged: Said

    @property
    def names(self) -> tuple[str, ...]:
        """The modalities."""
        return self.predictor.schema.names

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes in the order of their codes, the labels, or the names of the numbers."""
        return self.predictor.schema.classes

    @cached_property
    def grading(self) -> Grading:
        """How predictions are judged."""
        return make_grading(self.predictor.task, self.classes, self.train.target)

    @cached_property
    def chance(self) -> float:
        """The score of guessing about the judged samples."""
        return self.grading.chance(self.judged.target)

    def estimates(self, values: Tensor, target: Tensor, groups: Tensor | None = None) -> list[Estimate]:
        """Return the score of each row, with its interval over resamples of the samples, or of their groups.

        All rows see the same resamples: the interval of a row of differences is that of a paired comparison.

        Args:
            values: What samples give to a score, of shape (rows, samples) or (rows, samples, outputs).
            target: Their targets.
            groups: Group of each sample, codes of shape (samples,); None where samples are independent.
        """
        if not len(values):
            return []
        mean = self.grading.mean
        drawn = bootstrap(lambda counts: mean(values, target, counts), len(target), RESAMPLES, groups=groups)
        return [Estimate(*row) for row in torch.vstack([mean(values, target), interval(drawn)]).T.tolist()]

    @cached_property
    def seen(self) -> tuple[str, ...]:
        """The modalities that some judged sample has."""
        return tuple(name for name in self.names if bool(self.judged.present[name].any()))

    @property
    def model(self) -> MultimodalModel:
        """The module that predicts."""
        assert isinstance(self.predictor.module, MultimodalModel)
        return self.predictor.module

    @cached_property
    def incomplete(self) -> dict[str, Tensor]:
        """Which judged samples have a modality, for those that some lack, on the device of the model."""
        part = self.judged.part
        return {name: mask.to(self.predictor.device) for name, mask in part.present.items() if name not in part.complete}


def part_of(run: Run, dataset: Dataset, name: str) -> Dataset:
    """Return one part of the data that a run was trained on.

    Raises:
        DataError: These are other data, or no sample is in that part.
    """
    if not run.config["split"][name]:
        raise DataError(f"the run was trained without a {name} part, which a diagnosis needs; train it by equipoise.fit")
    if fingerprint(dataset) != run.config["data"]["fingerprint"]:
        raise DataError(
            f"{dataset.schema.name}: these are not the data that the run was trained on; a diagnosis needs them, for the "
            "probes are fitted on the training part"
        )
    return dataset.subset(np.array(run.config["split"][name], dtype=np.int64))


def gather(run: Run, dataset: Dataset) -> Material:
    """Pass the training and the test part of a run through its model.

    Raises:
        DataError: These are other data, or the targets of the test part are all the same.
    """
    train, judged = (observe(run.predictor, part_of(run, dataset, name)) for name in ("train", "test"))
    material = Material(run.predictor, train, judged)
    if wrong := material.grading.check(judged.target):
        raise DataError(f"the test part has {wrong}")
    return material
