from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from equipoise.config import ReadOptions
from equipoise.data.description import describe_source
from equipoise.data.labels import check_ids, code_target, find_roles, read_group, read_split
from equipoise.errors import DataError

IDS = np.array(["i0", "i1", "i2", "i3"])


def code(values: object, classes: tuple[str, ...] | None = None, labelled: bool = True) -> tuple[list[int], tuple[str, ...]]:
    codes, names = code_target(values, IDS, classes, labelled=labelled, place="here")
    return codes.tolist(), names


@pytest.mark.parametrize(
    ("values", "codes", "classes"),
    [
        ([10, 9, 10, 2], [2, 1, 2, 0], ("2", "9", "10")),
        (["10", "9", "10", "2"], [2, 1, 2, 0], ("2", "9", "10")),
        ([1.0, 0.0, 1.0, 0.0], [1, 0, 1, 0], ("0", "1")),
        (["01", "1", "02", "2.0"], [0, 0, 1, 1], ("01", "02")),
        (["b", "a", "b", "NA"], [2, 1, 2, 0], ("NA", "a", "b")),
        (["None", "x", "nan", "x"], [0, 2, 1, 2], ("None", "nan", "x")),
        ([True, False, True, True], [1, 0, 1, 1], ("False", "True")),
    ],
)
def test_order_of_classes(values: object, codes: list[int], classes: tuple[str, ...]) -> None:
    assert code(values) == (codes, classes)


def test_stated_classes() -> None:
    assert code(["b", "a", "b", "a"], ("b", "c", "a")) == ([0, 2, 0, 2], ("b", "c", "a"))
    assert code(["1.0", "0.0", "1", "0"], ("1", "0")) == ([0, 1, 0, 1], ("1", "0"))
    with pytest.raises(DataError, match=r"here: label 'z' of sample 'i2' is none of the classes 'a', 'b' .1 such samples."):
        code(["b", "a", "z", "a"], ("a", "b"))
    assert code(["b", "a", "z", ""], ("a", "b"), labelled=False) == ([1, 0, -1, -1], ("a", "b"))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ([0.0, np.nan, 1.0, np.inf], "here: 2 of 4 samples have no label: 'i1', 'i3'"),
        (["a", "", "b", " "], "here: 2 of 4 samples have no label: 'i1', 'i3'"),
        (["0", "NA", "1", "1"], "here: 1 of 4 samples have no label: 'i1'"),
        (["", "", "", ""], "holds no label at all"),
        ([None, "a", "b", "a"], "1 of 4 samples have no label: 'i0'"),
    ],
)
def test_missing_labels(values: object, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        code(values)


def test_missing_labels_are_allowed_for_prediction() -> None:
    assert code(["0", "NA", "1", "1"], labelled=False) == ([0, -1, 1, 1], ("0", "1"))
    assert code(["", "", "", ""], labelled=False) == ([-1] * 4, ())


def test_quantities_are_no_classes() -> None:
    ids = np.arange(50).astype(str)
    with pytest.raises(DataError, match="looks like a quantity"):
        code_target(np.linspace(0, 1, 50), ids, None, labelled=True, place="here")


def test_split_words() -> None:
    words = read_split(["train", "VAL", "dev", "test"], IDS, stated=False, place="here")
    assert words is not None
    assert words.tolist() == ["train", "validation", "validation", "test"]
    assert read_split(["1", "2", "3", "4"], IDS, stated=False, place="here") is None
    with pytest.raises(DataError, match="here: 'trian' of sample 'i1' is no part of a split"):
        read_split(["train", "trian", "val", "test"], IDS, stated=False, place="here")
    with pytest.raises(DataError, match="'1' of sample 'i0'"):
        read_split(["1", "2", "3", "4"], IDS, stated=True, place="here")


def test_groups() -> None:
    groups = read_group([1, 2, 1, 2], IDS, labelled=True, place="here")
    assert groups is not None
    assert groups.tolist() == ["1", "2", "1", "2"]
    with pytest.raises(DataError, match="here: 1 samples have no group: 'i3'"):
        read_group([1, 2, 1, None], IDS, labelled=True, place="here")
    assert read_group([1, 2, 1, None], IDS, labelled=False, place="here") is None


def test_ids() -> None:
    with pytest.raises(DataError, match="here: id 'b' repeats, expected one row per sample"):
        check_ids(np.array(["a", "b", "b"]), "here")
    with pytest.raises(DataError, match="here: row 2 has no id"):
        check_ids(np.array(["a", ""]), "here")


def test_finding_the_target() -> None:
    def target(columns: list[str], labelled: bool = True, **options: Any) -> tuple[str, ...]:
        stated = describe_source(None, ReadOptions(**options), ())
        return find_roles(columns, stated, None, labelled=labelled, place="here").target

    assert target(["x", "Label"]) == ("Label",)
    assert target(["x", "label"], target="x") == ("x",)
    assert target(["x", "y", "label"], target=("y", "x")) == ("y", "x")
    assert target(["y_a", "x", "y_b"], target="y_*") == ("y_a", "y_b")
    with pytest.raises(DataError, match="here: no column begins with 'z_', the prefix of the target"):
        target(["x"], target="z_*")
    with pytest.raises(DataError, match="here: any of 'label', 'class' could be the target"):
        target(["label", "class"])
    with pytest.raises(DataError, match="state the target, found 'diagnosis', 'site'"):
        target(["diagnosis", "site"])
    with pytest.raises(DataError, match="here has no target column 'diagnosys', did you mean 'diagnosis'"):
        target(["diagnosis", "site"], target="diagnosys")
    assert target(["diagnosis"], labelled=False) == ()
    assert target(["diagnosis"], labelled=False, target="label") == ()
    assert target(["a"], labelled=False, target=("a", "b")) == ()
    for role in ("split", "group"):
        with pytest.raises(DataError, match=f"here has no {role} column 'v'"):
            target(["label"], **{role: "v"})
