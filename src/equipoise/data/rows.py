"""Rows of one modality wherever they live: in a DataFrame, in an array, or in a file that stays on disk."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, Union

import numpy as np
from numpy.typing import NDArray

from equipoise.data.files import read_array

if TYPE_CHECKING:
    import pandas as pd

Rows: TypeAlias = Union["pd.DataFrame", NDArray[Any], "LazyRows"]

CHUNK = 1 << 22
"""Numbers that are looked at together when a large array is scanned."""


class LazyRows(ABC):
    """Rows that are read, or made, when they are asked for. They are small to pickle, so that workers can have them."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Shape of the chosen rows, (samples, ...)."""

    @property
    @abstractmethod
    def dtype(self) -> np.dtype[Any]:
        """Type of the numbers."""

    @abstractmethod
    def take(self, rows: NDArray[np.int64] | slice) -> LazyRows:
        """Return the view of only these of the rows; nothing is read."""

    @abstractmethod
    def read(self, rows: NDArray[np.int64] | slice) -> NDArray[Any]:
        """Read rows, by their numbers within this view, as a new array of shape (chosen rows, ...)."""

    def content(self) -> Iterator[bytes]:
        """Yield what tells these rows from others, for a fingerprint."""
        for _, rows in row_chunks(self):
            yield np.ascontiguousarray(rows).tobytes()

    @property
    def ndim(self) -> int:
        """Number of dimensions, that of the samples included."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: NDArray[np.int64] | slice) -> NDArray[Any]:
        return self.read(rows)


@dataclass(frozen=True, eq=False)
class MappedRows(LazyRows):
    """Chosen rows of an array in an npy file, read when they are asked for.

    The object holds the place and the row numbers but no map of the file: it is small to pickle, workers open the file
    for themselves, and the rows that were not chosen are in no memory that can be reached from here.

    Attributes:
        path: The npy file.
        rows: Row numbers in the file, int64 of shape (samples,).
        number_type: Type of the numbers.
        file_shape: Shape of the whole array in the file.
        offset: Byte at which the numbers begin.
        order: ``C`` or ``F``, the order of the numbers in the file.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.npy"
        >>> np.save(path, np.arange(6).reshape(3, 2))
        >>> MappedRows.open(path).take(np.array([2, 0])).read(slice(None)).tolist()
        [[4, 5], [0, 1]]
    """

    path: Path
    rows: NDArray[np.int64]
    number_type: np.dtype[Any]
    file_shape: tuple[int, ...]
    offset: int
    order: str

    @classmethod
    def open(cls, path: Path) -> MappedRows:
        """Return all rows of an npy file.

        Raises:
            DataError: The file cannot be read or holds objects.
        """
        array = read_array(path)
        assert isinstance(array, np.memmap)
        order = "C" if array.flags.c_contiguous else "F"
        return cls(path.resolve(), np.arange(len(array), dtype=np.int64), array.dtype, array.shape, array.offset, order)

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.rows), *self.file_shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.number_type

    def take(self, rows: NDArray[np.int64] | slice) -> MappedRows:
        return replace(self, rows=np.ascontiguousarray(self.rows[rows]))

    def read(self, rows: NDArray[np.int64] | slice, columns: slice | None = None) -> NDArray[Any]:
        """Read rows from disk.

        Args:
            rows: Row numbers within this view.
            columns: Part of the second dimension; all of it when not given.

        Returns:
            A new array of shape (chosen rows, ...).
        """
        # order is "C" or "F"; numpy's stubs want the literal
        file = np.memmap(self.path, self.number_type, "r", self.offset, self.file_shape, self.order)  # type: ignore[call-overload]
        part = file if columns is None else file[:, columns]
        return np.array(part[self.rows[rows]])


def take_rows(value: Rows, rows: NDArray[np.int64] | slice) -> Rows:
    """Return only these rows, as a copy (as a view by row number where they stay on disk)."""
    if isinstance(value, LazyRows):
        return value.take(rows)
    if isinstance(value, np.ndarray):
        return np.array(value[rows])
    return value.iloc[rows].reset_index(drop=True)


def read_rows(value: Rows, rows: NDArray[np.int64] | slice) -> pd.DataFrame | NDArray[Any]:
    """Return only these rows in memory: what :meth:`Preprocessing.transform_rows` takes."""
    if isinstance(value, LazyRows):
        return value.read(rows)
    return value[rows] if isinstance(value, np.ndarray) else value.iloc[rows]


def row_chunks(value: NDArray[Any] | LazyRows, keep: NDArray[np.bool_] | None = None) -> Iterator[tuple[slice, NDArray[Any]]]:
    """Walk through an array in pieces that fit in memory.

    Args:
        value: Rows of shape (samples, ...).
        keep: Which samples to give, booleans of shape (samples,); all when not given.

    Yields:
        The slice of rows and those of its rows that are kept.
    """
    step = max(1, CHUNK // max(1, prod(value.shape[1:])))
    for start in range(0, len(value), step):
        part = slice(start, min(start + step, len(value)))
        if keep is None:
            yield part, np.asarray(value[part])
        elif isinstance(value, LazyRows):  # rows that nobody wants are not read
            yield part, value.read(start + np.flatnonzero(keep[part]))
        else:
            yield part, value[part][keep[part]]
