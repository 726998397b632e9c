"""One recording: a csv, tsv, parquet or npy file whose rows are time steps and whose columns are channels.

Messages here are reasons: whoever catches them names the file.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from equipoise.data.columns import LARGEST, few
from equipoise.data.files import MISSING_WORDS, SEPARATORS
from equipoise.data.media.base import library
from equipoise.data.sequences import ranks
from equipoise.errors import DataError

ARRAY, PARQUET = ".npy", ".parquet"
SUFFIXES = (*SEPARATORS, PARQUET, ARRAY)
"""By which the names of recordings are recognised."""


@dataclass(frozen=True)
class _Columns:
    """What a file holds.

    Attributes:
        names: Names of its columns.
        values: Its columns, each of shape (steps,): float64, or text in which a missing value is ``nan``.
        lines: Line of each step in a file of text, empty for others.
    """

    names: Sequence[str]
    values: Sequence[NDArray[Any]]
    lines: Sequence[int] = ()

    def numbers(self, name: str) -> NDArray[np.float64]:
        """A column as numbers.

        Raises:
            DataError: A value is none, or is infinite.
        """
        column = self.values[self.names.index(name)]
        try:
            numbers = column.astype(np.float64)
            wrong = np.abs(numbers) > LARGEST
        except ValueError:
            wrong = np.array([not _are_numbers([word]) for word in column])
        if wrong.any():
            row = int(np.argmax(wrong))
            where = f"line {self.lines[row]}" if self.lines else f"row {row}"
            raise DataError(f"column {name!r}, {where}: {str(column[row])!r}, expected finite numbers in every channel")
        return numbers

    def sorting(self, name: str) -> NDArray[np.int64]:
        """The places of the steps in the order of a column of numbers or times."""
        column = self.values[self.names.index(name)]
        known = column.dtype.kind == "f" and not np.isnan(column).any()
        return np.argsort(column if known else ranks(column, len(column), f"column {name!r}"), kind="stable")


def suffix_of(path: Path) -> str:
    """Return the suffix of a recording in small letters.

    Raises:
        DataError: It is not one of :data:`SUFFIXES`.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise DataError(f"ends in {path.suffix!r}, expected {', '.join(SUFFIXES)}")
    return suffix


def column_names(path: Path) -> list[str]:
    """Return the names of the columns of a recording, of which no step is read; those of an array are their numbers.

    Raises:
        DataError: It has none, or the same twice.
    """
    suffix = suffix_of(path)
    if path.is_file() and path.stat().st_size == 0:
        raise DataError("is empty")
    if suffix == ARRAY:
        return list(map(str, range(_array(path).shape[1])))
    if suffix == PARQUET:
        with library("pyarrow", "parquet"):
            from pyarrow import parquet
        names = [str(name) for name in parquet.read_schema(path).names]
    else:
        with path.open(encoding="utf-8-sig") as file:
            names = _header(file, SEPARATORS[suffix])
        if _are_numbers(names) and names != list(map(str, range(len(names)))):  # which pandas writes where there are no names
            raise DataError(f"its first line holds numbers ({few(names)}), expected the names of its columns")
    if len(set(names)) < len(names):
        raise DataError(f"column {next(name for name in names if names.count(name) > 1)!r} occurs twice")
    return names


def read_steps(path: Path, channels: Sequence[str], order: str | None) -> NDArray[np.float64]:
    """Read a recording.

    Args:
        path: The file; its suffix says the format.
        channels: Columns to read; those of an array of as many columns are taken in their order.
        order: Column that the steps are sorted by; None keeps their order.

    Returns:
        The steps of shape (steps, channels), NaN where a value is missing.

    Raises:
        DataError: It has no step, or a channel holds anything but finite numbers.
    """
    suffix = suffix_of(path)
    if suffix == ARRAY:
        array = np.asarray(_array(path), dtype=np.float64)
        own = list(map(str, range(array.shape[1])))
        by_name = set(channels) <= set(own)
        found = _Columns(own if by_name or order else channels, list(array.T))
    elif suffix == PARQUET:
        found = _parquet(path, channels if order is None else dict.fromkeys((*channels, order)))
    else:
        found = _text(path, SEPARATORS[suffix])
    if len(found.values[0]) == 0:
        raise DataError("has no time step")
    steps = np.column_stack([found.numbers(name) for name in channels])
    return steps if order is None else steps[found.sorting(order)]


def _array(path: Path) -> NDArray[Any]:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        if any(words in str(error) for words in ("pickle", "Object arrays", "Python objects")):
            raise DataError("is no npy array of numbers; pickled objects are refused, because they could run code") from None
        raise
    if not isinstance(array, np.ndarray):
        raise DataError("is an npz archive although it is called npy")
    if array.dtype.kind not in "buif" or array.ndim != 2 or array.shape[1] == 0:
        raise DataError(f"holds values of type {array.dtype} in shape {array.shape}, expected numbers of shape (time, channels)")
    return array


def _parquet(path: Path, names: Iterable[str]) -> _Columns:
    import pyarrow as pa
    from pyarrow import parquet

    table = parquet.read_table(path, columns=list(names), use_threads=False)
    values = []
    for column in table.columns:
        if pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_boolean(column.type):
            values.append(np.asarray(column.cast(pa.float64(), safe=False).to_numpy(), dtype=np.float64))
        else:
            values.append(np.array([word or "nan" for word in column.cast(pa.string()).to_pylist()], dtype=str))
    return _Columns(table.column_names, values)


def _are_numbers(words: Sequence[str]) -> bool:
    try:
        return np.array(words, dtype=str).astype(np.float64).size > 0
    except ValueError:
        return False


def _header(file: io.TextIOBase, separator: str) -> list[str]:
    return [name.strip() for name in next(csv.reader(file, delimiter=separator), [])]


def _text(path: Path, separator: str) -> _Columns:
    with path.open(encoding="utf-8-sig") as file:
        names = _header(file, separator)
        body = file.read()
    if not body.strip():
        return _Columns(names, [np.zeros(0)] * len(names))
    with suppress(ValueError):  # a value is missing or is no number, or rows differ in length
        numbers = np.loadtxt(body.split("\n"), delimiter=separator, comments=None, quotechar='"', ndmin=2)
        if numbers.shape[1] == len(names) and not (np.abs(numbers) > LARGEST).any():
            return _Columns(names, list(numbers.T), range(2, len(numbers) + 2))
    return _cells(names, body, separator)


def _cells(names: Sequence[str], body: str, separator: str) -> _Columns:
    """The columns cell by cell, which takes several times as long and tells what is wrong."""
    rows, lines = [], []
    reader = csv.reader(io.StringIO(body), delimiter=separator)
    for row in reader:
        if not row:
            continue  # a blank line
        lines.append(reader.line_num + 1)
        if len(row) != len(names):
            raise DataError(f"line {lines[-1]} has {len(row)} values, expected one for each of {len(names)} columns")
        rows.append(["nan" if cell.strip() in MISSING_WORDS else cell.strip() for cell in row])
    return _Columns(names, [np.array(column, dtype=str) for column in zip(*rows, strict=True)], lines)
