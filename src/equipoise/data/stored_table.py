"""A table in files that need not fit into memory: its columns are read piece by piece, and its numbers may stay on disk."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from equipoise.data.columns import as_text, clean_table, few, parse_numbers
from equipoise.data.description import Description, Stated
from equipoise.data.memory import copyable, fits, free_bytes, readable
from equipoise.data.named_rows import NamedRows
from equipoise.data.progress import with_rows
from equipoise.data.rows import Rows
from equipoise.data.schema import Modality, Schema
from equipoise.data.scratch import Spool, check_room
from equipoise.data.sequences import is_sequence
from equipoise.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


class StoredTable(ABC):
    """A table that is read piece by piece.

    Attributes:
        place: How messages call it.
        rows: Number of rows, at least one.
    """

    place: str
    rows: int

    @abstractmethod
    def pieces(self, columns: Sequence[str]) -> Iterator[pd.DataFrame]:
        """Read columns of one value per row; one after another they have the types of the whole table."""

    @abstractmethod
    def words(self, columns: Sequence[str]) -> list[str]:
        """Return those of the columns that hold something else than numbers: text, booleans, dates."""

    @abstractmethod
    def file_names(self, columns: Sequence[str]) -> list[str]:
        """Return those of the columns that hold nothing but names of media files."""

    def number_type(self, columns: Sequence[str]) -> np.dtype[Any]:
        """Return the type that holds every number of the columns."""
        return np.dtype(np.float64)

    def table(self, columns: Sequence[str]) -> pd.DataFrame:
        """Return columns in memory."""
        import pandas as pd

        return pd.concat(list(self.pieces(columns)), ignore_index=True)

    def values(self, columns: Sequence[str]) -> Mapping[str, Any]:
        """Return columns that are no inputs, such as ids and targets, in memory, each of shape (rows,)."""
        return dict(self.table(columns)) if columns else {}

    def inputs(
        self, chosen: Mapping[str, Sequence[str]], ids: NDArray[np.str_], stated: Description, schema: Schema | None
    ) -> dict[str, Rows]:
        """Read the columns of modalities, with one pass over the files.

        Args:
            chosen: Columns of each modality.
            ids: Sample ids of shape (rows,), for messages.
            stated: What is stated about the data.
            schema: The schema of a trained run; None where there is none.

        Returns:
            Per modality a table in memory, or a matrix on disk where it does not fit and all its columns hold numbers.

        Raises:
            DataError: A modality does not fit into memory and holds more than numbers, a column mixes numbers with text, or the
                disk of temporary files has too little room.
        """
        large = self._large(chosen, ids, stated, schema)
        small = list(dict.fromkeys(column for name, columns in chosen.items() if name not in large for column in columns))
        check_room(sum(self._bytes(columns) for columns in large.values()), self.place)
        spools = {
            name: Spool(self.rows, (len(columns),), self.number_type(columns), self.place) for name, columns in large.items()
        }
        wanted = list(dict.fromkeys([*small, *(column for columns in large.values() for column in columns)]))
        if not wanted:
            return {}
        table = self._held(with_rows(self.pieces(wanted), self.rows, f"reading {self.place}"), small, large, spools)
        return {
            name: NamedRows.of(spools[name].rows(), columns) if name in large else table[list(columns)]
            for name, columns in chosen.items()
        }

    def _held(
        self,
        pieces: Iterator[pd.DataFrame],
        small: list[str],
        large: Mapping[str, Sequence[str]],
        spools: Mapping[str, Spool],
    ) -> pd.DataFrame:
        """Write what is large into its files; return the columns that are small."""
        import pandas as pd

        held, size = [], 0
        for piece in pieces:
            for name, spool in spools.items():
                spool.write(_numbers(piece[list(large[name])]))
            if not small:
                continue
            held.append(piece[small].copy())  # a view would keep all columns of the piece
            size += _bytes_of(held[-1])
            if not copyable(size):
                words = self.words(small) or small
                raise self._too_large(f"column {few(words)}", size, words)
        return pd.concat(held, ignore_index=True) if small else pd.DataFrame()

    def _large(
        self, chosen: Mapping[str, Sequence[str]], ids: NDArray[np.str_], stated: Description, schema: Schema | None
    ) -> dict[str, list[str]]:
        """The modalities that stay on disk."""
        large, taken = {}, 0
        for name, columns in chosen.items():
            size = self._bytes(columns)
            if not fits(taken + size):
                own = (stated.modalities or {}).get(name, Stated())
                expected = schema[name] if schema is not None and name in schema.names else None
                words = self._bound(name, columns, own, expected, ids)
                if not words:
                    large[name] = list(columns)
                    continue
                if not copyable(taken + size):
                    raise self._too_large(f"modality {name!r}", size, words)
            taken += size
        return large

    def _bound(
        self, name: str, columns: Sequence[str], own: Stated, expected: Modality | None, ids: NDArray[np.str_]
    ) -> list[str]:
        """Those of a modality's columns that can be nowhere but in memory, by the rules that hold for a table in memory."""
        if is_sequence(None, own, expected) or "text" in (own.kind, expected and expected.kind):
            return list(columns)
        categorical = own.categorical if expected is None else expected.categorical
        other = {*categorical, *self.words(columns)}
        doubtful = [column for column in columns if column in other]
        if not doubtful:
            return []
        found, size = [], 0
        for piece in self.pieces(doubtful):
            found.append(piece)
            size += _bytes_of(piece)
            if not copyable(size):
                return doubtful
        import pandas as pd

        _, categories = clean_table(
            pd.concat(found, ignore_index=True),
            ids,
            f"{self.place}: modality {name!r}",
            categorical=[column for column in categorical if column in doubtful],
            numeric=() if expected is None else set(expected.columns) - set(expected.categorical),
        )
        return list(categories)

    def _bytes(self, columns: Sequence[str]) -> int:
        return 8 * self.rows * len(columns)

    def _too_large(self, what: str, size: int, words: Sequence[str]) -> DataError:
        return DataError(
            f"{self.place}: {what} takes more than {readable(size)} and {readable(free_bytes())} of memory are free; "
            f"only numbers can stay on disk, and no windows of them, expected a modality without {few(words)}"
        )


def _bytes_of(piece: pd.DataFrame) -> int:
    return int(piece.memory_usage(index=False, deep=True).sum())


def _numbers(piece: pd.DataFrame) -> NDArray[np.float64]:
    """Columns that are known to hold numbers, some of them as text or as booleans."""
    piece = piece.copy(deep=False)
    for name, dtype in piece.dtypes.items():
        if dtype.kind == "b":
            piece[name] = piece[name].astype(np.float64)
        elif dtype.kind not in "iuf":
            piece[name] = parse_numbers(as_text(piece[name]))
    return piece.to_numpy(dtype=np.float64)
