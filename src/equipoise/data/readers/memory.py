"""Arrays and tables in memory by name, aligned row by row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from equipoise.config import ReadOptions
from equipoise.data.assemble import Raw, assemble
from equipoise.data.columns import as_text, few
from equipoise.data.dataset import Dataset
from equipoise.data.description import Description, Stated, describe_source
from equipoise.data.labels import ID_NAMES, find_roles
from equipoise.data.media.base import files_kind
from equipoise.data.readers import READERS, Source
from equipoise.data.schema import Schema
from equipoise.data.sequences import LENGTHS, Frames, from_list, with_lengths
from equipoise.data.text import is_free_text
from equipoise.errors import DataError, suggest

if TYPE_CHECKING:
    import pandas as pd

APPLICABLE = ("key", "kind", "categorical", "window", "order", "options")
PRESENT = "_present"


@READERS.register("memory")
class MemoryReader:
    """A mapping from names to numpy arrays, DataFrames or torch tensors with one row per sample."""

    @staticmethod
    def matches(source: Source) -> bool:
        """Return whether the source is a mapping."""
        return isinstance(source, Mapping)

    @staticmethod
    def read(source: Mapping[str, Any], options: ReadOptions, labelled: bool = True, schema: Schema | None = None) -> Dataset:
        """Read a mapping; see :class:`~equipoise.data.readers.Reader`."""
        stated = describe_source(None, options, APPLICABLE)
        return from_arrays(source, stated, format="memory", name="data", place="data", labelled=labelled, schema=schema)


def from_arrays(
    source: Mapping[str, Any],
    stated: Description,
    *,
    format: str,
    name: str,
    place: str,
    labelled: bool,
    schema: Schema | None,
) -> Dataset:
    """Make a data set of arrays by name, all with one row per sample.

    Arrays of one value per sample are the target, the split, the groups, the ids, ``<modality>_present``, or free text,
    which is a modality; others of them are left alone unless they are stated as modalities. Sequences of different lengths are
    a list of arrays of shape (time, channels), or one array of all time steps with ``<modality>_lengths``.

    Args:
        source: Arrays of shape (samples, ...), DataFrames or tensors by name.
        stated: What is stated about them.
        format: Name of the reader.
        name: Name of the data set where nothing else is stated.
        place: How messages call the data.
        labelled: Whether every sample must have a known label.
        schema: The schema of a trained run to read the data to.

    Returns:
        The data set.

    Raises:
        DataError: Arrays differ in length, no target is found, or a check of :func:`assemble` fails.
    """
    values = {str(key): _as_rows(value, f"{place}: {str(key)!r}") for key, value in source.items()}
    if "" in values:
        raise DataError(f"{place}: one of the arrays has an empty name, expected the name of a modality")
    values, stated = _spread_target(values, stated, place)
    columns = {key: value for key, value in values.items() if value.ndim == 1}
    roles = find_roles(list(columns), stated, schema, labelled=labelled, place=place)
    id_name = _id_name(columns, stated, schema, place)
    keys = _modality_keys(values, stated, schema, {*roles.names, id_name}, place)
    flags = {name: f"{name}{PRESENT}" for name in keys if f"{name}{PRESENT}" in columns}
    present = {name: _mask(columns[flag], f"{place}: {flag!r}") for name, flag in flags.items()}
    for modality, key in keys.items():
        own = (stated.modalities or {}).get(modality, Stated())
        if own.kind in (None, "sequence") and f"{key}{LENGTHS}" in columns:
            absent = ~present[modality] if modality in present else None
            values[key] = with_lengths(values[key], columns[f"{key}{LENGTHS}"], absent, f"{place}: {key!r}")
    used = {role: values[role] for role in (*roles.names, id_name) if role}
    used |= {key: values[key] for key in (*keys.values(), *flags.values())}
    samples = _same_length(used, place)
    _same_index(used, place)
    return assemble(
        Raw(
            format=format,
            name=name,
            place=place,
            ids=as_text(columns[id_name]) if id_name else np.arange(samples).astype(str),
            id=id_name,
            columns=columns,
            roles=roles,
            inputs={name: _table_or_array(values[key]) for name, key in keys.items()},
            sources=keys,
            present=present,
        ),
        stated,
        labelled=labelled,
        schema=schema,
    )


def _spread_target(values: Mapping[str, Any], stated: Description, place: str) -> tuple[dict[str, Any], Description]:
    """Make a stated target of several values per sample several columns: ``y_0``, ``y_1``, or as a table names them."""
    key = stated.target
    table = values.get(key) if isinstance(key, str) else None
    if not isinstance(key, str) or table is None or table.ndim == 1:
        return dict(values), stated
    if table.ndim > 2:
        raise DataError(f"{place}: the target {key!r} has shape {table.shape}, expected (samples,) or (samples, outputs)")
    if hasattr(table, "iloc"):
        columns = {str(name): table.iloc[:, number] for number, name in enumerate(table.columns)}
    else:
        columns = {key if table.shape[1] == 1 else f"{key}_{number}": table[:, number] for number in range(table.shape[1])}
    rest = {name: value for name, value in values.items() if name != key}
    twice = rest.keys() & columns.keys()
    if twice or len(columns) < table.shape[1]:
        words = few(twice or columns)
        raise DataError(
            f"{place}: the target {key!r} has the column {words} twice or under a key of the data, expected other names"
        )
    return rest | columns, replace(stated, target=tuple(columns))


def _as_rows(value: Any, place: str) -> pd.DataFrame | pd.Series[Any] | NDArray[Any] | Frames:
    if hasattr(value, "iloc"):
        if value.ndim == 2 and value.columns.nlevels > 1:
            raise DataError(f"{place} is a table whose columns have names of {value.columns.nlevels} levels, expected one")
        return cast("pd.DataFrame", value)
    if hasattr(value, "tocsr") or str(getattr(value, "layout", "torch.strided")) != "torch.strided":
        raise DataError(f"{place} is a sparse matrix, expected an array, a table or a tensor, or a matrix in an h5ad file")
    if isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.dtype == object and value.ndim == 1):
        frames = from_list(list(value), place)
        if frames is not None:
            return frames
    if hasattr(value, "detach"):  # a torch tensor; torch is not imported for it
        value = value.detach().cpu()
        value = (value.float() if str(value.dtype) == "torch.bfloat16" else value).numpy()
    # an array of text of fixed width would give every sample the room of the longest
    text = isinstance(value, (list, tuple)) and any(isinstance(item, str) for item in value)
    try:
        array = np.asarray(value, dtype=object if text else None)
    except ValueError as error:
        shapes = sorted({np.shape(item) for item in value}) if isinstance(value, (list, tuple)) else []
        found = f"its items have shapes such as {', '.join(map(str, shapes[:2]))}" if len(shapes) > 1 else str(error)
        raise DataError(f"{place} cannot be made an array: {found}; expected one shape, or steps x channels each") from error
    if array.ndim == 0:
        raise DataError(f"{place} is a single value, expected one row per sample")
    return array


def _id_name(columns: Mapping[str, Any], stated: Description, schema: Schema | None, place: str) -> str:
    if stated.id is not None:
        if stated.id not in columns:
            raise DataError(f"{place} has no id column {stated.id!r}, {suggest(stated.id, columns)}")
        return stated.id
    if schema is not None and schema.id in columns:
        return schema.id
    return next((key for key in columns if key.lower() in ID_NAMES), "")


def _modality_keys(
    values: Mapping[str, Any], stated: Description, schema: Schema | None, taken: set[str], place: str
) -> dict[str, str]:
    """The key of each modality: as stated, as in the trained run, else all with more than one value per sample or with text."""
    if stated.modalities is not None:
        keys = {name: own.key or name for name, own in stated.modalities.items()}
        if schema is not None:  # a trained run meets data that lack some modality
            keys = {name: key for name, key in keys.items() if key in values}
        for name, key in keys.items():
            if key not in values:
                raise DataError(f"{place}: modality {name!r} has no array {key!r}, {suggest(key, values)}")
            if key in taken:
                raise DataError(f"{place}: array {key!r} cannot be both the modality {name!r} and a label, split, group or id")
        return keys
    if schema is not None:
        found = {name: name for name in schema.names if name in values}
        if not found:
            raise DataError(f"{place}: none of the modalities {few(schema.names)} is in the data, found {few(values)}")
        return found
    free = {key: value for key, value in values.items() if key not in taken}
    return {key: key for key, value in free.items() if value.ndim > 1 or is_free_text(value) or files_kind(value)}


def _same_length(values: Mapping[str, Any], place: str) -> int:
    lengths = {key: len(value) for key, value in values.items()}
    if not lengths:
        raise DataError(f"{place}: no modality found, expected arrays of shape (samples, ...)")
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{key} {length}" for key, length in lengths.items())
        raise DataError(
            f"{place}: arrays differ in their number of rows ({found}), expected one per sample; state the modalities"
        )
    samples = next(iter(lengths.values()))
    if samples == 0:
        raise DataError(f"{place}: arrays have no rows, expected one row per sample")
    return samples


def _same_index(values: Mapping[str, Any], place: str) -> None:
    """Tables whose rows are labelled differently would be paired wrongly by position."""
    indexed = [(key, value.index) for key, value in values.items() if hasattr(value, "iloc")]
    for key, index in indexed[1:]:
        first, reference = indexed[0]
        if not index.equals(reference):
            raise DataError(f"{place}: tables {first!r} and {key!r} have a different index; bring their rows into one order")


def _table_or_array(value: Any) -> pd.DataFrame | NDArray[Any] | Frames:
    if not hasattr(value, "iloc"):
        return cast("NDArray[Any]", value)
    table: pd.DataFrame = value.to_frame() if value.ndim == 1 else value
    table = table.reset_index(drop=True)
    table.columns = table.columns.astype(str)
    repeated = table.columns[table.columns.duplicated()]
    if len(repeated):
        raise DataError(f"a table has the column {few(repeated)} twice, expected every column once")
    return table


def _mask(value: Any, place: str) -> NDArray[np.bool_]:
    mask = np.asarray(value)
    if mask.dtype.kind not in "bui" or not np.isin(mask, (0, 1)).all():
        raise DataError(f"{place} must say which samples have the modality by true and false, found values of type {mask.dtype}")
    return mask.astype(bool)
