"""What flows through the loop: a :class:`Batch` goes into a model, :class:`Outputs` come out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The edges of some samples to the nodes of a graph, for one modality.

    Attributes:
        nodes: Numbers of neighbouring nodes, whole numbers of shape (batch, width); anything where the weight is zero.
        weights: Weights of the edges, of shape (batch, width), zero where a sample has fewer neighbours.
        own: Weight of each sample for itself, of shape (batch,).
        table: Propagated inputs of all nodes, of shape (nodes, ...), the same in every batch.
    """

    nodes: Tensor
    weights: Tensor
    own: Tensor
    table: Tensor

    def _of(self, change: Callable[[Tensor], Tensor]) -> Neighbours:
        return Neighbours(change(self.nodes), change(self.weights), change(self.own), self.table)

    def to(self, device: torch.device) -> Neighbours:
        """Return the edges, and the table, on ``device``."""
        moved = self._of(lambda value: value.to(device, non_blocking=True))
        return replace(moved, table=self.table.to(device, non_blocking=True))

    def rows(self, start: int, stop: int) -> Neighbours:
        """Return the edges of the samples from ``start`` up to ``stop`` as views."""
        return self._of(lambda value: value[start:stop])

    def take(self, rows: Tensor) -> Neighbours:
        """Return the edges of the samples ``rows``, numbers of shape (chosen,)."""
        return self._of(lambda value: value.index_select(0, rows))

    def split(self, sizes: list[int]) -> list[Neighbours]:
        """Return the edges of consecutive batches of these sizes as views."""
        pieces = zip(self.nodes.split(sizes), self.weights.split(sizes), self.own.split(sizes), strict=True)
        return [Neighbours(*piece, self.table) for piece in pieces]


@dataclass(frozen=True, slots=True)
class Batch:
    """Some samples of one part of the data.

    Attributes:
        inputs: Per modality a tensor of shape (batch, ...). Rows of absent samples hold zeros that no encoder sees.
        present: Per modality which samples have it, booleans of shape (batch,).
        target: Targets of shape (batch,), or None when unknown.
        index: Number of each sample within its part of the data, of shape (batch,): the key of all per-sample randomness.
        complete: The modalities that every sample of the batch has, so that the usual case needs no look at ``present``.
        total: Samples of the whole batch over all processes (their share of them for a part of a batch).
        whole: The batch that this one is a part of, where a batch was cut to save memory; means are then over the whole.
        neighbours: Edges to the nodes of a graph, for each modality whose encoder uses one.
    """

    inputs: Mapping[str, Tensor]
    present: Mapping[str, Tensor]
    target: Tensor | None
    index: Tensor
    complete: frozenset[str]
    total: float
    whole: Batch | None = None
    neighbours: Mapping[str, Neighbours] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.index.shape[0]

    @property
    def labels(self) -> Tensor:
        """The targets, where they must be known.

        Raises:
            ValueError: The batch carries no target.
        """
        if self.target is None:
            raise ValueError("this batch carries no target")
        return self.target

    def to(self, device: torch.device) -> Batch:
        """Return the batch on ``device``."""
        return Batch(
            {name: value.to(device, non_blocking=True) for name, value in self.inputs.items()},
            {name: value.to(device, non_blocking=True) for name, value in self.present.items()},
            None if self.target is None else self.target.to(device, non_blocking=True),
            self.index.to(device, non_blocking=True),
            self.complete,
            self.total,
            neighbours={name: value.to(device) for name, value in self.neighbours.items()},
        )

    def rows(self, start: int, stop: int) -> Batch:
        """Return the samples from ``start`` up to ``stop`` as views."""
        return Batch(
            {name: value[start:stop] for name, value in self.inputs.items()},
            {name: value[start:stop] for name, value in self.present.items()},
            None if self.target is None else self.target[start:stop],
            self.index[start:stop],
            self.complete,
            self.total * (stop - start) / len(self),
            neighbours={name: value.rows(start, stop) for name, value in self.neighbours.items()},
        )

    def masked(self, keep: Mapping[str, Tensor]) -> Batch:
        """Return the batch with modalities taken away from some samples.

        Args:
            keep: Per modality which samples keep it, booleans of shape (batch,); modalities not named keep all.

        Returns:
            A batch in which an absent modality is treated exactly as one that was never there.
        """
        present = {name: mask & keep[name] if name in keep else mask for name, mask in self.present.items()}
        return replace(self, present=present, complete=self.complete - set(keep), whole=None)


class Outputs:
    """What a model says about a batch.

    Logits are computed when first asked for: many updates of many methods need only the fused or only the unimodal ones.

    Args:
        features: Per encoded modality the features, of shape (batch, width of the modality).
        present: Per modality which samples have it, booleans of shape (batch,).
        fuse: Computes the fused logits.
        unimodal: Computes the unimodal logits.
    """

    __slots__ = ("_fuse", "_logits", "_make_unimodal", "_unimodal", "features", "present")

    def __init__(
        self,
        features: Mapping[str, Tensor],
        present: Mapping[str, Tensor],
        fuse: Callable[[], Tensor],
        unimodal: Callable[[], Mapping[str, Tensor]],
    ) -> None:
        self.features = features
        self.present = present
        self._fuse, self._make_unimodal = fuse, unimodal
        self._logits: Tensor | None = None
        self._unimodal: Mapping[str, Tensor] | None = None

    @property
    def logits(self) -> Tensor:
        """Fused logits of shape (batch, outputs)."""
        if self._logits is None:
            self._logits = self._fuse()
        return self._logits

    @property
    def unimodal(self) -> Mapping[str, Tensor]:
        """Per encoded modality its unimodal logits of shape (batch, outputs); zeros where it is absent."""
        if self._unimodal is None:
            self._unimodal = self._make_unimodal()
        return self._unimodal

    @staticmethod
    def concatenate(parts: Iterable[Outputs]) -> Outputs:
        """Join the outputs of consecutive batches, without their history."""
        import torch

        items = list(parts)
        first = items[0]

        def join(values: list[Tensor]) -> Tensor:
            return values[0].detach() if len(values) == 1 else torch.cat([value.detach() for value in values])

        logits = join([item.logits for item in items])
        unimodal = {name: join([item.unimodal[name] for item in items]) for name in first.unimodal}
        return Outputs(
            {name: join([item.features[name] for item in items]) for name in first.features},
            {name: join([item.present[name] for item in items]) for name in first.present},
            lambda: logits,
            lambda: unimodal,
        )
