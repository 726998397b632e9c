from __future__ import annotations

import pytest

from equipoise.yaml_text import NotYaml, parse_yaml


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "key 'a' is stated twice"),
        ("x:\n  - {a: 1}\n  - {b: 1, b: 2}\n", 3, "key 'b' is stated twice"),
        ("a:\n\tb: 1\n", 2, "a tab stands where blanks are expected"),
        ("a: [1\n", 2, "expected ',' or ']', but got '<stream end>'"),
        ("a: \x01\n", None, "unacceptable character #x0001: special characters are not allowed"),
        ("a: &x\n", 1, None),
        ("[" * 5000, None, "it is nested too deeply"),
    ],
)
@pytest.mark.parametrize("words", [False, True])
def test_what_is_not_yaml(text: str, line: int | None, problem: str | None, words: bool) -> None:
    if problem is None:
        assert parse_yaml(text, words=words) == {"a": "" if words else None}
        return
    with pytest.raises(NotYaml) as error:
        parse_yaml(text, words=words)
    assert (error.value.problem, error.value.line) == (problem, line)


def test_a_date_that_is_none() -> None:
    with pytest.raises(NotYaml, match="month must be in"):
        parse_yaml("a: 2024-13-45")
    assert parse_yaml("a: 2024-13-45", words=True) == {"a": "2024-13-45"}


def test_the_same_key_elsewhere_and_anchors() -> None:
    assert parse_yaml("a: &own {x: 1}\nb: {<<: *own, x: 2}\nc: *own") == {"a": {"x": 1}, "b": {"x": 2}, "c": {"x": 1}}
    assert parse_yaml("a: {x: 1}\nb: {x: 1}") == {"a": {"x": 1}, "b": {"x": 1}}
    assert parse_yaml("") is None
