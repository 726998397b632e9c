"""Perturbed parts: what changes, what does not, and that a model sees the change."""

from __future__ import annotations

import pytest
import torch

from equipoise.batch import Batch
from equipoise.data.loader import Loader, MemoryPart, Part
from equipoise.errors import ConfigError
from equipoise.evaluation.robustness import noisy, shuffled, thinned


def part(missing: bool = False) -> MemoryPart:
    values = torch.arange(3000.0).reshape(3000, 1)
    have = torch.ones(3000, dtype=torch.bool)
    some = have.clone()
    if missing:
        some[::3] = False
    return MemoryPart({"a": values.clone(), "b": values.clone(), "c": values.clone()}, {"a": some, "b": have, "c": have}, None)


def batches(data: Part, size: int = 1024) -> list[Batch]:
    return list(Loader(data, size).ordered())


def whole(data: Part, name: str) -> torch.Tensor:
    return torch.cat([batch.inputs[name] for batch in batches(data)])


def test_noise_is_on_one_modality_and_the_same_every_time() -> None:
    plain, worse = part(), noisy(part(), "b", 0.5, seed=3)
    assert torch.equal(whole(worse, "a"), whole(plain, "a"))
    noise = whole(worse, "b") - whole(plain, "b")
    assert abs(float(noise.mean())) < 0.05
    assert float(noise.std()) == pytest.approx(0.5, rel=0.05)
    assert torch.equal(whole(worse, "b"), whole(worse, "b"))
    assert not torch.equal(whole(worse, "b"), whole(noisy(part(), "b", 0.5, seed=4), "b"))


def test_noise_leaves_the_mask_of_a_sequence_alone() -> None:
    values = {"s": torch.randn(200, 3, 5)}
    data = MemoryPart(values, {"s": torch.ones(200, dtype=torch.bool)}, None)
    changed = whole(noisy(data, "s", 1.0, channels=2), "s")
    assert torch.equal(changed[:, 2], values["s"][:, 2])
    assert bool((changed[:, :2] != values["s"][:, :2]).all())


@pytest.mark.parametrize("missing", [False, True])
def test_absence_takes_the_stated_share_and_leaves_something(missing: bool) -> None:
    data = part(missing)
    less = thinned(data, 0.5, seed=1)
    left = torch.stack([less.present[name] for name in "abc"], 1)
    had = torch.stack([data.present[name] for name in "abc"], 1)
    assert bool(left.any(1).all())
    assert not bool((left & ~had).any())
    # Of two modalities both are lost in a quarter of the cases, of which one is then kept.
    share = 1 - float(left.sum() / had.sum())
    pairs, triples = (had.sum(1) == 2).sum(), (had.sum(1) == 3).sum()
    expected = 0.5 - float((pairs * 0.25 + triples * 0.125) / had.sum())
    assert share == pytest.approx(expected, abs=0.02)
    assert less.complete == frozenset()
    for batch in batches(less):
        for name in "abc":
            assert torch.equal(batch.present[name], less.present[name][batch.index])
        assert batch.complete == frozenset()


def test_absence_of_one_modality() -> None:
    gone = thinned(part(), 1.0, modality="c")
    assert not bool(gone.present["c"].any())
    assert gone.complete == {"a", "b"}


def test_shuffling_moves_values_among_samples_that_have_them() -> None:
    data = part(missing=True)
    moved = whole(shuffled(data, "a"), "a").squeeze(1)
    have = data.present["a"]
    before = data.inputs["a"].squeeze(1)
    assert torch.equal(moved[~have], before[~have])
    assert torch.equal(moved[have].sort().values, before[have])
    assert float((moved[have] == before[have]).float().mean()) < 0.01
    assert torch.equal(whole(shuffled(data, "a"), "b"), data.inputs["b"])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: noisy(part(), "d", 1.0), "unknown modality 'd'"),
        (lambda: noisy(part(), "a", -1.0), "level = -1.0"),
        (lambda: thinned(part(), 1.5), "share = 1.5"),
        (lambda: thinned(part(), 0.5, modality="d"), "unknown modality 'd'"),
        (lambda: shuffled(part(), "d"), "unknown modality 'd'"),
    ],
)
def test_what_does_not_fit_is_refused(make: object, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make()  # type: ignore[operator]
