from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from equipoise.data.columns import as_text, clean_table, infinite_entry
from equipoise.errors import DataError

IDS = np.array(["i0", "i1", "i2", "i3"])


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([1, 2], ["1", "2"]),
        ([1.0, np.nan], ["1", ""]),
        (np.array([0.1, 2.0], dtype=np.float32), ["0.1", "2"]),
        ([True, False], ["True", "False"]),
        (np.array([b"a", b"b "]), ["a", "b"]),
        (["NA", None], ["NA", ""]),
        (pd.Series([1, None], dtype="Int64"), ["1", ""]),
        (pd.Series([1.5, None], dtype="Float64"), ["1.5", ""]),
        (pd.Series([True, None], dtype="boolean"), ["True", ""]),
        (pd.Series(["u", None], dtype="category"), ["u", ""]),
        (np.array([2**60 + 1]), [str(2**60 + 1)]),
        ([np.inf, 1e300], ["", "1e+300"]),
    ],
)
def test_text_of_any_column(values: object, text: list[str]) -> None:
    assert as_text(values).tolist() == text


def test_types_of_columns() -> None:
    table = pd.DataFrame(
        {
            "float": [1.0, np.nan, 2.0, 3.0],
            "nullable": pd.Series([1, None, 2, 3], dtype="Int64"),
            "digits": ["1", "2", None, "4e1"],
            "word": ["u", "v", None, "u"],
            "flag": [True, False, True, True],
            "kind": pd.Series(["k", "l", "k", "k"], dtype="category"),
            "code": [1.0, 2.0, np.nan, 1.0],
        }
    )
    clean, categorical = clean_table(table, IDS, "here", categorical=["code"])
    assert categorical == ("word", "flag", "kind", "code")
    assert list(clean.columns) == list(table.columns)
    np.testing.assert_array_equal(clean["nullable"], [1, np.nan, 2, 3])
    np.testing.assert_array_equal(clean["digits"], [1, 2, np.nan, 40])
    assert clean["word"].tolist() == ["u", "v", None, "u"]
    assert clean["flag"].tolist() == ["True", "False", "True", "True"]
    assert clean["code"].tolist() == ["1", "2", None, "1"]
    assert not any(isinstance(dtype, pd.CategoricalDtype) for dtype in clean.dtypes)


@pytest.mark.parametrize(
    ("column", "sentence"),
    [
        (["1", "2", "x7", "4"], "here: column 'c' has text where numbers are expected: 'x7' for sample 'i2' .1 of 4 values."),
        ([1.0, np.inf, 2.0, 3.0], "here: column 'c' is infinite for sample 'i1'"),
        ([1.0, 2.0, 3.0, -1e39], "here: column 'c' is infinite for sample 'i3'"),
        (pd.to_datetime(["2020-01-01"] * 4), "here: column 'c' holds dates"),
        ([1j, 2j, 3j, 4j], "here: column 'c' holds complex numbers"),
    ],
)
def test_bad_columns(column: object, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        clean_table(pd.DataFrame({"a": [1, 2, 3, 4], "c": column}), IDS, "here")


def test_mixed_column_may_be_stated_categorical() -> None:
    clean, categorical = clean_table(pd.DataFrame({"c": ["1", "2", "x7", "4"]}), IDS, "here", categorical=["c"])
    assert categorical == ("c",)
    assert clean["c"].tolist() == ["1", "2", "x7", "4"]
    with pytest.raises(DataError, match="categorical column 'd' is not among"):
        clean_table(pd.DataFrame({"c": [1]}), IDS[:1], "here", categorical=["d"])


def test_words_where_a_model_needs_numbers() -> None:
    with pytest.raises(DataError, match="'u' for sample 'i0'"):
        clean_table(pd.DataFrame({"c": ["u", "v", "w", "u"]}), IDS, "here", numeric=["c"])
    clean, categorical = clean_table(pd.DataFrame({"c": [None] * 4, "d": [True] * 4}), IDS, "here", numeric=["c", "d"])
    assert categorical == ()
    assert clean["c"].isna().all()
    assert clean["d"].tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_infinite_entry(dtype: type) -> None:
    values = np.zeros((3, 2, 2), dtype=dtype)
    values[0, 0, 0] = np.nan
    assert infinite_entry(values) is None
    values[1, 1, 0] = np.inf
    assert infinite_entry(values) == (1, 2)
