"""Which epoch is kept, and when a phase stops."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from equipoise.training.selection import Selection, copy_state


def judge(selection: Selection, values: list[tuple[float, float]], target: str = "fused") -> list[bool]:
    return [selection.consider(epoch, {target: {"accuracy": score, "loss": loss}}) for epoch, (score, loss) in enumerate(values)]


def test_a_tie_goes_to_the_lower_loss_then_to_the_earlier_epoch() -> None:
    selection = Selection("fused", "accuracy", None)
    assert judge(selection, [(0.5, 1.0), (0.5, 0.9), (0.5, 0.9), (0.4, 0.1), (0.6, 3.0)]) == [True, True, False, False, True]
    assert selection.best_epoch == 4


def test_loss_is_better_when_lower() -> None:
    selection = Selection("fused", "loss", None)
    assert judge(selection, [(0.9, 1.0), (0.1, 0.9), (0.9, 0.95)]) == [True, True, False]


def test_patience_counts_epochs_without_a_better_one() -> None:
    selection = Selection("fused", "accuracy", 2)
    stopped = []
    for epoch, score in enumerate([0.5, 0.4, 0.6, 0.6, 0.5, 0.9]):
        selection.consider(epoch, {"fused": {"accuracy": score, "loss": 1.0}})
        stopped.append(selection.exhausted)
    assert stopped == [False, False, False, False, True, False]
    assert not Selection("fused", "accuracy", None).exhausted


def test_a_modality_can_be_judged() -> None:
    selection = Selection("audio", "accuracy", 1)
    assert selection.consider(0, {"fused": {"accuracy": 0.1, "loss": 1.0}, "audio": {"accuracy": 0.7, "loss": 1.0}})
    assert not selection.consider(1, {"fused": {"accuracy": 0.9, "loss": 1.0}, "audio": {"accuracy": 0.6, "loss": 1.0}})
    assert selection.exhausted


@pytest.mark.parametrize("selection", [Selection(None, "accuracy", 1), Selection("absent", "accuracy", 1)])
def test_without_anything_to_judge_the_last_epoch_stays(selection: Selection) -> None:
    assert judge(selection, [(0.5, 1.0)] * 5) == [False] * 5
    assert selection.kept is None
    assert not selection.exhausted


def test_what_is_not_a_number_never_wins_and_never_bars() -> None:
    for metric in ("accuracy", "loss"):
        selection = Selection("fused", metric, None)
        found = judge(selection, [(math.nan, math.nan), (0.2, 5.0), (math.nan, math.nan), (0.2, math.nan), (0.3, 4.0)])
        assert found[1:] == [True, False, False, True]


def test_state_goes_on_where_it_was() -> None:
    selection = Selection("fused", "accuracy", 2)
    judge(selection, [(0.5, 1.0), (0.4, 1.0)])
    selection.kept = {"model": {"w": torch.ones(2)}}
    other = Selection("fused", "accuracy", 2)
    other.load_state_dict(selection.state_dict())
    assert other.best_epoch == 0
    assert other.kept is selection.kept
    assert not other.consider(2, {"fused": {"accuracy": 0.5, "loss": 1.0}})
    assert other.exhausted


def test_a_copy_shares_nothing() -> None:
    state: dict[str, Any] = {"a": torch.ones(2), "b": [torch.ones(2), (1, torch.ones(1))], "c": {"d": "text"}}
    copy = copy_state(state)
    state["a"] += 1
    state["b"][0] += 1
    state["c"]["d"] = "other"
    assert copy["a"].tolist() == copy["b"][0].tolist() == [1.0, 1.0]
    assert copy["c"]["d"] == "text"
    assert isinstance(copy["b"][1], tuple)
