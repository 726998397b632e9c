"""Recordings: sequences that are files, one per sample, in a folder or named by a column of a table."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from equipoise.config import build, option
from equipoise.data.columns import as_text, few
from equipoise.data.description import Stated
from equipoise.data.media.base import failures
from equipoise.data.media.check import MediaOptions, left_out, resolved, with_bar
from equipoise.data.media.files import in_threads
from equipoise.data.media.modality import names_files, tell
from equipoise.data.memory import fits
from equipoise.data.recording_files import ARRAY, column_names, read_steps
from equipoise.data.rows import LazyRows
from equipoise.data.schema import Modality
from equipoise.data.scratch import scratch_folder
from equipoise.data.sequences import Frames, padded
from equipoise.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

_AHEAD = 2**26
"""Bytes of files that are read ahead of what is kept of them."""


@dataclass(frozen=True, kw_only=True)
class RecordingOptions:
    """How recordings are read: the ``options`` of a modality."""

    channels: tuple[str, ...] | None = option(None, help="columns that are channels (default: all but the one of the order)")


@dataclass(frozen=True)
class _Head:
    """What was found out about a file before it is read: its columns and its size, or why it is no good."""

    names: Sequence[str] = ()
    size: int = 0
    wrong: str = ""


@dataclass(frozen=True, eq=False)
class StoredFrames(LazyRows):
    """Sequences whose steps lie one after another in a file of numbers, read when they are asked for.

    Attributes:
        path: The file, float64.
        starts: First step of each sample in the file, int64 of shape (samples,).
        lengths: Steps of each sample, int64 of shape (samples,); 0 where a sample lacks the modality.
        longest: Steps of the longest sequence.
        channels: Number of channels.
    """

    path: Path
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    longest: int
    channels: int

    @property
    def shape(self) -> tuple[int, ...]:
        return len(self.lengths), self.longest, self.channels

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.float64)

    def take(self, rows: NDArray[np.int64] | slice) -> StoredFrames:
        return replace(self, starts=self.starts[rows], lengths=self.lengths[rows])

    def read(self, rows: NDArray[np.int64] | slice) -> NDArray[np.float64]:
        starts, lengths = self.starts[rows], self.lengths[rows]
        file = np.memmap(self.path, np.float64, "r").reshape(-1, self.channels)
        time = np.arange(self.longest)
        real = time < lengths[:, None]
        found = np.full((len(lengths), self.longest, self.channels), np.nan)
        found[real] = file[(starts[:, None] + time)[real]]
        return found


class _Store:
    """The steps of one file after another, in memory as long as they fit there, then on disk."""

    def __init__(self, channels: int, place: str) -> None:
        self.channels, self.place = channels, place
        self.lengths: list[int] = []
        self._parts: list[NDArray[np.float64]] = []
        self._size = 0
        self._path: Path | None = None

    def add(self, steps: NDArray[np.float64]) -> None:
        self._parts.append(steps)
        self.lengths.append(len(steps))
        self._size += steps.nbytes
        if not fits(self._size):
            self._spill()

    def rows(self, samples: NDArray[np.int64]) -> NDArray[Any] | StoredFrames:
        """The sequences of samples, by the numbers of their files, -1 where there is none."""
        lengths = np.array(self.lengths, dtype=np.int64)
        longest = int(lengths.max())
        if self._path is None and fits(8 * len(samples) * longest * self.channels):
            frames = Frames(np.concatenate(self._parts), lengths).take(samples)
            assert isinstance(frames.values, np.ndarray)
            return padded(frames.values, frames.lengths)
        self._spill()
        assert self._path is not None
        starts = (np.cumsum(lengths) - lengths)[samples]
        return StoredFrames(self._path, starts, np.where(samples >= 0, lengths[samples], 0), longest, self.channels)

    def _spill(self) -> None:
        self._path = self._path or scratch_folder() / "steps"
        try:
            with self._path.open("ab") as file:
                for steps in self._parts:
                    file.write(np.ascontiguousarray(steps).data)
        except OSError as error:
            raise DataError(
                f"{self.place} does not fit into memory, and its copy not into {self._path.parent.parent}: "
                f"{error.strerror or error}; state a folder of a larger disk by the environment variable TMPDIR"
            ) from error
        self._parts, self._size = [], 0


def names_recordings(value: Any, own: Stated, expected: Modality | None) -> bool:
    """Return whether a modality of sequences is a column of paths, of which each is the sequence of one sample."""
    return not (own.window if expected is None else expected.window) and names_files(value)


def recordings_modality(
    name: str, table: pd.DataFrame, own: Stated, expected: Modality | None, media: MediaOptions, place: str
) -> tuple[NDArray[Any] | StoredFrames, Modality]:
    """Read the recordings of a modality.

    All files are read at once: into memory, or where they do not fit there into a temporary file of numbers.

    Args:
        name: Name of the modality.
        table: One column of paths, empty or missing where a sample has no file.
        own: What is stated about it.
        expected: What a trained run expects; it wins.
        media: How files are found, and what is done about those that cannot be used.
        place: How messages call it.

    Returns:
        Sequences of shape (samples, longest, channels), all NaN where there is no file, and their description.

    Raises:
        DataError: Files cannot be used, or are stated to be what they are not.
        ConfigError: An option is not valid.
    """
    if own.categorical:
        raise DataError(f"{place}: categorical columns are stated, expected numbers only in sequences")
    options = build(RecordingOptions, own.options, f"{place}: options")
    order = (own.order if expected is None else expected.order) or None
    names = [resolved(path, media, place) for path in as_text(table.iloc[:, 0]).tolist()]
    paths = [Path(path) for path in dict.fromkeys(names) if path]
    if not paths:
        if expected is None:
            raise DataError(f"{place}: no sample has a file")
        return np.full((len(names), *expected.shape), np.nan, dtype=np.float32), expected
    heads = dict(zip(paths, with_bar(in_threads(_head, paths), len(paths), f"checking {len(paths)} files"), strict=True))
    given = options.channels if expected is None else expected.columns
    channels = given or _most_common(heads, order, place)
    wrong = {str(path): head.wrong or _mismatch(path, head, channels, order, bool(given)) for path, head in heads.items()}
    usable = [path for path in paths if not wrong[str(path)]]
    store = _Store(len(channels), place)
    number = {"": -1}
    results = with_bar(_read_all(usable, heads, channels, order), len(usable), f"reading {len(usable)} files")
    for path, steps in zip(usable, results, strict=True):
        if isinstance(steps, str):
            wrong[str(path)] = steps
        else:
            number[str(path)] = len(store.lengths)
            store.add(steps)
    notes = left_out({path: reason for path, reason in wrong.items() if reason}, len(paths), media, place)
    for note in notes:
        tell(note)
    rows = store.rows(np.array([number.get(path, -1) for path in names]))
    found = Modality(name=name, kind="sequence", shape=(), columns=channels, order=order or "", path_column=str(table.columns[0]))
    return rows, replace(expected or found, shape=tuple(rows.shape[1:]), notes=notes)


def _head(path: Path) -> _Head:
    try:
        with failures():
            return _Head(column_names(path), os.stat(path).st_size)
    except DataError as error:
        return _Head(wrong=str(error))


def _most_common(heads: Mapping[Path, _Head], order: str | None, place: str) -> tuple[str, ...]:
    """The channels of most files, in the order of the first that has them: then messages name the odd file, not all others."""
    known = {path: head.names for path, head in heads.items() if not head.wrong}
    if not known:
        return ()
    most = Counter(map(frozenset, known.values())).most_common(1)[0][0]
    path, names = next((path, names) for path, names in known.items() if frozenset(names) == most)
    channels = tuple(name for name in names if name != order)
    if not channels or "" in channels:
        found = f"has no column except {order!r}" if not channels else "has a column without a name"
        raise DataError(f"{place}: {path} {found}, expected a name for every channel; or state options: {{channels: [...]}}")
    return channels


def _mismatch(path: Path, head: _Head, channels: Sequence[str], order: str | None, chosen: bool) -> str:
    """Why the columns of a file are not those that are expected; ``""`` if they are."""
    if path.suffix.lower() == ARRAY and order is None and not (chosen and set(channels) <= set(head.names)):
        return "" if len(head.names) == len(channels) else f"has {len(head.names)} channels, expected {len(channels)}"
    missing = [name for name in (*channels, *([order] if order else [])) if name not in head.names]
    if missing:
        return f"lacks the column {few(missing)}"
    more = [] if chosen else [name for name in head.names if name not in channels and name != order]
    return f"has the column {few(more)}, which other files lack" if more else ""


def _read_all(
    paths: Sequence[Path], heads: Mapping[Path, _Head], channels: Sequence[str], order: str | None
) -> Iterator[NDArray[np.float64] | str]:
    """The steps of each file, or why it is no good; not many more are read than were asked for."""
    block = np.cumsum([heads[path].size for path in paths]) // _AHEAD
    read = partial(_tried, channels=channels, order=order)
    for first, last in zip(*(np.searchsorted(block, np.unique(block), side=side) for side in ("left", "right")), strict=True):
        yield from in_threads(read, paths[first:last])


def _tried(path: Path, channels: Sequence[str], order: str | None) -> NDArray[np.float64] | str:
    try:
        with failures():
            return read_steps(path, channels, order)
    except DataError as error:
        return str(error)
