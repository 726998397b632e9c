"""Columns of text: telling them from categories, cleaning them, joining those of one modality, and the form it takes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import reduce
from numbers import Number
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from equipoise.config import TextOptions, build
from equipoise.data.columns import few
from equipoise.data.files import MISSING_WORDS
from equipoise.errors import ConfigError, DataError

if TYPE_CHECKING:
    import pandas as pd

LEAST_WORDS = 3
"""Free text has at least this many words per value on average; what has fewer is taken for categories."""


def is_free_text(values: Any) -> bool:
    """Return whether values are sentences rather than categories, numbers or ids: most differ, and have several words.

    Args:
        values: Values of shape (samples,), some of which may be missing.

    Example:
        >>> is_free_text(["it fits well", "too small for me", None])
        True
        >>> is_free_text(["Dresses", "General Petite", "Tops"]), is_free_text(["fits very well"] * 9)
        (False, False)
    """
    import pandas as pd

    series = pd.Series(values)
    if pd.api.types.infer_dtype(series, skipna=True) != "string":
        return False
    known = series.dropna().str.strip()
    known = known[known != ""]
    return bool(2 * known.nunique() > len(known) and known.str.count(r"\S+").mean() >= LEAST_WORDS)


def table_kind(table: pd.DataFrame, categorical: Collection[str], place: str) -> str:
    """Return the kind of a modality that is a table and of which no kind is stated: ``text`` or ``tabular``.

    Args:
        table: Its rows.
        categorical: Columns that hold categories whatever they look like.
        place: How messages call the modality.

    Raises:
        DataError: Some of the columns are free text and others are not.
    """
    names = [str(name) for name, dtype in table.dtypes.items() if dtype.kind == "O" and name not in categorical]
    text = [name for name in names if is_free_text(table[name])]
    others = [str(name) for name in table.columns if name not in text]
    if text and others:
        raise DataError(
            f"{place}: column {few(text)} is free text and {few(others)} not; make two modalities, "
            "the one of the text with kind: text, or leave it out"
        )
    return "text" if text else "tabular"


def clean_text(table: pd.DataFrame, place: str, *, numbers: bool) -> pd.DataFrame:
    """Bring every column of a table into one form: text without blanks at its ends, None where there is none.

    Args:
        table: Rows of one modality, with a fresh index.
        place: How messages call the modality.
        numbers: Whether all values of a column may be numbers, which are taken as they are written.

    Returns:
        The table. What stands for a missing value in a csv table (``NA``, ``null``) does so in every text.

    Raises:
        DataError: A column holds something else, such as lists or dates, or numbers only.
    """
    import pandas as pd

    columns: dict[str, Any] = {}
    for name in map(str, table.columns):
        known = table[name].dropna().astype(object)
        other = [kind.__name__ for kind in known.map(type).unique() if not issubclass(kind, (str, Number, np.bool_))]
        if other:
            raise DataError(f"{place}: column {name!r} holds values of type {few(other)}, expected text")
        known = known.astype(str).str.strip()
        known = known[~known.isin(MISSING_WORDS)]
        if not numbers and len(known) and pd.to_numeric(known, errors="coerce").notna().all():
            raise DataError(
                f"{place}: column {name!r} holds numbers, but its kind is text; make two modalities, one of them of numbers"
            )
        text = np.full(len(table), None, dtype=object)
        text[known.index] = known.to_numpy(dtype=object)
        columns[name] = text
    return pd.DataFrame(columns, index=table.index, dtype=object)


def join_text(table: pd.DataFrame) -> NDArray[Any]:
    """Return the text of each sample, its columns joined by a blank.

    Args:
        table: What :func:`clean_text` gave, of shape (samples, columns).

    Returns:
        Strings as objects of shape (samples,); ``""`` where every column is missing.

    Example:
        >>> import pandas as pd
        >>> join_text(pd.DataFrame({"title": ["good", None], "body": ["as ever", "too small"]}, dtype=object)).tolist()
        ['good as ever', ' too small']
    """
    columns = [np.where(table[name].isna(), "", table[name].to_numpy(dtype=object)) for name in table.columns]
    return reduce(lambda first, second: first + " " + second, columns)


_USED = {"tfidf": ("name",), "hashing": ("name", "tokens"), "huggingface": ("name", "tokens", "tokenizer")}


def text_form(stated: str | Mapping[str, Any] | None, modality: str, default: Mapping[str, Any] | None = None) -> TextOptions:
    """Return the form in which a model gets the text of a modality.

    Args:
        stated: The option ``text``: a name, options for every modality, or a mapping from modality to one of these.
        modality: The modality.
        default: Options that hold where nothing else is stated.

    Raises:
        ConfigError: An option is unknown, is not valid, or has no meaning for this form.

    Example:
        >>> text_form({"review": "hashing", "title": {"name": "hashing", "tokens": 64}}, "title")
        TextOptions(name='hashing', tokens=64, tokenizer=None)
    """
    owner = f"text of modality {modality!r}"
    every = {"name": stated} if isinstance(stated, str) else dict(stated or {})
    own: Any = every.get(modality, {})
    common = {key: value for key, value in every.items() if key in TextOptions.__dataclass_fields__ and key != modality}
    if not isinstance(own, (str, Mapping)):
        raise ConfigError(f"{owner}: expected a name or a mapping, found {own!r}")
    chosen = {**common, **({"name": own} if isinstance(own, str) else own)}
    implied = dict(default or {})
    if chosen.get("name", implied.get("name")) == implied.get("name"):
        chosen = {**implied, **chosen}
    form = build(TextOptions, chosen, owner)
    for key in chosen:
        if key not in _USED[form.name]:
            raise ConfigError(f"{owner}: {key} has no meaning for the form {form.name}")
    return form
