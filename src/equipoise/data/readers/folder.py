"""A folder: ``labels.csv`` and one file per modality, joined by sample id."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from equipoise.config import ReadOptions
from equipoise.data.assemble import Raw, assemble
from equipoise.data.columns import as_text, few, parse_numbers
from equipoise.data.dataset import Dataset
from equipoise.data.description import Description, Stated, describe_source
from equipoise.data.files import ARRAYS, TABLES, read_archive, read_table, reading, table_columns
from equipoise.data.join import align_array, align_table, positions
from equipoise.data.labels import ID_NAMES, Roles, check_ids, find_roles
from equipoise.data.readers import READERS, Source
from equipoise.data.readers.table import select
from equipoise.data.rows import MappedRows, Rows
from equipoise.data.schema import Schema
from equipoise.errors import DataError, suggest

if TYPE_CHECKING:
    import pandas as pd

LABELS = "labels"


@READERS.register("folder")
class FolderReader:
    """A folder with a labels table and one csv, tsv, parquet, npy or npz file per modality, named like it."""

    @staticmethod
    def matches(source: Source) -> bool:
        """Return whether the source is a folder."""
        return isinstance(source, Path) and source.is_dir()

    @staticmethod
    def read(source: Path, options: ReadOptions, labelled: bool = True, schema: Schema | None = None) -> Dataset:
        """Read a folder; see :class:`~equipoise.data.readers.Reader`."""
        files = _data_files(source)
        labels_file = files.pop(LABELS, None)
        if labels_file is None and len(files) == 1 and not (schema is not None and set(files) & set(schema.names)):
            file = next(iter(files.values()))
            reader = next((READERS.get(name) for name in READERS.names() if READERS.get(name).matches(file)), None)
            if reader is not None:
                return reader.read(file, options, labelled, schema)
        if labels_file is None and labelled:
            raise DataError(f"{source} has no {LABELS}.csv, .tsv or .parquet, expected one with a label per sample")
        stated = describe_source(source, options, tuple(Stated.__dataclass_fields__))
        chosen = _choose(source, files, stated, schema)
        tables = {path: table_columns(path) for path in {path for _, path in chosen.values()} if path.suffix in TABLES}
        if labels_file is None:
            labels, columns = None, []
        else:
            columns = table_columns(labels_file)
            if labels_file.suffix not in TABLES:
                raise DataError(f"{labels_file}: labels must be a table: csv, tsv or parquet")
            labels = read_table(labels_file, text=columns)
        id_name = _id_name(labels, labels_file or source, tables, stated, schema)
        place = str(labels_file or source)
        roles = find_roles([name for name in columns if name != id_name], stated, schema, labelled=labelled, place=place)
        kinds = {} if schema is None else {modality.name: modality.kind for modality in schema.modalities}
        parts = {
            name: _read(name, replace(own, kind=kinds.get(name, own.kind)), path, id_name, roles)
            for name, (own, path) in chosen.items()
        }
        ids = _sample_ids(labels, id_name, parts, place)
        check_ids(ids, place)
        rows = {name: part.rows(ids, place) for name, part in parts.items()}
        return assemble(
            Raw(
                format="folder",
                name=source.resolve().name,
                place=str(source),
                ids=ids,
                id=id_name,
                columns={} if labels is None else {name: labels[name] for name in roles.names},
                roles=roles,
                inputs={name: part.aligned(rows[name]) for name, part in parts.items()},
                sources={name: part.path.name for name, part in parts.items()},
                present={name: found >= 0 for name, found in rows.items()},
            ),
            stated,
            labelled=labelled,
            schema=schema,
        )


@dataclass(frozen=True)
class _Part:
    """The file of one modality: its rows, and their ids where the file has them."""

    path: Path
    value: Rows
    ids: NDArray[np.str_] | None

    def rows(self, ids: NDArray[np.str_], samples: str) -> NDArray[np.int64]:
        if self.ids is not None:
            return positions(self.ids, ids, str(self.path), samples)
        if len(self.value) != len(ids):
            raise DataError(
                f"{self.path} has {len(self.value)} rows and no ids, expected one row for each of the {len(ids)} samples "
                f"of {samples}, in the same order"
            )
        return np.arange(len(ids))

    def aligned(self, rows: NDArray[np.int64]) -> Rows:
        if isinstance(self.value, MappedRows):
            return self.value
        return align_array(self.value, rows) if isinstance(self.value, np.ndarray) else align_table(self.value, rows)


def _data_files(folder: Path) -> dict[str, Path]:
    files: dict[str, Path] = {}
    with reading(folder, "a folder"):
        paths = sorted(folder.iterdir())
    for path in paths:
        if path.suffix not in (*TABLES, *ARRAYS) or path.name.startswith("."):
            continue
        if path.stem in files:
            raise DataError(f"{folder}: {files[path.stem].name} and {path.name} are both modality {path.stem!r}, expected one")
        files[path.stem] = path
    if not files:
        raise DataError(f"{folder} has no data, expected files ending in {', '.join((*TABLES, *ARRAYS))}")
    return files


def _choose(
    folder: Path, files: Mapping[str, Path], stated: Description, schema: Schema | None
) -> dict[str, tuple[Stated, Path]]:
    """The file of each modality, with what is stated about it."""
    if stated.modalities is not None:
        chosen = {}
        for name, own in stated.modalities.items():
            path = folder / own.file if own.file else files.get(name)
            if path is None or not path.is_file():
                if schema is not None:
                    continue  # a trained run meets data that lack this modality
                known = [file.name for file in files.values()]
                wanted = own.file or name
                raise DataError(f"{folder}: modality {name!r} has no file {wanted!r}, {suggest(wanted, known)}")
            chosen[name] = (own, path)
        return chosen
    if schema is None:
        return {name: (Stated(), path) for name, path in files.items()}
    by_file = {path.name: path for path in files.values()}
    found = {modality.name: by_file.get(modality.source) or files.get(modality.name) for modality in schema.modalities}
    known_files = {name: (Stated(), path) for name, path in found.items() if path is not None}
    if not known_files:
        raise DataError(f"{folder}: no file is one of the modalities {few(schema.names)}, found {few(files)}")
    return known_files


def _id_name(
    labels: pd.DataFrame | None, place: Path, tables: Mapping[Path, list[str]], stated: Description, schema: Schema | None
) -> str:
    """The column by which the files are joined; empty where rows are only numbered."""
    columns: dict[Path, list[str]] = dict(tables) if labels is None else {place: list(labels.columns), **tables}
    if stated.id is not None:
        for path, names in columns.items():
            if stated.id not in names:
                raise DataError(f"{path} has no id column {stated.id!r}, {suggest(stated.id, names)}")
        return stated.id
    shared = [name for name in next(iter(columns.values()), []) if all(name in names for names in columns.values())]
    if schema is not None and schema.id in shared:
        return schema.id
    if labels is None:
        named = [name for name in shared if name.lower() in ID_NAMES]
        if shared or not tables:
            return (named or shared or [""])[0]
    else:
        unique = [name for name in shared if len(np.unique(as_text(labels[name]))) == len(labels)]
        named = [name for name in unique if name.lower() in ID_NAMES]
        if tables and (unique or shared):
            return (named or unique or shared)[0]
        if not tables:
            text = [name for name in unique if np.isnan(parse_numbers(as_text(labels[name]))).any()]
            return (named or text or [""])[0]
    files = ", ".join(path.name for path in columns)
    raise DataError(f"{place}: no column is shared by {files}; expected a column of sample ids in each, state its name by id")


def _read(name: str, own: Stated, path: Path, id_name: str, roles: Roles) -> _Part:
    if path.suffix == ".npy":
        return _Part(path, MappedRows.open(path), None)
    if path.suffix == ".npz":
        return _read_npz(own, path, id_name)
    table = read_table(path, text=(id_name, *(table_columns(path) if own.kind == "text" else ())))
    ids = as_text(table[id_name])
    check_ids(ids, f"{path}: column {id_name!r}")
    columns = list(table.columns)
    free = [column for column in columns if column != id_name and column not in roles.names]
    chosen = select(own, name, free, columns, str(path))
    if not chosen:
        raise DataError(f"{path} has no columns except {few(columns)}, expected inputs of modality {name!r}")
    return _Part(path, table[chosen], ids)


def _read_npz(own: Stated, path: Path, id_name: str) -> _Part:
    arrays: dict[str, NDArray[Any]] = read_archive(path)
    id_key = next((key for key in (id_name, *ID_NAMES) if key in arrays and arrays[key].ndim == 1), None)
    ids = None if id_key is None else as_text(arrays.pop(id_key))
    if own.key is not None:
        if own.key not in arrays:
            raise DataError(f"{path} has no array {own.key!r}, {suggest(own.key, arrays)}")
        arrays = {own.key: arrays[own.key]}
    if len(arrays) != 1:
        raise DataError(f"{path} holds {len(arrays)} arrays ({few(arrays)}), expected one (and ids); state which by key")
    value = next(iter(arrays.values()))
    if value.ndim == 0:
        raise DataError(f"{path} holds a single value, expected an array of shape (samples, ...)")
    if ids is not None:
        if len(ids) != len(value):
            raise DataError(f"{path} has {len(ids)} ids for {len(value)} rows")
        check_ids(ids, str(path))
    return _Part(path, value, ids)


def _sample_ids(labels: pd.DataFrame | None, id_name: str, parts: Mapping[str, _Part], place: str) -> NDArray[np.str_]:
    """The samples: those of the labels; without labels all that any modality has, in the order of first appearance."""
    import pandas as pd

    if labels is not None:
        return as_text(labels[id_name]) if id_name else np.arange(len(labels)).astype(str)
    own = [part.ids for part in parts.values() if part.ids is not None]
    if own:
        return np.asarray(pd.unique(np.concatenate(own).astype(object)), dtype=str)
    return np.arange(len(next(iter(parts.values())).value)).astype(str)
