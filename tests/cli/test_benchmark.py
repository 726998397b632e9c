"""``equipoise benchmark`` as a user meets it."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from equipoise.benchmark.store import Store
from tests.end_to_end.harness import call, done, finish, start, write_folder

QUICK = ("--epochs", "2", "--device", "cpu", "--processes", "1")


@pytest.mark.slow
def test_tables_are_readable_and_in_the_order_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    study = write_folder(tmp_path / "study")
    methods = "unimodal,ogm:alpha=0.5,joint,ogm"
    words = ("benchmark", study, "--methods", methods, "--folds", "2", "--out", tmp_path / "out", *QUICK)
    out = done(*words)
    assert max(map(len, out.splitlines())) <= 100 or str(tmp_path) in max(out.splitlines(), key=len)
    names = [line.split()[0] for line in out.splitlines() if line.startswith((" unimodal", " ogm", " joint"))]
    assert names == ["unimodal", "ogm", "joint", "ogm"] * 3
    assert "ogm alpha=0.5" in out
    fused, inside, cost = (out.index(words) for words in ("fused output on", "macro-F1 of each modality", "cost of a run"))
    assert fused < inside < cost
    for name in ("blood", "genes", "scan"):
        assert name in out[inside:]
    assert "1.00x" in out
    assert len(Store(tmp_path / "out").rows()) == 8
    again = done(*words)
    assert again.startswith("8 of 8 runs were done before")
    assert again.split("\n", 1)[1] == out
    assert (tmp_path / "out" / "leaderboard.csv").read_text().count("\n") == 5
    assert "study: fused output" in (tmp_path / "out" / "leaderboard.md").read_text()


@pytest.mark.slow
def test_a_method_that_fails_is_named_kept_and_tried_again_when_asked(tmp_path: Path) -> None:
    words = ("benchmark", "wisconsin", "--methods", "late,joint", "--fusion", "concat", "--out", tmp_path / "out", *QUICK)
    for more, attempts in (((), 2), ((), 2), (("--retry",), 3)):
        answer = call(*words, *more)
        assert answer.code == 2
        assert "failed: late on wisconsin, fold 0, seed 0: method late needs fusion 'logit'" in answer.out
        assert "--retry tries again" in answer.out
        assert " joint " in answer.out
        assert "Traceback" not in answer.err
        assert len(Store(tmp_path / "out").attempts()) == attempts


@pytest.mark.slow
def test_a_dry_run_says_what_would_be_done_and_does_nothing(tmp_path: Path) -> None:
    suite = tmp_path / "small.yaml"
    suite.write_text("data: {first: {source: wisconsin, seeds: 3}, second: {source: gaussian}}\nmethods: [joint, ogm]\nfolds: 2")
    out = done("benchmark", suite, "--dry-run", "--out", tmp_path / "out", *QUICK)
    lines = {line.split()[0]: line.split() for line in out.splitlines() if line.strip()}
    assert lines["first"][1:11] == ["569", "2", "x", "3", "x", "2", "x", "1", "0", "12"]
    assert lines["second"][1] == "2000"
    assert "16 runs to do, 1 at a time: at most about" in out
    assert not (tmp_path / "out").exists()
    done("benchmark", suite, "--seeds", "1", "--out", tmp_path / "out", *QUICK)
    out = done("benchmark", suite, "--dry-run", "--methods", "joint,ogm,late", "--seeds", "1", "--out", tmp_path / "out", *QUICK)
    assert "4 runs to do" in out
    assert "16" not in out.split("runs to do")[0].splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--methods", "joint,nope"), "unknown method 'nope'"),
        (("--methods", "ogm:alpha=x"), "method ogm: alpha = 'x' is not valid"),
        (("--methods", ","), "methods: none is named"),
        ((), "methods: none is named"),
        (("--methods", "joint", "--seeds", "0"), "seeds = '0' is not valid"),
        (("--methods", "joint", "--search", "x"), "search = 'x' is not valid"),
        (("--methods", "joint", "--processes", "two"), "processes = 'two' is not valid"),
        (("--methods", "joint", "--folds", "many"), "folds = 'many' is not valid"),
        (("--methods", "joint", "--fold", "1"), "unknown option 'fold'"),
        (("--methods", "joint", "--epochs", "0"), "epochs = 0 is out of range"),
        (("core", "--methods", "joint"), "core is a suite, which names its data"),
    ],
)
def test_mistakes_are_refused_before_anything_runs(tmp_path: Path, words: tuple[str, ...], sentence: str) -> None:
    assert sentence in call("benchmark", "wisconsin", *words, "--out", tmp_path / "out").error()
    assert not (tmp_path / "out").exists()


def test_a_search_without_optuna_is_refused_before_anything_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    words = ("benchmark", "wisconsin", "--methods", "joint", "--search", "2", "--out", tmp_path / "out", *QUICK)
    assert "equipoise[sweep]" in call(*words).error()
    assert not (tmp_path / "out").exists()


@pytest.fixture
def terminal() -> Iterator[None]:
    """As at a terminal: what is started in the background ignores Ctrl-C, and what it starts does too."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.slow
@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize(("number", "processes"), [(signal.SIGKILL, 2), (signal.SIGINT, 2), (signal.SIGINT, 1)])
def test_stopped_and_started_again(tmp_path: Path, number: int, processes: int) -> None:
    words = ("benchmark", "wisconsin", "--methods", "joint,late,ogm", "--folds", "4", "--epochs", "80", "--device", "cpu")
    words = (*words, "--patience", "none", "--processes", str(processes), "--out", str(tmp_path))
    process = start(*words)
    try:
        limit = time.monotonic() + 60
        while not Store(tmp_path).rows() and time.monotonic() < limit:
            time.sleep(0.02)
        os.kill(process.pid, number)
    finally:
        stopped = finish(process)  # returns once its workers, which hold the other ends of the pipes, have gone as well
    before = Store(tmp_path).attempts()
    assert 0 < len(before) < 12
    if number == signal.SIGINT:
        assert stopped.code == 130
        assert stopped.err == f"interrupted: {len(before)} of 12 runs are kept; the same command goes on\n"
    answer = finish(start(*words))
    assert answer.code == 0, answer.err
    assert f"{len(before)} of 12 runs were done before" in answer.out
    after = Store(tmp_path).attempts()
    assert after[: len(before)] == before
    assert len({row["key"] for row in after}) == len(after) == 12
