"""Targets by task: class codes, labels of 0 or 1, and numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from equipoise.data.columns import as_text, few, parse_numbers
from equipoise.data.dataset import Target, known
from equipoise.data.labels import NO_LABEL, code_target
from equipoise.data.schema import CLASSES
from equipoise.errors import DataError


@dataclass(frozen=True)
class Targets:
    """The target of all samples.

    Attributes:
        values: See :class:`~equipoise.data.dataset.Dataset`.
        task: One of :data:`~equipoise.data.schema.TASKS`.
        classes: The classes, the labels, or the names of the numbers.
    """

    values: Target
    task: str
    classes: tuple[str, ...]


def read_target(
    columns: Mapping[str, Any],
    ids: NDArray[np.str_],
    task: str | None,
    classes: Sequence[str] | None,
    *,
    labelled: bool,
    place: str,
    trained: bool = False,
) -> Targets:
    """Bring target columns into the form of their task.

    Without a stated task one column holds classes, and several are labels if they hold 0 and 1 alone. Numbers are never taken
    for a quantity unless that is stated.

    Args:
        columns: Values of shape (samples,) by column.
        ids: Sample ids of shape (samples,), for messages.
        task: The stated task, or None.
        classes: The stated classes, or those of a trained run.
        labelled: Whether every sample must have a known target.
        place: How messages call the data.
        trained: Whether ``classes`` are those of a trained run.

    Raises:
        DataError: The values do not fit the task; the message says where.

    Example:
        >>> found = read_target({"rain": [1, 0], "snow": [0, 0]}, np.array(["a", "b"]), None, None, labelled=True, place="data")
        >>> found.task, found.classes, found.values.tolist()
        ('multilabel', ('rain', 'snow'), [[1.0, 0.0], [0.0, 0.0]])
    """
    if task in CLASSES or (task is None and len(columns) == 1):
        if len(columns) != 1:
            raise DataError(f"{place}: {task} has one target column, found {few(columns)}; several labels are task = multilabel")
        ((name, values),) = columns.items()
        where = f"{place}: column {name!r}"
        codes, names = code_target(values, ids, classes, labelled=labelled, place=where, stated=task is not None)
        if task == "ordinal" and classes is None and np.isnan(parse_numbers(np.array(names, dtype=str))).any():
            raise DataError(
                f"{where}: the order of the classes {few(names)} is not known, state it in dataset.yaml, such as "
                "classes: [low, middle, high]"
            )
        return Targets(codes, task or CLASSES[0], names)
    if classes and not trained:
        raise DataError(f"{place}: classes are stated, which only classification and ordinal have; leave them out")
    if trained and classes is not None and len(columns) != len(classes):
        raise DataError(f"{place}: found {len(columns)} target columns, the model was trained on {len(classes)}: {few(classes)}")
    wanted = "a number" if task == "regression" else "a label of 0 or 1"
    table = np.stack([_numbers(values, ids, f"{place}: column {name!r}", wanted) for name, values in columns.items()], 1)
    other = ~(np.isnan(table) | (table == 0) | (table == 1))
    if task != "regression" and other.any():
        row, column = np.argwhere(other)[0]
        found = f"column {list(columns)[column]!r} holds {table[row, column]:g} for sample {str(ids[row])!r}"
        hint = "" if task else "; to predict numbers state task = regression"
        raise DataError(f"{place}: {found}, expected a label of 0 or 1{hint}")
    complete = known(table)
    if labelled and not complete.all():
        raise DataError(
            f"{place}: column {few(columns)}: {int((~complete).sum())} of {len(ids)} samples have no target: "
            f"{few(ids[~complete])}; leave these rows out"
        )
    names = tuple(classes or columns)
    if task == "regression":
        return Targets(table, task, names)
    return Targets(table.astype(np.float32), "multilabel", names)


def _numbers(values: Any, ids: NDArray[np.str_], place: str, wanted: str) -> NDArray[np.float64]:
    """A column as numbers, NaN where it says nothing; anything else is an error."""
    array = np.asarray(values)
    if array.dtype.kind in "buif":
        numbers = array.astype(np.float64)
    else:
        text = np.char.lower(as_text(values))
        said = np.where(text == "true", "1", np.where(text == "false", "0", text))
        numbers = parse_numbers(said)
        wrong = np.isnan(numbers) & ~np.isin(said, ["", *NO_LABEL])
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise DataError(
                f"{place}: {str(text[row])!r} of sample {str(ids[row])!r} is no number ({int(wrong.sum())} such samples), "
                f"expected {wanted}"
            )
    endless = np.isinf(numbers)
    if endless.any():
        raise DataError(f"{place} is infinite for sample {str(ids[endless][0])!r}, expected a finite number")
    return numbers
