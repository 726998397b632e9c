"""Valuation: values of training samples equal a loop over subsets of inputs, and samples are met by their frequency."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from equipoise.functional.coalitions import members_of_all
from equipoise.functional.valuation import modality_values
from equipoise.methods.base import Method
from equipoise.training.context import Context
from equipoise.training.selection import validate
from tests.contract.harness import prepare, toy_part, train_toy
from tests.methods.laziness import FAST, SLOW, lazy_part, train_lazy


def valued(level: str = "sample", missing: float = 0.0) -> tuple[Method, Context]:
    """A method that has valued the samples by a model that is trained a little."""
    part = toy_part(60, 2, signal=2.0, missing=missing)
    run = train_toy("joint", train=part, epochs=2)
    method, ctx = prepare("valuation", {"level": level}, train=part, model=run.ctx.model)
    ctx.epoch = 1
    method.on_epoch_start(ctx)
    return method, ctx


@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_frequencies_come_from_values_of_subsets_of_inputs(missing: float) -> None:
    method, ctx = valued(missing=missing)
    (batch,) = ctx.part("train").batches([torch.arange(60)], [60])
    right = []
    ctx.model.eval()
    for row in members_of_all(3):
        kept = batch.masked({name: row[number].expand(60) for number, name in enumerate(ctx.modalities)})
        with torch.no_grad():
            right.append(ctx.model(kept).logits.argmax(1) == batch.labels)
    present = torch.stack([batch.present[name] for name in ctx.modalities])
    values = modality_values(torch.stack(right), present)
    expected = (2 * (1 - values).clamp_min(0) * present).float()
    torch.testing.assert_close(method.state["copies"], expected.T)
    assert ctx.sampler.weights is not None
    torch.testing.assert_close(ctx.sampler.weights.float(), 1 + expected.sum(0))
    log = ctx.take_log()
    for number, name in enumerate(ctx.modalities):
        assert log[f"value.{name}"] == pytest.approx(float(values[number].sum() / present[number].sum()))
        assert log[f"alone.{name}"] == pytest.approx(float(expected[number].mean()))


def met(ctx: Context, method: Method, rounds: int) -> Tensor:
    """How often each sample is met as it is (first) and with each modality alone, of shape (samples, 1 + modalities)."""
    counts = torch.zeros(60, 4)
    (batch,) = ctx.part("train").batches([torch.arange(60)], [60])
    for ctx.update in range(rounds):
        changed = method.transform_batch(ctx, batch)
        have = torch.stack([changed.present[name] for name in ctx.modalities], 1)
        whole = (have == torch.stack([batch.present[name] for name in ctx.modalities], 1)).all(1)
        assert bool((whole | (have.sum(1) == 1)).all())
        counts += torch.cat([whole[:, None], have & ~whole[:, None]], 1)
    return counts


@pytest.mark.parametrize("level", ["sample", "modality"])
def test_samples_are_met_by_their_frequency(level: str) -> None:
    method, ctx = valued(level)
    often = torch.cat([torch.ones(60, 1), method.state["copies"]], 1)
    expected = often / often.sum(1, keepdim=True)
    found = met(ctx, method, 1000) / 1000
    assert float((found - expected).abs().max()) < 0.08  # five standard deviations of a share of a half
    assert bool((found[expected == 0] == 0).all())
    assert float(expected[:, 1:].max()) > 0.01


def test_a_sample_keeps_something_it_has() -> None:
    method, ctx = valued(missing=0.5)
    assert float(met(ctx, method, 20).sum()) == 60 * 20


def test_nothing_happens_before_the_start_or_where_all_is_well() -> None:
    method, ctx = prepare("valuation", {"start": 3})
    (batch,) = ctx.part("train").batches([torch.arange(20)], [20])
    ctx.epoch = 2
    method.on_epoch_start(ctx)
    assert method.transform_batch(ctx, batch) is batch
    assert ctx.sampler.weights is None
    part, validation = lazy_part(60, 0, scale=1.0), lazy_part(60, 1, scale=1.0)
    run = train_toy("late", fusion="concat", train=part, validation=validation, epochs=20)
    method, ctx = prepare("valuation", train=part, validation=validation, model=run.ctx.model)
    ctx.epoch = 1
    method.on_epoch_start(ctx)
    assert ctx.sampler.weights is None
    assert ctx.inert


@pytest.mark.parametrize("level", ["sample", "modality"])
def test_the_slow_modality_is_met_alone_and_learns_more_than_in_joint_training(level: str) -> None:
    """What the paper claims: what is worth little comes to be worth more."""
    for seed in range(3):
        joint, run = train_lazy("joint", seed=seed), train_lazy("valuation", {"level": level}, seed=seed)
        alone = [line["coefficients"] for line in run.lines]
        assert sum(line[f"alone.{SLOW}"] for line in alone) > 1.2 * sum(line[f"alone.{FAST}"] for line in alone)
        accuracy = [validate(item.ctx, item.predictor)[SLOW]["accuracy"] for item in (run, joint)]
        assert accuracy[0] > accuracy[1] + 0.1
