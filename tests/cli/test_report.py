"""``equipoise report`` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from equipoise.run import fit
from tests.end_to_end.harness import QUICK, call, done
from tests.report.conftest import Page


@pytest.fixture(scope="module")
def alone(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each modality of the data alone."""
    run = tmp_path_factory.mktemp("runs") / "unimodal"
    done("fit", study, "--method", "unimodal", *QUICK, "--out", run)
    return run


def test_a_run_gets_a_page(finished: Path, alone: Path, tmp_path: Path) -> None:
    path = tmp_path / "pages" / "run.html"
    assert f"report: {path}\n" in done("report", finished, "--alone", alone, "--out", path)
    page = Page(path.read_text())
    diagnosis = json.loads(done("diagnose", finished, "--alone", alone, "--format", "json"))
    assert diagnosis["verdict"]["text"] in page.text
    assert page.values("Alone and inside the model, by own output", 1) == [
        item["alone"]["value"] for item in diagnosis["capacity"]
    ]
    assert f"--method ogm --epochs 2 --device cpu --out {finished}" in page.text


def test_the_page_lies_in_the_run_by_default(alone: Path) -> None:
    assert f"report: {alone / 'report.html'}\n" in done("report", alone)
    assert (alone / "report.html").read_text().startswith("<!doctype html>")


def test_json_for_programs(finished: Path, alone: Path, tmp_path: Path) -> None:
    printed = json.loads(done("report", finished, "--alone", alone, "--format", "json"))
    done("report", finished, "--alone", alone, "--format", "json", "--out", tmp_path / "r.json")
    saved = json.loads((tmp_path / "r.json").read_text())
    diagnosis = json.loads(done("diagnose", finished, "--alone", alone, "--format", "json"))
    for whole in (printed, saved):
        assert [{**run, "seconds": 0} for run in whole["runs"]] == [{**diagnosis, "seconds": 0}]


def test_runs_side_by_side(finished: Path, alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run of ``unimodal`` among them says what modalities reach alone: nothing is trained."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("equipoise.diagnosis.diagnose.fit", None)
    assert "report: report.html\n" in done("report", finished, alone, finished)
    text = (tmp_path / "report.html").read_text()
    assert "2 runs side by side" in text
    assert "The runs differ" not in text


def test_the_data_may_have_moved(finished: Path, alone: Path, study: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    moved.mkdir()
    for item in study.iterdir():
        (moved / item.name).write_bytes(item.read_bytes())
    done("report", finished, "--data", moved, "--alone", alone, "--out", tmp_path / "r.html")
    assert (tmp_path / "r.html").read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--format", "pdf"), "format = 'pdf' is not valid, expected html or json"),
        (("--data", "absent"), "absent"),
        (("--epochs", "3"), "unknown option '--epochs'"),
    ],
)
def test_what_cannot_be_asked(finished: Path, words: tuple[str, ...], expected: str) -> None:
    assert expected in call("report", finished, *words).error()
    assert not (finished / "report.html").exists()


def test_what_is_no_run(study: Path, tmp_path: Path) -> None:
    assert str(study) in call("report", study).error()
    assert str(tmp_path / "absent") in call("report", tmp_path / "absent").error()
    assert "RUN" in call("report").error()


def test_a_file_that_cannot_be_written(finished: Path, alone: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    answer = call("report", finished, "--alone", alone, "--out", tmp_path / "file" / "r.html")
    assert "it is a file, expected a folder" in answer.error() or "a part of the path is a file" in answer.error()


def test_the_demo_ends_with_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from equipoise.cli import demo

    monkeypatch.setattr(demo, "fit", lambda *words, **more: fit(*words, **more, epochs=1, progress=False))
    out = done("demo", "--out", tmp_path / "demo")
    path = tmp_path / "demo" / "joint_unimodal" / "report.html"
    assert out.endswith(f"report: {path}\n")
    page = Page(path.read_text())
    alone = json.loads((tmp_path / "demo" / "unimodal" / "summary.json").read_text())["test"]
    assert page.values("Alone and inside the model, by own output", 1) == pytest.approx(
        [alone[name]["balanced_accuracy"] for name in ("upper_left", "upper_right", "lower_left", "lower_right")]
    )
