"""Estimates of time follow from what is known, and say nothing where nothing is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from equipoise.benchmark.jobs import Job, Source, plan
from equipoise.benchmark.timing import Clock, longest
from equipoise.data.sources import open_dataset


def job(name: str, data: str) -> Job:
    return Job({"name": name}, 0, 0, {}, "data", "split", set=data)


def row(name: str, data: str, seconds: float | None) -> dict[str, Any]:
    return {"method": {"name": name}, "set": data, "seconds": seconds}


def test_runs_take_as_long_as_their_like() -> None:
    clock = Clock()
    assert clock.seconds(job("joint", "a")) is None
    assert clock.left([job("joint", "a")], 2) is None
    assert clock.left([], 2) == 0.0
    for known in (row("joint", "a", 2.0), row("joint", "a", 4.0), row("aug", "a", 9.0), {**row("aug", "a", None), "error": "x"}):
        clock.add(known)
    assert clock.seconds(job("joint", "a")) == 3.0
    assert clock.seconds(job("aug", "a")) == 9.0
    assert clock.seconds(job("new", "a")) == 6.0  # the mean of what is known here
    clock.add(row("joint", "b", 10.0))
    assert clock.seconds(job("aug", "b")) == 30.0  # three times joint, as on the other data
    assert clock.left([job("joint", "a"), job("aug", "b")], 2) == pytest.approx(33.0 / 2)
    assert clock.left([job("joint", "a")] * 3 + [job("aug", "b")], 2) == pytest.approx(39.0 / 2)


def test_short_trials_bound_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    done = []

    def pretend(_: object, one: Job) -> dict[str, Any]:
        done.append((one.set, one.method["name"], one.options["epochs"]))
        factor = (1 if one.method["name"] == "joint" else 2) * (1 if one.set == "wisconsin" else 10)
        return {"seconds": factor * (0.5 + one.options["epochs"])}

    monkeypatch.setattr("equipoise.benchmark.timing.Worker.do", pretend)
    jobs = plan(open_dataset("wisconsin"), ["joint", "ogm"], 2, {"epochs": 11, "folds": 2})
    jobs += [replace(one, set="large") for one in jobs]
    clock = longest(jobs, {"wisconsin": Source("wisconsin"), "large": Source("wisconsin")}, {"wisconsin": 10, "large": 99})
    assert sorted(set(done)) == [
        ("large", "joint", 1),
        ("large", "joint", 3),
        *[("wisconsin", name, epochs) for name in ("joint", "ogm") for epochs in (1, 3)],
    ]
    assert clock.seconds(jobs[0]) == pytest.approx(11.5)
    assert clock.seconds(jobs[1]) == pytest.approx(23.0)
    assert clock.seconds(jobs[-1]) == pytest.approx(230.0)
    searched = [replace(one, trials=4) for one in jobs]
    assert longest(searched, {}, {"wisconsin": 10, "large": 99}).seconds(jobs[0]) == pytest.approx(5 * 11.5)
