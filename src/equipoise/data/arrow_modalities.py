"""From an Arrow table to a data set: which columns are modalities, which the target, the split, the groups and the ids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from equipoise.data.arrow import ArrowTable, is_text
from equipoise.data.assemble import Raw, assemble
from equipoise.data.columns import as_text
from equipoise.data.dataset import Dataset
from equipoise.data.description import Description, Stated
from equipoise.data.labels import ID_NAMES, find_roles
from equipoise.data.readers.table import by_prefix, select
from equipoise.data.rows import Rows
from equipoise.data.schema import Schema
from equipoise.data.scratch import scratch_folder
from equipoise.data.sequences import Frames
from equipoise.data.text import is_free_text
from equipoise.errors import DataError, suggest

APPLICABLE = ("key", "prefix", "columns", "kind", "categorical", "options")
SPLIT = "split"


def from_arrow(
    table: ArrowTable, stated: Description, *, format: str, name: str, labelled: bool, schema: Schema | None
) -> Dataset:
    """Make a data set of an Arrow table.

    Every column of lists of numbers, of encoded files or of free text is a modality of its own. If there is none, columns are
    grouped by prefix, as in a csv file. Otherwise columns of single numbers are left alone unless they are stated, by
    ``columns`` or ``prefix``. Only the columns that are needed are read.

    Args:
        table: The table.
        stated: What is stated about it.
        format: Name of the reader.
        name: Name of the data set where nothing else is stated.
        labelled: Whether every sample must have a known label.
        schema: The schema of a trained run to read the data to; None to infer one.

    Raises:
        DataError: A stated column does not exist or cannot be read, or a check of :func:`assemble` fails.
    """
    own_split = table.split is not None and SPLIT not in table.types
    scalars = table.scalars + ([SPLIT] if own_split else [])
    wanted = stated.id or (schema.id if schema is not None and schema.id in scalars else None)
    if wanted is not None and wanted not in table.scalars:
        raise DataError(f"{table.place} has no id column {wanted!r}, {suggest(wanted, table.scalars)}")
    id_name = wanted or next((column for column in scalars if column.lower() in ID_NAMES), "")
    roles = find_roles([name for name in scalars if name != id_name], stated, schema, labelled=labelled, place=table.place)
    special = [column for column in dict.fromkeys((*roles.names, id_name)) if column in table.types]
    columns: dict[str, Any] = dict(table.table(special)) if special else {}
    if own_split:
        columns[SPLIT] = table.split
    ids = as_text(columns[id_name]) if id_name else np.arange(table.rows).astype(str)
    if id_name and wanted is None and len(np.unique(ids)) < len(ids):
        # a column that only happens to be called id, such as a patient's with several rows
        ids, id_name = np.arange(table.rows).astype(str), ""
    free = [column for column in table.types if column not in (*roles.names, id_name)]
    chosen = _choose(table, free, stated, schema)
    named = {modality: found for modality, found in chosen.items() if not isinstance(found, str)}
    tables = table.inputs(named, ids, stated, schema)
    inputs: dict[str, Rows | Frames] = {}
    if any(found in table.media for found in chosen.values()):
        folder = scratch_folder()
        stated = replace(stated, media=replace(stated.media, folder=folder))
    for modality, found in chosen.items():
        if not isinstance(found, str):
            inputs[modality] = tables[modality]
        else:
            inputs[modality] = table.files(found, folder) if found in table.media else table.array(found)
    return assemble(
        Raw(
            format=format,
            name=name,
            place=table.place,
            ids=ids,
            id=id_name,
            columns=columns,
            roles=roles,
            inputs=inputs,
            sources={modality: found if isinstance(found, str) else "" for modality, found in chosen.items()},
        ),
        stated,
        labelled=labelled,
        schema=schema,
    )


def _choose(table: ArrowTable, free: list[str], stated: Description, schema: Schema | None) -> dict[str, str | list[str]]:
    """Per modality its column of lists, or its columns of single values."""
    scalars = [column for column in table.scalars if column in free]
    lists = [column for column in (*table.lists, *table.media) if column in free]
    if stated.modalities is not None:
        return {
            name: _stated(table, name, own, free)
            for name, own in stated.modalities.items()
            # a trained run may meet data that lack some modality
            if schema is None or _any(own, name, free)
        }
    if schema is not None:
        return _of_run(schema, scalars, lists)
    found: dict[str, str | list[str]] = {column: column for column in lists}
    words = [column for column in scalars if is_text(table.types[column])]
    if words:
        texts = table.table(words)
        found |= {column: [column] for column in words if is_free_text(texts[column])}
    return found or {name: columns for name, (columns, _) in by_prefix(scalars, table.place).items()}


def _any(own: Stated, name: str, free: list[str]) -> bool:
    if own.columns:
        return bool(set(own.columns) & set(free))
    if own.prefix:
        return any(column.startswith(own.prefix) for column in free)
    return (own.key or name) in free


def _stated(table: ArrowTable, name: str, own: Stated, free: list[str]) -> str | list[str]:
    scalars = [column for column in table.scalars if column in free]
    whole = [column for column in own.columns or () if column in free and column in (*table.lists, *table.media)]
    if whole and len(own.columns or ()) > 1:
        raise DataError(f"{table.place}: modality {name!r}: column {whole[0]!r} holds lists or files, expected it alone")
    if not whole and (own.columns is not None or own.prefix is not None):
        return select(own, name, scalars, list(table.types), table.place)
    column = whole[0] if whole else own.key or name
    if column not in free:
        raise DataError(f"{table.place}: modality {name!r} has no column {column!r}, {suggest(column, free)}")
    if column in (*table.lists, *table.media):
        return column
    if column in scalars:
        return [column]
    raise DataError(
        f"{table.place}: column {column!r} of modality {name!r} holds values of type {table.types[column]}, "
        "expected numbers, text, lists of numbers, or encoded files"
    )


def _of_run(schema: Schema, scalars: list[str], lists: list[str]) -> dict[str, str | list[str]]:
    found: dict[str, str | list[str]] = {}
    for modality in schema.modalities:
        column = next((name for name in (modality.source, modality.name) if name in lists), None)
        columns: Mapping[str, None] = dict.fromkeys(name for name in modality.table_columns if name in scalars)
        if column is not None:
            found[modality.name] = column
        elif columns:
            found[modality.name] = list(columns)
    return found
