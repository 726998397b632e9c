"""From what a reader found to a checked :class:`Dataset`: the same checks whatever the data came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from equipoise.data.columns import LARGEST, clean_table, few, infinite_entry, scattered
from equipoise.data.dataset import Dataset
from equipoise.data.description import Description, Stated
from equipoise.data.labels import Roles, check_ids, read_group, read_split
from equipoise.data.media.modality import files_modality, kind_of_files, tell
from equipoise.data.named_rows import NamedRows
from equipoise.data.recordings import names_recordings, recordings_modality
from equipoise.data.rows import LazyRows, Rows, row_chunks
from equipoise.data.schema import TASKS, Modality, Schema
from equipoise.data.sequences import Frames, is_sequence, sequence_modality
from equipoise.data.targets import Targets, read_target
from equipoise.data.text import clean_text, table_kind
from equipoise.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

Named = TypeVar("Named", "pd.DataFrame", NamedRows)


@dataclass(frozen=True, kw_only=True)
class Raw:
    """What a reader found, joined so that row ``i`` of everything is the same sample.

    Attributes:
        format: Name of the reader.
        name: Name of the data set where nothing else is stated.
        place: How messages call the data.
        ids: Sample ids of shape (samples,).
        id: Name of the id column; empty when rows are numbered.
        columns: Columns of one value per sample, among them those with a role and those that state an order.
        roles: Which of ``columns`` hold the target, the split and the groups.
        inputs: Per modality its rows.
        sources: Per modality where it was found, for messages and for ``dataset.yaml``.
        present: Per modality which samples have it, where the reader knows.
        layout: The published layout, where it is one.
        notes: What people should know about what was found.
    """

    format: str
    name: str
    place: str
    ids: NDArray[np.str_]
    id: str
    columns: Mapping[str, Any]
    roles: Roles
    inputs: Mapping[str, Rows | Frames]
    sources: Mapping[str, str]
    present: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    layout: str = ""
    notes: tuple[str, ...] = ()


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
    target = _target(raw, stated, labelled=labelled, schema=schema)
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
        count = int(nothing.sum())
        those = "1 sample has" if count == 1 else f"{count} samples have"
        words = f"{raw.place}: {those} no modality at all: {few(raw.ids[nothing])}"
        if not stated.media.skip_damaged or nothing.all():
            raise DataError(words + ("" if nothing.all() else "; to leave them out, set skip_damaged"))
        tell(f"{words}; they are left out")
    split = group = None
    notes = raw.notes
    if raw.roles.split:
        place = f"{raw.place}: column {raw.roles.split!r}"
        split = read_split(raw.columns[raw.roles.split], raw.ids, stated=stated.split is not None, place=place)
        if split is None:
            notes += (f"{place} has none of the words train, val and test, so it states no split and is left unused",)
    if raw.roles.group:
        place = f"{raw.place}: column {raw.roles.group!r}"
        group = read_group(raw.columns[raw.roles.group], raw.ids, labelled=labelled, place=place)
    dataset = Dataset(
        schema=Schema(
            name=stated.name or raw.name,
            samples=len(raw.ids),
            modalities=tuple(modalities),
            target=raw.roles.target if len(raw.roles.target) > 1 else "".join(raw.roles.target),
            task=target.task,
            classes=target.classes,
            id=raw.id,
            split=raw.roles.split if split is not None else "",
            group=raw.roles.group if group is not None else "",
            format=raw.format,
            layout=raw.layout,
            root=stated.root or "",
            notes=notes,
        ),
        ids=raw.ids,
        inputs=inputs,
        present=present,
        target=target.values if raw.roles.target else None,
        split=split,
        group=group,
    )
    return dataset.subset(np.flatnonzero(~nothing)) if nothing.any() else dataset


def _target(raw: Raw, stated: Description, *, labelled: bool, schema: Schema | None) -> Targets:
    trained = schema is not None and bool(schema.classes)
    task, classes = (schema.task, schema.classes) if schema is not None and trained else (stated.task, stated.classes)
    if not raw.roles.target:
        return Targets(np.zeros(0, dtype=np.int64), task or TASKS[0], classes or ())
    columns = {name: raw.columns[name] for name in raw.roles.target}
    return read_target(columns, raw.ids, task, classes, labelled=labelled, place=raw.place, trained=trained)


def _wanted(raw: Raw, schema: Schema | None) -> dict[str, Modality | None]:
    """The modalities of the result, with what a trained run expects of each."""
    if schema is None:
        if not raw.inputs:
            left = [name for name in raw.columns if name not in raw.roles.names and name != raw.id]
            hint = f"; {few(left)} has one value per sample: state those that make a modality by modalities" if left else ""
            raise DataError(f"{raw.place}: no modality found{hint}")
        return dict.fromkeys(raw.inputs)
    if not set(schema.names) & set(raw.inputs):
        found = few(raw.inputs) if raw.inputs else "none"
        raise DataError(f"{raw.place}: none of the modalities {few(schema.names)} is in the data, found {found}")
    return {modality.name: modality for modality in schema.modalities}


def _modality(
    name: str, value: Rows | Frames, raw: Raw, stated: Description, expected: Modality | None, place: str
) -> tuple[Rows, Modality, NDArray[np.bool_]]:
    """One modality in its final form, its description, and which samples have any value."""
    own = (stated.modalities or {}).get(name, Stated())
    if not hasattr(value, "iloc") and not isinstance(value, Frames):
        value = _plain(cast("NDArray[Any] | LazyRows", value), place)
    kind_of_file = kind_of_files(value, own, expected)
    if kind_of_file:
        return files_modality(name, cast("pd.DataFrame", value), kind_of_file, own, expected, stated.media, place)
    if is_sequence(value, own, expected) and names_recordings(value, own, expected):
        rows, found = recordings_modality(name, cast("pd.DataFrame", value), own, expected, stated.media, place)
        return rows, found, _observed(rows, raw.ids, place)
    if own.options:
        raise DataError(f"{place}: options of decoding are stated, but it does not hold names of media files")
    if is_sequence(value, own, expected):
        return _sequence(name, value, raw, own, expected, place)
    assert not isinstance(value, Frames)
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
        names = (
            [] if expected is not None else scattered(table, [column for column in categorical if column not in own.categorical])
        )
        notes = (
            (f"{place}: {few(names)} differs in most samples, so that its categories tell nothing about others",) if names else ()
        )
        found = Modality(name=name, kind=kind, shape=(len(columns),), columns=columns, categorical=categorical, notes=notes)
        return table, expected or found, table.notna().any(axis=1).to_numpy()
    array = _to_columns(value, expected, place) if expected is not None and isinstance(value, NamedRows) else value
    if expected is not None and expected.categorical:
        raise DataError(f"{place} is an array of numbers, expected a table with columns {few(expected.columns)}")
    if "text" in (own.kind, expected and expected.kind):
        raise DataError(f"{place} is an array of numbers, expected text")
    shape = tuple(array.shape[1:])
    if expected is not None and shape != expected.shape:
        raise DataError(f"{place} has samples of shape {shape}, expected {expected.shape}")
    found = expected or _array_modality(name, shape, own, place)
    if expected is None and isinstance(array, NamedRows) and found.kind == "tabular":
        found = replace(found, columns=array.columns)
    return array, found, _observed(array, raw.ids, place)


def _sequence(
    name: str, value: Rows | Frames, raw: Raw, own: Stated, expected: Modality | None, place: str
) -> tuple[Rows, Modality, NDArray[np.bool_]]:
    # windows need the group of every row, whether the rows have labels or not
    windows, order = (own.window, own.order) if expected is None else (expected.window, expected.order)
    group = None
    if windows and raw.roles.group:
        column = f"{raw.place}: column {raw.roles.group!r}"
        group = read_group(raw.columns[raw.roles.group], raw.ids, labelled=True, place=column)
    if windows and order and order not in raw.columns:
        raise DataError(f"{place}: its order is stated by column {order!r}, which the data lack")
    rows, modality = sequence_modality(
        name,
        value,
        own,
        expected,
        ids=raw.ids,
        present=raw.present.get(name, np.ones(len(raw.ids), dtype=bool)),
        group=group,
        order=raw.columns[order] if windows and order else None,
        place=place,
    )
    return rows, modality, _observed(rows, raw.ids, place)


def _plain(array: NDArray[Any] | LazyRows, place: str) -> Rows:
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


_DIMENSIONS = {"tabular": (1,), "image": (2, 3), "audio": (2, 3), "video": (4,)}
"""How many dimensions a sample of each kind has, where not any number will do."""


def _array_modality(name: str, shape: tuple[int, ...], own: Stated, place: str) -> Modality:
    kind = own.kind or _kind(shape)
    if len(shape) not in _DIMENSIONS.get(kind, (len(shape),)):
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


def _observed(array: NDArray[Any] | LazyRows, ids: NDArray[np.str_], place: str) -> NDArray[np.bool_]:
    """Which samples have any value that is not NaN, of shape (samples,); infinite values are an error."""
    observed = np.ones(len(array), dtype=bool)
    if array.dtype.kind != "f":
        return observed
    for part, rows in row_chunks(array):
        found = infinite_entry(rows)
        if found is not None:
            row, position = found
            axes = np.unravel_index(position, rows.shape[1:])
            where = repr(array.columns[position]) if isinstance(array, NamedRows) else ", ".join(str(int(axis)) for axis in axes)
            raise DataError(
                f"{place}: column {where} is infinite for sample {str(ids[part.start + row])!r}, "
                f"expected finite numbers of at most {LARGEST:.1e}"
            )
        # numbers and their sum are NaN only where a number is: most chunks need no second look
        if np.isnan(rows.sum(dtype=np.float64)):
            observed[part] = ~np.isnan(rows).reshape(len(rows), -1).all(axis=1)
    return observed


def _to_columns(table: Named, expected: Modality, place: str) -> Named:
    if expected.kind == "text" and len(expected.columns) == len(table.columns) == 1 and not isinstance(table, NamedRows):
        return table.set_axis(list(expected.columns), axis=1)  # a single text needs no name: a list has none
    known = set(table.columns)
    missing = [column for column in expected.columns if column not in known]
    if missing:
        raise DataError(
            f"{place}: column {few(missing)} is missing ({len(missing)} of the {len(expected.columns)} columns "
            "that the model was trained on)"
        )
    return table.select(expected.columns) if isinstance(table, NamedRows) else table[list(expected.columns)]


def _absent(expected: Modality, samples: int) -> tuple[Rows, NDArray[np.bool_]]:
    """Placeholder rows of a modality that no sample has; untouched zeros take no memory."""
    import pandas as pd

    zeros = np.zeros((samples, *expected.shape), dtype=np.float32)
    named = expected.columns and zeros.ndim == 2
    value: Rows = pd.DataFrame(zeros, columns=list(expected.columns), copy=False) if named else zeros
    return value, np.zeros(samples, dtype=bool)
