"""Reading list files: rows of a few fields, with what is wrong told by line."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from equipoise.data.files import reading
from equipoise.data.layouts.base import Record
from equipoise.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


def read_lines(path: Path) -> list[str]:
    """Return the lines of a text file that are not empty, without blanks at their ends.

    Raises:
        DataError: It cannot be read, or has no such line.
    """
    with reading(path, "a list"):
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    found = [line for line in lines if line]
    if not found:
        raise DataError(f"{path} has no rows, expected one per sample")
    return found


def read_rows(path: Path, fields: Sequence[str], separator: str = ",", *, header: bool = False) -> list[list[str]]:
    """Return the rows of a list.

    Args:
        path: The file.
        fields: What the first fields of each row are, for messages; more may follow.
        separator: Between fields; quotes mean something only where it is a comma.
        header: Whether the first row names the fields; they are then found by their names, in whatever order they are.

    Returns:
        The fields of each row, without blanks at their ends.

    Raises:
        DataError: The file cannot be read, a field has no column, or a row has too few of them.
    """
    with reading(path, "a list"), path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=separator, quoting=csv.QUOTE_MINIMAL if separator == "," else csv.QUOTE_NONE)
        rows = [(reader.line_num, [field.strip() for field in row]) for row in reader if any(field.strip() for field in row)]
    order = list(range(len(fields)))
    if header and rows:
        names = rows.pop(0)[1]
        missing = [name for name in fields if name not in names]
        if missing:
            raise DataError(f"{path} has no column {missing[0]!r}, found {', '.join(map(repr, names))}")
        order = [names.index(name) for name in fields]
    if not rows:
        raise DataError(f"{path} has no rows, expected one per sample")
    for number, row in rows:
        if len(row) <= max(order):
            raise DataError(f"{path}, line {number}: expected {separator.join(fields)}, found {separator.join(row)!r}")
    return [[row[place] for place in order] if header else row for _, row in rows]


def as_table(records: Sequence[Record], columns: Sequence[str]) -> pd.DataFrame:
    """Return some fields of records as a table of text."""
    import pandas as pd

    return pd.DataFrame({name: [str(record[name]) for record in records] for name in columns}, dtype=object)


def paths(records: Sequence[Record], modality: str) -> list[str]:
    """Return the paths of the files of a modality, of shape (samples,)."""
    return [str(record[modality]) for record in records]


def list_note(files: Mapping[str, Path], folder: Path) -> str:
    """Say which list file is which part of the split."""
    words = ", ".join(f"{part} {path.relative_to(folder)}" for part, path in files.items())
    return f"lists: {words}"
