"""Shares of the evidence and their means over samples equal naive loops, also with missing modalities."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from equipoise.functional.dependence import dependence, logit_shares, masked_share


def case(count: int, missing: float) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(count)
    logits = 2 * torch.randn(count, 12, 3, generator=random, dtype=torch.float64)
    present = torch.rand(count, 12, generator=random) >= missing
    present[0] |= ~present.any(0)
    return logits, present


@pytest.mark.parametrize("missing", [0.0, 0.5])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_shares_and_means_equal_naive_loops(count: int, missing: float) -> None:
    logits, present = case(count, missing)
    shares = logit_shares(logits, present)
    sums, counts = [0.0] * count, [0] * count
    for sample in range(12):
        own = [modality for modality in range(count) if bool(present[modality, sample])]
        masses = {modality: sum(math.exp(value) for value in logits[modality, sample].tolist()) for modality in own}
        for modality in range(count):
            share = masses[modality] / sum(masses.values()) if modality in own else 0.0
            assert float(shares[modality, sample]) == pytest.approx(share)
            if modality in own and len(own) > 1:
                sums[modality] += share * len(own) / 2
                counts[modality] += 1
    found = dependence(logits, present)
    assert found[0].tolist() == pytest.approx(sums)
    assert found[1].tolist() == counts


def test_for_two_modalities_it_is_the_share_itself() -> None:
    logits, present = case(2, 0.0)
    sums, counts = dependence(logits, present)
    together = torch.cat([logits[0], logits[1]], 1).softmax(1)
    torch.testing.assert_close(sums / counts, torch.stack([together[:, :3].sum(1).mean(), together[:, 3:].sum(1).mean()]))


@pytest.mark.parametrize("count", [2, 3, 5])
def test_equal_modalities_are_at_one_half(count: int) -> None:
    sums, counts = dependence(torch.zeros(count, 4, 3), torch.ones(count, 4, dtype=torch.bool))
    torch.testing.assert_close(sums / counts, torch.full((count,), 0.5))


def test_samples_without_any_modality_are_no_samples() -> None:
    logits, present = case(2, 0.0)
    present[:, 3] = False
    sums, counts = dependence(logits, present)
    assert counts.tolist() == [11, 11]
    assert float((sums / counts).sum()) == pytest.approx(1.0)


def test_the_mask_grows_to_its_largest_share_and_stays() -> None:
    shares = [masked_share(step / 20, 0.3, 0.6) for step in range(21)]
    assert shares[0] == 0.0
    assert shares == sorted(shares)
    assert shares[3] == pytest.approx(0.6 * math.sin(math.pi / 4))
    assert shares[6:] == pytest.approx([0.6] * 15)
    assert masked_share(0.0, 0.0, 0.6) == 0.6
