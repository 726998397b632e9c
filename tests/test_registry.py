"""Registries find what is there, offer the nearest name, and refuse to hide one component behind another."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import equipoise.registry
from equipoise.errors import ConfigError
from equipoise.registry import Registry


def test_unknown_names_get_the_nearest_one() -> None:
    registry = Registry[int]("shape")
    registry.register("square")(4)
    assert registry.get("square") == 4
    with pytest.raises(ConfigError, match="unknown shape 'sqare', did you mean 'square'"):
        registry.get("sqare")
    with pytest.raises(ConfigError, match="unknown shape 'x', choose from: square"):
        registry.get("x")


@pytest.mark.parametrize("name", ["Square", "two words", "", "_hidden", "trailing_", "1st", "a-b"])
def test_names_are_lower_case_words(name: str) -> None:
    with pytest.raises(ConfigError, match="must be lower-case words"):
        Registry[int]("shape").register(name)


def test_a_name_is_given_once() -> None:
    registry = Registry[type]("shape")

    class First:
        pass

    class Second:
        pass

    registry.register("one")(First)
    registry.register("one")(First)  # a module that is imported again
    with pytest.raises(ConfigError, match=r"'one' is registered twice: by .*First and .*Second"):
        registry.register("one")(Second)
    assert registry.get("one") is First


PLUGIN = """
from {package}.base import SHAPES
SHAPES.register("{name}")({value})
"""


def test_components_are_found_because_their_file_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "shapes_of_test"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "base.py").write_text("from equipoise.registry import Registry\nSHAPES = Registry('shape', 'shapes_of_test')\n")
    (package / "square.py").write_text(PLUGIN.format(package=package.name, name="square", value=4))
    (tmp_path / "third_party.py").write_text(PLUGIN.format(package=package.name, name="triangle", value=3))
    monkeypatch.syspath_prepend(tmp_path)
    asked = []

    def entry_points(group: str) -> list[EntryPoint]:
        asked.append(group)
        return [EntryPoint("triangle", "third_party", group)]

    monkeypatch.setattr(equipoise.registry, "entry_points", entry_points)
    before = set(sys.modules)
    try:
        from shapes_of_test.base import SHAPES  # type: ignore[import-not-found]

        assert "shapes_of_test.square" not in sys.modules
        assert SHAPES.names() == ["square", "triangle"]
        assert SHAPES.get("triangle") == 3
        assert asked == ["equipoise.shapes"]
    finally:
        for name in set(sys.modules) - before:
            del sys.modules[name]


def test_a_package_of_somebody_else_that_is_broken_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_third_party.py").write_text("import nowhere_at_all\n")
    monkeypatch.syspath_prepend(tmp_path)
    broken = EntryPoint("triangle", "broken_third_party", "equipoise.shapes")
    monkeypatch.setattr(equipoise.registry, "entry_points", lambda group: [broken])
    words = "shape 'triangle': an installed package says that it is in broken_third_party, which cannot be imported "
    with pytest.raises(ConfigError, match=words + r"\(ModuleNotFoundError: No module named 'nowhere_at_all'\)"):
        Registry[int]("shape", "equipoise.functional").names()
