"""The documentation is true: its examples run and print what it shows, and what it names and quotes exists."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from docs import examples
from docs._ext import generate
from equipoise.config import option_sections
from equipoise.methods.base import METHODS
from tests.contract import test_description, test_persistence, test_training

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = examples.pages()
SLOW = ("reading_the_verdict", "omics", "audio_and_images", "search_and_clusters")
RESULT = re.compile(r"\d+\.\d+ ± \d+\.\d+|[+-]\d+\.\d (?:\(p [\d.]+\)|\[[^\]]+\])")
LINK = re.compile(r"\(\.\./generated/(results/\w+\.md)\)")


# Lightning warns about itself.
@pytest.mark.filterwarnings("ignore:.*LeafSpec")
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=page.relative_to(DOCS).with_suffix("").as_posix(), marks=[pytest.mark.slow] * (page.stem in SLOW))
        for page in PAGES
    ],
)
def test_examples_print_what_is_shown(page: Path, tmp_path: Path) -> None:
    try:
        examples.check_page(page, tmp_path)
    except ModuleNotFoundError as error:
        pytest.skip(str(error))


def test_every_page_for_users_has_examples() -> None:
    folders = ("start", "tutorials", "how_to")
    assert {page for folder in folders for page in (DOCS / folder).glob("*.md")} <= set(PAGES)


@pytest.mark.parametrize(
    ("shown", "printed", "equal"),
    [
        ("epoch 3, loss 0.71\n...\ndone\n", "epoch 3, loss 0.69\nlonger\nthan that\ndone\n", True),
        ("...\nlast 1\n", "first\nlast 2\n", True),
        ("first\n...\n", "first\n", True),
        ("a  b\n", "a b\n", True),
        ("a\nb\n", "a\nc\n", False),
        ("first\n...\nlast\n", "first\n", False),
        ("", "something", False),
    ],
)
def test_what_counts_as_the_same(shown: str, printed: str, equal: bool) -> None:
    assert examples.same(shown, printed) == equal


def test_an_example_that_fails_is_named(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Page\n\n```python\nprint(1)\n```\n\n```text\ntwo\n```\n")
    (tmp_path / "here").mkdir()
    with pytest.raises(examples.Different, match=r"page\.md, line 3, shows:\ntwo"):
        examples.check_page(page, tmp_path / "here")
    page.write_text("```shell\nequipoise fit nowhere --out run\n```\n")
    with pytest.raises(examples.Different, match=r"page\.md, line 1: equipoise fit nowhere .* ended with 2: error: "):
        examples.check_page(page, tmp_path / "here")
    page.write_text("```shell\npip install '.[nothing]'\n```\n")
    with pytest.raises(examples.Different, match="there is no extra"):
        examples.check_page(page, tmp_path / "here")


def test_quoted_measurements_are_in_the_files_that_their_lines_link_to() -> None:
    lines = (DOCS / "how_to" / "choosing_a_method.md").read_text().splitlines()
    quoting = [line for line in lines if RESULT.search(line)]
    assert len(quoting) >= 8
    for line in quoting:
        (name,) = LINK.findall(line)
        text = (ROOT / "benchmarks" / name).read_text()
        assert [number for number in RESULT.findall(line) if number not in text] == [], line


def test_costs_are_those_of_the_measurements() -> None:
    text = (DOCS / "how_to" / "choosing_a_method.md").read_text()
    quoted = re.search(r"## What it costs\n\n(.*?)What a step costs", text, re.DOTALL)
    assert quoted is not None
    table = (ROOT / "benchmarks" / "results" / "real_sets.md").read_text().split("\n## ")[1]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("| ")]
    updates = {cells[0]: cells[-1] for cells in rows}
    named = dict(re.findall(r"`(\w+)` (\d+\.\dx)", quoted[1]))
    assert len(named) >= 7
    assert named.pop("aug") == updates["aug max_heads=11 fusion_weights=uniform"]
    assert named == {name: updates[name] for name in named}
    learned = re.search(r"with learned weights (\d+\.\dx)", quoted[1])
    assert learned is not None
    assert learned[1] == updates["aug max_heads=11 fusion_weights=validation"]


def test_names_of_sections_are_those_of_a_report() -> None:
    rows = re.findall(r"^\| ([A-Z][\w ]+) \|", (DOCS / "how_to" / "reading_a_report.md").read_text(), re.MULTILINE)
    report = ROOT / "src" / "equipoise" / "report"
    sections = "".join(
        (report / name).read_text()
        for name in ("sections.py", "information.py", "targets.py", "reproduction.py", "comparison.py")
    )
    assert len(rows) >= 10
    assert [name for name in rows if f'"{name}"' not in sections] == []


def test_every_method_and_option_has_its_place() -> None:
    pages = generate.every_page()
    for name in METHODS.names():
        page, card = pages[f"methods/{name}.md"], METHODS.get(name).card
        assert page.startswith(f"# {name}\n")
        assert card.formula in page
        assert card.arxiv in page
        assert f"[`{name}`](methods/{name}.md)" in pages["methods.md"]
    for name in option_sections():
        assert f"| `{name}` |" in pages["options.md"]
    for name, parser in generate.commands():
        assert f"## equipoise {name}\n" in pages["command_line.md"]
        assert parser.prog.endswith(name)


def test_links_between_pages() -> None:
    generated = {f"generated/{name}" for name in generate.every_page()}
    for page in DOCS.rglob("*.md"):
        if {"_build", "generated"} & set(page.relative_to(DOCS).parts):
            continue
        for target in re.findall(r"\]\(([^)#:]+\.md)", page.read_text()):
            place = (page.parent / target).resolve()
            assert place.exists() or place.relative_to(DOCS).as_posix() in generated, f"{page.name}: {target}"


def test_every_public_module_of_functions_is_listed() -> None:
    text = (DOCS / "reference" / "functional.md").read_text()
    listed = set(re.findall(r"^   equipoise\.functional\.(\w+)$", text, re.MULTILINE))
    modules = {path.stem for path in (ROOT / "src" / "equipoise" / "functional").glob("[a-z]*.py")}
    assert listed == modules


def test_every_public_name_is_listed() -> None:
    equipoise = importlib.import_module("equipoise")
    listed = set(re.findall(r"^   equipoise\.(\w+)$", (DOCS / "reference" / "python.md").read_text(), re.MULTILINE))
    assert set(equipoise.__all__) - {"__version__"} <= listed


def test_the_method_of_the_tutorial_passes_the_contract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as the contract needs no further parameters."""
    METHODS.names()
    monkeypatch.setattr(METHODS, "_items", dict(METHODS._items))
    (block,) = (
        item
        for item in examples.read_page(DOCS / "tutorials" / "add_a_method.md")
        if isinstance(item, examples.Block) and item.caption == "agreement.py"
    )
    (tmp_path / "agreement.py").write_text(block.code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "agreement", raising=False)
    importlib.import_module("agreement")
    ran, given = 0, {"name": "agreement", "tmp_path": tmp_path}
    modules: tuple[Any, ...] = (test_training, test_persistence, test_description)
    for function in (item for module in modules for item in vars(module).values()):
        if not inspect.isfunction(function) or not function.__name__.startswith("test_"):
            continue
        needed = set(inspect.signature(function).parameters)
        if "name" in needed and needed <= given.keys():
            with contextlib.suppress(pytest.skip.Exception):
                function(**{key: given[key] for key in needed})
            ran += 1
    assert ran > 8
    monkeypatch.delitem(sys.modules, "agreement")
