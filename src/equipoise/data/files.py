"""Reading files of untrusted origin: tables, arrays, archives and YAML, with every failure told as one sentence.

Nothing read here can execute code: arrays are opened without pickle and YAML with a loader that knows only text.
"""

from __future__ import annotations

import csv
import re
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from equipoise.errors import DataError, first_line
from equipoise.yaml_text import parse_yaml

if TYPE_CHECKING:
    import pandas as pd

SEPARATORS = {".csv": ",", ".tsv": "\t"}
TABLES = (*SEPARATORS, ".parquet")
ARRAYS = (".npy", ".npz")
_BLOCK = 2**20

# What numpy and pandas say about common damage, and what it means.
_PLAIN = {
    r"Expected (\d+) fields in line (\d+), saw (\d+)": r"line \2 has \3 values, expected \1",
    r"EOF inside string starting at row (\d+)": r"a quotation mark in row \1 is never closed",
    r"mmap length is greater than file size": "the file was cut off",
}

# What pandas takes for a missing value; stated here because it must not apply to columns that are read as text.
MISSING_WORDS = (
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
    "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
)  # fmt: skip


@contextmanager
def reading(path: Path, kind: str) -> Iterator[None]:
    """Turn whatever a library raises while reading ``path`` into one sentence.

    Args:
        path: The file.
        kind: What it should be, for the message: ``"a csv table"``.

    Raises:
        DataError: The file is missing, may not be read, is empty, damaged, or holds pickled objects.
    """
    try:
        if path.is_file() and path.stat().st_size == 0:
            raise DataError(f"{path} is empty, expected {kind}")
        yield
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path} does not exist") from None
    except PermissionError as error:
        raise DataError(f"{error.filename or path} may not be read: permission denied") from None
    except IsADirectoryError:
        raise DataError(f"{path} is a folder, expected {kind}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path} cannot be read as {kind} in UTF-8: {_undecodable(path, error)}") from None
    except ImportError as error:
        raise DataError(f"{path} needs the package pyarrow to be read ({error.name or 'it'} is not installed)") from error
    except Exception as error:  # parsers raise errors of many unrelated classes on damaged files
        if "Object arrays" in str(error) or "Python objects" in str(error):
            raise DataError(
                f"{path} holds pickled Python objects, which could run code; expected {kind} of numbers or text "
                "(of sequences all time steps in one array NAME, and the length of each in a second, NAME_lengths)"
            ) from None
        if "pickle" in str(error):  # numpy's guess about every file that does not begin like one of its own
            raise DataError(f"{path} is not {kind}; if it is a pickle, it is refused because it could run code") from None
        raise DataError(f"{path} cannot be read as {kind}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """What a parser says, in plain words where those of a common one are not."""
    said = first_line(error)
    for words, plain in _PLAIN.items():
        if match := re.search(words, said):
            return match.expand(plain)
    return said


def _undecodable(path: Path, error: UnicodeDecodeError) -> str:
    """Say where a file is not UTF-8; a parser knows the place only within the part that it read last."""
    if path.is_file():
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    line.decode()
                except UnicodeDecodeError as found:
                    return f"byte 0x{line[found.start]:02x} at place {found.start + 1} of line {number}"
    return f"byte 0x{error.object[error.start]:02x}"


def table_columns(path: Path) -> list[str]:
    """Return the column names of a csv, tsv or parquet file.

    Args:
        path: The file.

    Raises:
        DataError: The file cannot be read, has no columns, or a name occurs twice.
    """
    import pandas as pd

    with reading(path, kind_of_table(path)):
        if path.suffix == ".parquet":
            from pyarrow import parquet

            names = [str(name) for name in parquet.read_schema(path).names]
        else:
            separator = SEPARATORS[path.suffix]
            head = pd.read_csv(path, sep=separator, header=None, nrows=1, dtype=str, keep_default_na=False, encoding="utf-8-sig")
            names = [str(name) for name in head.iloc[0]]
            if len(names) == 1 and any(mark in names[0] for mark in ",;\t"):
                mark = next(mark for mark in ",;\t" if mark in names[0])
                raise DataError(f"{path} is not separated by {separator!r}: its first line is one column that contains {mark!r}")
    if any("\0" in name for name in names):
        raise DataError(f"{path} holds bytes of value zero, expected {kind_of_table(path)} in UTF-8")
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise DataError(f"{path}: column {name!r} occurs twice, expected every column once")
        seen.add(name)
    return names


def read_table(path: Path, text: Collection[str] = ()) -> pd.DataFrame:
    """Read a csv, tsv or parquet file.

    Args:
        path: The file; its suffix says the format.
        text: Columns to keep as they are written (ids, labels): ``NA`` stays a word and ``007`` keeps its zeros.

    Returns:
        The table, with at least one row.

    Raises:
        DataError: The file cannot be read or has no rows.
    """
    import pandas as pd

    columns = table_columns(path)
    with reading(path, kind_of_table(path)), warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        if path.suffix == ".parquet":
            table = pd.read_parquet(path)
            if not isinstance(table.index, pd.RangeIndex):
                table = table.reset_index()
            table.columns = table.columns.astype(str)
        else:
            table = pd.read_csv(path, header=0, names=columns, encoding="utf-8-sig", **csv_options(path, columns, text))
    if table.empty:
        raise DataError(f"{path} has no rows, expected one row per sample")
    if path.suffix in SEPARATORS:
        check_end(path, len(columns))
    return table


def csv_options(path: Path, columns: Collection[str], text: Collection[str]) -> dict[str, Any]:
    """Return how pandas is asked to read a csv or tsv file.

    Args:
        path: The file.
        columns: The names of all its columns.
        text: Columns to keep as they are written.
    """
    return {
        "sep": SEPARATORS[path.suffix],
        "dtype": dict.fromkeys(set(text) & set(columns), str),
        "na_values": {name: list(MISSING_WORDS) for name in columns if name not in text},
        "keep_default_na": False,
        "index_col": False,
        "low_memory": False,
        **_exact_floats(),
    }


def check_end(path: Path, columns: int) -> None:
    """Refuse a csv or tsv file that ends in mid-row: pandas would take what is lost for missing values.

    Args:
        path: The file.
        columns: Number of its columns.

    Raises:
        DataError: The last row is short and has no end of line.
    """
    last = b""
    with path.open("rb") as file:
        for place in range(path.stat().st_size, 0, -_BLOCK):
            file.seek(max(0, place - _BLOCK))
            last = file.read(min(_BLOCK, place)) + last
            if b"\n" in last or b"\r" in last:
                break
        row = re.split(rb"[\r\n]", last)[-1].decode(errors="replace")
        if not row.strip() or row.count('"') % 2:  # the end of a quoted field of several lines is no row
            return
        found = len(next(csv.reader([row], delimiter=SEPARATORS[path.suffix])))
        if found < columns:
            file.seek(0)
            line = 1 + sum(block.count(b"\n") for block in iter(lambda: file.read(_BLOCK), b""))
            raise DataError(
                f"{path}, line {line}: the last row has {found} of {columns} values and no end of line: the file was cut off"
            )


def read_array(path: Path) -> NDArray[Any]:
    """Open an npy file as a read-only memory map.

    Args:
        path: The file.

    Returns:
        The array, of shape (samples, ...), still on disk.

    Raises:
        DataError: The file cannot be read, holds objects, or has no samples.
    """
    with reading(path, "an npy array"):
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(array, np.ndarray):
        raise DataError(f"{path} is an npz archive although it is called npy; rename it to {path.stem}.npz")
    if array.ndim == 0 or len(array) == 0:
        raise DataError(f"{path} has no rows, expected an array of shape (samples, ...), found shape {array.shape}")
    return array


def read_archive(path: Path) -> dict[str, NDArray[Any]]:
    """Read all arrays of an npz file.

    Args:
        path: The file.

    Returns:
        The arrays by name.

    Raises:
        DataError: The file cannot be read or an array holds objects.
    """
    with reading(path, "an npz archive"), path.open("rb") as file:
        archive = np.load(file, allow_pickle=False)
        if isinstance(archive, np.ndarray):
            raise DataError(f"{path} is a single npy array although it is called npz; rename it to {path.stem}.npy")
        arrays: dict[str, NDArray[Any]] = {}
        with archive:
            for name in archive.files:
                with reading(path / name, "an array"):
                    arrays[name] = archive[name]
    if not arrays:
        raise DataError(f"{path} holds no arrays")
    return arrays


def read_yaml(path: Path) -> object:
    """Read a YAML file in which every scalar is text, so that a class called ``no`` or ``01`` stays what is written.

    Args:
        path: The file.

    Returns:
        Nested dicts, lists and strings.

    Raises:
        DataError: The file cannot be read.
    """
    with reading(path, "YAML"):
        return parse_yaml(path.read_text(encoding="utf-8"), words=True)


def _exact_floats() -> dict[str, Any]:
    """Before pandas 3.1 every digit of a number had to be asked for; now it is the default and asking is deprecated."""
    import pandas as pd

    version = tuple(int(part) for part in pd.__version__.split(".")[:2])
    return {"float_precision": "round_trip"} if version < (3, 1) else {}


def kind_of_table(path: Path) -> str:
    """Return what a file should be by its suffix, for messages."""
    return f"a {path.suffix.removeprefix('.')} table"
