"""The divergence is Jensen-Shannon's, and the direction of the share is that of the true derivative through one step."""

from __future__ import annotations

import json
from math import exp, log
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from equipoise.functional.agreement import falling_share, jensen_shannon, share_direction

CASE: dict[str, Any] = json.loads((Path(__file__).parents[1] / "golden" / "lfm.json").read_text())["cases"][0]
FIRST, SECOND = (torch.tensor(CASE["inputs"][name], dtype=torch.float64).log_softmax(1) for name in ("logits_a", "logits_v"))


def test_true_divergence_not_the_published_one() -> None:
    found = jensen_shannon(FIRST, SECOND)
    assert float(found.mean()) == pytest.approx(CASE["outputs"]["own_true_js"], rel=1e-9)
    middle = ((FIRST.exp() + SECOND.exp()) / 2).log()
    reversed_ = 0.5 * sum((middle.exp() * (middle - log_p)).sum(1).mean() for log_p in (FIRST, SECOND))
    assert float(reversed_) == pytest.approx(CASE["outputs"]["alignment"], rel=1e-9)


def test_divergence_is_symmetric_bounded_and_zero_where_both_agree() -> None:
    torch.testing.assert_close(jensen_shannon(FIRST, SECOND), jensen_shannon(SECOND, FIRST))
    assert float(jensen_shannon(FIRST, FIRST).abs().max()) < 1e-12
    opposite = torch.tensor([[30.0, -30.0], [-30.0, 30.0]]).log_softmax(1)
    assert float(jensen_shannon(opposite[:1], opposite[1:])) == pytest.approx(log(2), rel=1e-6)


def test_share_falls_as_the_paper_says() -> None:
    assert [falling_share(epoch) for epoch in range(3)] == pytest.approx([1 - exp(-1), 1 - exp(-1 / 2), 1 - exp(-1 / 3)])


@pytest.mark.parametrize("seed", range(4))
def test_direction_is_that_of_the_derivative_through_one_step(seed: int) -> None:
    """By finite differences of the share, on a tiny network of two modalities."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    start = [random(4, 5), random(3, 4), random(4, 6), random(3, 4), random(2)]  # the last is used by no loss
    samples = {name: (random(8, 5), random(8, 6), torch.arange(8) % 3) for name in ("train", "validation")}

    def losses(parameters: list[torch.Tensor], name: str) -> tuple[torch.Tensor, torch.Tensor]:
        first, second, target = samples[name]
        z = [torch.tanh(first @ parameters[0].T) @ parameters[1].T, torch.tanh(second @ parameters[2].T) @ parameters[3].T]
        return F.cross_entropy(z[0] + z[1], target), jensen_shannon(z[0].log_softmax(1), z[1].log_softmax(1)).mean()

    def stepped(share: float, rate: float = 0.3) -> list[torch.Tensor]:
        return [
            item if first is None else item - rate * ((1 - share) * first + share * second)
            for item, first, second in zip(start, fitting, aligning, strict=True)
        ]

    leaves = [item.requires_grad_() for item in start]
    classification, alignment = losses(leaves, "train")
    fitting = torch.autograd.grad(classification, leaves, retain_graph=True, allow_unused=True)
    aligning = torch.autograd.grad(alignment, leaves, allow_unused=True)
    moved = [item.detach().requires_grad_() for item in stepped(0.4)]
    held_out = torch.autograd.grad(losses(moved, "validation")[0], moved, allow_unused=True)
    found = share_direction(held_out, aligning, fitting).item()

    def flat(values: Any) -> torch.Tensor:
        return torch.cat([item.flatten() for item in values if item is not None])

    sizes = (flat(held_out).norm() * (flat(aligning) - flat(fitting)).norm()).item()
    above, below = (losses(stepped(0.4 + change), "validation")[0].item() for change in (1e-5, -1e-5))
    assert -0.3 * found * sizes == pytest.approx((above - below) / 2e-5, rel=1e-5)
    assert -1 < found < 1


def test_direction_is_zero_without_gradients() -> None:
    gradients = [torch.zeros(3), None]
    assert share_direction(gradients, gradients, gradients).item() == 0
