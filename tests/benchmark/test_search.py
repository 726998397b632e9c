"""The search for hyper-parameters: fair, the same each time, and never by the test part."""

from __future__ import annotations

import dataclasses
import importlib.util
from typing import Any

import numpy as np
import pytest

from equipoise.benchmark import search as module
from equipoise.benchmark.jobs import plan
from equipoise.benchmark.search import search, space, with_values
from equipoise.benchmark.worker import Worker
from equipoise.data.sources import open_dataset
from equipoise.errors import ConfigError, RunError
from equipoise.fold import Fold
from equipoise.methods.base import METHODS, make_method
from equipoise.run import fit

OPTIONS = {"epochs": 2, "device": "cpu", "seed": 0, "threads": 1}

needs_optuna = pytest.mark.skipif(
    importlib.util.find_spec("optuna") is None, reason="Optuna is not installed: pip install 'equipoise[sweep]'"
)


def fold() -> Fold:
    return Fold.of(open_dataset("wisconsin"))


@pytest.mark.parametrize("name", METHODS.names())
def test_every_declared_space_holds_values_that_the_method_takes(name: str) -> None:
    places = space(make_method({"name": name}))
    assert ("learning_rate",) in places  # searched for every method alike
    for place, item in places.items():
        numbers = isinstance(item["default"], (int, float)) and not isinstance(item["default"], bool)
        assert not numbers or len(item["search"]) == 2
        for value in item["search"]:
            described, _ = with_values({"name": name}, {}, {place: value})
            make_method(described)


def test_methods_that_are_combined_are_searched_together() -> None:
    places = space(make_method({"name": "modality_dropout+ogm"}))
    assert ("method", "ogm", "alpha") in places
    assert any(place[:2] == ("method", "modality_dropout") for place in places)


@needs_optuna
def test_a_search_is_the_same_each_time_and_no_worse_than_none() -> None:
    found = [search(fold().without_test(), {"name": "ogm"}, 4, OPTIONS) for _ in range(2)]
    without_time = [dataclasses.replace(item, cost={**item.cost, "seconds": 0.0}) for item in found]
    assert without_time[0] == without_time[1]
    best = found[0]
    assert (best.trials, best.cost["passes"]) == (4, 4 * 2)
    default = fit(fold().without_test(), method="ogm", progress=False, **OPTIONS).metrics["fused"]["macro_f1"]
    assert default is not None
    assert best.score >= default
    again = fit(fold().without_test(), method=best.method, progress=False, **OPTIONS | best.options).metrics["fused"]["macro_f1"]
    assert best.score == again
    other = search(fold().without_test(), {"name": "ogm"}, 4, {**OPTIONS, "seed": 1})
    assert other.score != best.score or other.chosen != best.chosen


@needs_optuna
def test_nothing_is_chosen_by_the_test_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the test samples hold, the same is chosen."""
    dataset = open_dataset("wisconsin")
    seen: list[Any] = []

    def remembering(data: Fold, **options: Any) -> Any:
        run = fit(data, **options)
        seen.append(set(data.test.ids.tolist()) & test_ids)
        return run

    clean = Fold.of(dataset)
    test_ids = set(clean.test.ids.tolist())
    assert clean.without_test().test is clean.data.validation
    monkeypatch.setattr(module, "fit", remembering)
    search(clean.without_test(), {"name": "joint"}, 2, OPTIONS)
    assert seen == [set(), set()]
    with pytest.raises(ConfigError, match="holds a test part"):
        search(clean, {"name": "joint"}, 2, OPTIONS)


@needs_optuna
def test_trials_that_fail_count_and_if_all_do_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    def failing(data: Fold, **options: Any) -> Any:
        calls.append(options)
        if len(calls) != 2:
            raise RunError("the loss is no longer a number")
        return fit(data, **options)

    monkeypatch.setattr(module, "fit", failing)
    found = search(fold().without_test(), {"name": "ogm"}, 3, OPTIONS)
    assert (found.trials, found.failed, len(calls)) == (3, 2, 3)
    assert found.chosen == {"alpha": calls[1]["method"]["alpha"], "learning_rate": calls[1]["learning_rate"]}
    monkeypatch.setattr(module, "fit", lambda *_, **__: failing(fold()))
    with pytest.raises(RunError, match="all 2 trials failed; the first one: the loss"):
        search(fold().without_test(), {"name": "ogm"}, 2, OPTIONS)


@needs_optuna
def test_a_run_with_a_search_counts_it() -> None:
    options = {"epochs": 2, "device": "cpu"}
    plain, searched = (plan(open_dataset("wisconsin"), ["ogm"], 1, options, trials=trials)[0] for trials in (0, 3))
    assert plain.key != searched.key
    worker = Worker(open_dataset)
    rows = [worker.do(job) for job in (plain, searched)]
    assert [row["passes"] for row in rows] == [2, 2 * (3 + 1)]
    assert rows[1]["search"]["trials"] == 3
    assert rows[1]["method"] == rows[0]["method"]  # it is still the same method in the tables
    assert np.isfinite(rows[1]["search"]["score"])
    assert rows[0]["samples"] == rows[1]["samples"]


def test_without_optuna_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(ConfigError, match=r"equipoise\[sweep\]"):
        search(fold().without_test(), {"name": "ogm"}, 1, OPTIONS)
