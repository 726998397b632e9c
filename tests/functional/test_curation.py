"""Which modality depends most on the bypass: the paper's rule for two, any number beyond, and what has no speed yet."""

from __future__ import annotations

from math import log10

import pytest
import torch

from equipoise.functional.curation import most_dependent, relative_speed


@pytest.mark.parametrize("seed", range(5))
def test_two_modalities_as_in_the_paper(seed: int) -> None:
    bypass, own = torch.rand(2, 2, generator=torch.Generator().manual_seed(seed)).double() + 0.01
    difference = log10(bypass[0] / own[0]) - log10(bypass[1] / own[1])
    assert most_dependent(bypass, own, abs(difference) * 0.99) == (0 if difference > 0 else 1)
    assert most_dependent(bypass, own, abs(difference) * 1.01) is None


def test_three_modalities_compare_largest_with_smallest() -> None:
    own = torch.ones(3)
    assert most_dependent(torch.tensor([1.0, 10.0, 2.0]), own, 0.9) == 1
    assert most_dependent(torch.tensor([1.0, 10.0, 2.0]), own, 1.1) is None


def test_what_has_no_speed_is_left_out() -> None:
    assert most_dependent(torch.tensor([1.0, 0.0, 3.0]), torch.tensor([1.0, 0.0, 1.0]), 0.1) == 2
    assert most_dependent(torch.tensor([1.0, 0.0]), torch.tensor([1.0, 1.0]), 0.1) is None
    assert most_dependent(torch.ones(1), torch.ones(1), 0.0) is None


def test_relative_speed() -> None:
    torch.testing.assert_close(relative_speed(torch.tensor([4.0, 0.0]), torch.tensor([8.0, 0.0])), torch.tensor([0.5, 0.0]))
