"""Comparisons: what is planned, that it goes on after any stop, and that one failure harms nothing else."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from equipoise.benchmark import compare
from equipoise.benchmark.compare import RESULTS, Job, chosen, parse_method, plan, run_jobs, stored
from equipoise.data.sources import open_dataset
from equipoise.errors import ConfigError, RunError
from equipoise.files import append_line
from tests.end_to_end.harness import call, finish, start

QUICK = {"epochs": 1, "device": "cpu"}


def planned(methods: list[Any], seeds: int = 1, **options: Any) -> list[Job]:
    return plan(open_dataset("wisconsin"), methods, seeds, {**QUICK, **options})


def test_plan_goes_fold_by_fold_in_the_order_of_methods() -> None:
    jobs = planned(["late", "joint"], 2, folds=2, repeats=2, seed=5)
    assert [(job.fold, job.seed, job.method["name"]) for job in jobs][:5] == [
        (0, 5, "late"),
        (0, 5, "joint"),
        (0, 6, "late"),
        (0, 6, "joint"),
        (1, 5, "late"),
    ]
    assert len(jobs) == 4 * 2 * 2
    assert len({job.key for job in jobs}) == len(jobs)
    assert len(planned(["joint", "joint", "ogm", "ogm:alpha=0.3", "ogm:alpha=0.4"])) == 3  # 0.3 is the default


def test_a_run_is_known_by_what_it_depends_on() -> None:
    def key(**options: Any) -> str:
        return planned(["ogm"], **options)[0].key

    assert key() == key(epochs="1") == key(fusion=None)
    assert len({key(), key(epochs=2), key(seed=1), key(folds=3), key(learning_rate=0.01)}) == 5
    assert planned(["ogm:alpha=0.5"])[0].key == planned([{"name": "ogm", "alpha": 0.5}])[0].key != key()


@pytest.mark.parametrize(
    ("methods", "options", "sentence"),
    [
        (["joint", "nope"], {}, "unknown method 'nope'"),
        (["ogm:alhpa=1"], {}, "unknown option 'alhpa', did you mean 'alpha'"),
        (["ogm:alpha=-1"], {}, "alpha = -1"),
        ([], {}, "none is named"),
        (["joint"], {"fold": 1}, "leave out fold"),
        (["joint"], {"method": "late"}, "leave out method"),
        (["joint"], {"epochs": 0}, "epochs = 0"),
        (["joint"], {"folds": 1}, "folds = 1"),
    ],
)
def test_what_cannot_be_planned(methods: list[str], options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        planned(methods, **options)


@pytest.mark.parametrize("word", ["ogm:alpha", "ogm:=3", "ogm:alpha=1:alpha=2", "ogm:name=joint", "ogm:"])
def test_words_that_are_no_method(word: str) -> None:
    with pytest.raises(ConfigError, match="is not valid at"):
        parse_method(word)


def test_runs_are_stored_go_on_and_failures_stop_nobody(tmp_path: Path) -> None:
    jobs = planned(["joint", "late"], folds=2)
    wrong = Job({"name": "late"}, 7, 0, jobs[0].options, jobs[0].data)  # there is no fold 7
    broken = Job({"name": "late"}, 0, 0, {**jobs[0].options, "progress": True}, jobs[0].data)
    rows = list(run_jobs([wrong, broken, *jobs[:3]], "wisconsin", {}, tmp_path, 1))
    assert [("error" in row) for row in rows] == [True, True, False, False, False]
    assert "fold = 7" in rows[0]["error"]
    assert rows[1]["error"].startswith("TypeError: ")
    assert len(stored(tmp_path)) == 3
    lines = (tmp_path / RESULTS).read_text().splitlines()
    assert [json.loads(line)["key"] for line in lines] == [row["key"] for row in rows]

    # The kill came while a line was written: that run is done again, and what failed is tried again.
    (tmp_path / RESULTS).write_text("\n".join(lines[:4]) + "\n" + lines[4][:50])
    again = list(run_jobs([*jobs, wrong], "wisconsin", {}, tmp_path, 1))
    assert {row["key"] for row in again} == {jobs[2].key, jobs[3].key, wrong.key}
    assert sorted(row["key"] for row in stored(tmp_path)) == sorted(job.key for job in jobs)
    kept = chosen(stored(tmp_path), jobs)
    assert [row["method"]["name"] for row in kept] == ["joint", "late", "joint", "late"]
    assert list(run_jobs(jobs, "wisconsin", {}, tmp_path, 1)) == []
    # The line that was cut and its repetition say the same.
    same = json.loads(lines[4])
    repeated = next(row for row in again if row["key"] == same["key"])
    assert repeated["test"] == same["test"]


def test_rows_are_put_in_the_order_of_the_plan(tmp_path: Path) -> None:
    jobs = planned(["late", "joint", "unimodal"])
    for job in (jobs[2], jobs[0], jobs[1]):
        append_line(tmp_path / RESULTS, {"key": job.key, "method": job.method})
    append_line(tmp_path / RESULTS, {"key": "of another comparison"})
    assert [row["method"]["name"] for row in chosen(stored(tmp_path), jobs)] == ["late", "joint", "unimodal"]
    assert chosen(stored(tmp_path / "nothing"), jobs) == []


def test_the_first_run_of_a_worker_pays_for_no_start_up(monkeypatch: pytest.MonkeyPatch) -> None:
    trained = []
    monkeypatch.setattr("equipoise.run.fit", lambda data, **options: trained.append((data, options["epochs"])))
    monkeypatch.setattr("torch.set_num_threads", lambda count: None)
    monkeypatch.setattr(compare, "_dataset", None)
    compare._start_worker("wisconsin", {})
    assert trained == [("wisconsin", 1)]
    assert compare._dataset is not None


def test_a_process_that_dies_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Pool(compare.ProcessPoolExecutor):
        def submit(self, *_: Any, **__: Any) -> Any:
            return super().submit(os._exit, 3)

    monkeypatch.setattr(compare, "ProcessPoolExecutor", Pool)
    with pytest.raises(RunError, match="a process of the comparison died"):
        list(run_jobs(planned(["joint"]), "wisconsin", {}, tmp_path, 1))


def test_no_processes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="processes = 0"):
        list(run_jobs(planned(["joint"]), "wisconsin", {}, tmp_path, 0))


@pytest.mark.slow
def test_killed_and_started_again(tmp_path: Path) -> None:
    words = ("compare", "wisconsin", "--methods", "joint,late", "--folds", "3", "--epochs", "3", "--device", "cpu")
    words = (*words, "--processes", "1", "--out", str(tmp_path))
    process = start(*words)
    try:
        limit = time.monotonic() + 60
        while not len(stored(tmp_path)) and time.monotonic() < limit:
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
    finally:
        finish(process)  # returns once its worker, which holds the other ends of the pipes, has gone as well
    before = stored(tmp_path)
    assert 0 < len(before) < 6
    with (tmp_path / RESULTS).open("a") as file:
        file.write('{"key": "half')
    answer = finish(start(*words))
    assert answer.code == 0, answer.err
    assert f"{len(before)} of 6 runs were done before" in answer.out
    assert [row for row in stored(tmp_path) if row["key"] in {old["key"] for old in before}] == before
    assert len(stored(tmp_path)) == 6
    assert call(*words).out.startswith("6 of 6 runs were done before")
