"""A run that is stopped in the middle, gently or not, ends bit for bit where it would have ended."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest

import equipoise
from equipoise.training.loop import Interrupted
from tests.end_to_end.harness import call, done, finish, interrupted_after, labels, mapping, same_end, start

LONG = ("--method", "ogm", "--epochs", "40", "--patience", "none", "--device", "cpu", "--checkpoint-seconds", "0")


def _wait_for_lines(run: Path, count: int, process: subprocess.Popen[str]) -> None:
    """Wait until a run has logged some epochs."""
    path = run / "metrics.jsonl"
    deadline = time.monotonic() + 60
    while not path.is_file() or path.read_text().count("\n") < count:
        assert process.poll() is None, finish(process)
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture(scope="module")
def straight(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that nobody stops."""
    run = tmp_path_factory.mktemp("straight") / "run"
    done("fit", study, *LONG, "--out", run)
    return run


def test_control_c(study: Path, straight: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start("fit", study, *LONG, "--out", run)
    _wait_for_lines(run, 3, process)
    process.send_signal(signal.SIGINT)
    answer = finish(process)
    assert answer.code == 130
    assert answer.out == ""
    assert answer.err.splitlines() == [
        f"error: interrupted; what was trained so far is kept and the run can be resumed: equipoise fit --resume {run}"
    ]
    assert not (run / "summary.json").exists()
    done("fit", "--resume", run)
    same_end(run, straight)
    assert not (run / "checkpoint.pt").exists()


def test_kill(study: Path, straight: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start("fit", study, *LONG, "--out", run)
    _wait_for_lines(run, 5, process)
    process.kill()
    assert finish(process).code == -signal.SIGKILL
    assert not (run / "summary.json").exists()
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"phase": "tr')  # as if it had been killed while it wrote a line
    done("fit", "--resume", run)
    same_end(run, straight)


def test_interrupted_again_and_again(study: Path, straight: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with interrupted_after(1):
        assert call("fit", study, *LONG, "--out", run).code == 130
    for epochs in (1, 7, 20):
        with interrupted_after(epochs):
            answer = call("fit", "--resume", run)
        assert answer.code == 130
        assert answer.err.endswith(f"equipoise fit --resume {run}\n")
    done("fit", "--resume", run)
    same_end(run, straight)


def test_killed_before_the_first_checkpoint(study: Path, straight: Path, tmp_path: Path) -> None:
    """Only the log and the settings are there; the run starts again."""
    run = tmp_path / "run"
    with interrupted_after(3):
        assert call("fit", study, *LONG, "--out", run).code == 130
    (run / "checkpoint.pt").unlink()
    done("fit", "--resume", run)
    same_end(run, straight)


def test_resuming_a_finished_run_trains_nothing(straight: Path) -> None:
    before = {path.name: path.read_bytes() for path in straight.iterdir()}
    out = done("fit", "--resume", straight)
    assert "ogm on study: test part, 12 samples" in out
    assert {path.name: path.read_bytes() for path in straight.iterdir()} == before


def test_data_in_memory_are_passed_again(tmp_path: Path) -> None:
    options = {"target": labels(), "progress": False}
    with interrupted_after(2), pytest.raises(Interrupted):
        equipoise.fit(mapping(), epochs=4, out=tmp_path / "run", **options)
    with pytest.raises(equipoise.EquipoiseError, match="data in memory; pass them again"):
        equipoise.resume(tmp_path / "run", progress=False)
    resumed = equipoise.resume(tmp_path / "run", mapping(), **options)
    straight = equipoise.fit(mapping(), epochs=4, out=tmp_path / "straight", **options)
    same_end(tmp_path / "run", tmp_path / "straight")
    assert resumed.metrics == straight.metrics
