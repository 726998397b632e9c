"""A folder: ``labels.csv`` and one file per modality, joined by sample id."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import chain
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
from equipoise.data.media.base import SUFFIXES, file_kind
from equipoise.data.media.modality import folder_kind, folder_samples, sample_folders
from equipoise.data.readers import READERS, Source
from equipoise.data.readers.hugging_face import HuggingFaceReader
from equipoise.data.readers.parquet_parts import is_parts
from equipoise.data.readers.table import orders, select
from equipoise.data.recording_files import SUFFIXES as RECORDINGS
from equipoise.data.rows import LazyRows, MappedRows, Rows
from equipoise.data.schema import Modality, Schema
from equipoise.data.sequences import LENGTHS, Frames, from_long_table, with_lengths
from equipoise.errors import DataError, suggest

if TYPE_CHECKING:
    import pandas as pd

LABELS = "labels"

_OTHERS = (".xlsx", ".xls", ".ods", ".feather", ".jsonl", ".h5", ".hdf5", ".h5ad", ".h5mu", ".mat", ".pkl", ".pt", ".gz", ".zip")
"""Endings of files that often hold data and are no modality of a folder: people are told, since they may think they are."""


@READERS.register("folder")
class FolderReader:
    """A folder with a labels table and, per modality, one csv, tsv, parquet, npy or npz file, or one folder of files.

    The files in such a folder are sounds, pictures, folders of pictures, or recordings: sequences as csv, tsv, parquet or npy.
    """

    @staticmethod
    def matches(source: Source) -> bool:
        """Return whether the source is a folder that no other reader knows better."""
        return isinstance(source, Path) and source.is_dir() and not (HuggingFaceReader.matches(source) or is_parts(source))

    @staticmethod
    def read(source: Path, options: ReadOptions, labelled: bool = True, schema: Schema | None = None) -> Dataset:
        """Read a folder; see :class:`~equipoise.data.readers.Reader`."""
        files, folders = _data_files(source)
        labels_file = files.pop(LABELS, None)
        trained = schema is not None and (set(files) & set(schema.names) or (folders and schema.format == "folder"))
        if labels_file is None and len(files) == 1 and not trained:
            file = next(iter(files.values()))
            reader = next((READERS.get(name) for name in READERS.names() if READERS.get(name).matches(file)), None)
            if reader is not None:
                return reader.read(file, options, labelled, schema)
        if labels_file is None and labelled:
            raise DataError(
                f"{source} has no {LABELS}.csv, .tsv or .parquet, expected one with a label per sample"
                + ("; or are they parts of one table? call them part-0.parquet and so on" if _all_parquet(files) else "")
            )
        stated = describe_source(source, options, tuple(Stated.__dataclass_fields__))
        labels, columns = _read_labels(labels_file)
        place = str(labels_file or source)
        inferred = labels if stated.modalities is None and schema is None else None
        chosen = _choose(source, {**files, **_usable(folders, files, inferred, source)}, stated, schema)
        known = {item.name: item for item in schema.modalities} if schema is not None else {}
        own_folders = {name: _of_folder(own, known.get(name), path) for name, (own, path) in chosen.items() if path.is_dir()}
        chosen |= {name: (own, chosen[name][1]) for name, own in own_folders.items()}
        stated = replace(stated, modalities={**(stated.modalities or {}), **own_folders})
        tables = {path: table_columns(path) for path in {path for _, path in chosen.values()} if path.suffix in TABLES}
        id_name = _id_name(labels, labels_file or source, tables, stated, schema, _stems(chosen))
        roles = find_roles([name for name in columns if name != id_name], stated, schema, labelled=labelled, place=place)
        parts = {
            name: _read(name, _as_trained(own, known.get(name)), path, id_name, roles) for name, (own, path) in chosen.items()
        }
        ids = _sample_ids(labels, id_name, parts, place)
        check_ids(ids, place)
        rows = {name: part.rows(ids, place) for name, part in parts.items()}
        notes = _unread(source, ids) if inferred is not None else ()
        given = [name for name in orders(stated, schema) if name in columns]
        return assemble(
            Raw(
                format="folder",
                name=source.resolve().name,
                place=str(source),
                ids=ids,
                id=id_name,
                columns={} if labels is None else {name: labels[name] for name in (*roles.names, *given)},
                roles=roles,
                inputs={name: part.aligned(rows[name]) for name, part in parts.items()},
                sources={name: part.path.name for name, part in parts.items()},
                present={name: found >= 0 for name, found in rows.items()},
                notes=notes,
            ),
            stated,
            labelled=labelled,
            schema=schema,
        )


@dataclass(frozen=True)
class _Part:
    """The file of one modality: its rows, and their ids where the file has them."""

    path: Path
    value: Rows | Frames
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

    def aligned(self, rows: NDArray[np.int64]) -> Rows | Frames:
        if isinstance(self.value, Frames):
            return self.value.take(rows)
        if isinstance(self.value, LazyRows):
            return self.value
        return align_array(self.value, rows) if isinstance(self.value, np.ndarray) else align_table(self.value, rows)


def _data_files(folder: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """Files of numbers and text, and folders of a file per sample, by the names of their modalities."""
    files: dict[str, Path] = {}
    with reading(folder, "a folder"):
        paths = sorted(folder.iterdir())
        folders = sample_folders(folder)
    for path in paths:
        if path.suffix not in (*TABLES, *ARRAYS) or path.name.startswith("."):
            continue
        if path.stem in files:
            raise DataError(f"{folder}: {files[path.stem].name} and {path.name} are both modality {path.stem!r}, expected one")
        files[path.stem] = path
    if not files and not folders:
        raise DataError(f"{folder} has no data, expected files ending in {', '.join((*TABLES, *ARRAYS))}")
    return files, folders


def _unread(folder: Path, ids: NDArray[np.str_]) -> tuple[str, ...]:
    """What lies in the folder, looks like a modality and is none: tables of other programs, folders of files of other kinds."""
    samples = set(ids.tolist())
    found = []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in (*_OTHERS, *TABLES, *ARRAYS) and path.suffix not in (*TABLES, *ARRAYS):
            found.append((path.name, f"ending in {', '.join((*TABLES, *ARRAYS))}"))
        elif path.is_dir() and not folder_samples(path) and any(_id_of(item) in samples for item in path.iterdir()):
            found.append((path.name, f"of files ending in {', '.join((*chain(*SUFFIXES.values()), *RECORDINGS))}"))
    return tuple(f"{folder}: {name} is not read, expected modalities {wanted}" for name, wanted in found)


def _read_labels(path: Path | None) -> tuple[pd.DataFrame | None, list[str]]:
    """The labels, every column as it is written, and the names of the columns."""
    if path is None:
        return None, []
    if path.suffix not in TABLES:
        raise DataError(f"{path}: labels must be a table: csv, tsv or parquet")
    columns = table_columns(path)
    return read_table(path, text=columns), columns


def _usable(folders: Mapping[str, Path], files: Mapping[str, Path], labels: pd.DataFrame | None, source: Path) -> dict[str, Path]:
    """The folders that may be modalities.

    Tables and arrays are in folders for many reasons: where nothing is stated (``labels`` are given) some must be called like
    samples, and where the modalities are known, one file for all samples goes before a folder.
    """
    words = set() if labels is None else {word for name in labels.columns for word in as_text(labels[name]).tolist()}
    found = {}
    for name, path in folders.items():
        samples = folder_samples(path)
        recordings = not samples[0].is_dir() and file_kind(samples[0].name) is None
        if recordings and (name in files if labels is None else not any(item.stem in words for item in samples)):
            continue
        if name in files:
            raise DataError(f"{source}: {files[name].name} and the folder {name} are both modality {name!r}, expected one")
        found[name] = path
    return found


def _of_folder(own: Stated, known: Modality | None, path: Path) -> Stated:
    """What is stated about a modality in a folder of files, with its kind; the columns of recordings are their channels."""
    kind = own.kind or (known.kind if known is not None else folder_kind(path))
    if kind != "sequence" or own.columns is None:
        return replace(own, kind=kind)
    return replace(own, kind=kind, columns=None, options={"channels": own.columns, **own.options})


def _all_parquet(files: Mapping[str, Path]) -> bool:
    return all(path.suffix == ".parquet" for path in files.values())


def _choose(
    folder: Path, files: Mapping[str, Path], stated: Description, schema: Schema | None
) -> dict[str, tuple[Stated, Path]]:
    """The file of each modality, with what is stated about it."""
    if stated.modalities is not None:
        chosen = {}
        for name, own in stated.modalities.items():
            path = folder / own.file if own.file else files.get(name)
            if path is None or not path.exists():
                if schema is not None:
                    continue  # a trained run meets data that lack this modality
                known = [file.name for file in files.values()]
                wanted = own.file or name
                raise DataError(f"{folder}: modality {name!r} has no file {wanted!r}, {suggest(wanted, known)}")
            if path.is_file() and path.suffix not in (*TABLES, *ARRAYS):
                endings = ", ".join((*TABLES, *ARRAYS))
                raise DataError(f"{folder}: modality {name!r} has the file {path.name!r}, expected one ending in {endings}")
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


def _stems(chosen: Mapping[str, tuple[Stated, Path]]) -> set[str]:
    """The names of the files in folders, which are ids of samples."""
    return {_id_of(item) for own, path in chosen.values() if path.is_dir() for item in folder_samples(path, own.kind)}


def _id_of(sample: Path) -> str:
    return sample.name if sample.is_dir() else sample.stem


def _id_name(
    labels: pd.DataFrame | None,
    place: Path,
    tables: Mapping[Path, list[str]],
    stated: Description,
    schema: Schema | None,
    stems: set[str],
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
            by_file = [name for name in unique if stems & set(as_text(labels[name]).tolist())]
            text = [name for name in unique if np.isnan(parse_numbers(as_text(labels[name]))).any()]
            return ([name for name in named if name in by_file] or by_file or named or text or [""])[0]
    files = ", ".join(path.name for path in columns)
    raise DataError(f"{place}: no column is shared by {files}; expected a column of sample ids in each, state its name by id")


def _as_trained(own: Stated, known: Modality | None) -> Stated:
    """What is stated about a modality, corrected by what the trained run knows."""
    if known is None:
        return own
    return replace(own, kind=known.kind, window=known.window or None, order=known.order or None)


def _read(name: str, own: Stated, path: Path, id_name: str, roles: Roles) -> _Part:
    if path.is_dir():
        return _read_folder(path, own.kind)
    if path.suffix == ".npy":
        return _Part(path, MappedRows.open(path), None)
    if path.suffix == ".npz":
        return _read_npz(own, path, id_name)
    table = read_table(path, text=(id_name, *(table_columns(path) if own.kind == "text" else ())))
    ids = as_text(table[id_name])
    long = own.kind == "sequence" and own.window is None
    check_ids(np.unique(ids) if long else ids, f"{path}: column {id_name!r}")
    columns = list(table.columns)
    free = [column for column in columns if column != id_name and column not in roles.names]
    chosen = select(own, name, free, columns, str(path))
    if not chosen:
        raise DataError(f"{path} has no columns except {few(columns)}, expected inputs of modality {name!r}")
    if long:
        if own.order is not None and own.order not in columns:
            raise DataError(f"{path} has no column {own.order!r}, which states the order, {suggest(own.order, columns)}")
        return _Part(path, *from_long_table(table[chosen], ids, None if own.order is None else table[own.order], str(path)))
    return _Part(path, table[chosen], ids)


def _read_folder(folder: Path, kind: str | None) -> _Part:
    samples = folder_samples(folder, kind)
    if not samples:
        raise DataError(f"{folder} holds no files of kind {kind!r}")
    ids = np.array([_id_of(path) for path in samples])
    check_ids(ids, str(folder))
    return _Part(folder, np.array([str(path.absolute()) for path in samples], dtype=object), ids)


def _read_npz(own: Stated, path: Path, id_name: str) -> _Part:
    arrays: dict[str, NDArray[Any]] = read_archive(path)
    id_key = next((key for key in (id_name, *ID_NAMES) if key in arrays and arrays[key].ndim == 1), None)
    ids = None if id_key is None else as_text(arrays.pop(id_key))
    lengths = {key: arrays.pop(f"{key}{LENGTHS}") for key in list(arrays) if f"{key}{LENGTHS}" in arrays}
    if own.key is not None:
        if own.key not in arrays:
            raise DataError(f"{path} has no array {own.key!r}, {suggest(own.key, arrays)}")
        arrays = {own.key: arrays[own.key]}
    if len(arrays) != 1:
        raise DataError(f"{path} holds {len(arrays)} arrays ({few(arrays)}), expected one (and ids); state which by key")
    ((key, value),) = arrays.items()
    if value.ndim == 0:
        raise DataError(f"{path} holds a single value, expected an array of shape (samples, ...)")
    rows = with_lengths(value, lengths[key], None, f"{path}: {key!r}") if key in lengths else value
    if ids is not None:
        if len(ids) != len(rows):
            raise DataError(f"{path} has {len(ids)} ids for {len(rows)} rows")
        check_ids(ids, str(path))
    return _Part(path, rows, ids)


def _sample_ids(labels: pd.DataFrame | None, id_name: str, parts: Mapping[str, _Part], place: str) -> NDArray[np.str_]:
    """The samples: those of the labels; without labels all that any modality has, in the order of first appearance."""
    import pandas as pd

    if labels is not None:
        return as_text(labels[id_name]) if id_name else np.arange(len(labels)).astype(str)
    own = [part.ids for part in parts.values() if part.ids is not None]
    if own:
        return np.asarray(pd.unique(np.concatenate(own).astype(object)), dtype=str)
    return np.arange(len(next(iter(parts.values())).value)).astype(str)
