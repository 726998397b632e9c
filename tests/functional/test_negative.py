"""Guides and negative losses equal the authors' numbers and a naive loop, and never push the true class down."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from equipoise.functional.negative import choose_guides, negative_losses

CASES: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "golden" / "mnl.json").read_text())["cases"]


@pytest.mark.parametrize("case", CASES)
def test_authors_guides_and_losses(case: dict[str, Any]) -> None:
    golden, target = case["outputs"], torch.tensor(case["inputs"]["labels"])
    logits = torch.tensor([case["inputs"]["logits_text"], case["inputs"]["logits_image"]], dtype=torch.float64)
    guide, guided = choose_guides(logits, logits.mean(0), target)
    assert guided.tolist() == [golden["mask_image_guides"], golden["mask_text_guides"]]
    assert guide[0][guided[0]].tolist() == [1] * sum(golden["mask_image_guides"])
    assert guide[1][guided[1]].tolist() == [0] * sum(golden["mask_text_guides"])
    found = negative_losses(logits, guide, guided, target)
    for number, way in enumerate(("image_guides_text", "text_guides_image")):
        published = torch.tensor(golden[way]["boosting_elementwise"], dtype=torch.float64).sum(1)
        # Differs from the published code, which adds the guided modality's own loss once more.
        again = guided[number] * F.cross_entropy(logits[number], target, reduction="none")
        torch.testing.assert_close(case["inputs"]["weight1"] * found[number], published - again, rtol=1e-9, atol=1e-12)


def drawn(seed: int, modalities: int, missing: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(modalities, 12, 4, generator=random, dtype=torch.float64)
    present = torch.rand(modalities, 12, generator=random) >= missing
    return logits, torch.randint(0, 4, (12,), generator=random), present


@pytest.mark.parametrize("modalities", [1, 2, 3, 4])
@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_equal_a_naive_loop(modalities: int, missing: float) -> None:
    logits, target, present = drawn(modalities, modalities, missing)
    fused = logits.mean(0)
    guide, guided = choose_guides(logits, fused, target, present)
    losses = negative_losses(logits, guide, guided, target)
    probabilities = logits.softmax(2)
    pairs = 0
    for row, true in enumerate(target.tolist()):
        wrong = max((other for other in range(4) if other != true), key=lambda other, row=row: float(fused[row, other]))
        for weak in range(modalities):
            best, most = None, 0.0
            for strong in range(modalities):
                if not (bool(present[strong, row]) and bool(present[weak, row])):
                    continue
                margins = [float(logits[m, row, true] - logits[m, row, wrong]) for m in (strong, weak)]
                sure = [float(probabilities[m, row, true]) for m in (strong, weak)]
                if margins[0] > margins[1] and sure[0] > sure[1] and sure[0] > most:
                    best, most = strong, sure[0]
            assert bool(guided[weak, row]) == (best is not None)
            expected = 0.0
            if best is not None:
                pairs += 1
                assert int(guide[weak, row]) == best
                for other in range(4):
                    if other != true:
                        expected -= float(probabilities[best, row, other]) * float(probabilities[weak, row, other].log())
            assert float(losses[weak, row]) == pytest.approx(expected, rel=1e-9)
    assert (pairs > 0) == (modalities > 1)


@given(st.integers(0, 1000), st.integers(2, 4), st.floats(0.0, 1.0))
@settings(deadline=None, max_examples=40)
def test_with_its_own_loss_the_true_class_is_never_lowered(seed: int, modalities: int, strength: float) -> None:
    logits, target, _ = drawn(seed, modalities)
    logits.requires_grad_()
    guide, guided = choose_guides(logits, logits.mean(0), target)
    own = torch.stack([F.cross_entropy(item, target, reduction="none") for item in logits])
    (gradient,) = torch.autograd.grad((own + strength * negative_losses(logits, guide, guided, target)).sum(), logits)
    true = gradient.gather(2, target[:, None].expand(modalities, -1, -1)).squeeze(2)
    assert bool((true < 0).all())


def test_copying_the_guide_would_lower_the_true_class() -> None:
    """Why only wrong classes are passed on: a sure modality is pulled down by aligning it with any other distribution."""
    logits = torch.tensor([[[2.0, 1.0, 0.0]], [[1.9, -3.0, -3.0]]], requires_grad=True)
    target = torch.tensor([0])
    copied = -(logits[0].detach().softmax(1) * logits[1].log_softmax(1)).sum()
    (gradient,) = torch.autograd.grad(copied, logits)
    assert float(gradient[1, 0, 0]) > 0
    _, guided = choose_guides(logits, logits.mean(0), target)
    assert guided[:, 0].tolist() == [True, False]  # the larger margin guides, not the larger logit


def test_the_guide_gets_no_gradient() -> None:
    logits, target, _ = drawn(3, 2)
    logits.requires_grad_()
    guide, guided = choose_guides(logits, logits.mean(0), target)
    (gradient,) = torch.autograd.grad(negative_losses(logits, guide, guided, target).sum(), logits)
    assert bool(guided.any())
    assert bool((gradient[~guided] == 0).all())
    assert bool((gradient[guided].abs().sum(1) > 0).all())
