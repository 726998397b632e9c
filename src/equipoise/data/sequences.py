"""Sequences: samples of many time steps, of different lengths, put together from frames, lists of arrays, or rows of a table.

However they arrive, their rows become one array of shape (samples, longest, channels) in which NaN is a missing value. Steps at
the end of a sample at which every channel is NaN are padding and do not count; a step without any value in the middle does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from equipoise.data.columns import as_text, clean_table, few, parse_numbers
from equipoise.data.description import Stated
from equipoise.data.rows import LazyRows
from equipoise.data.schema import Modality
from equipoise.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

LENGTHS = "_lengths"
"""What follows the name of an array of frames in the name of the array of lengths."""


@dataclass(frozen=True, eq=False)
class Frames:
    """The time steps of all samples one after another, as a reader finds them.

    Attributes:
        values: Table or array of shape (steps of all samples, channels).
        lengths: Steps of each sample, int64 of shape (samples,); 0 where a sample lacks the modality.

    Example:
        >>> frames = Frames(np.arange(6.0).reshape(3, 2), np.array([2, 0, 1]))
        >>> frames.take(np.array([2, -1, 0])).lengths.tolist(), frames.take(np.array([2, 0])).values[:, 0].tolist()
        ([1, 0, 2], [4.0, 0.0, 2.0])
    """

    values: pd.DataFrame | NDArray[Any]
    lengths: NDArray[np.int64]

    ndim = 3

    def __len__(self) -> int:
        return len(self.lengths)

    def take(self, rows: NDArray[np.int64]) -> Frames:
        """Return these samples; one whose row number is -1 has no step."""
        lengths = np.where(rows >= 0, self.lengths[rows], 0)
        # the place of a step is where its sample now starts less where its sample will start, further on by its new place
        shift = (np.cumsum(self.lengths) - self.lengths)[rows] - (np.cumsum(lengths) - lengths)
        place = np.repeat(shift, lengths) + np.arange(lengths.sum())
        values = self.values[place] if isinstance(self.values, np.ndarray) else self.values.iloc[place].reset_index(drop=True)
        return Frames(values, lengths)


@dataclass(frozen=True, eq=False)
class WindowRows(LazyRows):
    """Windows of frames, made when they are asked for: overlapping windows take the room of their frames.

    Attributes:
        frames: Frames of shape (frames, channels), those of the windows and no others.
        windows: Frame numbers of each sample, of shape (samples, time); -1 after the end of a shorter window.
    """

    frames: NDArray[Any]
    windows: NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, ...]:
        return (*self.windows.shape, self.frames.shape[1])

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.frames.dtype

    def take(self, rows: NDArray[np.int64] | slice) -> WindowRows:
        windows = self.windows[rows]
        used, places = np.unique(windows[windows >= 0], return_inverse=True)
        chosen = np.full_like(windows, -1)
        chosen[windows >= 0] = places
        return WindowRows(self.frames[used], chosen)

    def read(self, rows: NDArray[np.int64] | slice) -> NDArray[Any]:
        windows = self.windows[rows]
        found: NDArray[Any] = self.frames[windows]
        found[windows < 0] = np.nan
        return found


def from_list(items: Sequence[Any], place: str) -> Frames | None:
    """Return a list of arrays of different lengths as frames; None if it is something else, such as arrays of one shape.

    Args:
        items: Per sample an array, a tensor or a table of shape (time, channels), or None where it lacks the modality.
        place: How messages call it.

    Raises:
        DataError: An array has another number of dimensions or of channels than the first, or no time step.
    """
    arrays = {row: _as_array(item) for row, item in enumerate(items) if item is not None}
    if not any(getattr(item, "ndim", 0) == 2 for item in arrays.values()):
        return None
    shapes = {getattr(item, "shape", None) for item in arrays.values()}
    if len(shapes) == 1 and len(arrays) == len(items):
        return None
    first = next(iter(arrays.values()))
    for row, item in arrays.items():
        if getattr(item, "ndim", 0) != 2:
            raise DataError(f"{place}: item {row} is no array of shape (time, channels), expected one like the others, or None")
        if len(item) == 0:
            raise DataError(f"{place}: item {row} has no time step, expected at least one, or None where the modality is absent")
        if item.shape[1] != first.shape[1]:
            raise DataError(f"{place}: item {row} has {item.shape[1]} channels, expected {first.shape[1]} like the first")
    lengths = np.zeros(len(items), dtype=np.int64)
    lengths[list(arrays)] = [len(item) for item in arrays.values()]
    return Frames(np.concatenate(list(arrays.values())), lengths)


def _as_array(item: Any) -> Any:
    if hasattr(item, "detach"):
        item = item.detach().cpu()
    return np.asarray(item) if hasattr(item, "ndim") else item


def with_lengths(values: Any, lengths: Any, absent: NDArray[np.bool_] | None, place: str) -> Frames:
    """Return frames of which an array says how many each sample has.

    Args:
        values: All frames one after another, of shape (frames, channels).
        lengths: Steps of each sample, of shape (samples,).
        absent: Which samples are said to lack the modality; only these may have no step.
        place: How messages call the frames.

    Raises:
        DataError: The lengths are no whole numbers from 1 on, or do not add up to the number of frames.
    """
    counts = np.asarray(lengths)
    if counts.dtype.kind not in "iuf" or not (counts % 1 == 0).all() or (counts < 0).any():
        raise DataError(f"{place}: its lengths must be whole numbers, one per sample, found {few(counts)}")
    counts = counts.astype(np.int64)
    empty = np.flatnonzero((counts == 0) & (~absent if absent is not None else True))
    if len(empty):
        raise DataError(
            f"{place}: {len(empty)} samples have length 0, the first in row {int(empty[0])}; expected at least one time step, "
            "or an array that says which samples have the modality (its name ends in _present)"
        )
    if values.ndim != 2:
        raise DataError(f"{place} has shape {tuple(values.shape)}, expected all time steps one after another: (steps, channels)")
    if counts.sum() != len(values):
        raise DataError(f"{place} has {len(values)} time steps, but its lengths add up to {int(counts.sum())}")
    return Frames(values, counts)


def from_long_table(table: pd.DataFrame, ids: NDArray[np.str_], order: Any, place: str) -> tuple[Frames, NDArray[np.str_]]:
    """Return a table with several rows per sample as frames, and the ids of the samples as they first appear.

    Args:
        table: One row per time step.
        ids: Sample of each row, of shape (rows,).
        order: What the rows of a sample are sorted by, of shape (rows,); None keeps their order.
        place: How messages call the table.
    """
    import pandas as pd

    owner, samples = pd.factorize(ids.astype(object))
    rows = np.lexsort((ranks(order, len(ids), place), owner))
    return Frames(table.iloc[rows].reset_index(drop=True), np.bincount(owner).astype(np.int64)), np.asarray(samples, dtype=str)


def ranks(order: Any, rows: int, place: str) -> NDArray[Any]:
    """Return what rows are sorted by as numbers: the column's numbers or times, or else the order in which they are."""
    import pandas as pd

    if order is None:
        return np.arange(rows)
    text = as_text(order)
    numbers = parse_numbers(text)
    if np.isfinite(numbers).all():
        return numbers
    times = pd.to_datetime(pd.Series(text, dtype=object), format="ISO8601", errors="coerce", utc=True)
    if times.isna().any():
        wrong = text[times.isna().to_numpy() & ~np.isfinite(numbers)]
        raise DataError(f"{place}: the column that states the order must hold numbers or times, found {few(wrong)}")
    return times.to_numpy()


def is_sequence(value: Any, own: Stated, expected: Modality | None) -> bool:
    """Return whether a modality is one of sequences: by what is stated, by the trained run, or because it came as frames."""
    stated = own.kind == "sequence" or own.window is not None
    return isinstance(value, Frames) or (stated if expected is None else expected.kind == "sequence")


def sequence_modality(
    name: str,
    value: pd.DataFrame | NDArray[Any] | LazyRows | Frames,
    own: Stated,
    expected: Modality | None,
    *,
    ids: NDArray[np.str_],
    present: NDArray[np.bool_],
    group: NDArray[np.str_] | None,
    order: Any,
    place: str,
) -> tuple[NDArray[Any] | LazyRows, Modality]:
    """Bring sequences into their final form.

    Args:
        name: Name of the modality.
        value: Frames; an array of shape (samples, time, channels); or one row per sample that becomes the last of a window.
        own: What is stated about it.
        expected: What a trained run expects; it wins.
        ids: Sample ids of shape (samples,).
        present: Which samples have a row of their own.
        group: Group of each sample; windows need it.
        order: What the samples of a group are sorted by, of shape (samples,); None for the order in which they are.
        place: How messages call the modality.

    Returns:
        Rows of shape (samples, longest, channels), and their description.

    Raises:
        DataError: They are no sequences, have other channels than those of the trained run, or hold no numbers.
    """
    known = expected or Modality(name=name, kind=own.kind or "sequence", shape=(), window=own.window or 0, order=own.order or "")
    if known.kind != "sequence":
        words = "window is stated" if own.window else "it holds sequences of different lengths"
        raise DataError(f"{place}: kind {known.kind!r} is expected, but {words}; state kind: sequence")
    if own.categorical:
        raise DataError(f"{place}: categorical columns are stated, expected numbers only in sequences")
    owners = np.repeat(ids, value.lengths) if isinstance(value, Frames) else ids
    found, columns = _numbers(value.values if isinstance(value, Frames) else value, owners, known, place)
    if isinstance(value, Frames):
        rows: NDArray[Any] | LazyRows = padded(cast("NDArray[Any]", found), value.lengths)
    elif known.window:
        rows = _windows(found, known, present, group, order, place)
    else:
        rows = found
    if rows.ndim != 3:
        raise DataError(
            f"{place}: kind 'sequence' is stated, but its samples have shape {tuple(rows.shape[1:])}, expected (time, channels); "
            f"state window for the rows of a group, or give all time steps and how many each sample has ({name}{LENGTHS})"
        )
    if known.columns and rows.shape[2] != len(known.columns):
        raise DataError(f"{place} has {rows.shape[2]} channels, expected {len(known.columns)}: {few(known.columns)}")
    columns = known.columns or columns or tuple(map(str, range(rows.shape[2])))
    return rows, replace(known, shape=tuple(rows.shape[1:]), columns=columns)


def _numbers(
    values: pd.DataFrame | NDArray[Any] | LazyRows, ids: NDArray[np.str_], known: Modality, place: str
) -> tuple[NDArray[Any] | LazyRows, tuple[str, ...]]:
    """The numbers of a table or an array, and the names of its columns if it has any."""
    if isinstance(values, (np.ndarray, LazyRows)):
        if values.dtype.kind not in "buif":
            raise DataError(f"{place} holds values of type {values.dtype}, expected numbers")
        return values, ()
    missing = [column for column in known.columns if column not in values.columns]
    if missing:
        raise DataError(f"{place}: column {few(missing)} is missing, which the model was trained on")
    table = values[list(known.columns)] if known.columns else values
    table, words = clean_table(table, ids, place, numeric=known.columns)
    if words:
        raise DataError(f"{place}: column {few(words)} holds words, expected numbers in a sequence")
    return table.to_numpy(), tuple(str(column) for column in table.columns)


def padded(frames: NDArray[Any], lengths: NDArray[np.int64]) -> NDArray[Any]:
    """Return frames one after another as an array of shape (samples, longest, channels), NaN after the end of each sample."""
    longest = max(1, int(lengths.max(initial=0)))
    rows = np.full((len(lengths), longest, frames.shape[1]), np.nan, dtype=np.result_type(frames.dtype, np.float32))
    rows[np.arange(longest) < lengths[:, None]] = frames
    return rows


def _windows(
    values: NDArray[Any] | LazyRows,
    known: Modality,
    present: NDArray[np.bool_],
    group: NDArray[np.str_] | None,
    order: Any,
    place: str,
) -> WindowRows:
    if values.ndim != 2:
        raise DataError(f"{place}: window is stated, but samples have shape {tuple(values.shape[1:])}, expected a row of numbers")
    if group is None:
        raise DataError(
            f"{place}: windows of {known.window} rows overlap, so that samples of one split would share rows with another; "
            "state group, the column that says which rows belong together (a video, a patient, a recording)"
        )
    frames = np.array(values[:], dtype=np.result_type(values.dtype, np.float32))
    frames[~present] = np.nan
    return WindowRows(frames, trailing(group, ranks(order, len(frames), place), known.window))


def trailing(group: NDArray[Any], order: NDArray[Any], size: int) -> NDArray[np.int64]:
    """Return the row numbers of each row's window: itself and those before it in its group, the oldest first.

    Args:
        group: Group of each row, of shape (rows,).
        order: What the rows of a group are sorted by, of shape (rows,); equal ones stay in their order.
        size: Most rows of a window.

    Returns:
        Row numbers of shape (rows, size), with -1 at the end of windows that start with their group and are shorter.

    Example:
        >>> trailing(np.array(["a", "b", "a", "a"]), np.array([1, 1, 3, 2]), 2).tolist()
        [[0, -1], [1, -1], [3, 2], [0, 3]]
    """
    groups = np.unique(group, return_inverse=True)[1]
    place = np.lexsort((order, groups))
    rank = np.arange(len(place))
    start = np.maximum(np.searchsorted(groups[place], groups[place]), rank - size + 1)
    steps = start[:, None] + np.arange(size)
    rows = np.empty(steps.shape, dtype=np.int64)
    rows[place] = np.where(steps <= rank[:, None], place[np.minimum(steps, rank[:, None])], -1)
    return rows


def real_steps(rows: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which time steps are no padding: all up to the last one that has a value.

    Args:
        rows: Sequences of shape (samples, time, channels).

    Returns:
        Booleans of shape (samples, time).

    Example:
        >>> nan = np.nan
        >>> real_steps(np.array([[[1.0], [nan], [2.0], [nan]]])).tolist()
        [[True, True, True, False]]
    """
    if rows.dtype.kind != "f":
        return np.ones(rows.shape[:2], dtype=bool)
    known = ~np.isnan(rows).all(axis=2)
    real: NDArray[np.bool_] = np.logical_or.accumulate(known[:, ::-1], axis=1)[:, ::-1]
    return real


def to_frames(rows: NDArray[Any], columns: Sequence[str]) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """Return the real time steps of sequences as a table of shape (steps, channels), and the number of steps of each sample."""
    import pandas as pd

    real = real_steps(rows)
    return pd.DataFrame(rows[real], columns=list(columns)), real.sum(axis=1)
