"""What becomes of a trained model when inputs get worse: noise, absence and shuffling of modalities, at test only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from equipoise.batch import Batch
from equipoise.data.loader import Part
from equipoise.errors import ConfigError, suggest
from equipoise.seeding import generator, keyed_uniform


class Perturbed(Part):
    """A part of the data whose batches are changed on their way.

    Args:
        part: The samples.
        change: Makes the changed batch from a batch.
        present: Per modality which samples have it after the change; by default as before.
    """

    def __init__(self, part: Part, change: Callable[[Batch], Batch], present: dict[str, Tensor] | None = None) -> None:
        self._part, self._change = part, change
        self.target = part.target
        self.present = part.present if present is None else present
        self.complete = frozenset(name for name, mask in self.present.items() if bool(mask.all()))

    def batches(self, rows: Sequence[Tensor], totals: Sequence[int]) -> Iterator[Batch]:
        for batch in self._part.batches(rows, totals):
            yield self._change(batch)


def noisy(part: Part, modality: str, level: float, seed: int = 0, channels: int | None = None) -> Part:
    """Add Gaussian noise to one modality.

    ``x <- x + level * N(0, 1)`` on prepared inputs, which are standardised: a level of 1 is as much noise as signal. What a
    graph encoder gets is noise on what it sees: inputs that were averaged over neighbours.

    Args:
        part: The samples.
        modality: The modality.
        level: Standard deviation of the noise, from 0.
        seed: Seed of the noise.
        channels: Only so many first channels of each sample get noise; of a sequence the last one says which steps are real.

    Raises:
        ConfigError: The modality is unknown or the level is negative.

    Example:
        >>> from equipoise.data.loader import Loader, MemoryPart
        >>> part = MemoryPart({"a": torch.zeros(500, 4)}, {"a": torch.ones(500, dtype=torch.bool)}, None)
        >>> (batch,) = Loader(noisy(part, "a", 2.0), 500).ordered()
        >>> bool((batch.inputs["a"].std() - 2).abs() < 0.2)
        True
    """
    _check(part, modality)
    if not level >= 0:
        raise ConfigError(f"noise: level = {level} is out of range, expected at least 0")

    def change(batch: Batch) -> Batch:
        value = batch.inputs[modality]
        noise = torch.randn(value.shape, generator=generator(seed, "noise", modality, int(batch.index[0])))
        if channels is not None:
            noise[:, channels:] = 0
        return replace(batch, inputs={**batch.inputs, modality: value + level * noise.to(value.device, value.dtype)})

    return Perturbed(part, change)


def thinned(part: Part, share: float, seed: int = 0, modality: str | None = None) -> Part:
    """Take modalities away from samples at random; every sample keeps at least one.

    Args:
        part: The samples.
        share: Probability with which a sample loses a modality, in [0, 1].
        seed: Seed of the choice.
        modality: The only modality that is taken away; None takes any, each by itself.

    Raises:
        ConfigError: The share is not in [0, 1] or the modality is unknown.

    Example:
        >>> from equipoise.data.loader import MemoryPart
        >>> part = MemoryPart(
        ...     {name: torch.zeros(1000, 2) for name in "ab"}, {name: torch.ones(1000, dtype=torch.bool) for name in "ab"}, None
        ... )
        >>> less = thinned(part, 0.2)
        >>> bool((less.present["a"] | less.present["b"]).all()), round(less.present["a"].float().mean().item(), 1)
        (True, 0.8)
    """
    if not 0 <= share <= 1:
        raise ConfigError(f"absence: share = {share} is out of range, expected 0 to 1")
    if modality is not None:
        _check(part, modality)
    names = list(part.present)
    have = torch.stack([part.present[name].cpu() for name in names], 1)
    draws = keyed_uniform(torch.arange(len(part)), len(names), seed, "absence")
    taken = draws < share
    if modality is not None:
        taken &= torch.tensor([name == modality for name in names])
    keep = have & ~taken
    # Whoever would lose all keeps what was hardest to lose.
    last = torch.where(have, draws, -1.0).argmax(1)
    lost = have.any(1) & ~keep.any(1)
    keep[lost, last[lost]] = True
    columns = {name: keep[:, number] for number, name in enumerate(names)}

    def change(batch: Batch) -> Batch:
        place = batch.index.cpu()
        return batch.masked({name: mask[place].to(batch.index.device) for name, mask in columns.items()})

    return Perturbed(part, change, columns)


def shuffled(part: Part, modality: str, seed: int = 0) -> Part:
    """Give samples one modality of other samples: its values stay as they are, and say nothing about the sample any more.

    Values move among those samples of a batch that have the modality.

    Args:
        part: The samples.
        modality: The modality.
        seed: Seed of the order.

    Raises:
        ConfigError: The modality is unknown.

    Example:
        >>> from equipoise.data.loader import Loader, MemoryPart
        >>> part = MemoryPart({"a": torch.arange(100.0)[:, None]}, {"a": torch.ones(100, dtype=torch.bool)}, None)
        >>> (batch,) = Loader(shuffled(part, "a"), 100).ordered()
        >>> bool((batch.inputs["a"] == part.inputs["a"]).all()), sorted(batch.inputs["a"][:, 0].tolist())[:3]
        (False, [0.0, 1.0, 2.0])
    """
    _check(part, modality)

    def change(batch: Batch) -> Batch:
        have = batch.present[modality].nonzero().squeeze(1)
        order = torch.randperm(len(have), generator=generator(seed, "shuffle", modality, int(batch.index[0])))
        rows = torch.arange(len(batch), device=have.device).index_copy(0, have, have[order.to(have.device)])
        moved = {**batch.inputs, modality: batch.inputs[modality].index_select(0, rows)}
        neighbours = {name: edges.take(rows) if name == modality else edges for name, edges in batch.neighbours.items()}
        return replace(batch, inputs=moved, neighbours=neighbours)

    return Perturbed(part, change)


def _check(part: Part, modality: str) -> None:
    if modality not in part.present:
        raise ConfigError(f"unknown modality {modality!r}, {suggest(modality, part.present)}")
