"""What a method sees of a run: the model, the task, the training and validation parts, and services. Never the test part."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from equipoise.batch import Batch, Outputs
from equipoise.config import TrainingOptions
from equipoise.data.loader import Loader, Part
from equipoise.seeding import generator, keyed_uniform
from equipoise.training.runtime import Runtime

if TYPE_CHECKING:
    from equipoise.data.augment import Augmentation
    from equipoise.methods.base import Method, Phase, Update
    from equipoise.nn.multimodal import MultimodalModel
    from equipoise.training.optimizers import PhaseOptimizer


_NOTHING_LOGGED: tuple[Tensor | float, int] = (0.0, 0)


class Sampler:
    """How often training samples are drawn.

    Attributes:
        weights: Relative frequency of each training sample, of shape (samples,); None takes each once per epoch.
    """

    weights: Tensor | None = None


class Context:
    """One training run, as methods see it.

    Args:
        model: The model.
        runtime: Device and processes.
        options: Settings of the loop.
        train: The training part; None when a finished run is loaded.
        validation: The validation part; None likewise.
        split: Hash of the split that the parts come from.
        augment: What is changed at random in training batches.

    Attributes:
        phase: The phase in progress.
        optimizer: Its optimizer.
        epoch: Epoch within the phase, counted from 0.
        epochs: Epochs of the phase.
        stage: Name of the phase, and how many phases of that name were before it. With the epoch or the update it keys
            everything random, so that what a phase draws does not depend on how long other phases took.
        update: Optimizer steps finished in the phase.
        epochs_done: Epochs finished over all phases.
        updates_done: Optimizer steps finished over all phases.
        sampler: How often training samples are drawn.
    """

    phase: Phase
    optimizer: PhaseOptimizer

    def __init__(
        self,
        model: MultimodalModel,
        runtime: Runtime,
        options: TrainingOptions,
        train: Part | None = None,
        validation: Part | None = None,
        split: str = "",
        augment: Augmentation | None = None,
    ) -> None:
        self.model = model
        self._augment = augment
        self.task = model.task
        self.split = split
        self.runtime = runtime
        self.options = options
        self.sampler = Sampler()
        self.stage: tuple[str, int] = ("", 0)
        self.epoch = self.epochs = self.update = self.epochs_done = self.updates_done = 0
        self._parts = {"train": train, "validation": validation}
        self._log: dict[str, tuple[Tensor | float, int]] = {}
        self._moved: dict[str, Tensor | float] = {}
        self.notes: list[str] = []

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities, in order."""
        return self.model.modalities

    def part(self, name: str) -> Part:
        """Return the ``train`` or the ``validation`` part. There is no other."""
        part = self._parts[name]
        if part is None:
            raise ValueError(f"no {name} data: a finished run was loaded for prediction only")
        return part

    def train_loader(self) -> Loader:
        """Return the loader of the training samples of the phase for this process."""
        options, runtime = self.options, self.runtime
        return Loader(
            self.part("train"), options.batch_size, options.seed, runtime.rank, runtime.world, self.phase.rows, self._augment
        )

    def batches(self, name: str) -> Iterator[Batch]:
        """Yield all samples of a part once, in order, in every process."""
        return Loader(self.part(name), self.options.batch_size).ordered()

    @torch.no_grad()
    def outputs(self, name: str, predictor: Callable[[Batch], Outputs] | None = None) -> Outputs:
        """Return what a model says about a whole part, in evaluation mode and without gradients.

        Args:
            name: ``train`` or ``validation``.
            predictor: The model; by default the one in training.
        """
        module = self.model if predictor is None else predictor
        roots = {id(item): item for item in (self.model, module) if isinstance(item, nn.Module)}
        training = [item for root in roots.values() for item in root.modules() if item.training]
        for item in training:
            item.training = False
        try:
            with self.runtime.autocast():
                return Outputs.concatenate(module(batch) for batch in self.batches(name))
        finally:
            for item in training:
                item.training = True

    def mean(self, values: Tensor, batch: Batch, weights: Tensor | None = None) -> Tensor:
        """Return the mean over a batch such that averaging it over processes gives the mean over the whole batch.

        ``sum_i w_i v_i / sum_i w_i`` with both sums over all processes (times the number of processes in this one).

        Args:
            values: One value per sample of this process, of shape (..., batch).
            batch: The batch they belong to.
            weights: Weight of each sample, of shape (batch,); None weighs all the same.

        Returns:
            Means of shape (...); zero without history where no sample of any process has weight.
        """
        world = self.runtime.world
        if weights is None:
            return values.mean(-1) if world == 1 else values.sum(-1) * (world / batch.total)
        total = self.runtime.sum(weights.sum())
        if not total > 0:
            return values.new_zeros(values.shape[:-1])
        return (values * weights).sum(-1) * (world / total)

    def task_loss(self, logits: Tensor, batch: Batch, modality: str | None = None) -> Tensor:
        """Return the task's mean loss of a batch.

        Args:
            logits: Logits of shape (batch, outputs).
            batch: The batch; it holds the targets.
            modality: Count only the samples that have this modality.
        """
        if self.runtime.world == 1 and self._weights(batch, modality) is None:
            return self.task.mean_loss(logits, batch.labels)
        return self.sample_mean(self.task.losses(logits, batch.labels), batch, modality)

    def sample_mean(self, values: Tensor, batch: Batch, modality: str | None = None) -> Tensor:
        """Return the mean of a value per sample, weighted as the task weighs samples in a loss.

        Args:
            values: One value per sample, of shape (..., batch).
            batch: The batch; it holds the targets.
            modality: Count only the samples that have this modality.
        """
        weights = self._weights(batch, modality)
        if weights is None or batch.whole is None:
            return self.mean(values, batch, weights)
        # The mean of a part is later multiplied by its share, so that the parts sum to the mean over the whole batch.
        every = self._weights(batch.whole, modality)
        assert every is not None
        total = self.runtime.sum(every.sum()) * (len(batch) / len(batch.whole))
        if not total > 0:
            return values.new_zeros(values.shape[:-1])
        return (values * weights).sum(-1) * (self.runtime.world / total)

    def _weights(self, batch: Batch, modality: str | None) -> Tensor | None:
        """Return the weight of each sample in the loss of a modality (None: the fused one), or None if all count the same."""
        weights = self.task.weights(batch.labels)
        if modality is None or modality in batch.complete:
            return weights
        mask = batch.present[modality].to(torch.float32)
        return mask if weights is None else weights * mask

    def backward(self, closure: Closure) -> tuple[Outputs, dict[str, Tensor]]:
        """Make forward and backward passes of an update: the sum of its losses, averaged over processes."""
        results = []
        for part in closure.parts():
            outputs, losses = part()
            total = torch.stack(list(losses.values())).sum() if len(losses) > 1 else next(iter(losses.values()))
            if total.requires_grad:
                (total if part.share == 1.0 else total * part.share).backward()
            results.append((outputs, losses, part.share))
        self.runtime.average_gradients(self.optimizer.parameters())
        return join_parts(results)

    def uniform(self, batch: Batch, columns: int, name: str) -> Tensor:
        """Return random numbers in [0, 1) of shape (batch, columns) that depend on seed, epoch and sample only."""
        return keyed_uniform(batch.index, columns, self.options.seed, name, self.stage, self.epoch)

    def generator(self, name: str) -> torch.Generator:
        """Return a CPU generator that is the same in all processes and differs from update to update."""
        return generator(self.options.seed, name, self.stage, self.update)

    def log(self, name: str, value: Tensor | float, neutral: float | None = None) -> None:
        """Note a coefficient; the epoch's log shows its mean over the epoch.

        Args:
            name: Name of the coefficient.
            value: Its value in this update.
            neutral: The value at which the method does nothing. A run in which a coefficient never left it says so.
        """
        value = value.detach() if isinstance(value, Tensor) else float(value)
        total, count = self._log.get(name, _NOTHING_LOGGED)
        self._log[name] = (total + value, count + 1)
        if neutral is not None:
            distance: Tensor | float = (value - neutral).abs() if isinstance(value, Tensor) else abs(value - neutral)
            self._moved[name] = self._moved.get(name, 0.0) + distance

    def note(self, text: str) -> None:
        """Note a decision for people: it stands in the summary of the run."""
        self.notes.append(text)

    @property
    def inert(self) -> bool:
        """Whether every coefficient with a neutral value stayed there all along: the method did nothing in this run."""
        return bool(self._moved) and all(float(distance) == 0.0 for distance in self._moved.values())

    def take_log(self) -> dict[str, float]:
        """Return the means of what was noted since the last call."""
        means = {name: float(total) / count for name, (total, count) in self._log.items()}
        self._log = {}
        return means

    def log_state(self) -> dict[str, Any]:
        """Return what was noted since the last :meth:`take_log`, for a checkpoint."""
        return {"log": self._log, "moved": self._moved, "notes": self.notes}

    def load_log_state(self, state: dict[str, Any]) -> None:
        """Take over :meth:`log_state`'s value."""
        self._log, self._moved, self.notes = dict(state["log"]), dict(state["moved"]), list(state["notes"])


class Closure:
    """The forward pass and the losses of one update, callable as often as a method needs.

    Args:
        ctx: The run.
        method: Computes the losses.
        update: The update.
        share: Share of this closure's samples among those of the update.
    """

    def __init__(self, ctx: Context, method: Method, update: Update, share: float = 1.0) -> None:
        self._ctx = ctx
        self._method = method
        self.update = update
        self.share = share

    def __call__(self) -> tuple[Outputs, dict[str, Tensor]]:
        """Return outputs and losses, with history."""
        with self._ctx.runtime.autocast():
            outputs = self._ctx.model(self.update.batch, only=self.update.only)
            outputs = self._method.transform_outputs(self._ctx, self.update, outputs)
            return outputs, self._method.losses(self._ctx, self.update, outputs)

    def parts(self) -> list[Closure]:
        """Return closures over consecutive parts of the batch, as many as ``accumulate`` says."""
        # As many parts in every process, however unequal their shares are: each part is one exchange between them.
        batch = self.update.batch
        count = min(self._ctx.options.accumulate, int(batch.total / self._ctx.runtime.world + 1e-6))
        if count <= 1:
            return [self]
        bounds = [len(batch) * number // count for number in range(count + 1)]
        return [
            Closure(
                self._ctx,
                self._method,
                replace(self.update, batch=replace(batch.rows(start, stop), whole=batch)),
                (stop - start) / len(batch),
            )
            for start, stop in pairwise(bounds)
        ]


def join_parts(results: list[tuple[Outputs, dict[str, Tensor], float]]) -> tuple[Outputs, dict[str, Tensor]]:
    """Join outputs and losses of the parts of an update; losses are averaged by the parts' shares."""
    if len(results) == 1:
        return results[0][0], results[0][1]
    losses = {name: torch.stack([part[name].detach() * share for _, part, share in results]).sum() for name in results[0][1]}
    return Outputs.concatenate(outputs for outputs, _, _ in results), losses
