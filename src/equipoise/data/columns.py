"""Columns of tables: which hold numbers and which categories, and what is wrong with the others."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from equipoise.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

FIRST = 3
"""How many ids or columns a message names."""

LARGEST = float(np.finfo(np.float32).max)
"""Numbers beyond this are infinite in the float32 in which models compute."""


def few(names: Collection[Any]) -> str:
    """Return the first few of some names, as a message lists them.

    Example:
        >>> few(["a", "b", "c", "d", "e"])
        "'a', 'b', 'c' and 2 more"
    """
    items = list(names)
    text = ", ".join(repr(str(name)) for name in items[:FIRST])
    return text + (f" and {len(items) - FIRST} more" if len(items) > FIRST else "")


def as_text(values: Any) -> NDArray[np.str_]:
    """Return one column as text: ``""`` where the value is missing, whole numbers without a decimal point.

    Args:
        values: Values of shape (samples,): numbers, booleans, text, categories, objects.

    Returns:
        Text of shape (samples,), without blanks at the ends.

    Example:
        >>> as_text([1.0, 2.5, float("nan")]).tolist()
        ['1', '2.5', '']
        >>> as_text(["NA", " b", None]).tolist()
        ['NA', 'b', '']
    """
    import pandas as pd

    array = values if isinstance(values, pd.Series) else np.asarray(values)
    if isinstance(array, np.ndarray) and array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8", "replace")
    series = pd.Series(array)
    missing = series.isna().to_numpy()
    if pd.api.types.is_float_dtype(series.dtype):
        # a nullable float column has its numpy type beside; float32 must stay float32 for 0.1 to be written 0.1
        numbers = series.to_numpy(dtype=getattr(series.dtype, "numpy_dtype", None) or str(series.dtype), na_value=np.nan)
        missing = ~np.isfinite(numbers)
        whole = ~missing & (np.abs(numbers) < 2**53) & (np.where(missing, 0.5, numbers) % 1 == 0)
        text = np.where(whole, np.where(whole, numbers, 0).astype(np.int64).astype(str), numbers.astype(str))
    else:
        text = np.where(missing, "", series.to_numpy(dtype=object)).astype(str)
    return np.char.strip(np.where(missing, "", text)).astype(str)


def parse_numbers(text: NDArray[np.str_]) -> NDArray[np.float64]:
    """Return text as numbers, NaN where it is none.

    Args:
        text: Text of shape (samples,).

    Returns:
        Numbers of shape (samples,).

    Example:
        >>> parse_numbers(np.array(["1", "x", "2e3"])).tolist()
        [1.0, nan, 2000.0]
    """
    import pandas as pd

    return np.array(pd.to_numeric(pd.Series(text, dtype=object), errors="coerce"), dtype=np.float64)


def clean_table(
    table: pd.DataFrame,
    ids: NDArray[np.str_],
    place: str,
    *,
    categorical: Collection[str] = (),
    numeric: Collection[str] = (),
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Bring every column of a table into one of two forms: numbers, or categories as text with missing values.

    Args:
        table: Rows of one modality, with a fresh index.
        ids: Sample ids of shape (samples,), for messages.
        place: How messages call the modality.
        categorical: Columns that hold categories whatever they look like.
        numeric: Columns that must hold numbers (a model was trained on numbers).

    Returns:
        The table and its categorical columns, in order.

    Raises:
        DataError: A column mixes numbers with some text, holds text where numbers must be, dates, lists, or infinite numbers.
    """
    import pandas as pd

    types = pd.api.types
    unknown = [name for name in categorical if name not in table.columns]
    if unknown:
        raise DataError(f"{place}: categorical column {few(unknown)} is not among its columns")
    changed: dict[str, pd.Series[Any]] = {}
    categories: list[str] = []
    for name, dtype in table.dtypes.items():
        column = str(name)
        series = table[column]
        if types.is_object_dtype(dtype) and series.map(types.is_list_like).any():
            raise DataError(f"{place}: column {column!r} holds lists, expected numbers or categories")
        if column in categorical:
            changed[column] = _categories(as_text(series))
            categories.append(column)
        elif types.is_bool_dtype(dtype) and column in numeric:
            changed[column] = series.astype(np.uint8)
        elif types.is_numeric_dtype(dtype) and not types.is_bool_dtype(dtype):
            if types.is_complex_dtype(dtype):
                raise DataError(f"{place}: column {column!r} holds complex numbers, expected real ones")
            if not isinstance(dtype, np.dtype):
                changed[column] = pd.Series(series.to_numpy(dtype=np.float64, na_value=np.nan))
        elif types.is_datetime64_any_dtype(dtype) or types.is_timedelta64_dtype(dtype):
            raise DataError(f"{place}: column {column!r} holds dates or times, expected numbers or categories")
        else:
            text = as_text(series)
            numbers = _numbers_in_text(text, ids, f"{place}: column {column!r}", required=column in numeric)
            if numbers is None:
                changed[column] = _categories(text)
                categories.append(column)
            else:
                changed[column] = pd.Series(numbers)
    if changed:
        table = pd.DataFrame({str(name): changed.get(str(name), table[name]) for name in table.columns}, index=table.index)
    _check_finite(table, ids, place, categories)
    return table, tuple(categories)


def _categories(text: NDArray[np.str_]) -> pd.Series[Any]:
    import pandas as pd

    # not the category type: its list of categories would carry values of test samples into the training part
    words = text.astype(object)
    words[text == ""] = None
    return pd.Series(words, dtype="object")


def scattered(table: pd.DataFrame, names: Collection[str]) -> list[str]:
    """Return the columns of categories that differ in most samples, as dates, names and ids do.

    Args:
        table: Rows of one modality, as :func:`clean_table` leaves them.
        names: The columns to look at.

    Example:
        >>> import pandas as pd
        >>> scattered(pd.DataFrame({"day": [f"2024-01-{n}" for n in range(30)], "ward": ["a", "b"] * 15}), ["day", "ward"])
        ['day']
    """
    counts = {name: (table[name].nunique(), table[name].count()) for name in names}
    return [name for name, (different, known) in counts.items() if different > 20 and 2 * different > known]


def _numbers_in_text(text: NDArray[np.str_], ids: NDArray[np.str_], place: str, *, required: bool) -> NDArray[np.float64] | None:
    """The numbers of a column of text, None if it holds categories; an error if it is neither."""
    known = text != ""
    numbers = parse_numbers(text)
    wrong = known & np.isnan(numbers) & (np.char.lower(text) != "nan")
    if not wrong.any():
        return numbers if known.any() or required else None
    if required or 2 * wrong.sum() < known.sum():
        row = int(np.flatnonzero(wrong)[0])
        raise DataError(
            f"{place} has text where numbers are expected: {str(text[row])!r} for sample {str(ids[row])!r} "
            f"({int(wrong.sum())} of {int(known.sum())} values); leave missing values empty, or state the column as categorical"
        )
    return None


def _check_finite(table: pd.DataFrame, ids: NDArray[np.str_], place: str, categorical: Collection[str]) -> None:
    names = [name for name in table.columns if name not in categorical and table[name].dtype.kind == "f"]
    step = max(1, (1 << 22) // max(1, len(table)))
    for start in range(0, len(names), step):
        part = names[start : start + step]
        found = infinite_entry(table[part].to_numpy())
        if found is not None:
            row, column = found
            raise DataError(
                f"{place}: column {str(part[column])!r} is infinite for sample {str(ids[row])!r}, "
                f"expected finite numbers of at most {LARGEST:.1e}"
            )


def infinite_entry(values: NDArray[Any]) -> tuple[int, int] | None:
    """Return row and flat position within the row of the first number that float32 cannot hold, None if there is none.

    Args:
        values: Numbers of shape (samples, ...).
    """
    if values.dtype.kind != "f" or values.size == 0:
        return None
    low, high = float(np.fmin.reduce(values, axis=None)), float(np.fmax.reduce(values, axis=None))
    if not (high > LARGEST or low < -LARGEST):
        return None
    flat = np.abs(values.reshape(len(values), -1).astype(np.float64)) > LARGEST
    row, column = (int(position) for position in np.argwhere(flat)[0])
    return row, column
