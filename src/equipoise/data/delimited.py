"""A csv or tsv file that does not fit into memory: read piece by piece, each column with one type throughout."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np
from numpy.typing import NDArray

from equipoise.data.columns import as_text
from equipoise.data.files import SEPARATORS, check_end, csv_options, kind_of_table, reading
from equipoise.data.media.base import files_kind
from equipoise.data.memory import fits
from equipoise.data.progress import with_rows
from equipoise.data.stored_table import StoredTable
from equipoise.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

_PIECE = 1 << 25
"""Bytes that are read together, in the file or as numbers, whichever are more."""
_SAMPLE = 1 << 20
"""Bytes from whose lines the number of rows is guessed."""
_FIRST = 100
"""Rows that are looked at for a separator at their end, which pandas does not tell from a value that is missing."""


@dataclass(frozen=True, eq=False)
class DelimitedTable(StoredTable):
    """A csv or tsv file whose columns were all looked at once.

    Attributes:
        place: How messages call it.
        path: The file.
        types: Per column its type: a type of numbers or bool, ``str``, or object for booleans some of which are missing.
        text: Columns that are kept as they are written.
        kept: Columns that are no inputs, as text of shape (rows,).
        rows: Number of rows.
        media: Columns that hold nothing but names of media files.
    """

    place: str
    path: Path
    types: Mapping[str, Any]
    text: frozenset[str]
    kept: Mapping[str, NDArray[np.str_]]
    rows: int
    media: tuple[str, ...]

    @classmethod
    def open(cls, path: Path, names: Sequence[str], text: frozenset[str], keep: Sequence[str]) -> DelimitedTable:
        """Look at every cell, because a column of numbers may have a word in its last row.

        Args:
            path: The file.
            names: The names of its columns.
            text: Columns to keep as they are written.
            keep: Columns that are no inputs.

        Raises:
            DataError: The file cannot be read, has no rows, or a row has too many values.
        """
        _refuse_long_rows(path, len(names), _FIRST)
        kinds: dict[str, set[str]] = {name: set() for name in names}
        media: dict[str, str | None] = {}
        kept: dict[str, list[NDArray[np.str_]]] = {name: [] for name in keep}
        rows = 0
        for piece in with_rows(_pieces(path, names, text, {}), guess_rows(path), f"looking at {path}"):
            rows += len(piece)
            missing = piece.isna().all().to_dict()
            for name, dtype in zip(names, piece.dtypes, strict=True):
                kind = dtype.kind if dtype.kind in "iufb" else _kind_of_objects(piece[name])
                kinds[name].add("?" if missing[name] else kind)
                if not missing[name] and name not in text and media.get(name, "") is not None:
                    found = files_kind(piece[name]) if kind == "O" else None
                    media[name] = found if media.get(name, found) == found else None
            for name in keep:
                kept[name].append(as_text(piece[name]))
        if not rows:
            raise DataError(f"{path} has no rows, expected one row per sample")
        check_end(path, len(names))
        return cls(
            place=str(path),
            path=path,
            types={name: str if name in text else _type(found) for name, found in kinds.items()},
            text=text,
            kept={name: np.concatenate(parts) for name, parts in kept.items()},
            rows=rows,
            media=tuple(name for name, kind in media.items() if kind),
        )

    def pieces(self, columns: Sequence[str]) -> Iterator[pd.DataFrame]:
        for piece in _pieces(self.path, list(self.types), self.text, self.types):
            # booleans cannot be asked for where some are missing, and what is missing in one piece need not be in another
            yield piece[list(columns)].astype({name: self.types[name] for name in columns if self.types[name] is object})

    def words(self, columns: Sequence[str]) -> list[str]:
        return [name for name in columns if self.types[name] in (str, object, bool)]

    def file_names(self, columns: Sequence[str]) -> list[str]:
        return [name for name in columns if name in self.media]

    def values(self, columns: Sequence[str]) -> Mapping[str, Any]:
        return {name: self.kept[name] for name in columns}


def held_whole(path: Path, columns: int) -> bool:
    """Return whether a csv or tsv file fits into memory, as it is and as numbers."""
    return fits(max(path.stat().st_size, 8 * columns * guess_rows(path)))


def guess_rows(path: Path) -> int:
    """Return about how many rows a csv or tsv file has, judged by the first of them."""
    with reading(path, kind_of_table(path)), path.open("rb") as file:
        block = file.read(_SAMPLE)
    return max(1, path.stat().st_size * max(1, block.count(b"\n")) // max(1, len(block)))


def _kind_of_objects(series: pd.Series[Any]) -> str:
    """``B`` for booleans some of which are missing, ``O`` for text."""
    import pandas as pd

    return "B" if series.dtype == object and pd.api.types.infer_dtype(series, skipna=True) == "boolean" else "O"


def _type(kinds: set[str]) -> Any:
    """The type that pandas gives a column whose pieces are of these kinds, ``?`` of those in which every value is missing."""
    if kinds == {"b"}:
        return bool
    if kinds <= {"b", "B", "?"} and kinds != {"?"}:
        return object
    if kinds & {"b", "B", "O"} or {"i", "u"} <= kinds:  # no one type holds every whole number of the last
        return str
    return np.dtype({"i": np.int64, "u": np.uint64}.get("".join(kinds), np.float64))


def _pieces(path: Path, names: Sequence[str], text: frozenset[str], types: Mapping[str, Any]) -> Iterator[pd.DataFrame]:
    """Read all columns, those without a type with the one that a piece suggests."""
    import pandas as pd

    # a row with too many values fills a column more than there are; pandas does not see it in the first row of a piece
    beyond = max(names, key=len) + "_"
    options = csv_options(path, names, text)
    options["dtype"] |= {name: kind for name, kind in types.items() if kind not in (object, bool)} | {beyond: str}
    size = max(path.stat().st_size, 8 * len(names) * (rows := guess_rows(path)))
    with reading(path, kind_of_table(path)), path.open(encoding="utf-8-sig", newline="") as file:
        _pass_header(file)
        try:
            reader = pd.read_csv(file, header=None, names=[*names, beyond], chunksize=max(1, rows * _PIECE // size), **options)
        except pd.errors.EmptyDataError:
            return
        while True:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("error", pd.errors.ParserWarning)
                    piece = next(reader, None)
            except (pd.errors.ParserError, pd.errors.ParserWarning):
                _refuse_long_rows(path, len(names))
                raise
            if piece is None:
                return
            last = piece.pop(beyond)
            if (last.notna() & (last != "")).any():
                _refuse_long_rows(path, len(names))
            yield piece


def _pass_header(file: TextIO) -> None:
    """Go on to what follows the first row, which may have line ends inside of quotes, and blank lines before it."""
    line = file.readline()
    while line and not line.strip():
        line = file.readline()
    while line.count('"') % 2 and (more := file.readline()):
        line += more


def _refuse_long_rows(path: Path, columns: int, rows: int | None = None) -> None:
    """Raise an error that names the first row with too many values, if there is one among the first ``rows`` or all."""
    csv.field_size_limit(2**31 - 1)  # of a long text before it
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        found = csv.reader(file, delimiter=SEPARATORS[path.suffix])
        for row in islice(found, rows):
            if len(row) > columns:
                raise DataError(
                    f"{path}, line {found.line_num}: the row has {len(row)} values, expected {columns} like the first"
                )
