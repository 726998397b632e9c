"""Training samples changed at random, a whole batch at once: pictures mirrored and moved, sound with gaps.

What a sample gets follows from the seed, the epoch and the sample alone, so that neither a restart nor the number of processes
changes it. Validation, test and everything that goes through the data in order see samples as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from equipoise.batch import Batch
from equipoise.data.schema import Schema
from equipoise.errors import ConfigError, suggest
from equipoise.seeding import keyed_uniform

CROP_SHARE = 1 / 8
"""Share of height and width by which a picture is moved at most."""
MASK_SHARE = 1 / 5
"""Share of the frequencies, and of the time, that a gap covers at most."""


def flip(pictures: Tensor, draws: Tensor) -> Tensor:
    """Return pictures of which each second one, at random, is mirrored left to right.

    Args:
        pictures: Of shape (batch, ..., height, width).
        draws: Uniform numbers of shape (batch, at least 1).

    Returns:
        Pictures of the same shape.
    """
    mirrored = (draws[:, 0] < 0.5).reshape(-1, *[1] * (pictures.ndim - 1))
    return torch.where(mirrored, pictures.flip(-1), pictures)


def crop(pictures: Tensor, draws: Tensor) -> Tensor:
    """Return pictures moved up to an eighth of their size in each direction; zeros, the mean of a channel, come in.

    It is what a random crop of the padded picture gives (He et al., CVPR 2016, arXiv 1512.03385, for CIFAR-10).

    Args:
        pictures: Of shape (batch, ..., height, width); all channels and frames of a sample move alike.
        draws: Uniform numbers of shape (batch, at least 2).

    Returns:
        Pictures of the same shape.
    """
    height, width = pictures.shape[-2:]
    pads = [max(1, round(CROP_SHARE * size)) for size in (height, width)]
    padded = F.pad(pictures, (pads[1], pads[1], pads[0], pads[0])).flatten(1, -3)
    start = [(draws[:, number] * (2 * pad + 1)).long() for number, pad in enumerate(pads)]
    rows, columns = (
        first[:, None] + torch.arange(size, device=pictures.device) for first, size in zip(start, (height, width), strict=True)
    )
    sample = torch.arange(len(pictures), device=pictures.device)
    channel = torch.arange(padded.shape[1], device=pictures.device)
    moved = padded[sample[:, None, None, None], channel[None, :, None, None], rows[:, None, :, None], columns[:, None, None, :]]
    return moved.reshape(pictures.shape)


def mask(spectrograms: Tensor, draws: Tensor, dim: int) -> Tensor:
    """Return spectrograms with a gap of zeros, the mean, of random place and width.

    Args:
        spectrograms: Of shape (batch, channels, bands, time).
        draws: Uniform numbers of shape (batch, at least 2).
        dim: Along which dimension: -1 masks a stretch of time, -2 a range of frequencies.

    Returns:
        Spectrograms of the same shape.

    References:
        Park et al., "SpecAugment: a simple data augmentation method for automatic speech recognition", Interspeech 2019, arXiv
        1904.08779.
    """
    size = spectrograms.shape[dim]
    width = (draws[:, 0] * (round(MASK_SHARE * size) + 1)).long()
    start = (draws[:, 1] * (size - width + 1)).long()
    place = torch.arange(size, device=spectrograms.device)
    gap = (place >= start[:, None]) & (place < (start + width)[:, None])
    shape = [len(spectrograms), *[1] * (spectrograms.ndim - 1)]
    shape[dim] = size
    return spectrograms.masked_fill(gap.reshape(shape), 0.0)


CHANGES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "flip": flip,
    "crop": crop,
    "time": lambda spectrograms, draws: mask(spectrograms, draws, -1),
    "frequency": lambda spectrograms, draws: mask(spectrograms, draws, -2),
}
"""What can be done, by name: from samples of shape (batch, ...) and uniform numbers of shape (batch, 2)."""

_APPLICABLE = {"image": ("flip", "crop"), "video": ("flip", "crop"), "audio": ("time", "frequency")}


@dataclass(frozen=True)
class Augmentation:
    """What is done to the batches of training epochs.

    Attributes:
        changes: Per modality names in :data:`CHANGES`, in order.
        seed: Seed of everything random in it.

    Example:
        >>> from equipoise.data.loader import MemoryPart
        >>> part = MemoryPart({"a": torch.rand(4, 1, 8, 8)}, {"a": torch.ones(4, dtype=torch.bool)}, None)
        >>> (batch,) = part.batches([torch.arange(4)], [4])
        >>> Augmentation({"a": ("flip", "crop")}, seed=0)(batch, epoch=3).inputs["a"].shape
        torch.Size([4, 1, 8, 8])
    """

    changes: Mapping[str, tuple[str, ...]]
    seed: int

    @classmethod
    def of(
        cls, stated: Mapping[str, Any] | None, schema: Schema, shapes: Mapping[str, tuple[int, ...]], seed: int
    ) -> Augmentation | None:
        """Return what is stated by the option ``augment``, None if nothing is.

        Args:
            stated: Per modality names of changes, in a list or joined by commas.
            schema: The data.
            shapes: Per modality the shape of a prepared sample.
            seed: Seed of everything random in it.

        Raises:
            ConfigError: A modality or a change is unknown, or does not fit the other.
        """
        changes = {name: _names(name, value, schema, shapes) for name, value in (stated or {}).items()}
        return cls(changes, seed) if any(changes.values()) else None

    def __call__(self, batch: Batch, epoch: object) -> Batch:
        """Return a batch of the same samples, changed.

        Args:
            batch: Samples of the training part.
            epoch: What tells the epoch from others.
        """
        inputs = dict(batch.inputs)
        for name, changes in self.changes.items():
            for change in changes:
                draws = keyed_uniform(batch.index, 2, self.seed, "augment", name, change, epoch)
                inputs[name] = CHANGES[change](inputs[name], draws)
        return replace(batch, inputs=inputs)


def _names(name: str, value: object, schema: Schema, shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, ...]:
    if name not in schema.names:
        raise ConfigError(f"augment: unknown modality {name!r}, {suggest(name, schema.names)}")
    words = value.split(",") if isinstance(value, str) else value
    if not isinstance(words, (list, tuple)):
        raise ConfigError(f"augment: {name} = {value!r} is not valid, expected names such as 'flip,crop'")
    names = tuple(str(word).strip() for word in words)
    kind, shape = schema[name].kind, shapes[name]
    known = _APPLICABLE.get(kind, ()) if len(shape) > 2 else ()
    for word in names:
        if word not in known:
            reason = suggest(word, known) if known else "nothing can be changed at random in it"
            raise ConfigError(
                f"augment: {name} = {word!r} does not apply to kind {kind!r} with samples of shape {shape}, {reason}"
            )
    return names
