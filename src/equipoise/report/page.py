"""The page: what a diagnosis says, as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from equipoise._version import __version__
from equipoise.report.sections import comparison, sections, titles


def render(found: Sequence[Mapping[str, Any]]) -> str:
    """Return the page about one or more diagnosed runs, which opens from disk and works without a network and JavaScript.

    Args:
        found: What :meth:`equipoise.diagnosis.diagnose.Diagnosis.to_json` returned for each run.

    Returns:
        HTML.

    Example:
        >>> import equipoise
        >>> run = equipoise.fit("wisconsin", epochs=2, progress=False)
        >>> page = render([equipoise.diagnose(run, "wisconsin", progress=False).to_json()])
        >>> page.startswith("<!doctype html>"), "joint on wisconsin" in page
        (True, True)
    """
    runs = [
        {"number": number, "name": name, "found": item, "sections": sections(item)}
        for number, (name, item) in enumerate(zip(titles(found), found, strict=True), start=1)
    ]
    return _template().render(
        runs=runs,
        comparison=comparison(found) if len(found) > 1 else None,
        style=Markup(_text("style.css")),
        script=Markup(_text("script.js")),
        version=__version__,
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("equipoise.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("template.html")


def _text(name: str) -> str:
    return (files("equipoise.report") / name).read_text(encoding="utf-8")
