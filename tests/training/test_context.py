"""What methods see of a run: means over batches and parts, random numbers by key, logs, and no test part."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from equipoise.batch import Batch, Outputs
from equipoise.config import TrainingOptions
from equipoise.methods.base import Update, make_method
from equipoise.tasks import Classification
from equipoise.training.context import Closure, Context
from equipoise.training.runtime import Runtime
from tests.contract.harness import CLASSES, toy_model, toy_part, weights
from tests.methods.helpers import make_batch

WEIGHTS = [0.5, 1.0, 2.5]


def make(missing: float = 0.0, class_weights: list[float] | None = None, **options: object) -> tuple[Context, Batch]:
    part = toy_part(20, missing=missing)
    model = toy_model(
        {name: tuple(value.shape[1:]) for name, value in part.inputs.items()}, task=Classification(CLASSES, class_weights)
    )
    ctx = Context(model, Runtime("cpu"), TrainingOptions(**options), part, part)  # type: ignore[arg-type]
    assert part.target is not None
    return ctx, make_batch(part.inputs, part.target, part.present)


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(0, 3)), min_size=20, max_size=20))
@settings(deadline=None, max_examples=30)
def test_mean_equals_a_naive_loop(pairs: list[tuple[float, float]]) -> None:
    ctx, batch = make()
    values, shares = (torch.tensor(column, dtype=torch.float64) for column in zip(*pairs, strict=True))
    assert float(ctx.mean(values, batch)) == pytest.approx(sum(value for value, _ in pairs) / 20, abs=1e-9)
    total = sum(share for _, share in pairs)
    expected = sum(value * share for value, share in pairs) / total if total > 0 else 0.0
    assert float(ctx.mean(values, batch, shares)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("class_weights", [None, WEIGHTS])
@pytest.mark.parametrize("modality", [None, "beta"])
@pytest.mark.parametrize("parts", [False, True])
def test_several_rows_of_values_have_their_means_one_by_one(
    class_weights: list[float] | None, modality: str | None, parts: bool
) -> None:
    ctx, batch = make(0.4, class_weights)
    if parts:
        batch = replace(batch.rows(3, 11), whole=batch)
    rows = torch.randn(3, len(batch), generator=torch.Generator().manual_seed(0))
    expected = torch.stack([ctx.sample_mean(row, batch, modality) for row in rows])
    torch.testing.assert_close(ctx.sample_mean(rows, batch, modality), expected)
    nobody = batch.masked({"beta": torch.zeros(len(batch), dtype=torch.bool)})
    assert ctx.sample_mean(rows, nobody, "beta").tolist() == [0.0] * 3


def test_mean_over_nobody_is_zero_without_history() -> None:
    ctx, batch = make()
    values = torch.ones(20, requires_grad=True)
    mean = ctx.mean(values, batch, torch.zeros(20))
    assert float(mean) == 0.0
    assert not mean.requires_grad


@pytest.mark.parametrize("class_weights", [None, WEIGHTS])
def test_task_loss_counts_present_samples_by_class_weight(class_weights: list[float] | None) -> None:
    ctx, batch = make(0.4, class_weights)
    logits = torch.randn(20, CLASSES)
    of_class = None if class_weights is None else torch.tensor(class_weights)
    torch.testing.assert_close(ctx.task_loss(logits, batch), F.cross_entropy(logits, batch.labels, weight=of_class))
    for name, mask in batch.present.items():
        naive = F.cross_entropy(logits[mask], batch.labels[mask], weight=of_class)
        torch.testing.assert_close(ctx.task_loss(logits, batch, name), naive)
    # Half precision must not round the number of samples.
    big = make_batch({"alpha": torch.zeros(1999, 6)}, torch.zeros(1999, dtype=torch.int64), {"alpha": torch.arange(1999) > 0})
    loss = ctx.task_loss(torch.zeros(1999, CLASSES, dtype=torch.bfloat16), big, "alpha")
    assert float(loss) == pytest.approx(math.log(CLASSES), rel=5e-3)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 50])
def test_losses_of_parts_add_up_to_that_of_the_batch(count: int) -> None:
    ctx, batch = make(0.5, WEIGHTS, accumulate=count)
    method = make_method({"name": "joint_unimodal"})
    method.setup(ctx)
    closure = Closure(ctx, method, Update(batch))
    parts = closure.parts()
    assert len(parts) == min(count, 20)
    assert torch.equal(torch.cat([part.update.batch.index for part in parts]), batch.index)
    assert sum(part.share for part in parts) == pytest.approx(1)
    whole = closure()[1]
    for key, value in whole.items():
        total = sum(float(part()[1][key].detach()) * part.share for part in parts)
        assert total == pytest.approx(float(value.detach()), rel=1e-4)


def test_a_batch_taken_apart_by_a_method_counts_for_itself() -> None:
    """Only parts made to save memory are parts of a whole."""
    ctx, batch = make(0.5)
    rows = batch.rows(3, 9)
    logits = torch.randn(6, CLASSES)
    mask = rows.present["alpha"]
    torch.testing.assert_close(ctx.task_loss(logits, rows, "alpha"), F.cross_entropy(logits[mask], rows.labels[mask]))
    part = replace(rows, whole=batch)
    assert part.masked({"alpha": ~mask}).whole is None


def test_there_is_no_test_part() -> None:
    ctx, _ = make()
    assert len(ctx.part("train")) == 20
    with pytest.raises(KeyError):
        ctx.part("test")
    alone = Context(ctx.model, ctx.runtime, ctx.options)
    with pytest.raises(ValueError, match="loaded for prediction only"):
        alone.part("train")


def test_random_numbers_follow_from_seed_phase_epoch_sample_and_name() -> None:
    ctx, batch = make()
    first = ctx.uniform(batch, 2, "x")
    assert torch.equal(first, ctx.uniform(batch, 2, "x"))
    assert torch.equal(first[4:9], ctx.uniform(batch.rows(4, 9), 2, "x"))
    assert not torch.equal(first, ctx.uniform(batch, 2, "y"))
    drawn = torch.rand(3, generator=ctx.generator("x"))
    assert torch.equal(drawn, torch.rand(3, generator=ctx.generator("x")))
    assert not torch.equal(drawn, torch.rand(3, generator=ctx.generator("y")))
    ctx.updates_done = ctx.epochs_done = 5  # what happened in other phases plays no part
    assert torch.equal(first, ctx.uniform(batch, 2, "x"))
    assert torch.equal(drawn, torch.rand(3, generator=ctx.generator("x")))
    ctx.epoch = 1
    assert not torch.equal(first, ctx.uniform(batch, 2, "x"))
    ctx.update = 1
    assert not torch.equal(drawn, torch.rand(3, generator=ctx.generator("x")))
    ctx.epoch = ctx.update = 0
    ctx.stage = ("other", 0)
    assert not torch.equal(first, ctx.uniform(batch, 2, "x"))
    assert not torch.equal(drawn, torch.rand(3, generator=ctx.generator("x")))


def test_log_averages_and_notices_who_never_acts() -> None:
    ctx, _ = make()
    assert not ctx.inert
    for value in (1.0, 1.0):
        ctx.log("factor", value, neutral=1.0)
    ctx.log("other", torch.tensor(4.0))
    assert ctx.inert
    assert ctx.take_log() == {"factor": 1.0, "other": 4.0}
    assert ctx.take_log() == {}
    assert ctx.inert
    ctx.log("factor", 0.5, neutral=1.0)
    ctx.log("factor", 1.5, neutral=1.0)
    assert not ctx.inert
    state = ctx.log_state()
    other, _ = make()
    other.load_log_state(state)
    assert not other.inert
    assert other.take_log() == {"factor": 1.0}


class Dropping(nn.Module):
    """A predictor with a layer of its own that acts in training mode."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.dropout = nn.Dropout(0.5)

    def forward(self, batch: Batch) -> Outputs:
        outputs: Outputs = self.model(batch)
        return Outputs(outputs.features, outputs.present, lambda: self.dropout(outputs.logits), lambda: outputs.unimodal)


def test_outputs_are_of_evaluation_mode_and_leave_modes_as_they_were() -> None:
    ctx, batch = make(0.3)
    predictor = Dropping(ctx.model)
    predictor.train()
    ctx.model.encoders["alpha"].eval()
    before = weights(ctx.model)
    plain, dropped = ctx.outputs("validation"), ctx.outputs("validation", predictor)
    assert torch.equal(plain.logits, dropped.logits)
    assert not plain.logits.requires_grad
    assert predictor.dropout.training
    assert ctx.model.encoders["beta"].training
    assert not ctx.model.encoders["alpha"].training
    assert all(torch.equal(value, before[key]) for key, value in weights(ctx.model).items())
    torch.testing.assert_close(plain.logits, ctx.model(batch).logits.detach())
