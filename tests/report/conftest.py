"""Diagnoses that several tests show, made once."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest

import equipoise
from equipoise.report.page import render
from tests.diagnosis.conftest import QUICK, arrays

VOID = {"meta", "link", "br", "input"}
SCRIPT = "<script>alert(1)</script>"


class Page(HTMLParser):
    """The elements of a page; refuses one that does not nest."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[tuple[str, ...], dict[str, str | None]]] = []
        self.tables: dict[str, list[list[tuple[str, str | None]]]] = {}
        self.text = ""
        self._rows: list[list[tuple[str, str | None]]] = []
        self._caption = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.elements.append(((*self.open, tag), given))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self._rows, self._caption = [], ""
        if tag == "tr":
            self._rows.append([])
        if tag in ("td", "th"):
            self._rows[-1].append(("", given.get("data-value")))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag == "table":
            assert self._caption not in self.tables, "a page of one run names each table once"
            self.tables[self._caption] = self._rows

    def handle_data(self, data: str) -> None:
        if "script" in self.open or "style" in self.open:
            return
        self.text += data
        if "caption" in self.open:
            self._caption += data
        elif "td" in self.open or ("table" in self.open and "th" in self.open):
            text, value = self._rows[-1][-1]
            self._rows[-1][-1] = (text + data, value)

    def names(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of all elements of a name."""
        return [given for path, given in self.elements if path[-1] == tag]

    def cells(self, caption: str) -> list[list[str]]:
        """The texts of a table, without its head."""
        return [[text for text, _ in row] for row in self.tables[caption][1:]]

    def values(self, caption: str, column: int) -> list[float]:
        """The whole numbers behind the texts of a column."""
        return [float(row[column][1] or "nan") for row in self.tables[caption][1:]]


@pytest.fixture(scope="session")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A run with missing modalities, by a method that logs coefficients; class and folder have names made to break a page."""
    data, target = arrays()
    names = ["plain", SCRIPT, "a & b"]
    labels = [names[code] for code in target]
    folder = tmp_path_factory.mktemp("runs") / "<img src=x onerror=alert(2)>"
    run = equipoise.fit(data, target=labels, method="ogm", encoder="mlp", epochs=3, out=folder, **QUICK)
    return equipoise.diagnose(run, data, target=labels, progress=False).to_json()


@pytest.fixture(scope="session")
def text(found: dict[str, Any]) -> str:
    """Its page."""
    return render([found])


@pytest.fixture(scope="session")
def page(text: str) -> Page:
    """Its page, read."""
    return Page(text)
