"""CONTRIBUTING.md is true: its files, put where it says, are found, trained with and pass what is asked of every method."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from equipoise.data.readers import READERS
from equipoise.methods.base import METHODS
from equipoise.nn.encoders.base import ENCODERS
from equipoise.registry import Registry
from tests.contract import test_description, test_persistence, test_training
from tests.end_to_end.harness import QUICK, ROOT, call, done, labels, log, summary

PAGE = (ROOT / "CONTRIBUTING.md").read_text()
FILES = dict(re.findall(r"^`src/(equipoise/\S+)\.py`\n\n```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
METHOD, READER, ENCODER = "fading_unimodal", "jsonl", "gru"


@pytest.fixture(autouse=True)
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put the files of the page into their packages, for one test."""
    registries: tuple[Registry[Any], ...] = (METHODS, READERS, ENCODERS)
    for registry in registries:
        registry.names()  # finds what is there without the page
    known = set(sys.modules)
    for place, code in FILES.items():
        path = tmp_path / "added" / f"{place}.py"
        path.parent.mkdir(parents=True)
        path.write_text(code)
        package = importlib.import_module(path.parent.relative_to(tmp_path / "added").as_posix().replace("/", "."))
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(path.parent)])
    for registry in registries:
        monkeypatch.setattr(registry, "_items", {name: registry.get(name) for name in registry.names()})
        monkeypatch.setattr(registry, "_discovered", False)
    yield
    for name in set(sys.modules) - known:
        if name.replace(".", "/") in FILES:
            del sys.modules[name]


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    """A file that only the reader of the page can read."""
    random = np.random.default_rng(0)
    lines = []
    for number, label in enumerate(labels()):
        speech = random.normal(size=(5, 3)) + number % 3
        lines.append(
            json.dumps({"id": f"s{number}", "label": label, "speech": speech.tolist(), "face": random.normal(size=4).tolist()})
        )
    path = tmp_path / "samples.jsonl"
    path.write_text("\n".join(lines))
    return path


def test_the_page_has_one_file_of_each_kind() -> None:
    assert list(FILES) == [
        f"equipoise/methods/{METHOD}",
        f"equipoise/data/readers/{READER}",
        f"equipoise/nn/encoders/{ENCODER}",
    ]


def test_the_paths_of_the_page_exist() -> None:
    """Those that are not the files to be added."""
    paths = set(re.findall(r"`((?:src|tests|benchmarks)/[^`\s]*)`", PAGE)) - {f"src/{place}.py" for place in FILES}
    assert len(paths) > 8
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []
    targets = set(re.findall(r"^make (\w+)", PAGE, re.MULTILINE))
    assert targets == {"test", "lint", "types", "docs"}
    makefile = (ROOT / "Makefile").read_text()
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)


def test_all_three_together(samples: Path, tmp_path: Path) -> None:
    assert "classes: a 20, b 20, c 20" in done("data", "describe", samples)
    words = [
        "--modalities",
        "{speech: {kind: array}, face: {}}",
        "--encoder.speech.name",
        ENCODER,
        "--encoder.speech.layers",
        "2",
    ]
    run = tmp_path / "run"
    out = done("fit", samples, *words, "--method", METHOD, "--method.weight", "0.5", *QUICK, "--out", run)
    assert "fading_unimodal on samples" in out
    config = json.loads((run / "config.json").read_text())
    assert config["encoders"]["speech"]["name"] == ENCODER
    assert config["schema"]["format"] == READER
    assert [line["coefficients"]["weight"] for line in log(run)] == [0.5, 0.25]
    assert set(log(run)[0]["losses"]) == {"fused", "unimodal.speech", "unimodal.face"}
    assert summary(run)["method"] == {"name": METHOD, "weight": 0.5}
    assert "60 predictions" in done("predict", run, samples, "--out", tmp_path / "p.csv")


def test_mistakes_are_told_as_everywhere(samples: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert call("fit", samples, "--method", METHOD, "--method.weight", "-1", "--out", run).error() == (
        "method fading_unimodal: weight = -1.0 is out of range, expected at least 0"
    )
    assert (
        call("fit", samples, "--encoder", ENCODER, "--out", run)
        .error()
        .startswith("encoder of modality 'speech': encoder gru needs samples of shape (steps")
    )
    samples.write_text(samples.read_text()[:-9])
    assert call("data", "describe", samples).error().startswith(f"{samples} cannot be read as a file of JSON lines: ")


def test_the_card() -> None:
    out = done("methods", METHOD)
    assert "Fading unimodal losses" in out
    assert "--method.weight" in out


@pytest.mark.parametrize("module", [test_training, test_persistence, test_description])
def test_the_contract(module: Any, tmp_path: Path) -> None:
    """All of it that needs no further parameters."""
    ran, given = 0, {"name": METHOD, "tmp_path": tmp_path}
    for function in vars(module).values():
        if not inspect.isfunction(function) or not function.__name__.startswith("test_"):
            continue
        needed = set(inspect.signature(function).parameters)
        if "name" in needed and needed <= {"name", "tmp_path"}:
            with contextlib.suppress(pytest.skip.Exception):
                function(**{key: given[key] for key in needed})
            ran += 1
    assert ran >= 3
