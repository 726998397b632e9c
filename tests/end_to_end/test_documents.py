"""README, the example configuration and the examples do what they say."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import tomllib
from pathlib import Path

import pytest

from tests.end_to_end.harness import ROOT, done, summary, write_folder

README = (ROOT / "README.md").read_text()


def block(kind: str, number: int = 0) -> str:
    """A code block of the README."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)[number]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_python_example(capsys: pytest.CaptureFixture[str]) -> None:
    code = block("python")
    assert len(code.strip().splitlines()) == 10
    exec(compile(code, "README.md", "exec"), {})
    out = capsys.readouterr().out
    for words in ("fused 0.", "upper_left 0.", "probability[0]", "'accuracy': 0."):
        assert words in out


def test_shell_example() -> None:
    lines = block("shell", 1).strip().splitlines()
    assert len(lines) == 5
    for line in lines:
        program, *words = shlex.split(line)
        assert program == "equipoise"
        assert done(*words)
    assert Path("predictions.csv").read_text().count("\n") == 570


def test_make_targets() -> None:
    targets = re.findall(r"^make (\w+)", block("shell"), re.MULTILINE)
    assert targets == ["demo", "test"]
    assert all(re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE) for target in targets)


def test_dataset_yaml_of_the_readme(tmp_path: Path) -> None:
    """With the columns that it speaks of, the file is accepted and does what it says."""
    import pandas as pd

    study = write_folder(tmp_path / "study")
    blood = pd.read_csv(study / "blood.csv")
    blood.assign(ward=[number % 4 for number in range(60)]).to_csv(study / "blood.csv", index=False)
    table = pd.read_csv(study / "labels.csv")
    table.assign(clinic=[f"c{number // 6}" for number in range(60)]).to_csv(study / "labels.csv", index=False)
    (study / "dataset.yaml").write_text(block("yaml"))
    out = done("data", "describe", study)
    assert "groups: 10" in out
    assert "ward" in out
    assert "genes" not in out


def test_ratios_are_those_of_the_measurements() -> None:
    rows = re.findall(r"^\| .+ \| ([\d.]+)x \| \[(\w+)\]\(benchmarks/results/\2\.md\) \|$", README, re.MULTILINE)
    assert len(rows) >= 7
    for number, name in rows:
        cells = re.split(r"[|\s]+", (ROOT / "benchmarks" / "results" / f"{name}.md").read_text())
        assert number in cells, f"{name}: {number}"


def test_table_of_methods() -> None:
    """The table of the README is what ``equipoise methods --markdown`` prints: put it between the two marks."""
    (found,) = re.findall(r"^<!-- methods: .*? -->\n(.*?)^<!-- /methods -->$", README, re.MULTILINE | re.DOTALL)
    assert found.strip() == done("methods", "--markdown").strip()


def test_files_of_a_run_are_those_of_the_readme(finished: Path) -> None:
    section = README[README.index("## What a run leaves behind") : README.index("## What bad input gets")]
    assert set(re.findall(r"`(\w+\.\w+)`", section)) == {path.name for path in finished.iterdir()}


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_between_files(name: str) -> None:
    text = (ROOT / name).read_text()
    local = [target for target in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in target]
    assert [target for target in local if not (ROOT / target).exists()] == []
    named = re.findall(r"`((?:examples|configs|tests)/[^`*\s]+)`", text)
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_package_shows_the_readme() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["readme"] == "README.md"


def test_example_configuration(tmp_path: Path) -> None:
    run = tmp_path / "run"
    done("fit", "wisconsin", "--config", ROOT / "configs" / "example.yaml", "--epochs", "3", "--out", run)
    config = json.loads((run / "config.json").read_text())
    assert config["options"]["method"]["alpha"] == 0.5
    assert config["options"]["epochs"] == 3
    assert config["encoders"]["mean"] == {"name": "mlp", "hidden": 128, "dropout": 0.2}
    assert config["encoders"]["worst"]["layers"] == 3
    assert summary(run)["test"]["fused"]["accuracy"] > 0.8


def test_example_of_own_encoders(capsys: pytest.CaptureFixture[str]) -> None:
    run = runpy.run_path(str(ROOT / "examples" / "own_encoders.py"))["main"](epochs=8)
    out = capsys.readouterr().out
    assert re.search(r"^lower  accuracy 0\.\d+ on 2\d\d test samples$", out, re.MULTILINE)
    assert run.metrics["fused"]["accuracy"] > 0.7
    assert run.config["encoders"]["upper"]["name"] == "own"
    assert run.config["encoders"]["lower"]["name"] == "mlp"


def test_example_of_a_loop_of_ones_own(capsys: pytest.CaptureFixture[str]) -> None:
    found = runpy.run_path(str(ROOT / "examples" / "own_loop.py"))["main"](epochs=6)
    out = capsys.readouterr().out
    assert re.search(r"^before fused 0\.\d+, upper 0\.\d+, lower 0\.\d+$", out, re.MULTILINE)
    assert f"after  fused {found['fused']:.3f}" in out
    assert found["fused"] > 0.7
