"""The weights of the three stages are those of the authors' code."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from equipoise.functional.difficulty import STAGES, difficulty_weights

CASE = json.loads((Path(__file__).parents[1] / "golden" / "vl_cogito.json").read_text())["cases"][0]
CODES = {"easy": "s_3", "medium": "s_2", "hard": "s_1"}


@pytest.mark.parametrize("stage", STAGES)
def test_authors_weights(stage: str) -> None:
    inputs = CASE["inputs"]
    assert inputs["stage_codes"][CODES[stage]].startswith(stage)
    accuracy = torch.tensor(inputs["mean_accuracy"], dtype=torch.float64)
    expected = torch.tensor(CASE["outputs"]["F"][CODES[stage]], dtype=torch.float64)
    torch.testing.assert_close(difficulty_weights(accuracy, stage, unsolved=inputs["false_coff"]), expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("stage", STAGES)
def test_weights_equal_a_naive_loop(stage: str) -> None:
    accuracy = [number / 40 for number in range(41)]
    expected = []
    for a in accuracy:
        bell = math.cos(math.pi * (a - 0.5))
        if a == 0:
            expected.append(0.1 if stage == "hard" else 0.0)
        elif (stage == "easy" and a > 0.5) or (stage == "hard" and a <= 0.5):
            expected.append(1.0)
        else:
            expected.append(bell)
    assert difficulty_weights(torch.tensor(accuracy), stage, unsolved=0.1).tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("stage", STAGES)
def test_no_weight_is_below_the_floor(stage: str) -> None:
    accuracy = torch.linspace(0, 1, 41)
    plain = difficulty_weights(accuracy, stage)
    assert torch.equal(difficulty_weights(accuracy, stage, 0.3), plain.clamp_min(0.3))
    assert plain.min() < 0.3
