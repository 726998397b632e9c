"""Files of anndata (``.h5ad``) and mudata (``.h5mu``): matrices of samples x variables, and obs, a table about the samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from equipoise.config import ReadOptions
from equipoise.data.assemble import Raw, assemble
from equipoise.data.columns import as_text, few
from equipoise.data.dataset import Dataset
from equipoise.data.description import Description, Stated, describe_source
from equipoise.data.hdf5 import child, columns_of, has, index_of, opened, place, read_column, read_matrix, read_table
from equipoise.data.join import align_array, align_table, positions
from equipoise.data.labels import find_roles
from equipoise.data.named_rows import NamedRows
from equipoise.data.readers import READERS, Source
from equipoise.data.readers.table import select
from equipoise.data.rows import Rows
from equipoise.data.schema import Schema
from equipoise.errors import DataError, suggest

SUFFIXES = (".h5ad", ".h5mu")


@READERS.register("omics")
class OmicsReader:
    """An h5ad file is one modality, its matrix ``X``; each modality of an h5mu file is one, joined by the names of the samples.

    What else the file holds is stated by ``key``: a path such as ``layers/counts``, ``obsm/X_pca`` or ``raw/X``, or the variables
    of one group, ``var/feature_types/Gene Expression``; in an h5mu file after the name of its modality: ``rna/layers/counts``.
    Columns of obs become a modality where ``columns`` lists them.
    """

    @staticmethod
    def matches(source: Source) -> bool:
        """Return whether the source is an h5ad or h5mu file."""
        return isinstance(source, Path) and source.suffix in SUFFIXES

    @staticmethod
    def read(source: Path, options: ReadOptions, labelled: bool = True, schema: Schema | None = None) -> Dataset:
        """Read an h5ad or h5mu file; see :class:`~equipoise.data.readers.Reader`."""
        stated = describe_source(source, options, ("key", "columns", "kind", "categorical"))
        with opened(source) as root:
            file = _File.of(root)
            if stated.id is not None and stated.id not in file.columns:
                raise DataError(f"{source}: obs has no id column {stated.id!r}, {suggest(stated.id, file.columns)}")
            roles = find_roles(list(file.columns), stated, schema, labelled=labelled, place=f"{source}: obs")
            chosen = _choose(file, stated, schema)
            if schema is not None and not chosen:
                raise DataError(
                    f"{source} has none of the modalities {few(schema.names)}; state where they are, for example "
                    f"modalities: {{{schema.names[0]}: {{key: {next(iter(file.tables)) or 'X'}}}}}"
                )
            free = [name for name in file.columns if name not in (*roles.names, stated.id)]
            parts = {name: _read(file, name, own, free, source) for name, own in chosen.items()}
            values = {name: file.column(name) for name in (*roles.names, *([stated.id] if stated.id else []))}
        return assemble(
            Raw(
                format="omics",
                name=source.stem,
                place=str(source),
                ids=file.names if stated.id is None else as_text(values[stated.id]),
                id=stated.id or "",
                columns=values,
                roles=roles,
                inputs={name: value for name, (value, _) in parts.items()},
                sources={name: own.key or "" for name, own in chosen.items()},
                present={name: present for name, (_, present) in parts.items()},
            ),
            stated,
            labelled=labelled,
            schema=schema,
        )


@dataclass(frozen=True)
class _File:
    """What an open file holds.

    Attributes:
        names: Names of the samples, of shape (samples,).
        tables: The annotated matrices by the name of their modality; that of an h5ad file has none.
        columns: The columns of obs, each with the table and its name there; those of one modality are called
            ``modality:column``, as mudata does.
        rows: For each of ``tables`` the rows of the samples, -1 where it lacks one.
    """

    names: NDArray[np.str_]
    tables: Mapping[str, Any]
    columns: Mapping[str, tuple[str, Any]]
    rows: Mapping[str, NDArray[np.int64]]

    @classmethod
    def of(cls, root: Any) -> _File:
        obs = child(root, "obs")
        names = _unique(index_of(obs), obs, "sample")
        columns = {name: ("", child(obs, name)) for name in columns_of(obs)}
        if not has(root, "mod"):
            return cls(names, {"": root}, columns, {"": np.arange(len(names))})
        if int(root.attrs.get("axis", 0)) != 0:
            raise DataError(f"{place(root)}: its modalities share variables, expected modalities of the same samples (axis 0)")
        tables = {str(name): child(root, f"mod/{name}") for name in root["mod"].attrs.get("mod-order", list(root["mod"]))}
        rows = {}
        for modality, table in tables.items():
            own = child(table, "obs")
            rows[modality] = positions(_unique(index_of(own), own, "sample"), names, place(own), place(obs))
            columns = {f"{modality}:{name}": (modality, child(own, name)) for name in columns_of(own)} | columns
        return cls(names, tables, columns, rows)

    def column(self, name: str) -> Any:
        """One column of obs in the order of the samples, of shape (samples,); None where its modality lacks a sample."""
        import pandas as pd

        modality, node = self.columns[name]
        values = pd.DataFrame({name: read_column(node)})
        return values[name] if not modality else align_table(values, self.rows[modality])[name]

    def split(self, key: str) -> tuple[str, str]:
        """The modality and the path in it that a key states; an h5mu file is asked for ``X`` by the name of the modality."""
        if "" in self.tables:
            return "", key
        modality, _, path = key.partition("/")
        return modality, path or "X"

    def holds(self, key: str) -> bool:
        modality, path = self.split(key)
        path = "/".join(path.split("/")[:2]) if path.startswith("var/") else path
        return modality in self.tables and has(self.tables[modality], path)


def _unique(names: NDArray[np.str_], frame: Any, what: str) -> NDArray[np.str_]:
    twice = [name for name, count in Counter(names.tolist()).items() if count > 1]
    if twice:
        raise DataError(f"{place(frame)}: {what} {few(twice)} occurs more than once, expected every name once")
    return names


def _choose(file: _File, stated: Description, schema: Schema | None) -> dict[str, Stated]:
    """What is stated about each modality; all have either the key of a matrix or columns of obs."""
    if stated.modalities is not None:
        chosen = {}
        for name, own in stated.modalities.items():
            if own.key and own.columns:
                raise DataError(f"{stated.place}: modality {name!r} states both a key and columns of obs, expected one of them")
            if not own.columns:
                own = Stated(key=own.key or (name if name in file.tables else "X"), kind=own.kind, categorical=own.categorical)
            # a trained run may meet data that lack some modality
            if schema is None or (file.holds(own.key) if own.key else set(own.columns or ()) <= set(file.columns)):
                chosen[name] = own
        return chosen
    if schema is None:
        return {name or "X": Stated(key=name or "X") for name in file.tables}
    chosen = {}
    for modality in schema.modalities:
        key = next((key for key in (modality.source, modality.name) if key and file.holds(key)), None)
        if key is not None:
            chosen[modality.name] = Stated(key=key)
        elif modality.columns and set(modality.columns) <= set(file.columns):
            chosen[modality.name] = Stated(columns=modality.columns)
    return chosen


def _read(file: _File, name: str, own: Stated, free: list[str], path: Path) -> tuple[Rows, NDArray[np.bool_]]:
    """The rows of a modality in the order of the samples, and which samples have it."""
    import pandas as pd

    if own.key is None:
        columns = select(own, name, free, list(file.columns), f"{path}: obs")
        return pd.DataFrame({column: file.column(column) for column in columns}), np.ones(len(file.names), dtype=bool)
    modality, inner = file.split(own.key)
    if modality not in file.tables:
        raise DataError(f"{path} has no modality {modality!r}, {suggest(modality, file.tables)}")
    value = _rows(file.tables[modality], inner, path)
    rows = file.rows[modality]
    if len(value) != len(np.unique(rows[rows >= 0])):
        raise DataError(
            f"{path}: {own.key!r} has {len(value)} rows, expected one for each of its {int((rows >= 0).sum())} samples"
        )
    if isinstance(value, NamedRows):
        return value.aligned(rows), rows >= 0
    return align_array(value, rows) if isinstance(value, np.ndarray) else align_table(value, rows), rows >= 0


def _rows(table: Any, inner: str, path: Path) -> Any:
    """What a path in an annotated matrix leads to: a matrix with the names of its variables, a table, or an array."""
    group, _, rest = inner.partition("/")
    if group == "var":
        return _variables(table, *rest.partition("/")[::2], path)
    if group not in ("X", "layers", "obsm", "raw"):
        raise DataError(f"{place(table)}: {inner!r} is no matrix, expected X, raw/X, layers/..., obsm/... or var/column/group")
    node = child(table, inner)
    if node.attrs.get("encoding-type") == "dataframe":
        return read_table(node)
    matrix = read_matrix(node, path)
    if len(matrix.shape) != 2:
        return matrix
    if group == "obsm":
        return NamedRows.of(matrix, [str(number) for number in range(matrix.shape[1])])
    var = child(table, "raw/var" if group == "raw" else "var")
    names = _unique(index_of(var), var, "variable")
    if len(names) != matrix.shape[1]:
        raise DataError(f"{place(node)} has {matrix.shape[1]} columns for the {len(names)} variables of {place(var)}")
    return NamedRows.of(matrix, names.tolist())


def _variables(table: Any, column: str, group: str, path: Path) -> NamedRows:
    """Those columns of ``X`` that a column of var puts into a group, such as the proteins among genes and proteins."""
    matrix = _rows(table, "X", path)
    groups = as_text(read_column(child(table, f"var/{column}")))
    if group not in groups:
        raise DataError(
            f"{place(table)}: var column {column!r} has no group {group!r}, {suggest(group, np.unique(groups).tolist())}"
        )
    found: NamedRows = matrix.select([name for name, own in zip(matrix.columns, groups, strict=True) if own == group])
    return found
