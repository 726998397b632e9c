"""A suite says which runs there are, and whatever is wrong with it is said before any of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from equipoise.benchmark.suite import Suite, is_suite, load_suite
from equipoise.errors import ConfigError

ROOT = Path(__file__).parents[2]


def test_every_combination_is_a_run_and_folds_come_first() -> None:
    suite = Suite.from_mapping(
        {
            "data": {"wisconsin": None, "again": {"source": "gaussian", "seeds": 1, "epochs": 7}},
            "methods": ["joint", {"name": "ogm", "alpha": 0.5}],
            "encoders": ["mlp", {"name": "mlp", "hidden": 16}],
            "folds": 3,
            "seeds": 2,
            "search": 4,
            "epochs": 2,
        }
    )
    plan = suite.plan()
    assert [len([job for job in plan.jobs if job.set == name]) for name in ("wisconsin", "again")] == [3 * 2 * 2 * 2, 3 * 2 * 2]
    assert len({job.key for job in plan.jobs}) == len(plan.jobs)
    first = [job for job in plan.jobs if job.set == "wisconsin"]
    assert [job.fold for job in first] == sorted(job.fold for job in first)
    assert {str(job.options["encoder"]) for job in first[:8]} == {"mlp", "{'name': 'mlp', 'hidden': 16}"}
    assert {(job.set, job.options["epochs"], job.trials) for job in plan.jobs} == {("wisconsin", 2, 4), ("again", 7, 4)}
    assert plan.samples == {"wisconsin": 569, "again": 2000}
    assert plan.sources["again"].data == "gaussian"


def test_the_command_line_wins_over_the_suite_and_its_data_sets() -> None:
    value = {"data": {"wisconsin": {"epochs": 5, "seeds": 3, "search": 2}}, "methods": ["joint"], "epochs": 9}
    jobs = Suite.from_mapping(value, {"epochs": "2", "seeds": "1", "search": "0", "methods": "late,ogm"}).plan().jobs
    assert [(job.method["name"], job.options["epochs"], job.trials) for job in jobs] == [("late", 2, 0), ("ogm", 2, 0)]


def test_a_split_that_the_data_state_is_left_unused_for_folds(tmp_path: Path) -> None:
    path = tmp_path / "study.csv"
    rows = [f"{number},1,{number * 2},3,{'ab'[number % 2]},{['train', 'test'][number % 3 == 0]}" for number in range(30)]
    path.write_text("\n".join(["x_1,x_2,y_1,y_2,label,split", *rows]))
    base = {"data": [str(path)], "methods": ["joint"], "target": "label", "split": "split"}
    assert len(Suite.from_mapping(base).plan().jobs) == 1
    assert len(Suite.from_mapping({**base, "split": None, "folds": 2}).plan().jobs) == 2


def test_variables_stand_for_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE", "/some/where")
    assert Suite.from_mapping({"data": {"a": {"source": "$PLACE/a.csv"}}}).data[0].source == "/some/where/a.csv"
    monkeypatch.delenv("PLACE")
    with pytest.raises(ConfigError, match="variable PLACE is not set"):
        Suite.from_mapping({"data": {"a": {"source": "${PLACE}/a.csv"}}})


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({}, "no data are named"),
        ({"data": []}, "no data are named"),
        ({"data": 3}, "data = 3 is not valid, expected a list"),
        ({"data": ["a/x.csv", "b/x.csv"]}, "two data sets are called 'x'"),
        ({"data": {"a": 3}}, "data a: expected options such as source"),
        ({"data": {"a": {"epoch": 3}}}, "data a: unknown option 'epoch', did you mean 'epochs'"),
        ({"data": ["wisconsin"], "folders": 3}, "unknown option 'folders', did you mean 'folds'"),
        ({"data": ["wisconsin"], "fold": 3}, "unknown option 'fold'"),
        ({"data": ["wisconsin"], "seeds": 0}, "seeds = 0 is not valid"),
        ({"data": ["wisconsin"], "search": True}, "search = True is not valid"),
        ({"data": ["wisconsin"], "methods": {"joint": 1}}, "methods = .* expected a list"),
        ({"data": ["wisconsin"], "encoder": "mlp", "encoders": ["mlp"]}, "both encoder and encoders"),
    ],
)
def test_mistakes_are_found(value: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        Suite.from_mapping(value)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [({"methods": ["nope"]}, "unknown method 'nope'"), ({"epochs": 0}, "epochs = 0"), ({"methods": []}, "none is named")],
)
def test_wrong_methods_and_options_are_found_before_data_are_opened(value: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        Suite.from_mapping({"data": ["there is no such file.csv"], **value}).plan()


def test_files_that_are_no_suite(tmp_path: Path) -> None:
    assert (is_suite("core"), is_suite("some/suite.yml"), is_suite("wisconsin"), is_suite("data.csv")) == (
        True,
        True,
        False,
        False,
    )
    broken = tmp_path / "broken.yaml"
    for text, sentence in (("- a\n- b", "expected a mapping"), ("a: [", "is not YAML")):
        broken.write_text(text)
        with pytest.raises(ConfigError, match=sentence):
            load_suite(str(broken))
    with pytest.raises(ConfigError, match="cannot be read"):
        load_suite(str(tmp_path / "absent.yaml"))


def test_the_suites_that_come_along_can_be_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = Suite.from_mapping(load_suite("core")).plan().jobs
    assert len({job.set for job in jobs}) == 3
    assert {job.method["name"] for job in jobs} >= {"joint", "unimodal", "ogm", "aug", "iibalance"}
    monkeypatch.setenv("EQUIPOISE_DATA", "/somewhere")
    for path in sorted((ROOT / "configs" / "benchmarks").glob("*.yaml")):
        suite = Suite.from_mapping(yaml.safe_load(path.read_text()))
        assert all(item.source.startswith("/somewhere/") for item in suite.data)
