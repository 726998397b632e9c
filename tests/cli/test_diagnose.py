"""``equipoise diagnose`` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.end_to_end.harness import QUICK, call, done


@pytest.fixture(scope="module")
def alone(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each modality of the data alone."""
    run = tmp_path_factory.mktemp("runs") / "unimodal"
    done("fit", study, "--method", "unimodal", *QUICK, "--out", run)
    return run


def test_a_run_is_diagnosed_in_tables_and_as_json(finished: Path, alone: Path, tmp_path: Path) -> None:
    out = done("diagnose", finished, "--alone", alone, "--out", tmp_path / "d.json")
    saved = json.loads((tmp_path / "d.json").read_text())
    assert f"diagnosis: {tmp_path / 'd.json'}" in out
    assert saved["verdict"]["text"] in out
    assert "ogm on study: test part, 12 samples, 3 classes" in out
    for item in saved["capacity"]:
        lines = [line.split() for line in out.splitlines() if line.split()[:1] == [item["modality"]]]
        assert len(lines) == 4  # capacity, contributions, information, decision
        assert lines[0][1] == f"{item['alone']['value']:.3f}"
        assert lines[0][2] == f"{item['inside']['value']:.3f}"
        assert lines[0][-1] == item["state"]
    for name, estimate in saved["coalitions"]["mask"]["shapley"].items():
        assert any(line.split()[:2] == [name, f"{estimate['value']:.3f}"] for line in out.splitlines())
    printed = json.loads(done("diagnose", finished, "--alone", alone, "--format", "json"))
    assert {**printed, "seconds": 0} == {**saved, "seconds": 0}


def test_data_are_diagnosed_by_training_on_them(study: Path) -> None:
    out = done("diagnose", study, *QUICK)
    assert "joint on study: test part, 12 samples, 3 classes" in out


def test_the_data_may_have_moved(study: Path, finished: Path, alone: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    moved.mkdir()
    for item in study.iterdir():
        (moved / item.name).write_bytes(item.read_bytes())
    assert "test part, 12 samples" in done("diagnose", finished, "--data", moved, "--alone", alone)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--epochs", "3"), "is a run, which has its options; leave out --epochs"),
        (("--format", "html"), "format = 'html' is not valid, expected text or json"),
        (("--data", "wisconsin"), "none of the modalities 'blood', 'genes', 'scan' is in the data"),
    ],
)
def test_what_cannot_be_asked_of_a_run(finished: Path, words: tuple[str, ...], expected: str) -> None:
    assert expected in call("diagnose", finished, *words).error()


def test_data_of_a_run_need_a_run(study: Path) -> None:
    assert "--data goes with a run, but" in call("diagnose", study, "--data", study).error()


def test_nothing_to_diagnose(tmp_path: Path) -> None:
    assert str(tmp_path / "absent") in call("diagnose", tmp_path / "absent").error()
    assert "leave out the method" in call("diagnose", "wisconsin", "--method.name", "ogm").error()
