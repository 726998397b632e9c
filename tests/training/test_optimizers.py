"""Groups, schedules, scaled updates, and parameters that join late."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from equipoise.config import TrainingOptions
from equipoise.methods.base import Phase
from equipoise.nn.multimodal import MultimodalModel
from equipoise.training.optimizers import Freezer, PhaseOptimizer, schedule_factor
from tests.contract.harness import toy_model, weights

SHAPES = {"alpha": (6,), "beta": (5,)}


def make(**options: Any) -> tuple[MultimodalModel, PhaseOptimizer]:
    model = toy_model(SHAPES)
    settings = TrainingOptions(**{"learning_rate": 0.1, "weight_decay": 0.0, "schedule": "constant", **options})
    return model, PhaseOptimizer(model, Phase(), settings)


def fill(model: nn.Module, value: float = 1.0) -> None:
    for item in model.parameters():
        item.grad = torch.full_like(item, value)


@given(st.integers(1, 50), st.integers(0, 49))
def test_schedules_are_their_closed_forms(epochs: int, epoch: int) -> None:
    options = TrainingOptions(schedule="cosine", step_epochs=7, step_factor=0.5)
    assert schedule_factor(options, epoch, epochs) == pytest.approx((1 + math.cos(math.pi * epoch / epochs)) / 2)
    stepped = TrainingOptions(schedule="step", step_epochs=7, step_factor=0.5)
    assert schedule_factor(stepped, epoch, epochs) == 0.5 ** (epoch // 7)
    assert schedule_factor(TrainingOptions(schedule="constant"), epoch, epochs) == 1.0


def test_rate_of_an_epoch_is_that_of_run_phase_and_schedule() -> None:
    model = toy_model(SHAPES)
    options = TrainingOptions(learning_rate=0.2, schedule="cosine")
    optimizer = PhaseOptimizer(model, Phase(learning_rate=0.5), options)
    optimizer.start_epoch(5, 10)
    assert optimizer.rate == pytest.approx(0.05)
    assert {group["lr"] for group in optimizer.torch.param_groups} == {optimizer.rate}


def test_every_parameter_is_in_one_group() -> None:
    model, optimizer = make()
    ids = [id(item) for item in optimizer.parameters()]
    assert len(ids) == len(set(ids))
    assert set(ids) == {id(item) for item in model.parameters()}


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_new_parameters_join_at_the_rate_in_force(name: str) -> None:
    model, optimizer = make(optimizer=name, schedule="cosine", momentum=0.0)
    optimizer.start_epoch(0, 4)
    fill(model)
    optimizer.step()
    model.add_heads(0)
    assert model.heads is not None
    optimizer.start_epoch(2, 4)
    assert {id(item) for item in optimizer.parameters()} == {id(item) for item in model.parameters()}
    before = weights(model)
    model.zero_grad(set_to_none=True)
    fill(model)
    optimizer.step()
    assert optimizer.rate == pytest.approx(0.05)
    for key, value in weights(model).items():
        torch.testing.assert_close(value, before[key] - 0.05, rtol=1e-4, atol=1e-5)
    optimizer.start_epoch(2, 4)
    assert len(optimizer.parameters()) == len(list(model.parameters())), "a parameter joined twice"


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_scale_acts_on_one_update_of_one_encoder(name: str) -> None:
    model, optimizer = make(optimizer=name, momentum=0.0)
    optimizer.start_epoch(0, 1)
    for factor in (0.25, 1.0):  # the second step is not scaled
        before = weights(model)
        fill(model)
        optimizer.scale("beta", factor)
        optimizer.step()
        for key, value in weights(model).items():
            expected = 0.1 * (factor if "of_beta." in key else 1.0)
            torch.testing.assert_close(before[key] - value, torch.full_like(value, expected), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_scales_multiply(name: str) -> None:
    model, optimizer = make(optimizer=name, momentum=0.0)
    optimizer.start_epoch(0, 1)
    before = weights(model)
    fill(model)
    optimizer.scale("beta", 0.5)
    optimizer.scale("beta", 0.5)
    optimizer.step()
    change = before["encoders.of_beta.layers.0.weight"] - weights(model)["encoders.of_beta.layers.0.weight"]
    torch.testing.assert_close(change, torch.full_like(change, 0.025), rtol=1e-3, atol=1e-6)


def test_a_scaled_step_of_adamw_is_that_of_a_scaled_learning_rate() -> None:
    """Weight decay included, and whatever the running moments are."""
    model, optimizer = make(weight_decay=0.5)
    twin = copy.deepcopy(model)
    groups = [{"params": twin.parameters_of("beta")}, {"params": [*twin.parameters_of("alpha"), *twin.shared_parameters()]}]
    reference = torch.optim.AdamW(groups, lr=0.1, weight_decay=0.5)
    optimizer.start_epoch(0, 1)
    for step, factor in enumerate((0.3, 1.0, 0.7)):
        for item, other in zip(model.parameters(), twin.parameters(), strict=True):
            item.grad = torch.randn(item.shape, generator=torch.Generator().manual_seed(step))
            other.grad = item.grad.clone()
        optimizer.scale("beta", factor)
        optimizer.step()
        reference.param_groups[0]["lr"] = 0.1 * factor
        reference.step()
    for item, other in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(item, other)


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_who_has_no_gradient_does_not_move(name: str) -> None:
    """Also not by weight decay or momentum, also if its first gradient comes later than that of others."""
    model, optimizer = make(optimizer=name, weight_decay=0.5)
    optimizer.start_epoch(0, 1)
    for turn in (["alpha"], ["alpha", "beta"], ["beta"], ["alpha"]):
        before = weights(model)
        model.zero_grad(set_to_none=True)
        for item in [item for own in turn for item in model.parameters_of(own)]:
            item.grad = torch.ones_like(item)
        optimizer.step()
        for key, value in weights(model).items():
            assert torch.equal(value, before[key]) != any(f"of_{own}." in key for own in turn), key


def test_clipping_bounds_the_step() -> None:
    model, optimizer = make(optimizer="sgd", clip_norm=1.0, momentum=0.0)
    optimizer.start_epoch(0, 1)
    before = weights(model)
    fill(model, 100.0)
    optimizer.step()
    square = sum(float((value - before[key]).square().sum()) for key, value in weights(model).items())
    assert math.sqrt(square) == pytest.approx(0.1, rel=1e-4)


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_a_saved_state_goes_on_bit_for_bit(name: str) -> None:
    """Also where parameters joined late, so that groups are not in the order of a new optimizer."""

    def advance(model: MultimodalModel, optimizer: PhaseOptimizer, epoch: int) -> None:
        optimizer.start_epoch(epoch, 8)
        for step in range(2):
            for number, item in enumerate(model.parameters()):
                item.grad = torch.full_like(item, math.sin(1 + number + 10 * step + 100 * epoch))
            optimizer.scale("alpha", 0.5)
            optimizer.step()

    model, optimizer = make(optimizer=name, schedule="cosine", weight_decay=0.1)
    advance(model, optimizer, 0)
    model.add_heads(0)
    advance(model, optimizer, 1)
    saved = {"model": weights(model), "optimizer": torch.utils._pytree.tree_map(_copy, optimizer.state_dict())}
    advance(model, optimizer, 2)

    again = toy_model(SHAPES, seed=3)
    again.add_heads(1)
    other = PhaseOptimizer(
        again, Phase(), TrainingOptions(learning_rate=0.1, optimizer=name, schedule="cosine", weight_decay=0.1)
    )
    again.load_state_dict(saved["model"])
    other.load_state_dict(saved["optimizer"])
    advance(again, other, 2)
    for key, value in weights(model).items():
        assert torch.equal(value, weights(again)[key]), key


def _copy(value: Any) -> Any:
    return value.clone() if isinstance(value, torch.Tensor) else value


def test_a_phase_holds_its_parameters_and_those_that_may_train() -> None:
    model = toy_model(SHAPES)

    def chosen(model: MultimodalModel) -> Sequence[nn.Parameter]:
        return model.parameters_of("beta")

    model.parameters_of("beta")[0].requires_grad_(False)
    optimizer = PhaseOptimizer(model, Phase(parameters=chosen), TrainingOptions())
    assert [id(item) for item in optimizer.parameters()] == [id(item) for item in model.parameters_of("beta")[1:]]


def test_freezer_remembers_who_may_train() -> None:
    model = toy_model(SHAPES)
    fixed = model.parameters_of("alpha")
    for item in fixed:
        item.requires_grad_(False)
    freezer = Freezer(model)
    freezer.train_only(list(model.parameters()))
    assert not any(item.requires_grad for item in fixed)
    assert all(item.requires_grad for item in model.parameters_of("beta"))
    freezer.train_only(model.parameters_of("alpha"))
    assert not any(item.requires_grad for item in model.parameters())
    model.extras["teacher"] = nn.Linear(2, 2).requires_grad_(False)
    model.extras["student"] = nn.Linear(2, 2)
    freezer.train_only(list(model.parameters()))
    assert not any(item.requires_grad for item in model.extras["teacher"].parameters())
    assert all(item.requires_grad for item in model.extras["student"].parameters())
    freezer.train_only([])
    freezer.release()
    assert all(item.requires_grad for item in model.parameters_of("beta"))
    assert not any(item.requires_grad for item in fixed)
