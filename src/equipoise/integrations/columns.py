"""Columns of one table as modalities: who owns which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from equipoise.data.columns import few
from equipoise.data.readers.table import shared_prefixes
from equipoise.errors import ConfigError, suggest

ONE = "all"
"""What the only modality is called where nothing tells several apart."""


def find_columns(modalities: Mapping[str, Any] | None, count: int, names: Sequence[str] | None = None) -> dict[str, list[int]]:
    """Return the column numbers of each modality.

    Args:
        modalities: Per modality its column names, its column numbers, a slice, or (a text) the prefix of its columns. None: by
            what stands before the first ``_`` or ``.`` of column names, and one modality where no names tell any apart.
        count: How many columns there are.
        names: Their names, if they have any.

    Raises:
        ConfigError: A column does not exist or belongs to two modalities, or prefixes leave columns over.

    Example:
        >>> find_columns({"audio": slice(0, 2), "image": [2, -1]}, 4)
        {'audio': [0, 1], 'image': [2, 3]}
        >>> find_columns(None, 3, ["audio_1", "image_1", "audio_2"])
        Traceback (most recent call last):
        equipoise.errors.ConfigError: modalities: cannot tell whose column 'image_1' is, state the columns of each modality
    """
    if names is not None and len(set(names)) < count:
        twice = next(name for number, name in enumerate(names) if name in names[:number])
        raise ConfigError(f"X has the column {twice!r} twice, expected every column once")
    if modalities is None:
        return {ONE: list(range(count))} if names is None else _by_prefix(names)
    if not isinstance(modalities, Mapping) or not modalities:
        raise ConfigError(f"modalities: expected a mapping from modality names to columns, found {modalities!r}")
    found = {str(name): _numbers(f"modalities: {str(name)!r}", value, count, names) for name, value in modalities.items()}
    owners: dict[int, str] = {}
    for modality, columns in found.items():
        for column in columns:
            if column in owners:
                words = f"modalities: column {column if names is None else repr(names[column])}"
                first = owners[column]
                twice = f"is listed twice in {modality!r}" if first == modality else f"belongs to both {first!r} and {modality!r}"
                raise ConfigError(f"{words} {twice}, expected once")
            owners[column] = modality
    return found


def _by_prefix(names: Sequence[str]) -> dict[str, list[int]]:
    where = {name: number for number, name in enumerate(names)}
    shared = shared_prefixes(names)
    if not shared:
        return {ONE: list(where.values())}
    free = where.keys() - {name for columns in shared.values() for name in columns}
    if free or len({prefix[:-1] for prefix in shared}) < len(shared):
        unclear = few([name for name in names if name in free]) or few(shared)
        raise ConfigError(f"modalities: cannot tell whose column {unclear} is, state the columns of each modality")
    return {prefix[:-1]: [where[name] for name in columns] for prefix, columns in shared.items()}


def _numbers(place: str, columns: Any, count: int, names: Sequence[str] | None) -> list[int]:
    if isinstance(columns, str):
        found = [number for number, name in enumerate(_named(place, names)) if name.startswith(columns)]
        if not found:
            raise ConfigError(f"{place}: no column begins with {columns!r}")
        return found
    try:
        items = range(count)[columns] if isinstance(columns, slice) else list(columns)
    except TypeError as error:
        words = "expected column names, column numbers, a slice of numbers, or a prefix"
        raise ConfigError(f"{place}: {words}, found {columns!r}") from error
    if not items:
        raise ConfigError(f"{place} has no columns")
    where = {name: number for number, name in enumerate(names or ())}
    return [_number(place, item, count, names, where) for item in items]


def _number(place: str, column: Any, count: int, names: Sequence[str] | None, where: Mapping[str, int]) -> int:
    if isinstance(column, str):
        if column not in where:
            raise ConfigError(f"{place}: column {column!r} does not exist, {suggest(column, _named(place, names))}")
        return where[column]
    if not isinstance(column, (int, np.integer)) or isinstance(column, bool):
        raise ConfigError(f"{place}: expected column names or numbers, found {column!r}")
    if not -count <= column < count:
        raise ConfigError(f"{place}: column {column} does not exist, there are {count} columns, counted from 0")
    return int(column) % count


def _named(place: str, names: Sequence[str] | None) -> Sequence[str]:
    if names is None:
        raise ConfigError(f"{place}: columns are stated by name, but those of X have no names; state column numbers or a slice")
    return names
