"""Class means equal the authors' numbers; the coefficients are the paper's, where their code has a constant."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from equipoise.functional.class_means import class_mean_logits, class_sums, moved_means, rebalancing, spread_within

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parents[1] / "golden" / "pmr.json").read_text())["cases"][0]["outputs"]
# Steps of another constant alpha repeat the inputs of the one before.
STEPS = [step for step in GOLDEN["steps"] if step["alpha"] == 1.0]
scores = st.lists(st.floats(0.01, 1.0), min_size=1, max_size=5)


def double(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_authors_class_means_and_their_moving_average() -> None:
    golden, target = GOLDEN["prototypes"], torch.tensor(GOLDEN["prototypes"]["labels"])
    for name, long in (("a", "audio"), ("v", "visual")):
        features = double(golden[f"features_{name}"])
        sums, counts = class_sums(features, torch.ones(len(features), dtype=torch.bool), target, golden["n_classes"])
        nothing = torch.zeros_like(sums), torch.zeros_like(counts, dtype=torch.bool)
        means, seen = moved_means(*nothing, sums, counts, golden["momentum_coef"])
        torch.testing.assert_close(means, double(golden[f"epoch0_{long}"]), rtol=1e-9, atol=1e-12)
        moved, _ = moved_means(double(golden[f"old_{long}"]), torch.ones_like(seen), sums, counts, golden["momentum_coef"])
        torch.testing.assert_close(moved, double(golden[f"epoch3_{long}"]), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step["kind"])
def test_authors_logits_scores_and_losses(step: dict[str, Any]) -> None:
    target, result = torch.tensor(step["labels"]), step["result"]
    found = []
    for name, long in (("a", "audio"), ("v", "visual")):
        means = double(step[f"proto_{name}"])
        logits = class_mean_logits(double(step[f"features_{name}"]), means, torch.ones(len(means), dtype=torch.bool))
        # Differs from the published code, whose distances are not squared.
        plain = double(result[f"{long}_sim"])
        torch.testing.assert_close(logits.softmax(1), (-plain.square()).softmax(1), rtol=1e-9, atol=1e-9)
        assert float((logits.softmax(1) - plain.softmax(1)).abs().max()) > 0.05
        found.append(float(plain.softmax(1)[torch.arange(len(target)), target].sum()))
    assert found == pytest.approx([result["score_a_p"], result["score_v_p"]], rel=1e-9)
    pulls, holds = rebalancing(found)
    ratio = result["ratio_a_p"]
    assert pulls == pytest.approx([min(max(1 / ratio - 1, 0), 1), min(max(ratio - 1, 0), 1)])
    assert holds == pulls[::-1]
    # Differs from the published code, whose coefficient is one for whoever lags, and which has no entropy term.
    constant = [result["coef_on_audio_proto_loss"], result["coef_on_visual_proto_loss"]]
    assert [value > 0 for value in constant] == [value > 0 for value in pulls]
    if max(pulls) < 1:
        assert pulls != pytest.approx(constant)


def test_sums_and_means_equal_a_naive_loop() -> None:
    random = torch.Generator().manual_seed(0)
    features, target = torch.randn(20, 3, generator=random), torch.randint(0, 3, (20,), generator=random)
    present = torch.rand(20, generator=random) < 0.6
    features[~present] = 0
    old, seen = torch.randn(4, 3, generator=random), torch.tensor([True, False, True, True])
    means, after = moved_means(old, seen, *class_sums(features, present, target, 4), 0.3)
    for code in range(4):
        rows = [features[row] for row in range(20) if bool(present[row]) and int(target[row]) == code]
        if rows:
            mean = torch.stack(rows).mean(0)
            expected = 0.3 * old[code] + 0.7 * mean if bool(seen[code]) else mean
        else:
            expected = old[code]
        torch.testing.assert_close(means[code], expected)
        assert bool(after[code]) == (bool(seen[code]) or bool(rows))
    assert not bool((target == 3).any())


def test_scaled_logits_are_those_of_gaussian_classes_whatever_the_length_of_features() -> None:
    random = torch.Generator().manual_seed(0)
    target = torch.arange(30) % 3
    features = torch.randn(30, 4, generator=random, dtype=torch.float64) + 2 * torch.eye(3, 4, dtype=torch.float64)[target]
    found = []
    for length in (1.0, 0.01):
        value = features * length
        sums, counts = class_sums(value, torch.ones(30, dtype=torch.bool), target, 3)
        means, spread = sums / counts[:, None], spread_within(value.square().sum(), sums, counts)
        naive = torch.stack([(value[target == code] - means[code]).square().sum() for code in range(3)]).sum() / (30 * 4)
        torch.testing.assert_close(spread, naive)
        found.append(class_mean_logits(value, means, counts > 0, spread).softmax(1))
        gaussian = torch.distributions.MultivariateNormal(means, naive * torch.eye(4, dtype=torch.float64))
        torch.testing.assert_close(found[-1], gaussian.log_prob(value[:, None]).softmax(1))
    torch.testing.assert_close(found[0], found[1])


def test_a_class_without_mean_is_left_out() -> None:
    features = torch.tensor([[0.0, 0.0], [1.0, 1.0]], requires_grad=True)
    means, seen = torch.tensor([[0.0, 0.0], [1.0, 0.0], [9.0, 9.0]]), torch.tensor([True, True, False])
    logits = class_mean_logits(features, means, seen)
    assert bool((logits.softmax(1)[:, 2] == 0).all())
    F.cross_entropy(logits, torch.tensor([0, 1])).backward()
    assert features.grad is not None
    assert bool(torch.isfinite(features.grad).all())


@given(scores)
def test_who_lags_is_pulled_and_who_leads_is_held(values: list[float]) -> None:
    pulls, holds = rebalancing(values)
    for number, value in enumerate(values):
        assert pulls[number] == pytest.approx(min(max(values) / value - 1, 1), abs=1e-9)
        assert holds[number] == pytest.approx(min(value / min(values) - 1, 1), abs=1e-9)
    assert pulls[values.index(max(values))] == holds[values.index(min(values))] == 0.0
    assert rebalancing([4 * value for value in values]) == (pytest.approx(pulls, abs=1e-9), pytest.approx(holds, abs=1e-9))


def test_nothing_to_compare_with() -> None:
    assert rebalancing([0.4]) == ([0.0], [0.0])
    assert rebalancing([math.nan, 0.4, 0.0]) == ([0.0] * 3, [0.0] * 3)
    assert rebalancing([math.nan, math.nan]) == ([0.0] * 2, [0.0] * 2)
