"""The pages: what a diagnosis or a benchmark says, as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from equipoise._version import __version__
from equipoise.report.blocks import Article, Section
from equipoise.report.comparison import comparison, titles
from equipoise.report.leaderboard import Origin, closing, opening, sets
from equipoise.report.sections import sections


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
    names, data = titles(found), found[0]["data"]["name"]
    articles = [_article(number, *item) for number, item in enumerate(zip(names, found, strict=True), start=1)]
    several = len(found) > 1
    return _page(
        kind="report",
        title=f"{', '.join(names)} on {data}",
        heading=f"{len(found)} runs side by side" if several else f"{names[0]} on {data}",
        opening=[comparison(found)] if several else [],
        articles=articles,
    )


def render_benchmark(summary: Mapping[str, Any], origin: Origin) -> str:
    """Return the page about a benchmark, which opens from disk and works without a network and JavaScript.

    Args:
        summary: What :func:`equipoise.benchmark.summary.summarize` returned.
        origin: Where they come from.

    Returns:
        HTML.
    """
    return _page(
        kind="benchmark",
        title=origin.title,
        heading=origin.title,
        opening=opening(summary, origin),
        articles=sets(summary),
        closing=closing(summary, origin),
    )


def _article(number: int, name: str, found: Mapping[str, Any]) -> Article:
    data, folder = found["data"], found["run"]["folder"]
    intro = (
        f"{found['outputs']['fused']['samples']} test samples of {data['name']}, {found['terms']['targets']}, "
        f"{len(data['modalities'])} modalities"
    )
    return Article(
        name=f"run-{number}",
        short=name,
        title=f"{name}: {found['verdict']['headline']}",
        intro=intro + (f"; run folder {folder}" if folder else ""),
        sections=sections(found),
        good=not found["verdict"]["findings"],
    )


def _page(
    *,
    kind: str,
    title: str,
    heading: str,
    opening: Sequence[Section],
    articles: Sequence[Article],
    closing: Sequence[Section] = (),
) -> str:
    return _template().render(
        kind=kind,
        title=title,
        heading=heading,
        opening=opening,
        articles=articles,
        closing=closing,
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
