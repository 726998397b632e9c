"""Wherever runs are done, the results are the same, and no failure harms the others."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from equipoise.benchmark import executors
from equipoise.benchmark.executors import Event, Executor, LocalPool, ThisProcess
from equipoise.benchmark.jobs import Job, Source, plan
from equipoise.benchmark.runner import commit, missing, run_jobs
from equipoise.benchmark.store import Store
from equipoise.benchmark.worker import Worker, peak_memory, reset_peak_memory
from equipoise.data.dataset import Dataset
from equipoise.data.sources import open_dataset
from equipoise.errors import ConfigError, RunError
from equipoise.run import fit

SOURCES = {"wisconsin": Source("wisconsin")}
QUICK = {"epochs": 1, "device": "cpu"}


def planned(methods: list[Any], **options: Any) -> list[Job]:
    return plan(open_dataset("wisconsin"), methods, 1, {**QUICK, **options})


def finished(events: Sequence[Event]) -> list[dict[str, Any]]:
    return [row for _, row in events if row is not None]


def do(jobs: list[Job], out: Path, executor: Executor | None = None, **options: Any) -> list[dict[str, Any]]:
    return finished(list(run_jobs(jobs, SOURCES, Store(out), executor or ThisProcess(), **options)))


def test_runs_are_stored_go_on_and_failures_stop_nobody(tmp_path: Path) -> None:
    jobs = planned(["joint", "late"], folds=2)
    wrong = replace(jobs[0], fold=7)
    broken = replace(jobs[0], options={**jobs[0].options, "encoder": 3})
    rows = do([wrong, broken, *jobs[:3]], tmp_path)
    assert [("error" in row) for row in rows] == [True, True, False, False, False]
    assert "fold = 7" in rows[0]["error"]
    stored = Store(tmp_path).rows()
    assert [row["key"] for row in stored] == [row["key"] for row in rows]
    assert stored[2]["commit"] == commit()

    # What failed is tried again when that is asked for, and only then; what is done is not done again.
    assert {row["key"] for row in do([*jobs, wrong], tmp_path)} == {jobs[3].key}
    assert {row["key"] for row in do([*jobs, wrong], tmp_path, retry=True)} == {wrong.key}
    assert missing(jobs, Store(tmp_path)) == []
    assert do(jobs, tmp_path) == []

    # A method that is new is all that runs.
    more = planned(["joint", "ogm", "late"], folds=2)
    assert [row["method"]["name"] for row in do(more, tmp_path)] == ["ogm", "ogm"]


def test_a_bug_in_one_run_is_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise KeyError("x")

    monkeypatch.setattr("equipoise.benchmark.worker.fit", fails)
    assert Worker(lambda name: SOURCES[name].open()).do(planned(["joint"])[0])["error"] == "KeyError: 'x'"


def test_a_row_says_what_fit_says_and_what_it_cost() -> None:
    job = planned(["ogm"], folds=3)[1]
    row = Worker(lambda name: SOURCES[name].open()).do(job)
    wanted = fit("wisconsin", method="ogm", folds=3, fold=1, progress=False, **QUICK)
    assert row["test"] == wanted.metrics
    assert (row["passes"], row["updates"], row["samples"]) == (1, wanted.summary["updates"], wanted.summary["samples"])
    assert [set(point["macro_f1"]) >= {"fused"} for point in row["curve"]] == [True]
    assert row["method"] == job.method


def test_runs_on_one_fold_share_its_preparation(monkeypatch: pytest.MonkeyPatch) -> None:
    opened, divided = [], []

    def open_data(name: str) -> Dataset:
        opened.append(name)
        return open_dataset(name)

    real = executors.Worker.__init__.__globals__["Fold"].of
    monkeypatch.setattr("equipoise.benchmark.worker.Fold.of", lambda *words: divided.append(words[1].fold) or real(*words))
    worker = Worker(open_data)
    jobs = planned(["joint", "late", "ogm"], folds=2)
    shared = [worker.do(job)["test"] for job in jobs]
    assert opened == ["wisconsin"]
    assert divided == [0, 1]
    assert [Worker(open_dataset).do(job)["test"] for job in jobs] == shared  # bit for bit what each gives alone


def test_peak_memory_counts_from_when_it_is_told() -> None:
    torch.ones(60_000_000).sum()  # 240 MB, gone at once
    before = peak_memory()
    reset_peak_memory()
    after = peak_memory()
    assert before is not None
    assert after is not None
    assert before - after > 200e6


@pytest.mark.slow
def test_a_pool_gives_the_same_rows_as_this_process() -> None:
    jobs = planned(["joint", "late"], folds=2)
    alone, pooled = (
        {row["key"]: row["test"] for row in finished(list(executor(jobs, SOURCES)))} for executor in (ThisProcess(), LocalPool(2))
    )
    assert alone == pooled
    assert len(alone) == 4


@pytest.mark.slow
def test_data_may_be_streamed_in_a_pool() -> None:
    jobs = planned(["joint"], loader="stream", workers=1)
    (row,) = finished(list(LocalPool(1)(jobs, SOURCES)))
    assert "error" not in row


def test_this_process_keeps_its_threads() -> None:
    before = torch.get_num_threads()
    events = ThisProcess()(planned(["joint"]), SOURCES)
    assert [row is None for _, row in events] == [True, False]
    assert torch.get_num_threads() == before


@dataclass(frozen=True)
class Deadly(Source):
    """Data whose opening kills the process until it was opened some times."""

    times: int = 0
    trace: str = ""

    def open(self) -> Dataset:
        with Path(self.trace).open("ab") as file:
            file.write(b"x")
        if Path(self.trace).stat().st_size <= self.times:
            os._exit(9)
        return super().open()


@pytest.mark.slow
@pytest.mark.parametrize(("times", "fails"), [(1, False), (2, True)])
def test_a_run_whose_process_dies_is_tried_elsewhere_then_failed(tmp_path: Path, times: int, fails: bool) -> None:
    jobs = planned(["joint"]) + [replace(job, set="deadly") for job in planned(["late"])]
    sources = {**SOURCES, "deadly": Deadly("wisconsin", times=times, trace=str(tmp_path / "trace"))}
    rows = {row["set"]: row for row in finished(list(LocalPool(2)(jobs, sources)))}
    assert "error" not in rows["wisconsin"]
    assert ("died during this run in each of 2 attempts" in rows["deadly"].get("error", "")) is fails


def end(*_: object) -> None:
    """What a process does that cannot even begin."""


@pytest.mark.slow
def test_processes_that_cannot_begin_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executors, "_serve", end)
    with pytest.raises(RunError, match="ended before it could begin"):
        list(LocalPool(1)(planned(["joint"]), SOURCES))


def test_no_processes_are_refused() -> None:
    with pytest.raises(ConfigError, match="processes = 0"):
        LocalPool(0)
