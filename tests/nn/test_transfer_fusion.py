"""The bypass scales features by what all modalities say; a replaced gate shuts the others out of a modality."""

from __future__ import annotations

import torch

from equipoise.nn.fusion.transfer import TransferFusion
from equipoise.tasks import Classification

SIZES = {"a": 4, "b": 3, "c": 2}


def made() -> tuple[TransferFusion, dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return TransferFusion(SIZES, Classification(5)), {
        name: torch.randn(6, size, generator=generator) for name, size in SIZES.items()
    }


def test_equals_a_loop_over_samples() -> None:
    fusion, features = made()
    present = {
        "b": torch.tensor([True, False, True, False, True, True]),
        "c": torch.tensor([True, True, False, False, True, True]),
    }
    found = fusion(features, present)
    for row in range(6):
        have = {name: name not in present or bool(present[name][row]) for name in SIZES}
        together = torch.relu(torch.stack([fusion.squeeze[name](features[name][row]) for name in SIZES if have[name]]).sum(0))
        votes = [
            fusion.heads[name](2 * torch.sigmoid(fusion.excite[name](together)) * features[name][row])
            for name in SIZES
            if have[name]
        ]
        torch.testing.assert_close(found[row], torch.stack(votes).mean(0))


def test_a_replaced_gate_shuts_the_others_out() -> None:
    fusion, features = made()
    fusion.replaced = {"a": torch.full((4,), 0.5)}
    for name, value in features.items():
        value.requires_grad_()
        fusion.heads[name].requires_grad_(False)
    fusion(features, {}).sum().backward()
    direct = 0.5 * fusion.heads["a"].weight.sum(0) / 3
    assert all(item.grad is None for item in fusion.excite["a"].parameters())
    # What still depends on a is its own vote and what it passes over to b and c.
    fusion.replaced |= {"b": torch.full((3,), 0.5), "c": torch.full((2,), 0.5)}
    (alone,) = torch.autograd.grad(fusion(features, {}).sum(), features["a"])
    torch.testing.assert_close(alone, direct.expand(6, 4))
