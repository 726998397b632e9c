"""Random numbers by key: uniform, independent, and the same whoever asks."""

from __future__ import annotations

import math

import pytest
import torch

from equipoise.seeding import derive, forked, generator, keyed_uniform


def test_seeds_depend_on_every_part() -> None:
    assert derive(0, "order", 3) == derive(0, "order", 3)
    seeds = {
        derive(*parts) for parts in ((0, "a", 3), (1, "a", 3), (0, "b", 3), (0, "a", 4), (0, "a"), ("0", "a", 3), ((0, "a"), 3))
    }
    assert len(seeds) == 7
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derive(0, "order", 3) == 8244215730568551301, "seeds must be the same in every version and on every machine"


def test_generators_and_forks_leave_the_global_state_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = torch.rand(2, generator=generator(1, "x"))
    with forked(1, "y"):
        inside = torch.rand(2)
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(first, torch.rand(2, generator=generator(1, "x")))
    with forked(1, "y"):
        assert torch.equal(inside, torch.rand(2))


def test_keyed_numbers_are_uniform() -> None:
    count, bins = 100_000, 50
    for seed in range(3):
        drawn = keyed_uniform(torch.arange(count), 2, seed, "x")
        assert drawn.shape == (count, 2)
        assert drawn.dtype == torch.float32
        assert float(drawn.min()) >= 0
        assert float(drawn.max()) < 1
        for column in drawn.unbind(1):
            counts = torch.histc(column, bins, 0, 1)
            chi_square = float(((counts - count / bins) ** 2 / (count / bins)).sum())
            # mean 49, standard deviation 9.9: five of them
            assert abs(chi_square - (bins - 1)) < 5 * math.sqrt(2 * (bins - 1))


def test_keyed_numbers_are_independent() -> None:
    """Of each other in neighbouring samples, columns, names, seeds and epochs."""
    count = 100_000
    first = keyed_uniform(torch.arange(count), 3, 0, "x", 0)
    others = {
        "next sample": torch.roll(first[:, 0], 1),
        "next column": first[:, 1],
        "column after next": first[:, 2],
        "seed": keyed_uniform(torch.arange(count), 1, 1, "x", 0)[:, 0],
        "name": keyed_uniform(torch.arange(count), 1, 0, "y", 0)[:, 0],
        "epoch": keyed_uniform(torch.arange(count), 1, 0, "x", 1)[:, 0],
    }
    for what, other in others.items():
        correlation = float(torch.corrcoef(torch.stack([first[:, 0], other]))[0, 1])
        assert abs(correlation) < 5 / math.sqrt(count), what
        joint = torch.histc((first[:, 0] * 8).floor() * 8 + (other * 8).floor(), 64, 0, 64)
        chi_square = float(((joint - count / 64) ** 2 / (count / 64)).sum())
        assert abs(chi_square - 63) < 5 * math.sqrt(2 * 63), what


def test_keyed_numbers_belong_to_the_sample() -> None:
    index = torch.tensor([5, 0, 123456789, 5, 2**40])
    drawn = keyed_uniform(index, 4, 7, "x")
    for row, number in enumerate(index.tolist()):
        assert torch.equal(drawn[row], keyed_uniform(torch.tensor([number]), 4, 7, "x")[0])
    assert torch.equal(drawn[0], drawn[3])
    assert torch.equal(drawn[:, :2], keyed_uniform(index, 2, 7, "x"))


@pytest.mark.gpu
def test_keyed_numbers_are_the_same_on_every_device() -> None:
    index = torch.arange(1000)
    assert torch.equal(keyed_uniform(index, 3, 0, "x"), keyed_uniform(index.cuda(), 3, 0, "x").cpu())


def naive_keyed(index: int, column: int, seed: int) -> float:
    """SplitMix64 in Python's whole numbers."""
    mask = 2**64 - 1

    def mix(value: int) -> int:
        value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & mask
        value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & mask
        return value ^ (value >> 31)

    golden = 0x9E3779B97F4A7C15
    state = mix(((index + 1) * golden + seed) & mask)
    return ((mix((state + column * golden) & mask) >> 40) & 0xFFFFFF) / 2**24


def test_keyed_numbers_equal_the_published_generator() -> None:
    drawn = keyed_uniform(torch.arange(50), 3, 1, "x")
    for row in range(50):
        for column in range(3):
            assert float(drawn[row, column]) == naive_keyed(row, column + 1, derive(1, "x"))
