"""Labels, splits and groups: columns of one value per sample that are not inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from equipoise.data.columns import as_text, few, parse_numbers
from equipoise.data.description import Description
from equipoise.data.schema import Schema, as_names
from equipoise.errors import DataError, suggest

NO_COLUMN = "none"
"""What a user states to leave a split or group column of the data unused."""

TARGET_NAMES = ("label", "labels", "target", "class", "y")
ID_NAMES = ("id", "ids", "sample_id")
SPLIT_WORDS = {
    "train": "train", "training": "train",
    "val": "validation", "valid": "validation", "validation": "validation", "dev": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip

# Words that people write for a missing label; among numbers they cannot be the name of a class.
NO_LABEL = frozenset({"na", "n/a", "nan", "none", "null", "-", "?", "inf", "-inf", "+inf", "infinity", "-infinity"})


@dataclass(frozen=True, kw_only=True)
class Roles:
    """Which columns are no inputs; empty where there is none.

    Attributes:
        target: Columns to predict.
        split: Column of the given split.
        group: Column of groups.
    """

    target: tuple[str, ...] = ()
    split: str = ""
    group: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that have a role."""
        return tuple(name for name in (*self.target, self.split, self.group) if name)


def find_roles(columns: Sequence[str], stated: Description, schema: Schema | None, *, labelled: bool, place: str) -> Roles:
    """Decide which columns hold the target, the split and the groups.

    A stated target that ends in ``*`` stands for all columns that begin with what is before it.

    Args:
        columns: The columns that may.
        stated: What is stated; it wins.
        schema: The schema of a trained run, whose names come next.
        labelled: Whether there must be a target.
        place: How messages call the data.

    Returns:
        The names.

    Raises:
        DataError: A stated column does not exist, or the target is absent or ambiguous.
    """
    target = _stated_target(columns, stated, schema, labelled=labelled, place=place)
    names: dict[str, str | None] = {}
    for role, word in (("split", "split column"), ("group", "group column")):
        name = getattr(stated, role)
        if name in ("", NO_COLUMN) and name not in columns:
            names[role] = ""  # a column of that role is not used, though there may be one
            continue
        if name is not None and name not in columns:
            # prediction needs no column but inputs, and evaluation of a trained run no split and no groups
            if labelled and schema is None:
                raise DataError(f"{place} has no {word} {name!r}, {suggest(name, columns)}")
            name = ""
        if name is None and schema is not None and getattr(schema, role) in columns:
            name = getattr(schema, role)
        names[role] = name
    if names["split"] is None:
        names["split"] = next((name for name in columns if name.lower() == "split"), "")
    return Roles(target=target, **{role: name or "" for role, name in names.items()})


def _stated_target(
    columns: Sequence[str], stated: Description, schema: Schema | None, *, labelled: bool, place: str
) -> tuple[str, ...]:
    """The target columns as stated, else those of the trained run, else the one that is called like a target."""
    names = as_names(stated.target or "")
    if isinstance(stated.target, str) and stated.target.endswith("*") and stated.target not in columns:
        names = tuple(name for name in columns if name.startswith(stated.target[:-1]))
        if not names and labelled:
            raise DataError(f"{place}: no column begins with {stated.target[:-1]!r}, the prefix of the target")
    missing = [name for name in names if name not in columns]
    if missing and labelled:
        raise DataError(f"{place} has no target column {missing[0]!r}, {suggest(missing[0], columns)}")
    if stated.target:
        return () if missing else names
    if schema is not None and schema.target and set(schema.targets) <= set(columns):
        return schema.targets
    found = _infer_target(columns, labelled=labelled, place=place)
    return (found,) if found else ()


def _infer_target(columns: Sequence[str], *, labelled: bool, place: str) -> str:
    found = [name for name in columns if name.lower() in TARGET_NAMES]
    if len(found) == 1 or (found and not labelled):
        return found[0]
    if not labelled:
        return ""
    if found:
        raise DataError(f"{place}: any of {few(found)} could be the target; state which by target")
    candidates = few(columns) if columns else "no column of one value per sample"
    raise DataError(f"{place}: no column is called {', '.join(TARGET_NAMES[:-1])} or y; state the target, found {candidates}")


def code_target(
    values: Any, ids: NDArray[np.str_], classes: Sequence[str] | None, *, labelled: bool, place: str, stated: bool = False
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Code labels as class numbers.

    Args:
        values: Labels of shape (samples,): text, whole numbers or booleans.
        ids: Sample ids of shape (samples,), for messages.
        classes: The classes in order; numeric labels are sorted as numbers and others alphabetically when not given.
        labelled: Whether every sample must have a known label.
        place: How messages call the column.
        stated: Whether it is stated that these are classes, however much they look like a quantity.

    Returns:
        Class numbers of shape (samples,), -1 for an unknown label, and the classes.

    Raises:
        DataError: A label is missing or is none of ``classes`` although every sample must have one, or there are no classes.

    Example:
        >>> code_target([10, 9, 10], np.array(["a", "b", "c"]), None, labelled=True, place="labels")
        (array([1, 0, 1]), ('9', '10'))
    """
    text = as_text(values)
    numbers = parse_numbers(text)
    numbers[~np.isfinite(numbers)] = np.nan
    parsed = ~np.isnan(numbers)
    codes = np.full(len(text), -1, dtype=np.int64)
    if classes is None:
        known = text != ""
        if parsed.any() and np.isin(np.char.lower(text[known & ~parsed]), list(NO_LABEL)).all():
            known = parsed
        if not known.any():
            if labelled:
                raise DataError(f"{place} holds no label at all")
            return codes, ()
        if (parsed == known).all():
            unique, first, codes[known] = np.unique(numbers[known], return_index=True, return_inverse=True)
            names = text[known][first]
            if not stated and len(unique) > 20 and 2 * len(unique) > known.sum() and (unique % 1 != 0).any():
                raise DataError(
                    f"{place} looks like a quantity ({len(unique)} different numbers), expected classes; "
                    "to predict numbers state task = regression"
                )
        else:
            names, codes[known] = np.unique(text[known], return_inverse=True)
        classes = [str(name) for name in names]
    else:
        known = text != ""
        codes = _lookup(text, numbers, classes)
        strange = known & (codes < 0)
        if labelled and strange.any():
            row = int(np.flatnonzero(strange)[0])
            raise DataError(
                f"{place}: label {str(text[row])!r} of sample {str(ids[row])!r} is none of the classes {few(classes)} "
                f"({int(strange.sum())} such samples)"
            )
    if labelled and not known.all():
        lacking = int((~known).sum())
        raise DataError(f"{place}: {lacking} of {len(text)} samples have no label: {few(ids[~known])}; leave these rows out")
    return codes, tuple(classes)


def _lookup(text: NDArray[np.str_], numbers: NDArray[np.float64], classes: Sequence[str]) -> NDArray[np.int64]:
    """Class numbers by the text of the label, else (``1`` against ``1.0``) by its number."""
    import pandas as pd

    words = pd.Index(np.asarray(classes, dtype=object))
    codes = np.asarray(words.get_indexer(pd.Index(text.astype(object))), dtype=np.int64)
    values = parse_numbers(np.asarray(classes, dtype=str))
    if np.isfinite(values).all() and len(np.unique(values)) == len(values):
        by_number = np.asarray(pd.Index(values).get_indexer(pd.Index(numbers)), dtype=np.int64)
        codes[codes < 0] = by_number[codes < 0]
    return codes


def read_split(values: Any, ids: NDArray[np.str_], *, stated: bool, place: str) -> NDArray[np.str_] | None:
    """Bring a given split into the words ``train``, ``validation`` and ``test``.

    Args:
        values: The column, of shape (samples,).
        ids: Sample ids of shape (samples,), for messages.
        stated: Whether the user said that the column states the split; otherwise a column of other words is left alone.
        place: How messages call the column.

    Returns:
        The words, of shape (samples,), or None if the column says something else.

    Raises:
        DataError: Some values are none of the known words.
    """
    text = np.char.lower(as_text(values))
    known = np.isin(text, list(SPLIT_WORDS))
    if known.all():
        words, positions = np.unique(text, return_inverse=True)
        return np.array([SPLIT_WORDS[str(word)] for word in words], dtype=str)[positions]
    if not stated and not known.any():
        return None
    row = int(np.flatnonzero(~known)[0])
    raise DataError(
        f"{place}: {str(text[row])!r} of sample {str(ids[row])!r} is no part of a split, expected train, val or test "
        f"({int((~known).sum())} such samples)"
    )


def read_group(values: Any, ids: NDArray[np.str_], *, labelled: bool, place: str) -> NDArray[np.str_] | None:
    """Return the group of each sample as text; None where groups are missing and not needed.

    Raises:
        DataError: A labelled sample has no group.
    """
    text = as_text(values)
    missing = text == ""
    if not missing.any():
        return text
    if labelled:
        raise DataError(f"{place}: {int(missing.sum())} samples have no group: {few(ids[missing])}")
    return None


def check_ids(ids: NDArray[np.str_], place: str) -> None:
    """Check that every sample has an id of its own.

    Raises:
        DataError: An id is empty or repeats.
    """
    empty = np.flatnonzero(ids == "")
    if len(empty):
        raise DataError(f"{place}: row {int(empty[0]) + 1} has no id ({len(empty)} such rows)")
    unique, counts = np.unique(ids, return_counts=True)
    if len(unique) < len(ids):
        repeated = unique[counts > 1]
        more = f" ({len(repeated)} ids do)" if len(repeated) > 1 else ""
        raise DataError(f"{place}: id {str(repeated[0])!r} repeats{more}, expected one row per sample")
