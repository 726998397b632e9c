"""Phases that runs on one fold have in common are trained once, and nobody can tell by the result."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from equipoise.data.sources import open_dataset
from equipoise.fold import Fold
from equipoise.methods.base import METHODS
from equipoise.run import fit
from equipoise.training.reuse import PhaseMemory, TrainedPhase, digest
from tests.contract.harness import assert_same, toy_part, train_toy

SETTINGS: dict[str, Any] = {"encoder": {"dropout": 0.2}, "patience": 2}
KEEPING = ("iibalance", "mi_balance", "mmlora", "umt")


def _other(name: str) -> list[dict[str, Any]]:
    """Each hyper-parameter of a method at another value, the rest as declared."""
    found = []
    for item in dataclasses.fields(METHODS.get(name)):
        about, default = item.metadata, item.default
        if "help" not in about or default is None:
            continue
        if about.get("choices"):
            values = [value for value in about["choices"] if value != default]
        elif isinstance(default, bool):
            values = [not default]
        elif isinstance(default, int):
            values = [default + 1]
        elif isinstance(default, float):
            values = [default * 0.5 + 0.1]
        else:
            values = []
        found += [{item.name: value} for value in values]
    return found


def _parts() -> dict[str, Any]:
    return {"train": toy_part(missing=0.2, signal=1.0), "validation": toy_part(40, 1, missing=0.2, signal=1.0)}


@pytest.mark.parametrize("name", KEEPING)
def test_a_run_that_takes_over_phases_is_the_run_that_trains_them(name: str) -> None:
    reuse = (PhaseMemory(), "the same data")
    train_toy(name, reuse=reuse, **_parts(), **SETTINGS)
    assert len(reuse[0]) >= 3  # one per modality, and what mi_balance cross-fits
    taken = 0
    for hyperparameters in _other(name):
        kept = len(reuse[0])
        again = train_toy(name, hyperparameters, reuse=reuse, **_parts(), **SETTINGS)
        fresh = train_toy(name, hyperparameters, **_parts(), **SETTINGS)
        taken += len(reuse[0]) == kept
        assert_same(again.state, fresh.state)
        assert_same(again.method.state_dict(), fresh.method.state_dict())
        assert again.lines == fresh.lines, hyperparameters
        assert (again.passes, again.ctx.notes, again.ctx.inert) == (fresh.passes, fresh.ctx.notes, fresh.ctx.inert)
        assert (again.ctx.epochs_done, again.ctx.updates_done) == (fresh.ctx.epochs_done, fresh.ctx.updates_done)
    assert taken > len(_other(name)) / 3


@pytest.mark.parametrize("change", [{"seed": 1}, {"learning_rate": 2e-2}, {"epochs": 2}, {"encoder": {"hidden": 8}}])
def test_other_settings_train_their_own(change: dict[str, Any]) -> None:
    fold = Fold.of(open_dataset("wisconsin"))
    options: dict[str, Any] = {"epochs": 1, "device": "cpu", "progress": False, "method": "iibalance"}
    fit(fold, **options)
    assert len(fold.phases) == 3
    fit(fold, **{**options, **change})
    assert len(fold.phases) == 6
    fit(fold, **options)
    assert len(fold.phases) == 6


def test_a_run_costs_what_it_would_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    fold = Fold.of(open_dataset("wisconsin"))
    keep = fold.phases.keep
    monkeypatch.setattr(fold.phases, "keep", lambda key, phase: keep(key, dataclasses.replace(phase, seconds=1000.0)))
    options: dict[str, Any] = {"epochs": 3, "device": "cpu", "progress": False}
    first = fit(fold, method="iibalance", **options)
    second = fit(fold, method={"name": "iibalance", "alignment": 0.5}, **options)
    for key in ("encoded", "updates"):
        assert first.summary[key] == second.summary[key]
    assert {name: phase["epochs"] for name, phase in second.summary["phases"].items()} == dict.fromkeys(
        ("probe mean", "probe error", "probe worst", "train"), 3
    )
    # Three of four phases were not trained again, and yet count.
    assert first.summary["seconds"] < 1000 < 3000 < second.summary["seconds"] < 4000


def test_beside_other_methods_nothing_is_taken_over() -> None:
    """Their hyper-parameters act in those phases too."""
    fold = Fold.of(open_dataset("wisconsin"))
    fit(fold, method="iibalance+modality_dropout", epochs=1, device="cpu", progress=False)
    assert len(fold.phases) == 0


def test_memory_is_bounded_and_copies() -> None:
    memory = PhaseMemory(limit=100)
    value = torch.zeros(10)
    for number in range(3):
        memory.keep(str(number), TrainedPhase({"model": {"weight": value}}, [{"epoch": 1}], 1.0))
        assert memory.find("0") is not None  # used: it stays
    assert memory.find("1") is None
    value.fill_(1.0)
    found = memory.find("0")
    assert found is not None
    found.payload["model"]["weight"].fill_(2.0)
    again = memory.find("0")
    assert again is not None
    assert torch.equal(again.payload["model"]["weight"], torch.zeros(10))
    memory.keep("large", TrainedPhase({"model": torch.zeros(100)}, [], 1.0))
    assert len(memory) == 0


@pytest.mark.parametrize(
    "other",
    [
        {"a": torch.zeros(3), "b": [1, 2]},
        {"a": torch.zeros(2, dtype=torch.float64), "b": [1, 2]},
        {"a": torch.zeros(1, 2), "b": [1, 2]},
        {"a": torch.tensor([0.0, -0.0]), "b": [1, 2]},
        {"a": torch.zeros(2), "b": [12]},
        {"a": torch.zeros(2), "b": ["1", "2"]},
        {"b": torch.zeros(2), "a": [1, 2]},
        {"a": torch.zeros(2), "b": [[1], 2]},
        {"a": torch.zeros(2), "b": [1, None]},
    ],
)
def test_a_digest_sees_every_difference(other: dict[str, Any]) -> None:
    value = {"a": torch.zeros(2), "b": [1, 2]}
    assert digest(value) == digest({"a": torch.zeros(2), "b": [1, 2]})
    assert digest(value) != digest(other)
