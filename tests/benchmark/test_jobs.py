"""What is planned on one data set, and what makes two runs the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from equipoise.benchmark.jobs import Job, Source, described_methods, parse_method, plan
from equipoise.data.sources import open_dataset
from equipoise.errors import ConfigError
from equipoise.methods.base import METHODS

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
    job = planned(["ogm"])[0]
    assert replace(job, set="another name").key == job.key
    assert len({job.key, replace(job, trials=3).key, replace(job, data="other").key, replace(job, split="other").key}) == 4


def test_a_split_that_the_data_state_is_part_of_the_identity() -> None:
    dataset = open_dataset("wisconsin")
    parts = np.array(["train", "validation", "test"])[np.arange(len(dataset)) % 3]
    stated = [replace(dataset, split=np.roll(parts, shift)) for shift in (0, 1)]
    first, second = (plan(item, ["joint"], 1, QUICK)[0] for item in stated)
    assert first.data == second.data
    assert first.key != second.key


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
    ],
)
def test_mistakes_are_found_in_the_plan(methods: list[str], options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        planned(methods, **options)


@pytest.mark.parametrize("word", ["ogm:alpha", "ogm:=1", "ogm:alpha=1:alpha=2", "a+b:a.=1"])
def test_words_that_are_no_method(word: str) -> None:
    with pytest.raises(ConfigError, match="is not valid at"):
        parse_method(word)


def test_all_is_every_method_once() -> None:
    names = [item["name"] for item in described_methods(["ogm", "all"])]
    assert names[0] == "ogm"
    assert sorted(names) == sorted(METHODS.names())


def test_a_source_opens_what_it_names_or_holds() -> None:
    dataset = open_dataset("wisconsin")
    assert Source(dataset).open() is dataset
    assert len(Source("wisconsin").open()) == len(dataset)
