"""From what a reader found to a checked :class:`Dataset`: the same checks whatever the data came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from equipoise.data.columns import LARGEST, clean_table, few, infinite_entry
from equipoise.data.dataset import Dataset
from equipoise.data.description import Description, Stated
from equipoise.data.labels import Roles, check_ids, code_target, read_group, read_split
from equipoise.data.rows import MappedRows, Rows, row_chunks
from equipoise.data.schema import Modality, Schema
from equipoise.data.text import clean_text, table_kind
from equipoise.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Raw:
    """What a reader found, joined so that row ``i`` of everything is the same sample.

    Attributes:
        format: Name of the reader.
        name: Name of the data set where nothing else is stated.
        place: How messages call the data.
        ids: Sample ids of shape (samples,).
        id: Name of the id column; empty when rows are numbered.
        columns: Columns of one value per sample, among them those with a role.
        roles: Which of ``columns`` hold the target, the split and the groups.
        inputs: Per modality its rows.
        sources: Per modality where it was found, for messages and for ``dataset.yaml``.
        present: Per modality which samples have it, where the reader knows.
    """

    format: str
    name: str
    place: str
    ids: NDArray[np.str_]
    id: str
    columns: Mapping[str, Any]
    roles: Roles
    inputs: Mapping[str, Rows]
    sources: Mapping[str, str]
    present: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)


def assemble(raw: Raw, stated: Description, *, labelled: bool, schema: Schema | None) -> Dataset:
    """Check what a reader found and bring it into its final form.

    Args:
        raw: What the reader found.
        stated: What is stated about the data.
        labelled: Whether every sample must have a known label.
        schema: The schema of a trained run to read the data to; None to infer one.

    Returns:
        The data set.

    Raises:
        DataError: Something about the data is wrong; the message says where.
    """
    check_ids(raw.ids, raw.place)
    target, classes = _target(raw, stated, labelled=labelled, schema=schema)
    inputs: dict[str, Rows] = {}
    present: dict[str, NDArray[np.bool_]] = {}
    modalities: list[Modality] = []
    for name, expected in _wanted(raw, schema).items():
        if name not in raw.inputs:
            assert expected is not None
            inputs[name], present[name] = _absent(expected, len(raw.ids))
            modalities.append(replace(expected, present=0))
            continue
        place = f"{raw.place}: modality {name!r}"
        value = raw.inputs[name]
        if len(value) != len(raw.ids):
            raise DataError(f"{place} has {len(value)} rows, expected one for each of the {len(raw.ids)} samples")
        inputs[name], modality, observed = _modality(name, value, raw, stated, expected, place)
        present[name] = observed & raw.present.get(name, np.True_)
        if not present[name].any() and expected is None:
            raise DataError(f"{place}: no sample has it, every value is missing")
        modalities.append(replace(modality, source=raw.sources.get(name, ""), present=int(present[name].sum())))
    nothing = ~np.logical_or.reduce(list(present.values()))
    if nothing.any():
        raise DataError(f"{raw.place}: {int(nothing.sum())} samples have no modality at all: {few(raw.ids[nothing])}")
    split = group = None
    if raw.roles.split:
        place = f"{raw.place}: column {raw.roles.split!r}"
        split = read_split(raw.columns[raw.roles.split], raw.ids, stated=stated.split is not None, place=place)
    if raw.roles.group:
        place = f"{raw.place}: column {raw.roles.group!r}"
        group = read_group(raw.columns[raw.roles.group], raw.ids, labelled=labelled, place=place)
    return Dataset(
        schema=Schema(
            name=stated.name or raw.name,
            samples=len(raw.ids),
            modalities=tuple(modalities),
            target=raw.roles.target,
            classes=classes,
            id=raw.id,
            split=raw.roles.split if split is not None else "",
            group=raw.roles.group if group is not None else "",
            format=raw.format,
        ),
        ids=raw.ids,
        inputs=inputs,
        present=present,
        target=target,
        split=split,
        group=group,
    )


def _target(
    raw: Raw, stated: Description, *, labelled: bool, schema: Schema | None
) -> tuple[NDArray[np.int64] | None, tuple[str, ...]]:
    classes = schema.classes if schema is not None and schema.classes else stated.classes
    if not raw.roles.target:
        return None, classes or ()
    place = f"{raw.place}: column {raw.roles.target!r}"
    return code_target(raw.columns[raw.roles.target], raw.ids, classes, labelled=labelled, place=place)


def _wanted(raw: Raw, schema: Schema | None) -> dict[str, Modality | None]:
    """The modalities of the result, with what a trained run expects of each."""
    if schema is None:
        if not raw.inputs:
            raise DataError(f"{raw.place}: no modality found")
        return dict.fromkeys(raw.inputs)
    if not set(schema.names) & set(raw.inputs):
        found = few(raw.inputs) if raw.inputs else "none"
        raise DataError(f"{raw.place}: none of the modalities {few(schema.names)} is in the data, found {found}")
    return {modality.name: modality for modality in schema.modalities}


def _modality(
    name: str, value: Rows, raw: Raw, stated: Description, expected: Modality | None, place: str
) -> tuple[Rows, Modality, NDArray[np.bool_]]:
    """One modality in its final form, its description, and which samples have any value."""
    own = (stated.modalities or {}).get(name, Stated())
    if not hasattr(value, "iloc"):
        value = _plain(value, place)
    if hasattr(value, "iloc"):
        table = cast("pd.DataFrame", value)
        if own.kind not in (None, "tabular", "text"):
            raise DataError(f"{place}: kind {own.kind!r} is stated, but it is a table of named columns")
        if own.kind == "text" and own.categorical:
            raise DataError(f"{place}: kind 'text' is stated, and categorical columns too, expected one of them")
        if expected is not None:
            table = _to_columns(table, expected, place)
        kind = expected.kind if expected is not None else own.kind or table_kind(table, own.categorical, place)
        categorical: tuple[str, ...] = ()
        if kind == "text":
            table = clean_text(table, place, numbers=expected is not None)
        else:
            table, categorical = clean_table(
                table,
                raw.ids,
                place,
                categorical=own.categorical if expected is None else expected.categorical,
                numeric=() if expected is None else set(expected.columns) - set(expected.categorical),
            )
        columns = tuple(str(column) for column in table.columns)
        found = Modality(name=name, kind=kind, shape=(len(columns),), columns=columns, categorical=categorical)
        return table, expected or found, table.notna().any(axis=1).to_numpy()
    array = value
    if expected is not None and expected.categorical:
        raise DataError(f"{place} is an array of numbers, expected a table with columns {few(expected.columns)}")
    if "text" in (own.kind, expected and expected.kind):
        raise DataError(f"{place} is an array of numbers, expected text")
    shape = tuple(array.shape[1:])
    if expected is not None and shape != expected.shape:
        raise DataError(f"{place} has samples of shape {shape}, expected {expected.shape}")
    found = expected or _array_modality(name, shape, own, place)
    return array, found, _observed(array, raw.ids, place)


def _plain(array: NDArray[Any] | MappedRows, place: str) -> Rows:
    """An array as it is if it holds numbers (one value per sample becomes one column), a table if it holds text."""
    import pandas as pd

    if array.ndim == 1:
        array = np.asarray(array[:])[:, None]
    kind = array.dtype.kind
    if kind in "OUS" and array.ndim == 2:
        values = np.asarray(array[:])
        if kind == "S":
            values = np.char.decode(values, "utf-8", "replace")
        return pd.DataFrame(values.astype(object), columns=[str(column) for column in range(values.shape[1])])
    if kind not in "buif":
        raise DataError(f"{place} holds values of type {array.dtype}, expected numbers")
    if 0 in array.shape[1:]:
        raise DataError(f"{place} has samples of shape {tuple(array.shape[1:])}, which hold no value")
    return array


def _array_modality(name: str, shape: tuple[int, ...], own: Stated, place: str) -> Modality:
    kind = own.kind or _kind(shape)
    if (kind == "tabular" and len(shape) != 1) or (kind == "image" and len(shape) not in (2, 3)):
        raise DataError(f"{place}: kind {kind!r} is stated, but its samples have shape {shape}")
    if own.categorical:
        raise DataError(f"{place}: categorical columns are stated, but it is an array of numbers without named columns")
    columns = tuple(str(column) for column in range(shape[0])) if kind == "tabular" else ()
    return Modality(name=name, kind=kind, shape=shape, columns=columns)


def _kind(shape: tuple[int, ...]) -> str:
    if len(shape) == 1:
        return "tabular"
    picture = len(shape) == 2 or (len(shape) == 3 and min(shape[0], shape[-1]) <= 4)
    return "image" if picture else "array"


def _observed(array: NDArray[Any] | MappedRows, ids: NDArray[np.str_], place: str) -> NDArray[np.bool_]:
    """Which samples have any value that is not NaN, of shape (samples,); infinite values are an error."""
    observed = np.ones(len(array), dtype=bool)
    if array.dtype.kind != "f":
        return observed
    for part, rows in row_chunks(array):
        found = infinite_entry(rows)
        if found is not None:
            row, position = found
            where = ", ".join(str(int(axis)) for axis in np.unravel_index(position, rows.shape[1:]))
            raise DataError(
                f"{place}: column {where} is infinite for sample {str(ids[part.start + row])!r}, "
                f"expected finite numbers of at most {LARGEST:.1e}"
            )
        # numbers and their sum are NaN only where a number is: most chunks need no second look
        if np.isnan(rows.sum(dtype=np.float64)):
            observed[part] = ~np.isnan(rows).reshape(len(rows), -1).all(axis=1)
    return observed


def _to_columns(table: pd.DataFrame, expected: Modality, place: str) -> pd.DataFrame:
    if expected.kind == "text" and len(expected.columns) == len(table.columns) == 1:
        return table.set_axis(list(expected.columns), axis=1)  # a single text needs no name: a list has none
    missing = [column for column in expected.columns if column not in table.columns]
    if missing:
        raise DataError(
            f"{place}: column {few(missing)} is missing ({len(missing)} of the {len(expected.columns)} columns "
            "that the model was trained on)"
        )
    return table[list(expected.columns)]


def _absent(expected: Modality, samples: int) -> tuple[Rows, NDArray[np.bool_]]:
    """Placeholder rows of a modality that no sample has; untouched zeros take no memory."""
    import pandas as pd

    zeros = np.zeros((samples, *expected.shape), dtype=np.float32)
    value: Rows = pd.DataFrame(zeros, columns=list(expected.columns), copy=False) if expected.columns else zeros
    return value, np.zeros(samples, dtype=bool)
