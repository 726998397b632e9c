"""One wide table whose columns belong to several modalities."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from equipoise.config import ReadOptions
from equipoise.data.arrow import open_parquet
from equipoise.data.assemble import Raw, assemble
from equipoise.data.columns import as_text, few
from equipoise.data.dataset import Dataset
from equipoise.data.delimited import DelimitedTable, held_whole
from equipoise.data.description import Description, Stated, describe_source
from equipoise.data.files import TABLES, read_table, table_columns
from equipoise.data.labels import ID_NAMES, find_roles
from equipoise.data.media.base import files_kind
from equipoise.data.readers import READERS, Source
from equipoise.data.rows import Rows
from equipoise.data.schema import Schema
from equipoise.data.stored_table import StoredTable
from equipoise.errors import DataError, suggest

if TYPE_CHECKING:
    import pandas as pd


@READERS.register("table")
class TableReader:
    """A csv, tsv or parquet file with one row per sample; modalities are column prefixes or lists of columns."""

    @staticmethod
    def matches(source: Source) -> bool:
        """Return whether the source is a table file."""
        return isinstance(source, Path) and source.suffix in TABLES

    @staticmethod
    def read(source: Path, options: ReadOptions, labelled: bool = True, schema: Schema | None = None) -> Dataset:
        """Read a table; see :class:`~equipoise.data.readers.Reader`."""
        stated = describe_source(source, options, ("prefix", "columns", "kind", "categorical", "window", "order", "options"))
        place = str(source)
        names = table_columns(source)
        wanted = stated.id or (schema.id if schema is not None and schema.id in names else None)
        if wanted is not None and wanted not in names:
            raise DataError(f"{place} has no id column {wanted!r}, {suggest(wanted, names)}")
        id_name = wanted or next((name for name in names if name.lower() in ID_NAMES), "")
        roles = find_roles([name for name in names if name != id_name], stated, schema, labelled=labelled, place=place)
        kept = list(dict.fromkeys(name for name in (*roles.names, id_name, *orders(stated, schema)) if name in names))
        table = _open(source, names, frozenset({*roles.names, id_name, *_text_columns(names, stated, schema)}), kept)
        columns = table.values(kept)
        ids = as_text(columns[id_name]) if id_name else np.arange(table.rows).astype(str)
        if id_name and wanted is None and len(np.unique(ids)) < len(ids):
            # a column that only happens to be called id, such as a patient's with several rows
            ids, id_name = np.arange(table.rows).astype(str), ""
        special = {*roles.names, id_name}
        inferred = stated.modalities is None and schema is None
        files = table.file_names([name for name in names if name not in special]) if inferred else []
        chosen = _choose(names, special, stated, schema, place, files)
        inputs = table.inputs({name: found for name, (found, _) in chosen.items()}, ids, stated, schema)
        return assemble(
            Raw(
                format="table",
                name=source.stem,
                place=place,
                ids=ids,
                id=id_name,
                columns=columns,
                roles=roles,
                inputs=inputs,
                sources={name: prefix for name, (_, prefix) in chosen.items()},
            ),
            stated,
            labelled=labelled,
            schema=schema,
        )


@dataclass(frozen=True, eq=False)
class _Whole:
    """A table in memory, with what is asked of a :class:`StoredTable`."""

    frame: pd.DataFrame

    @property
    def rows(self) -> int:
        return len(self.frame)

    def values(self, columns: Sequence[str]) -> Mapping[str, Any]:
        return {name: self.frame[name] for name in columns}

    def file_names(self, columns: Sequence[str]) -> list[str]:
        return [name for name in columns if files_kind(self.frame[name])]

    def inputs(
        self, chosen: Mapping[str, Sequence[str]], ids: NDArray[np.str_], stated: Description, schema: Schema | None
    ) -> dict[str, Rows]:
        return {name: self.frame[list(columns)] for name, columns in chosen.items()}


def _open(source: Path, names: Sequence[str], text: frozenset[str], kept: Sequence[str]) -> _Whole | StoredTable:
    """A parquet file and a csv file that is large as columns that are read when they are asked for, any other csv file whole."""
    if source.suffix == ".parquet":
        return open_parquet(source)
    if held_whole(source, len(names)):
        return _Whole(read_table(source, text))
    return DelimitedTable.open(source, names, text, kept)


def _choose(
    names: Sequence[str], special: set[str], stated: Description, schema: Schema | None, place: str, files: Sequence[str]
) -> dict[str, tuple[list[str], str]]:
    """Columns of each modality, with the prefix by which they were found; each column of media files is one by itself."""
    free = [name for name in names if name not in special]
    if stated.modalities is not None:
        chosen = {
            name: (select(own, name, free, names, place), own.prefix or "")
            for name, own in stated.modalities.items()
            # a trained run may meet data that lack some modality
            if schema is None or any(_belongs(column, own) for column in free)
        }
    elif schema is not None:
        known = {modality.name: [column for column in modality.table_columns if column in free] for modality in schema.modalities}
        return {name: (columns, "") for name, columns in known.items() if columns}
    else:
        rest = [name for name in free if name not in files]
        chosen = {name: ([name], "") for name in files} | (by_prefix(rest, place) if rest or not files else {})
    counts = Counter(column for columns, _ in chosen.values() for column in columns)
    twice = [column for column, count in counts.items() if count > 1]
    if twice:
        owners = [name for name, (columns, _) in chosen.items() if twice[0] in columns]
        raise DataError(f"{place}: column {few(twice)} belongs to both {owners[0]!r} and {owners[1]!r}, expected one modality")
    return chosen


def select(own: Stated, modality: str, free: Iterable[str], names: Iterable[str], place: str) -> list[str]:
    """Return the columns that are stated for a modality, all of ``free`` where nothing is.

    Args:
        own: What is stated.
        modality: Name of the modality, for messages.
        free: Columns that may be inputs.
        names: All columns.
        place: How messages call the table.

    Raises:
        DataError: A column does not exist or is no input, or no column has the prefix.
    """
    free = list(free)
    if own.columns is not None:
        for column in own.columns:
            if column not in free:
                what = f"is the id, target, split or group, which is no input of modality {modality!r}"
                missing = f"of modality {modality!r} does not exist, {suggest(column, free)}"
                raise DataError(f"{place}: column {column!r} {what if column in names else missing}")
        if not own.columns:
            raise DataError(f"{place}: modality {modality!r} has no columns")
        return list(own.columns)
    if own.prefix is None:
        return [column for column in free if column != own.order]
    columns = [column for column in free if column.startswith(own.prefix)]
    if not columns:
        raise DataError(f"{place}: no column begins with {own.prefix!r}, the prefix of modality {modality!r}")
    return columns


def orders(stated: Description, schema: Schema | None) -> list[str]:
    """Return the columns that rows of sequences are sorted by, as stated and as in the trained run."""
    found = [own.order for own in (stated.modalities or {}).values()]
    found += [modality.order for modality in (schema.modalities if schema is not None else ())]
    return [name for name in found if name]


def _belongs(column: str, own: Stated) -> bool:
    return column in own.columns if own.columns else column.startswith(own.prefix or "")


def _text_columns(names: Iterable[str], stated: Description, schema: Schema | None) -> set[str]:
    """The columns that are known to hold text before they are read, so that ``007`` keeps its zeros."""
    texts = [own for own in (stated.modalities or {}).values() if own.kind == "text"]
    known = {column for column in names for own in texts if _belongs(column, own)}
    return known | {column for item in (schema.modalities if schema else ()) if item.kind == "text" for column in item.columns}


def by_prefix(free: Sequence[str], place: str) -> dict[str, tuple[list[str], str]]:
    """Modalities by the prefixes that columns share."""
    shared = shared_prefixes(free)
    if len(shared) < 2 or len({prefix[:-1] for prefix in shared}) < len(shared):
        found = few(shared) if shared else "none"
        raise DataError(
            f"{place}: cannot tell which columns belong to which modality (prefixes shared by columns: {found}); state them, for "
            "example modalities: {audio: {prefix: a_}, blood: {columns: [b1, b2]}, review: {columns: [words], kind: text}}"
        )
    return {prefix[:-1]: (columns, prefix) for prefix, columns in shared.items()}


def shared_prefixes(names: Iterable[str]) -> dict[str, list[str]]:
    """Return the columns of each prefix, which is what stands before the first ``_`` or ``.`` of at least two columns.

    Example:
        >>> shared_prefixes(["a_1", "b.x", "a_2", "age", "b.y", "c_1"])
        {'a_': ['a_1', 'a_2'], 'b.': ['b.x', 'b.y']}
    """
    found: dict[str, list[str]] = {}
    for name in names:
        if match := re.match(r"[^_.]+[_.]", name):
            found.setdefault(match.group(), []).append(name)
    return {prefix: columns for prefix, columns in found.items() if len(columns) > 1}
