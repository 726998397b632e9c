"""Columns of Arrow data, from whatever files: one row per sample, and in a row numbers, words, or lists of numbers."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from equipoise.data.files import reading
from equipoise.data.media.base import files_kind
from equipoise.data.memory import fits
from equipoise.data.rows import MappedRows, Rows
from equipoise.data.scratch import Spool
from equipoise.data.sequences import Frames
from equipoise.data.stored_table import StoredTable
from equipoise.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

_BATCH = 1 << 21
"""Values of a parquet file that are read together."""


@dataclass(frozen=True, eq=False)
class ArrowTable(StoredTable):
    """A table in Arrow files, read column by column.

    Attributes:
        place: How messages call it.
        types: Per column its Arrow type.
        rows: Number of rows.
        scan: Gives the record batches of some columns, in the order of the rows.
        classes: Names of the classes of columns that hold their numbers.
        split: The part of a split that each row was found in, of shape (rows,), where the files say so.
    """

    place: str
    types: Mapping[str, Any]
    rows: int
    scan: Callable[[list[str]], Iterator[Any]]
    classes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    split: NDArray[np.str_] | None = None

    @property
    def scalars(self) -> list[str]:
        """The columns of one value per row."""
        import pyarrow as pa

        other = (pa.types.is_nested, pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary)
        return [name for name, kind in self.types.items() if not any(test(kind) for test in other)]

    @property
    def lists(self) -> list[str]:
        """The columns of lists of numbers."""
        return [name for name, kind in self.types.items() if _is_list(kind) and _is_number(_innermost(kind))]

    @property
    def media(self) -> list[str]:
        """The columns of encoded files: structures of ``bytes`` and ``path``."""
        import pyarrow as pa

        return [
            name
            for name, kind in self.types.items()
            if pa.types.is_struct(kind) and {kind.field(place).name for place in range(kind.num_fields)} == {"bytes", "path"}
        ]

    def pieces(self, columns: Sequence[str]) -> Iterator[pd.DataFrame]:
        """Read columns of one value per row; names of classes in place of their numbers, None where there is no class."""
        import pandas as pd

        for batch in self.scan(list(columns)):
            piece: pd.DataFrame = batch.to_pandas()
            for name, dtype in piece.dtypes.items():
                if name in self.classes:
                    numbers = piece[name].fillna(-1).astype(np.int64)
                    known = dict(enumerate(self.classes[str(name)]))
                    piece[name] = pd.Series([known.get(number) for number in numbers], dtype=object)
                elif isinstance(dtype, pd.CategoricalDtype):
                    piece[name] = piece[name].astype(object)
            yield piece

    def words(self, columns: Sequence[str]) -> list[str]:
        return [name for name in columns if name in self.classes or not _is_number(self.types[name], boolean=False)]

    def file_names(self, columns: Sequence[str]) -> list[str]:
        import pyarrow as pa

        kinds = {name: self.types[name] for name in columns}
        words = [name for name, kind in kinds.items() if is_text(kind.value_type if pa.types.is_dictionary(kind) else kind)]
        return [name for name in words if self._all_files(name)]

    def _all_files(self, column: str) -> bool:
        kinds: set[str | None] = set()
        for batch in self.scan([column]):
            known = [name for name in batch.column(0).to_pylist() if name]
            if known:
                kinds.add(files_kind(known))
            if None in kinds or len(kinds) > 1:
                return False
        return bool(kinds)

    def number_type(self, columns: Sequence[str]) -> np.dtype[Any]:
        return np.dtype(np.float32 if all(_small(_innermost(self.types[name])) for name in columns) else np.float64)

    def array(self, column: str) -> Rows | Frames:
        """Return a column of lists as an array of shape (rows, ...), on disk where it does not fit; frames if lengths differ."""
        first = next((batch for batch in self.scan([column]) if batch.num_rows > batch.column(0).null_count), None)
        if first is None:
            raise DataError(f"{self.place}: column {column!r} holds no list at all")
        width = int(_nested(first.column(0), self._of(column))[0].size / (first.num_rows - first.column(0).null_count))
        if not fits(8 * self.rows * width):
            return self._spooled(column)
        found = self._read([column]).column(0)
        values, lengths = _nested(found.combine_chunks() if found.num_chunks != 1 else found.chunk(0), self._of(column))
        if len(set(lengths[lengths >= 0].tolist())) > 1:
            return Frames(values.reshape(len(values), -1), np.maximum(lengths, 0))
        return _filled(values, lengths)

    def files(self, column: str, folder: Path) -> NDArray[np.object_]:
        """Write the encoded files of a column into a folder.

        Args:
            column: The column.
            folder: The folder, which other columns may be written to.

        Returns:
            Their paths of shape (rows,), "" where there is none.

        Raises:
            DataError: A row names a file without holding it, or holds something of a format that is not known.
        """
        names: list[str] = []
        parent = Path(tempfile.mkdtemp(dir=folder))
        for batch in self.scan([column]):
            for number, item in enumerate(batch.column(0).to_pylist(), len(names)):
                content = (item or {}).get("bytes")
                if content is None and (item or {}).get("path"):
                    raise DataError(f"{self._of(column)} names the file {item['path']!r} without holding it, which is refused")
                suffix = "" if content is None else _suffix(content)
                if suffix is None:
                    known = ", ".join(dict.fromkeys(_BEGINNINGS.values()))
                    raise DataError(
                        f"{self._of(column)}: the file in row {number} is of no known format, expected one of {known}"
                    )
                path = parent / f"{number}{suffix}"
                if content is not None:
                    path.write_bytes(content)
                names.append("" if content is None else str(path))
        return np.array(names, dtype=object)

    def _of(self, column: str) -> str:
        return f"{self.place}: column {column!r}"

    def _read(self, columns: Sequence[str]) -> Any:
        import pyarrow as pa

        return pa.Table.from_batches(self.scan(list(columns)), pa.schema([(name, self.types[name]) for name in columns]))

    def _spooled(self, column: str) -> MappedRows:
        """Lists of one length copied batch by batch into a file."""
        spool: Spool | None = None
        shape: tuple[int, ...] = ()
        for batch in self.scan([column]):
            values, lengths = _nested(batch.column(0), self._of(column))
            if len(set(lengths[lengths >= 0].tolist())) > 1:
                raise DataError(f"{self._of(column)} holds lists of different lengths and does not fit into memory")
            part = _filled(values, lengths)
            if spool is None:
                shape = part.shape[1:]
                spool = Spool(self.rows, shape, self.number_type([column]), self.place)
            if part.shape[1:] != shape:
                raise DataError(f"{self._of(column)} holds lists of shapes {shape} and {part.shape[1:]}, expected one")
            spool.write(part)
        assert spool is not None
        return spool.rows()


def open_parquet(path: Path) -> ArrowTable:
    """Return one parquet file as a table of which little more is in memory than the rows that are being read.

    Args:
        path: The file.

    Raises:
        DataError: The file cannot be read or has no rows.
    """
    schema, rows = parquet_schema(path)
    if not rows:
        raise DataError(f"{path} has no rows, expected one row per sample")
    types = {field.name: plain_type(field.type) for field in schema}
    return ArrowTable(place=str(path), types=types, rows=rows, scan=lambda columns: parquet_batches(path, columns))


def parquet_schema(path: Path) -> tuple[Any, int]:
    """Return the Arrow schema of a parquet file, and its number of rows.

    Raises:
        DataError: The file cannot be read.
    """
    with reading(path, "a parquet table"):
        from pyarrow import parquet

        with parquet.ParquetFile(path) as file:
            return file.schema_arrow, file.metadata.num_rows


def parquet_batches(path: Path, columns: Sequence[str]) -> Iterator[Any]:
    """Read columns of a parquet file, a few rows at a time however many it keeps together.

    Raises:
        DataError: The file cannot be read.
    """
    from pyarrow import parquet

    # buffers of its own, or else whole columns of a group of rows, which may be the whole file, are held as they are compressed
    with reading(path, "a parquet table"), parquet.ParquetFile(path, buffer_size=1 << 16, pre_buffer=False) as file:
        for batch in file.iter_batches(max(1, min(1 << 16, _BATCH // len(columns))), columns=list(columns)):
            # a name with a dot selects more columns, and they come in the order of the file
            yield batch.select(list(columns))


# The suffix says to others what a file is; names in the data are not trusted with it.
_BEGINNINGS = {
    rb"\x89PNG": ".png", rb"\xff\xd8\xff": ".jpg", rb"RIFF.{4}WEBP": ".webp",
    rb"RIFF.{4}WAVE": ".wav", rb"fLaC": ".flac", rb"OggS": ".ogg",
}  # fmt: skip


def _suffix(content: bytes) -> str | None:
    return next((suffix for start, suffix in _BEGINNINGS.items() if re.match(start, content, re.DOTALL)), None)


def plain_type(kind: Any) -> Any:
    """Return what an Arrow extension type, such as that of arrays of several dimensions, is stored as."""
    import pyarrow as pa

    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    return any(test(kind) for test in (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list))


def _innermost(kind: Any) -> Any:
    while _is_list(kind):
        kind = kind.value_type
    return kind


def is_text(kind: Any) -> bool:
    """Return whether values of an Arrow type are text."""
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_number(kind: Any, *, boolean: bool = True) -> bool:
    import pyarrow as pa

    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or (boolean and pa.types.is_boolean(kind))


def _small(kind: Any) -> bool:
    """Whether float32 holds every number of the type."""
    return bool(np.promote_types(np.dtype(kind.to_pandas_dtype()), np.float32) == np.float32)


def _nested(column: Any, place: str) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The numbers of nested lists, of shape (items of all rows, ...) if the outer lists differ in length, and those lengths.

    A missing row has the length -1 and no items. Rows of one length give an array of shape (rows, ...).
    """
    import pyarrow.compute as pc

    lengths = np.asarray(pc.fill_null(pc.list_value_length(column), -1), dtype=np.int64)
    rows = column.drop_null()
    shape: list[int] = []
    while _is_list(rows.type):
        inner = np.asarray(pc.list_value_length(rows), dtype=np.float64)
        if len(inner) and not (inner == inner[0]).all():
            if shape:
                raise DataError(f"{place} holds lists in lists of different lengths, expected one length inside of a sample")
            shape.append(-1)
        else:
            shape.append(int(inner[0]) if len(inner) else 0)
        rows = rows.flatten()
    values = rows.to_numpy(zero_copy_only=False)
    if values.dtype == object:
        values = values.astype(np.float64)
    if shape[0] == -1:
        return values.reshape(-1, *shape[1:]), lengths
    return values.reshape(int((lengths >= 0).sum()), *shape), lengths


def _filled(values: NDArray[Any], lengths: NDArray[np.int64]) -> NDArray[Any]:
    """An array with a row of NaN for each missing one."""
    found = lengths >= 0
    if found.all():
        return values
    whole = np.full((len(lengths), *values.shape[1:]), np.nan, dtype=np.promote_types(values.dtype, np.float32))
    whole[found] = values
    return whole
