"""Modality dropout hides at the stated rate, never everything, and by sample rather than by place in a batch."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from equipoise.batch import Batch
from equipoise.methods.base import make_method
from equipoise.methods.modality_dropout import keep_at_least_one
from equipoise.training.context import Context
from tests.contract.harness import NAMES, toy_model, toy_part
from tests.methods.helpers import make_batch, make_context


def hidden(
    count: int, rate: float, modalities: int = 3, *, epoch: int = 0, seed: int = 0, missing: float = 0.0
) -> tuple[Context, Batch, Batch]:
    part = toy_part(count, names=NAMES[:modalities], missing=missing)
    model = toy_model({name: tuple(value.shape[1:]) for name, value in part.inputs.items()})
    method = make_method({"name": "modality_dropout", "rate": rate})
    ctx = make_context(model, method, seed=seed)
    ctx.epoch = epoch
    assert part.target is not None
    batch = make_batch(part.inputs, part.target, part.present)
    return ctx, batch, method.transform_batch(ctx, batch)


def stacked(batch: Batch) -> Tensor:
    return torch.stack(list(batch.present.values()), 1)


@given(st.integers(1, 4), st.integers(1, 20), st.floats(0, 0.99), st.integers(0, 1000))
@settings(deadline=None, max_examples=40)
def test_equals_a_naive_loop(modalities: int, count: int, rate: float, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    present = torch.rand(count, modalities, generator=random) < 0.7
    draw = torch.rand(count, modalities, generator=random)
    found = keep_at_least_one(present, draw, rate)
    for row in range(count):
        have = [column for column in range(modalities) if bool(present[row, column])]
        kept = [column for column in have if float(draw[row, column]) >= rate]
        if have and not kept:
            kept = [max(have, key=lambda column: float(draw[row, column]))]
        assert found[row].nonzero().flatten().tolist() == kept


@pytest.mark.parametrize("modalities", [1, 2, 3])
@pytest.mark.parametrize("rate", [0.3, 0.8])
def test_rate(modalities: int, rate: float) -> None:
    """A modality is hidden at the rate, less its share of the samples that would have lost all."""
    count = 20_000
    _, _, batch = hidden(count, rate, modalities)
    kept = stacked(batch)
    expected = rate - rate**modalities / modalities
    for column in range(modalities):
        share = 1 - float(kept[:, column].float().mean())
        assert abs(share - expected) <= 4 * math.sqrt(expected * (1 - expected) / count)
    assert bool(kept.any(1).all())
    if modalities > 1:
        first, second = kept[:, 0].float(), kept[:, 1].float()
        both = float((1 - first).mul(1 - second).mean())
        expected_both = rate**2 if modalities > 2 else 0.0
        # With three modalities two are hidden together unless one of them was rescued.
        lost = rate**modalities
        expected_both -= lost * 2 / 3 if modalities > 2 else 0.0
        assert abs(both - expected_both) < 0.015


def test_masks_belong_to_samples_not_to_places() -> None:
    ctx, batch, whole = hidden(60, 0.5)
    method = make_method({"name": "modality_dropout", "rate": 0.5})
    order = torch.randperm(60, generator=torch.Generator().manual_seed(1))[:25]
    part = Batch(
        {name: value[order] for name, value in batch.inputs.items()},
        {name: value[order] for name, value in batch.present.items()},
        batch.labels[order],
        batch.index[order],
        batch.complete,
        25,
    )
    assert torch.equal(stacked(method.transform_batch(ctx, part)), stacked(whole)[order])


def test_masks_change_with_epoch_and_seed_and_nothing_else() -> None:
    first = stacked(hidden(60, 0.5)[2])
    assert torch.equal(first, stacked(hidden(60, 0.5)[2]))
    assert not torch.equal(first, stacked(hidden(60, 0.5, epoch=1)[2]))
    assert not torch.equal(first, stacked(hidden(60, 0.5, seed=1)[2]))
    # A further modality does not change what is drawn for the others (nobody is rescued where two of three are kept).
    free = first.sum(1) >= 2
    assert torch.equal(stacked(hidden(60, 0.5, 4)[2])[free, :3], first[free])


def test_what_is_absent_stays_absent() -> None:
    _, batch, masked = hidden(200, 0.5, missing=0.4)
    before, after = stacked(batch), stacked(masked)
    assert not bool((after & ~before).any())
    assert bool(after.any(1).all())
    assert masked.complete == frozenset()
    assert masked.inputs is batch.inputs


def test_log_says_how_much_was_kept() -> None:
    ctx, batch, masked = hidden(200, 0.5)
    assert ctx.take_log()["kept"] == pytest.approx(float(stacked(masked).sum() / stacked(batch).sum()))
    assert not ctx.inert
