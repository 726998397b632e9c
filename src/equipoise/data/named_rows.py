"""Rows of a wide matrix whose columns have names: dense or sparse, in memory or in a file, never a table cell by cell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from equipoise.data.hdf5 import StoredMatrix
from equipoise.data.memory import free_bytes
from equipoise.data.rows import CHUNK, LazyRows

_SHARE = 4
"""Columns of a file that are read at once take at most this part of the free memory."""


@dataclass(frozen=True, eq=False)
class NamedRows(LazyRows):
    """Chosen rows and columns of a matrix of numbers; what is read is dense, and no more than what is asked for.

    Attributes:
        matrix: What ``matrix[row numbers]`` gives rows of: an array, a sparse array, or one that stays in a file.
        rows: Row numbers in the matrix, int64 of shape (samples,); -1 for a sample that it lacks, whose numbers are NaN.
        columns: Names of the chosen columns.
        chosen: Their numbers in the matrix, int64 of shape (columns,); None where all are chosen.

    Example:
        >>> from scipy import sparse
        >>> rows = NamedRows.of(sparse.csr_array(np.eye(3)), ("a", "b", "c"))
        >>> rows.select(["c", "a"]).take(np.array([2, 0])).read(slice(None)).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """

    matrix: Any
    rows: NDArray[np.int64]
    columns: tuple[str, ...]
    chosen: NDArray[np.int64] | None = None

    @classmethod
    def of(cls, matrix: Any, columns: Sequence[str]) -> NamedRows:
        """Return all rows of a matrix.

        Args:
            matrix: An array, a sparse array or a stored matrix of shape (rows, columns).
            columns: The names of its columns, all different.
        """
        return cls(matrix, np.arange(matrix.shape[0], dtype=np.int64), tuple(columns))

    @property
    def shape(self) -> tuple[int, ...]:
        return len(self.rows), len(self.columns)

    @property
    def dtype(self) -> np.dtype[Any]:
        """A float type that holds every number of the matrix, and NaN."""
        return np.promote_types(self.matrix.dtype, np.float32)

    def select(self, columns: Sequence[str]) -> NamedRows:
        """Return the view of only these columns, in this order; they must exist."""
        if tuple(columns) == self.columns:
            return self
        place = {name: number for number, name in enumerate(self.columns)}
        numbers = np.array([place[name] for name in columns], dtype=np.int64)
        return replace(self, columns=tuple(columns), chosen=numbers if self.chosen is None else self.chosen[numbers])

    def aligned(self, rows: NDArray[np.int64]) -> NamedRows:
        """Return the view of rows in the order of the samples; -1 where there is none."""
        return replace(self, rows=np.where(rows >= 0, self.rows[rows], -1))

    def take(self, rows: NDArray[np.int64] | slice) -> NamedRows:
        """Return only these of the rows: those of a matrix in memory as a copy, so that no others can be reached from it."""
        numbers = np.ascontiguousarray(self.rows[rows])
        if isinstance(self.matrix, (StoredMatrix, LazyRows)):
            return replace(self, rows=numbers)
        found = numbers >= 0
        return replace(self, matrix=self.matrix[numbers[found]], rows=np.where(found, np.cumsum(found) - 1, -1))

    def read(self, rows: NDArray[np.int64] | slice, columns: slice | None = None) -> NDArray[Any]:
        """Read rows.

        Args:
            rows: Row numbers within this view.
            columns: Part of the columns; all of them when not given.

        Returns:
            A new array of shape (chosen rows, columns).
        """
        numbers = self.rows[rows]
        found = numbers >= 0
        part = self.matrix[numbers[found]]
        if self.chosen is not None:
            part = part[:, self.chosen if columns is None else self.chosen[columns]]
        elif columns is not None:
            part = part[:, columns]
        part = part.toarray() if hasattr(part, "toarray") else part
        if found.all():
            return np.array(part, dtype=self.dtype)
        whole = np.full((len(numbers), part.shape[1]), np.nan, dtype=self.dtype)
        whole[found] = part
        return whole

    def column_blocks(self, rows: NDArray[np.int64], width: int) -> Iterator[NDArray[Any]]:
        """Walk through the columns; a file, in which rows lie one after another, is read in as few passes as memory allows.

        Args:
            rows: Row numbers within this view, all of samples that the matrix has.
            width: Most columns of a block.

        Yields:
            Arrays of shape (rows, columns of the block).
        """
        if isinstance(self.matrix, StoredMatrix) and self.matrix.starts is not None:
            for block in self.matrix.column_ranges(self.rows[rows], self.chosen, width):
                names = self.columns[: block.shape[1]]
                yield from NamedRows.of(block, names).column_blocks(np.arange(len(rows)), width)
            return
        if isinstance(self.matrix, LazyRows):
            wide = width * max(1, free_bytes() // _SHARE // max(1, width * len(rows) * self.dtype.itemsize))
            for first in range(0, len(self.columns), wide):
                block = self._columns(rows, slice(first, first + wide))
                yield from (block[:, start : start + width] for start in range(0, block.shape[1], width))
            return
        for start in range(0, len(self.columns), width):
            yield self.read(rows, slice(start, start + width))

    def _columns(self, rows: NDArray[np.int64], columns: slice) -> NDArray[Any]:
        """Some columns of all these rows, of which whole ones are in memory only a few at a time."""
        block = np.empty((len(rows), len(self.columns[columns])), dtype=self.dtype)
        step = max(1, CHUNK // self.matrix.shape[1])
        for start in range(0, len(rows), step):
            block[start : start + step] = self.read(rows[start : start + step], columns)
        return block

    def content(self) -> Iterator[bytes]:
        yield repr(self.columns).encode()
        yield from super().content()
