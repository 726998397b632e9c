"""Files that are not UTF-8: one sentence with the file and the place."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from equipoise.data.files import read_table, read_yaml
from equipoise.errors import DataError
from tests.end_to_end.harness import call

LATIN = "caf\u00e9".encode("latin-1")


@pytest.mark.parametrize(
    ("name", "content", "read", "place"),
    [
        ("a.csv", b"text,label\nfine,x\n" + LATIN + b",y\n", read_table, "byte 0xe9 at place 4 of line 3"),
        ("head.csv", b"text," + LATIN + b"\nfine,x\n", read_table, "byte 0xe9 at place 9 of line 1"),
        (
            "late.tsv",
            b"text\tlabel\n" + b"1\tx\n" * 200_000 + LATIN + b"\ty\n",
            read_table,
            "byte 0xe9 at place 4 of line 200002",
        ),
        ("wide.csv", "text,label\nfine,x\n".encode("utf-16"), read_table, "byte 0x(ff|fe) at place 1 of line 1"),
        ("dataset.yaml", b"target: label\nname: " + LATIN + b"\n", read_yaml, "byte 0xe9 at place 10 of line 2"),
    ],
)
def test_the_place_that_is_not_utf8_is_named(
    tmp_path: Path, name: str, content: bytes, read: Callable[[Path], Any], place: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{re.escape(name)} cannot be read as .* in UTF-8: {place}$") as caught:
        read(tmp_path / name)
    assert len(str(caught.value).splitlines()) == 1


def test_utf8_of_every_language_is_read(tmp_path: Path) -> None:
    words = ["na\u00efve \u65e5\u672c\u8a9e", "\u0437\u0434\u0440\u0430\u0432\u043e"]
    (tmp_path / "a.csv").write_text("text,label\n" + "".join(f"{word},x\n" for word in words), encoding="utf-8-sig")
    assert read_table(tmp_path / "a.csv")["text"].tolist() == words


def test_the_shell_says_it_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"text,label\n" + LATIN + b",y\n")
    assert (
        "a.csv cannot be read as a csv table in UTF-8: byte 0xe9 at place 4 of line 2"
        in call("fit", tmp_path / "a.csv", "--out", tmp_path / "run").error()
    )
