"""A table in many parquet files: parts of one folder, or of folders called ``column=value``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from equipoise.config import ReadOptions
from equipoise.data.arrow import ArrowTable, parquet_batches, parquet_schema, plain_type
from equipoise.data.arrow_modalities import APPLICABLE, from_arrow
from equipoise.data.columns import few
from equipoise.data.dataset import Dataset
from equipoise.data.description import describe_source
from equipoise.data.files import ARRAYS, TABLES, reading
from equipoise.data.labels import SPLIT_WORDS
from equipoise.data.readers import READERS, Source
from equipoise.data.schema import Schema
from equipoise.errors import DataError

_PART = re.compile(r"part[-_.].*|\d+|(?P<name>\w+)-\d+-of-\d+(-.*)?")
_NOTHING = "__HIVE_DEFAULT_PARTITION__"
"""What those who write such folders put for a missing value."""


@READERS.register("parquet_parts")
class ParquetPartsReader:
    """A folder of parquet files that are called like parts of one table, or that lie in folders called ``column=value``.

    Parts are called ``part-0.parquet``, ``part.0.parquet``, ``0.parquet``, ``train-00000-of-00002.parquet`` and the like. In the
    last form the words before the numbers are the split where they are train, validation and test.
    """

    @staticmethod
    def matches(source: Source) -> bool:
        """Return whether the source is such a folder."""
        return isinstance(source, Path) and source.is_dir() and is_parts(source)

    @staticmethod
    def read(source: Path, options: ReadOptions, labelled: bool = True, schema: Schema | None = None) -> Dataset:
        """Read a folder of parts; see :class:`~equipoise.data.readers.Reader`."""
        stated = describe_source(source, options, APPLICABLE)
        return from_arrow(
            _open(source), stated, format="parquet_parts", name=source.resolve().name, labelled=labelled, schema=schema
        )


def is_parts(folder: Path) -> bool:
    """Return whether the files of a folder are parts of one table, by their names alone."""
    with reading(folder, "a folder"):
        files = [path for path in folder.iterdir() if not path.name.startswith((".", "_"))]
    if any(path.is_dir() and "=" in path.name for path in files):
        return True
    tables = [path for path in files if path.suffix in (*TABLES, *ARRAYS)]
    return bool(tables) and all(path.suffix == ".parquet" and _PART.fullmatch(path.stem) for path in tables)


def _open(folder: Path) -> ArrowTable:
    with reading(folder, "a folder of parquet files"):
        import pyarrow as pa
    others = [
        path.name for path in sorted(folder.iterdir()) if path.suffix in (*TABLES, *ARRAYS) and not _PART.fullmatch(path.stem)
    ]
    if others:
        raise DataError(
            f"{folder} can be read as one table in folders called column=value, or as one file per modality ({few(others)}); "
            "expected only one of the two"
        )
    files = [path for path in sorted(folder.rglob("*.parquet")) if not _hidden(path.relative_to(folder))]
    if not files:
        raise DataError(f"{folder} has no parquet files")
    schemas, counts = [], []
    for path in files:
        schema, rows = parquet_schema(path)
        schemas.append(schema)
        counts.append(rows)
        if set(schemas[-1].names) != set(schemas[0].names):
            other = sorted(set(schemas[-1].names) ^ set(schemas[0].names))
            raise DataError(f"{path}: its columns differ from those of {files[0]}: {few(other)} is in one of them only")
    if not sum(counts):
        raise DataError(f"{folder} has no rows, expected one row per sample")
    keys = [_keys(path.relative_to(folder)) for path in files]
    with reading(folder, "parts of one parquet table"):
        whole = _with_partitions(folder, files, schemas, keys)
    types = {field.name: plain_type(field.type) for field in whole}

    def scan(columns: list[str]) -> Iterator[Any]:
        for path, own in zip(files, keys, strict=True):
            with reading(path, "a part of a parquet table"):
                # a part has one column at least, which says how many rows it has
                stored = [name for name in columns if name not in own] or schemas[0].names[:1]
                for batch in parquet_batches(path, stored):
                    arrays = [
                        pa.repeat(pa.scalar(own[name], pa.string()), batch.num_rows)
                        if name in own
                        else _stored(batch.column(name)).cast(types[name])
                        for name in columns
                    ]
                    yield pa.RecordBatch.from_arrays(arrays, names=columns)

    return ArrowTable(place=str(folder), types=types, rows=sum(counts), scan=scan, split=_split(files, counts))


def _hidden(path: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.parts)


def _keys(path: Path) -> dict[str, str | None]:
    """What the folders of a part state."""
    found = dict(part.split("=", 1) for part in path.parts[:-1] if "=" in part)
    return {key: None if value == _NOTHING else unquote(value) for key, value in found.items()}


def _stored(column: Any) -> Any:
    """A column of an extension type as what it is stored as."""
    import pyarrow as pa

    return column.storage if isinstance(column, pa.ExtensionArray) else column


def _with_partitions(folder: Path, files: list[Path], schemas: list[Any], keys: list[dict[str, str | None]]) -> Any:
    """The columns of the parts, and those that the names of their folders state, which are text."""
    import pyarrow as pa

    for path, own in zip(files, keys, strict=True):
        if list(own) != list(keys[0]):
            raise DataError(f"{path}: its folders state {few(own) or 'nothing'}, those of {files[0].name} state {few(keys[0])}")
    whole = pa.unify_schemas(schemas, promote_options="permissive")
    for key in keys[0]:
        if key in whole.names:
            raise DataError(
                f"{folder}: {key!r} is both a column of the parts and stated by folders called {key}=..., expected one"
            )
        whole = whole.append(pa.field(key, pa.string()))
    return whole


def _split(files: list[Path], counts: list[int]) -> NDArray[np.str_] | None:
    """The split that the names of the files state; None where they state none."""
    found = [_PART.fullmatch(path.stem) for path in files]
    names = [match["name"] or "" if match else "" for match in found]
    if len(set(names)) < 2 or not all(name in SPLIT_WORDS for name in names):
        return None
    return np.repeat(names, counts)
