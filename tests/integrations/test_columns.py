"""Which columns belong to which modality."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from equipoise.errors import ConfigError
from equipoise.integrations.columns import find_columns

NAMES = ["a_1", "a_2", "b_1", "b_2"]


@pytest.mark.parametrize("columns", [[0, 1], slice(2), (0, -3), range(2), np.array([0, 1]), "a_", ["a_1", "a_2"], slice(-4, -2)])
def test_ways_to_state_columns(columns: Any) -> None:
    assert find_columns({"x": columns, "y": [3]}, 4, NAMES) == {"x": [0, 1], "y": [3]}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (None, {"all": [0, 1, 2, 3]}),
        (["p", "q", "r_1", "s_1"], {"all": [0, 1, 2, 3]}),
        (["a_1", "b.1", "a_2", "b.2"], {"a": [0, 2], "b": [1, 3]}),
        (["a_1", "a_2", "a_3", "a_4"], {"a": [0, 1, 2, 3]}),
    ],
)
def test_columns_of_unstated_modalities(names: list[str] | None, expected: dict[str, list[int]]) -> None:
    assert find_columns(None, 4, names) == expected


@pytest.mark.parametrize(
    ("modalities", "names", "message"),
    [
        ({}, None, "expected a mapping from modality names to columns, found {}"),
        (["a"], None, "expected a mapping"),
        ({"x": []}, None, "modalities: 'x' has no columns"),
        ({"x": slice(9, 12)}, None, "modalities: 'x' has no columns"),
        ({"x": [4]}, None, "column 4 does not exist, there are 4 columns, counted from 0"),
        ({"x": [-5]}, None, "column -5 does not exist"),
        ({"x": [True]}, None, "expected column names or numbers, found True"),
        ({"x": 3}, None, "expected column names, column numbers, a slice of numbers, or a prefix, found 3"),
        ({"x": slice("a_1", "b_1")}, NAMES, "expected column names, column numbers, a slice of numbers, or a prefix"),
        ({"x": "a_"}, None, "'x': columns are stated by name, but those of X have no names"),
        ({"x": ["a_1"]}, None, "'x': columns are stated by name, but those of X have no names"),
        ({"x": [1, 1]}, None, "column 1 is listed twice in 'x'"),
        ({"x": [1], "y": [-3]}, NAMES, "column 'a_2' belongs to both 'x' and 'y'"),
        (None, ["a_1", "a_2", "b_1", "c_1"], "cannot tell whose column 'b_1', 'c_1' is"),
        (None, ["a_1", "a_2", "a.1", "a.2"], "cannot tell whose column 'a_', 'a.' is"),
        (None, ["a_1", "a_2", "b_1", "a_1"], "X has the column 'a_1' twice"),
    ],
)
def test_what_cannot_be_meant_is_refused(modalities: Any, names: list[str] | None, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        find_columns(modalities, 4, names)
    assert message in str(caught.value)
