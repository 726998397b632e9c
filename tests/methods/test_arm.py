"""ARM: counts equal a loop over samples, the lesser modality is reinforced, and prediction needs no label."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from equipoise.functional.reinforcement import normalised_information, reinforced_contributions, reinforcement
from equipoise.methods.base import Update
from equipoise.nn.fusion.reinforced import ReinforcedFusion
from equipoise.training.selection import validate
from tests.contract.harness import NAMES, prepare, toy_model, toy_part
from tests.methods.helpers import gradients_of, make_batch, make_context
from tests.methods.laziness import FAST, SLOW, train_lazy


def binned(values: Tensor, rows: Tensor, bins: int) -> Tensor:
    some = values[rows]
    below: Tensor = torch.distributions.Normal(some.mean(), some.std(correction=0)).cdf(values)
    return (below * bins).long().clamp(0, bins - 1)


@pytest.mark.parametrize("missing", [0.0, 0.4])
@pytest.mark.parametrize("count", [2, 3])
def test_factors_of_a_batch_equal_a_loop_over_samples(missing: float, count: int) -> None:
    names, bins = NAMES[:count], 4
    part = toy_part(30, 3, names=names, missing=missing)
    method, _ = prepare("arm", {"bins": bins, "limit": 100.0}, train=part)
    model = toy_model({name: tuple(value.shape[1:]) for name, value in part.inputs.items()}, "reinforced")
    ctx = make_context(model, method)
    assert part.target is not None
    batch = make_batch(part.inputs, part.target, part.present)
    with torch.no_grad():
        together = model(batch)
        others = [model(batch.masked({name: torch.zeros(30, dtype=torch.bool)})).logits.log_softmax(1) for name in names]
    counts = torch.zeros(count, bins, bins, bins)
    all_bins = binned(together.logits.log_softmax(1), torch.ones(30, dtype=torch.bool), bins)
    alone = []
    for number, name in enumerate(names):
        have = batch.present[name]
        own = together.unimodal[name].log_softmax(1)
        own_bins, other_bins = binned(own, have, bins), binned(others[number], have, bins)
        rows = [row for row in range(30) if bool(have[row])]
        for row in rows:
            for kind in range(3):
                counts[number, own_bins[row, kind], all_bins[row, kind], other_bins[row, kind]] += 1
        alone.append(sum(float(own[row].detach().exp()[batch.labels[row]]) for row in rows) / len(rows))
    mean = together.logits.softmax(1)[torch.arange(30), batch.labels].mean()
    expected = reinforcement(
        reinforced_contributions(*normalised_information(counts), mean, torch.tensor(alone)), method.hyperparameters()["limit"]
    )
    gradients_of(ctx, method, Update(batch))
    assert isinstance(model.fusion, ReinforcedFusion)
    torch.testing.assert_close(model.fusion.factors, expected, rtol=1e-4, atol=1e-4)
    assert not torch.equal(expected, torch.ones(count))


def test_batches_before_fade() -> None:
    part = toy_part(40, 3)
    method, ctx = prepare("arm", {"momentum": 0.5}, train=part)
    model_ctx = make_context(ctx.model, method)
    assert part.target is not None
    batch = make_batch(part.inputs, part.target)
    for parts in (batch.rows(0, 10), batch.rows(10, 40)):
        gradients_of(model_ctx, method, Update(replace(parts, total=len(parts))))
    assert method.state["scores"][1].tolist() == pytest.approx([35.0] * 4)
    assert method.state["counts"].sum((1, 2, 3)).tolist() == pytest.approx([105.0] * 3)


def test_the_slow_modality_is_reinforced_and_learns_more_than_in_joint_training() -> None:
    """What the paper claims, and all together do not lose by it."""
    for seed in range(3):
        runs = {name: train_lazy(name, fusion="reinforced", seed=seed) for name in ("joint", "arm")}
        fusion = runs["arm"].ctx.model.fusion
        assert isinstance(fusion, ReinforcedFusion)
        factors = dict(zip(fusion.names, fusion.factors.tolist(), strict=True))
        assert factors[SLOW] > 1.2 > 0.9 > factors[FAST]
        found = {name: validate(run.ctx, run.predictor) for name, run in runs.items()}
        assert found["arm"][SLOW]["loss"] < found["joint"][SLOW]["loss"]
        assert found["arm"]["fused"]["accuracy"] >= found["joint"]["fused"]["accuracy"] - 0.02


def test_prediction_knows_no_label() -> None:
    """Differs from the published code, where labels set the factors of the batch that is predicted."""
    run = train_lazy("arm", epochs=2)
    part = toy_part(30, names=(FAST, SLOW))
    part.inputs[SLOW] = part.inputs[FAST]
    with_labels = run.logits(part)
    part.target = None
    assert torch.equal(run.logits(part), with_labels)
