"""The boosted fusion: sums of classifiers that share their last layer, and grow."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from equipoise.errors import ConfigError
from equipoise.nn.fusion.boosted import BoostedFusion
from equipoise.tasks import Classification

SIZES = {"a": 4, "b": 3}


def fusion(hidden: int = 5) -> BoostedFusion:
    torch.manual_seed(0)
    made = BoostedFusion(SIZES, Classification(3), hidden=hidden)
    made.resize("a", 3, seed=7)
    nn.init.normal_(made.shared.bias)
    return made


def features(samples: int = 6) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(1)
    return {name: torch.randn(samples, size, generator=random) for name, size in SIZES.items()}


def test_stages_equal_a_naive_loop() -> None:
    made, value = fusion(), features()["a"]
    expected = [made.shared(torch.relu(layer(value))) for layer in made.private["a"]]  # type: ignore[union-attr]
    torch.testing.assert_close(made.stages("a", value), torch.stack(expected))
    unimodal = made.contributions(features(), {})
    torch.testing.assert_close(unimodal["a"], expected[0] + expected[1] + expected[2])


def test_fused_is_the_weighted_average_over_present_modalities() -> None:
    made, values = fusion(), features()
    made.weights.copy_(torch.tensor([0.25, 0.75]))
    present = {"a": torch.tensor([True, True, False, True, False, True])}
    unimodal = made.contributions(values, {})
    expected = torch.where(present["a"][:, None], 0.25 * unimodal["a"] + 0.75 * unimodal["b"], unimodal["b"])
    torch.testing.assert_close(made(values, present), expected)
    torch.testing.assert_close(made({"a": values["a"]}, {}), unimodal["a"])
    weights = made.sample_weights(values, present)
    assert weights[:, 2].tolist() == [0.0, 1.0]
    assert weights[:, 0].tolist() == [0.25, 0.75]
    members = torch.tensor([[True, False], [True, True]])
    torch.testing.assert_close(made.coalitions(values, present, members)[1], expected)


def test_growing_keeps_what_is_there_and_starts_from_weights_of_a_key() -> None:
    made = fusion()
    before = [layer.weight.detach().clone() for layer in made.private["a"]]  # type: ignore[union-attr]
    torch.manual_seed(99)
    state = torch.get_rng_state()
    made.resize("a", 4, seed=7)
    assert torch.equal(torch.get_rng_state(), state), "growing drew from the global generator"
    after = [layer.weight for layer in made.private["a"]]  # type: ignore[union-attr]
    assert all(torch.equal(old, new) for old, new in zip(before, after, strict=False))
    assert made.count("a") == 4
    assert len(made.added("a")) == 3
    other = fusion()
    other.resize("a", 5, seed=7)
    assert torch.equal(other.private["a"][3].weight, after[3])  # type: ignore[index]
    assert not torch.equal(after[3], after[2])
    other.resize("a", 1, seed=7)
    other.resize("a", 4, seed=8)
    assert not torch.equal(other.private["a"][3].weight, after[3])  # type: ignore[index]
    assert made.added("b") == []


def test_bad_width_is_refused() -> None:
    with pytest.raises(ConfigError, match="fusion boosted: hidden = 0"):
        fusion(0)
