"""EDM: contributions equal a loop over subsets of inputs, the weakest modality goes first, and contributions get more equal."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch
from torch.nn import functional as F

from equipoise.functional.coalitions import shapley_values
from equipoise.functional.equilibrium import contribution_shares, equilibrium_deviation
from equipoise.training.coalitions import coalition_values
from equipoise.training.context import Context
from equipoise.training.selection import validate
from tests.contract.harness import NAMES, prepare, toy_part, train_toy
from tests.methods.laziness import SLOW, train_lazy


def contributions(ctx: Context) -> torch.Tensor:
    scores = coalition_values(ctx, "validation", ctx.task.score).double().mean(0)
    return shapley_values(torch.cat([torch.tensor([1 / 3], dtype=torch.float64), scores]))


@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_contributions_equal_a_loop_over_orders_of_arrival(missing: float) -> None:
    """Each subset is predicted from its inputs by a pass of its own."""
    validation = toy_part(30, 1, missing=missing)
    method, ctx = prepare("edm", train=toy_part(), validation=validation)
    (batch,) = validation.batches([torch.arange(30)], [30])
    nobody = torch.zeros(30, dtype=torch.bool)

    def value(chosen: tuple[str, ...]) -> float:
        kept = batch.masked({name: nobody for name in ctx.modalities if name not in chosen})
        with torch.no_grad():
            probabilities = ctx.model(kept).logits.softmax(1)
        return sum(float(row[label]) for row, label in zip(probabilities, batch.labels, strict=True)) / 30

    expected = dict.fromkeys(ctx.modalities, 0.0)
    for order in permutations(ctx.modalities):
        for place, name in enumerate(order):
            expected[name] += (value(order[: place + 1]) - value(order[:place])) / 6
    method.on_epoch_start(ctx)
    log = ctx.take_log()
    assert {name: log[f"contribution.{name}"] for name in ctx.modalities} == pytest.approx(expected, abs=1e-6)
    assert method.state["order"] == sorted(expected, key=lambda name: expected[name])


@pytest.mark.parametrize("strong", [0, 1])
def test_the_weakest_modality_goes_first_whichever_it_is(strong: int) -> None:
    names = NAMES[:2]
    part, validation = toy_part(names=names), toy_part(40, 1, names=names)
    for item in (part, validation):  # the other modality says nothing
        item.inputs[names[1 - strong]].normal_(generator=torch.Generator().manual_seed(len(item)))
    run = train_toy("edm", train=part, validation=validation, epochs=5)
    run.method.on_epoch_start(run.ctx)
    (batch,) = part.batches([torch.arange(20)], [20])
    turns = [update.only for update in run.method.updates(run.ctx, batch)]
    assert turns == [(names[1 - strong],), (names[strong],)]


def test_a_turn_trains_one_encoder_and_the_head() -> None:
    part = toy_part()
    method, ctx = prepare("edm", train=part)
    method.on_epoch_start(ctx)
    (batch,) = part.batches([torch.arange(20)], [20])
    for update in method.updates(ctx, batch):
        ctx.model.zero_grad(set_to_none=True)
        outputs = ctx.model(batch, only=update.only)
        ((name, features),) = outputs.features.items()
        (loss,) = method.losses(ctx, update, outputs).values()
        logits = ctx.model.fusion.contributions({name: features}, {})[name]
        torch.testing.assert_close(loss, F.cross_entropy(logits, batch.labels))
        loss.backward()
        trained = {key.split(".")[1] for key, item in ctx.model.named_parameters() if item.grad is not None}
        assert len(trained) == 2
        assert all(item.grad is not None for item in ctx.model.parameters_of(name))


def test_contributions_are_more_equal_than_after_joint_training() -> None:
    """What the paper claims: a strong modality does not keep the weak one from learning."""
    for seed in range(3):
        runs = {name: train_lazy(name, fusion="entropy_gate", seed=seed) for name in ("joint", "edm")}
        deviation = {
            name: float(equilibrium_deviation(contribution_shares(contributions(run.ctx)))) for name, run in runs.items()
        }
        assert deviation["edm"] < 0.3 < 0.7 < deviation["joint"]
        accuracy = {name: validate(run.ctx, run.predictor)[SLOW]["accuracy"] for name, run in runs.items()}
        assert accuracy["edm"] > 0.9 > 0.7 > accuracy["joint"]
