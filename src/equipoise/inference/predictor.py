"""A trained model with its preprocessing: from raw data to predictions and metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from equipoise.batch import Outputs
from equipoise.config import ReadOptions
from equipoise.data.dataset import Dataset
from equipoise.data.graph import SampleGraph
from equipoise.data.loader import Loader, Part, make_part
from equipoise.data.preprocessing import Preprocessing
from equipoise.data.schema import Schema
from equipoise.data.sources import open_dataset
from equipoise.evaluation.coalitions import Coalition, all_coalitions, coalition_logits
from equipoise.evaluation.metrics import task_metrics
from equipoise.inference.predictions import Predictions
from equipoise.nn.fusion import Fusion
from equipoise.tasks import Task

_BATCH = 1024
_NUMBERS = 1 << 23
"""Prepared numbers that are in memory at once while samples are predicted piece by piece."""


@dataclass(frozen=True)
class Predictor:
    """What is evaluated, saved and served.

    Attributes:
        module: Encodes, fuses, and answers a batch; see :class:`~equipoise.nn.multimodal.MultimodalModel`.
        preprocessing: Turns raw inputs into the module's.
        schema: The data that it was trained on.
        task: The task.
        device: Where it runs.
        graph: The sample graph that encoders use, if any do; samples that are not in it are attached.
        method_state: What the method needs beside the weights to make the module again.
    """

    module: nn.Module
    preprocessing: Preprocessing
    schema: Schema
    task: Task
    device: torch.device
    graph: SampleGraph | None = None
    method_state: Mapping[str, Any] = field(default_factory=dict)

    def read(self, source: str | Path | Mapping[str, Any], *, labelled: bool = False, **options: Any) -> Dataset:
        """Open data and check that they fit the model.

        Args:
            source: A path, the name of an embedded set, or a mapping of arrays.
            labelled: Whether every sample must have a known label.
            options: Names of columns where they differ from those of the training data; see
                :class:`~equipoise.config.ReadOptions`. ``target`` may be an array for data in memory.

        Raises:
            DataError: The data do not fit; the message says where.
        """
        target = options.pop("target", None)
        if isinstance(target, str):
            options, target = {**options, "target": target}, None
        return open_dataset(source, ReadOptions(**options), target=target, labelled=labelled, schema=self.schema)

    def part(self, dataset: Dataset) -> Part:
        """Prepare a data set for the module."""
        return make_part(dataset, self.preprocessing, self.device, graph=self.graph)

    @torch.no_grad()
    def outputs(self, part: Part) -> Outputs:
        """Return fused and unimodal logits and features of all samples, from one pass, in evaluation mode."""
        self.module.eval()
        return Outputs.concatenate(self.module(batch) for batch in Loader(part, _BATCH).ordered())

    def predict(self, source: Dataset | str | Path | Mapping[str, Any], **options: Any) -> Predictions:
        """Predict.

        Args:
            source: A data set, or anything that :meth:`read` opens.
            options: As for :meth:`read`.

        Returns:
            Fused and unimodal probabilities (or predicted numbers) of each sample, and which modalities it had.
        """
        return Predictions.concatenate(self.stream(source, **options))

    def stream(self, source: Dataset | str | Path | Mapping[str, Any], **options: Any) -> Iterator[Predictions]:
        """Predict piece by piece: of data that stay on disk no more is in memory than the samples of one piece.

        Args:
            source: As for :meth:`predict`.
            options: As for :meth:`read`.

        Yields:
            The predictions of some samples at a time, in order. A model that uses a sample graph predicts all at once.
        """
        dataset = source if isinstance(source, Dataset) else self.read(source, **options)
        numbers = sum(prod(shape) for shape in self.preprocessing.shapes.values())
        step = min(_BATCH, max(1, _NUMBERS // numbers)) if self.graph is None else len(dataset)
        for start in range(0, len(dataset), step):
            piece = dataset.subset(np.arange(start, min(start + step, len(dataset))))
            part = self.part(piece)
            yield self._predictions(piece, part, self.outputs(part))

    @torch.no_grad()
    def _predictions(self, dataset: Dataset, part: Part, outputs: Outputs) -> Predictions:
        unimodal = {}
        for name, logits in outputs.unimodal.items():
            values = self._predicted(logits)
            values[~dataset.present[name]] = np.nan
            unimodal[name] = values
        return Predictions(
            ids=dataset.ids,
            classes=self.schema.classes,
            task=self.task.name,
            probabilities=self._predicted(outputs.logits),
            unimodal=unimodal,
            present=dict(dataset.present),
            target=dataset.target,
            weights=self._weights(part, outputs),
        )

    def _weights(self, part: Part, outputs: Outputs) -> dict[str, NDArray[np.float64]]:
        fusion: Fusion = self.module.fusion  # type: ignore[assignment]
        weights = fusion.sample_weights(outputs.features, self._incomplete(part))
        return {} if weights is None else dict(zip(fusion.names, weights.double().cpu().numpy(), strict=True))

    def _incomplete(self, part: Part) -> dict[str, Tensor]:
        return {name: mask.to(self.device) for name, mask in part.present.items() if name not in part.complete}

    def evaluate(
        self,
        source: Dataset | str | Path | Mapping[str, Any],
        *,
        coalitions: Sequence[Coalition] | str | None = None,
        prepared: Part | None = None,
        **options: Any,
    ) -> dict[str, dict[str, float | None]]:
        """Compute metrics on labelled samples.

        Args:
            source: A data set, or anything that :meth:`read` opens.
            coalitions: Coalitions to add, each a tuple of modalities, or ``"all"``.
            prepared: The samples of a data set as :meth:`part` gives them, where they are at hand.
            options: As for :meth:`read`.

        Returns:
            Metrics by output: ``fused``, each modality's own output, and each coalition (the fused output when all other
            modalities are absent) under its modalities joined by ``+`` in brackets, e.g. ``[audio+image]``.
        """
        dataset = source if isinstance(source, Dataset) else self.read(source, labelled=True, **options)
        part = self.part(dataset) if prepared is None else prepared
        outputs = self.outputs(part)
        metrics = self._predictions(dataset, part, outputs).metrics()
        if coalitions is None or dataset.target is None:
            return metrics
        chosen = all_coalitions(self.schema.names) if isinstance(coalitions, str) else list(coalitions)
        for coalition, logits in zip(chosen, self.coalition_logits(part, outputs, chosen), strict=True):
            # A sample that has none of the coalition's modalities says nothing about the coalition.
            rows = np.any([dataset.present[name] for name in coalition], axis=0) & dataset.labelled
            found = task_metrics(self.task.name, self._predicted(logits)[rows], dataset.target[rows])
            metrics[f"[{'+'.join(coalition)}]"] = {**found, "samples": int(rows.sum())}
        return metrics

    def coalition_logits(self, part: Part, outputs: Outputs, coalitions: Sequence[Coalition]) -> Tensor:
        """Return the fused logits of coalitions from features at hand.

        Args:
            part: The samples.
            outputs: What :meth:`outputs` gave for them.
            coalitions: The coalitions.

        Returns:
            Logits of shape (coalitions, samples, outputs).
        """
        return coalition_logits(self.module.fusion, outputs.features, self._incomplete(part), coalitions)  # type: ignore[arg-type]

    def _predicted(self, logits: Tensor) -> NDArray[np.float64]:
        # Probabilities that sum to one in double precision, as metrics expect them.
        return self.task.predictions(logits.double()).cpu().numpy()
