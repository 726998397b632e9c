"""Preparing images and arrays: channels first, missing values filled, standardised per channel, in chunks."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from equipoise.config import PreprocessingOptions
from equipoise.data.rows import LazyRows, row_chunks
from equipoise.data.schema import Modality
from equipoise.errors import DataError

LAYOUTS = ("plain", "none", "first", "last", "frames")
"""Where the channels of an image are: it has none, first, last; in ``frames`` last, after the frames. ``plain``: no image, one
mean for all its numbers."""


_BLOCK = 1 << 16
"""Numbers that are prepared together where a batch of pictures is."""


@dataclass(frozen=True, eq=False)
class ArrayPreparation:
    """What is done to the numbers of one image or array modality.

    Attributes:
        raw_shape: Shape of one raw sample.
        layout: One of :data:`LAYOUTS`.
        fill: Value for missing numbers of each channel, float64 of shape (channels,); one channel for plain arrays.
        mean: What is subtracted from each channel.
        scale: What each channel is divided by.
        clip: Largest absolute value after that; None for no limit.
    """

    raw_shape: tuple[int, ...]
    layout: str
    fill: NDArray[np.float64]
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    clip: float | None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one prepared sample; (channels, height, width) for images, after the number of frames for videos."""
        if self.layout == "none":
            return (1, *self.raw_shape)
        if self.layout == "last":
            return (self.raw_shape[-1], *self.raw_shape[:-1])
        if self.layout == "frames":
            return (self.raw_shape[0], self.raw_shape[-1], *self.raw_shape[1:-1])
        return self.raw_shape

    @classmethod
    def fit(
        cls, modality: Modality, value: NDArray[Any] | LazyRows, present: NDArray[np.bool_], options: PreprocessingOptions
    ) -> ArrayPreparation:
        """Fit on those training rows that are present.

        Args:
            modality: Description of the modality.
            value: Training rows of shape (samples, ...).
            present: Which of them have the modality, of shape (samples,).
            options: What to do; missing numbers get the mean of their channel for ``median`` too, which needs one pass.

        Raises:
            DataError: All numbers are the same.
        """
        chunks = (rows for _, rows in row_chunks(value, present))
        return cls.fit_chunks(chunks, modality.name, modality.shape, _layout(modality), options)

    @classmethod
    def fit_chunks(
        cls, chunks: Iterable[NDArray[Any]], name: str, shape: tuple[int, ...], layout: str, options: PreprocessingOptions
    ) -> ArrayPreparation:
        """Fit as :meth:`fit` does, on rows of one shape and layout that come in pieces.

        Args:
            chunks: Arrays of shape (rows, *shape), rows of which may be few or none.
            name: Name of the modality, for messages.
            shape: Shape of one row.
            layout: One of :data:`LAYOUTS`.
            options: What to do.

        Raises:
            DataError: All numbers are the same.
        """
        count = mean = squares = np.zeros(1)
        low, high = np.full(1, np.inf), np.full(1, -np.inf)
        for rows in chunks:
            if len(rows) == 0:
                continue
            numbers = np.moveaxis(_channels_first(rows, layout), 1, 0).astype(np.float64)
            numbers = numbers.reshape(len(numbers), -1)
            seen = (~np.isnan(numbers)).sum(axis=1)
            own = np.nansum(numbers, axis=1) / np.maximum(seen, 1)
            spread = np.nansum((numbers - own[:, None]) ** 2, axis=1)
            # means and squared deviations of two sets of numbers give those of their union
            total = np.maximum(count + seen, 1)
            squares = squares + spread + (own - mean) ** 2 * count * seen / total
            mean = mean + (own - mean) * seen / total
            count = count + seen
            low = np.fmin(low, np.fmin.reduce(numbers, axis=1))
            high = np.fmax(high, np.fmax.reduce(numbers, axis=1))
        if not (high > low).any():
            raise DataError(f"modality {name!r}: every number is the same in the training part")
        deviation = np.where(high > low, np.sqrt(squares / np.maximum(count, 1)), 1.0)
        return cls(
            raw_shape=shape,
            layout=layout,
            fill=np.zeros_like(mean) if options.impute == "zero" else mean,
            mean=mean if options.standardize else np.zeros_like(mean),
            scale=np.where(deviation > 0, deviation, 1.0) if options.standardize else np.ones_like(mean),
            clip=options.clip if options.standardize else None,
        )

    def transform(self, raw: NDArray[Any], prepared: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Prepare raw rows.

        Args:
            raw: Rows of shape (samples, *raw sample shape).
            prepared: Where prepared rows are written, a float32 array of their shape; None for a new one.

        Returns:
            Prepared rows of shape (samples, *prepared sample shape).
        """
        if prepared is None:
            prepared = np.empty((len(raw), *self.shape), dtype=np.float32)
        channels, numbers = _channels_first(raw, self.layout), prepared
        if self.layout == "frames":
            numbers = np.moveaxis(prepared, 2, 1)
        elif self.layout == "plain":
            numbers = prepared[:, None]
        (self._of_bytes if channels.dtype == np.uint8 else self._of_numbers)(channels, numbers)
        return prepared

    def _of_bytes(self, channels: NDArray[np.uint8], numbers: NDArray[np.float32]) -> None:
        """As :meth:`_of_numbers`, in float32: bytes lose nothing by it, none is missing, and pictures are prepared far faster."""
        along = (slice(None), *[None] * (channels.ndim - 2))
        factor, shift = ((value / self.scale).astype(np.float32)[along] for value in (np.ones_like(self.mean), self.mean))
        step = max(1, _BLOCK // max(1, math.prod(channels.shape[1:])))
        for start in range(0, len(channels), step):  # what stays in the processor's cache takes a fifth of the time
            part = numbers[start : start + step]
            part[...] = channels[start : start + step]
            part *= factor
            part -= shift
        ends = (np.array([[0], [255]]) - self.mean) / self.scale
        if self.clip is not None and np.abs(ends).max() > self.clip:
            np.clip(numbers, -self.clip, self.clip, out=numbers)

    def _of_numbers(self, channels: NDArray[Any], numbers: NDArray[np.float32]) -> None:
        """Write what becomes of channels, of shape (samples, channels, ...), into ``numbers`` of the same shape."""
        exact = channels.astype(np.float64)
        along = (slice(None), *[None] * (exact.ndim - 2))
        missing = np.isnan(exact)
        if missing.any():
            exact = np.where(missing, self.fill[along], exact)
        exact -= self.mean[along]
        exact /= self.scale[along]
        if self.clip is not None:
            np.clip(exact, -self.clip, self.clip, out=exact)
        numbers[...] = exact

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON data; floats keep all their digits."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in values.items()}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> ArrayPreparation:
        """Rebuild from :meth:`to_json`'s data."""
        arrays = {name: np.array(value[name], dtype=np.float64) for name in ("fill", "mean", "scale")}
        return cls(raw_shape=tuple(value["raw_shape"]), layout=value["layout"], clip=value["clip"], **arrays)


def _layout(modality: Modality) -> str:
    if modality.kind == "video":
        return "frames"
    if modality.kind == "audio":
        return "first"
    if modality.kind != "image":
        return "plain"
    if len(modality.shape) == 2:
        return "none"
    return "last" if modality.shape[-1] < modality.shape[0] else "first"


def _channels_first(rows: NDArray[Any], layout: str) -> NDArray[Any]:
    """Rows of shape (samples, channels, ...); what has no channels gets one."""
    if layout == "first":
        return rows
    return np.moveaxis(rows, -1, 1) if layout in ("last", "frames") else rows[:, None]
