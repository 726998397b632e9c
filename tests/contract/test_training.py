"""What every method must do: learn, with any number of modalities, with missing ones, in any setting of the loop."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import torch

from equipoise.data.loader import MemoryPart
from equipoise.methods.base import make_method
from equipoise.nn.fusion.linear import ConcatFusion
from equipoise.nn.multimodal import MultimodalModel
from equipoise.tasks import Classification
from equipoise.training.optimizers import PhaseOptimizer
from equipoise.training.selection import validate
from tests.contract.harness import (
    CLASSES,
    NAMES,
    assert_close,
    assert_same,
    brisk,
    differs,
    encoder_or_fusion,
    prepare,
    toy_model,
    toy_part,
    train,
    train_toy,
    weights,
)

HARD = {"signal": 1.0}


def test_learns_what_is_easy_to_separate(name: str) -> None:
    run = train_toy(name, train=toy_part(signal=6.0), validation=toy_part(40, 1, signal=6.0), epochs=10)
    assert all(math.isfinite(value) for line in run.lines for value in line["losses"].values())
    for phase in {line["phase"] for line in run.lines}:
        total = [sum(line["losses"].values()) for line in run.lines if line["phase"] == phase]
        assert total[-1] < total[0]
    assert validate(run.ctx, run.predictor)["fused"]["accuracy"] >= 0.9


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_any_number_of_modalities(name: str, count: int) -> None:
    names = NAMES[:count]
    run = train_toy(name, brisk(name), train=toy_part(50, names=names, **HARD), epochs=2)
    assert all(math.isfinite(value) for line in run.lines for value in line["losses"].values())
    metrics = validate(run.ctx, run.predictor)
    assert set(metrics) == {"fused", *names}
    assert all(math.isfinite(values["loss"]) for values in metrics.values())
    start = weights(toy_model({key: tuple(value.shape[1:]) for key, value in toy_part(1, names=names).inputs.items()}))
    for modality in names:
        assert differs(start, run.last, lambda key, modality=modality: f"of_{modality}." in key), f"{modality} was not trained"


def test_absent_samples_are_never_looked_at(name: str) -> None:
    """Whatever the rows of absent samples hold, in training and in prediction, nothing changes."""
    runs = []
    for placeholder in (0.0, float("nan")):
        parts = {
            "train": toy_part(missing=0.4, placeholder=placeholder, **HARD),
            "validation": toy_part(40, 1, missing=0.4, placeholder=placeholder, **HARD),
        }
        runs.append(train_toy(name, brisk(name), **parts))
    first, second = runs
    assert_same(first.last, second.last)
    assert first.lines == second.lines
    assert bool(torch.isfinite(second.logits()).all())
    assert torch.equal(first.logits(), second.logits())
    assert all(math.isfinite(value) for line in first.lines for value in line["losses"].values())


def test_a_modality_that_is_never_there_is_left_alone(name: str) -> None:
    """Weight decay must not shrink what has no gradient, so the gradient is None and not zero."""
    absent = NAMES[1]
    parts = {"train": toy_part(never=[absent]), "validation": toy_part(40, 1)}
    method, ctx = prepare(name, brisk(name), optimizer="adamw", weight_decay=0.1, **parts)
    start = weights(ctx.model)
    run = train(method, ctx)
    assert all(item.grad is None for item in ctx.model.parameters_of(absent))
    for key, value in start.items():
        if key.startswith("encoders."):
            assert torch.equal(value, run.last[key]) == (f"of_{absent}." in key), key


def test_a_rare_modality_rests_in_the_updates_without_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sample has it, so that one batch of three trains it: in the others it must not drift by decay or momentum."""
    rare = NAMES[1]
    part = toy_part(never=[rare])
    part.present[rare][5] = True
    part.inputs[rare][5] = 1.0
    moved = []
    step = PhaseOptimizer.step

    def watched(self: PhaseOptimizer) -> None:
        before = [item.detach().clone() for item in ctx.model.parameters_of(rare)]
        step(self)
        after = ctx.model.parameters_of(rare)
        moved.append(any(not torch.equal(old, new) for old, new in zip(before, after, strict=True)))

    monkeypatch.setattr(PhaseOptimizer, "step", watched)
    method, ctx = prepare(name, train=part, validation=toy_part(40, 1), weight_decay=0.1)
    train(method, ctx)
    assert 0 < sum(moved) < len(moved) / 2


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_same_seed_same_weights_whatever_the_global_generators_hold(name: str, optimizer: str) -> None:
    runs = []
    for start in (1, 2):
        random.seed(start)
        np.random.seed(start)  # noqa: NPY002 - the global generator is what is tested
        torch.manual_seed(start)
        runs.append(train_toy(name, brisk(name), optimizer=optimizer, encoder={"dropout": 0.2}, train=toy_part(**HARD)))
    assert_same(runs[0].last, runs[1].last)
    assert_same(runs[0].state, runs[1].state)
    assert runs[0].lines == runs[1].lines
    other = train_toy(name, brisk(name), optimizer=optimizer, encoder={"dropout": 0.2}, train=toy_part(**HARD), seed=1)
    assert differs(runs[0].last, other.last, encoder_or_fusion)


def test_order_of_modalities_does_not_matter(name: str) -> None:
    if make_method({"name": name}).card.order_matters:
        pytest.skip("the card says that the order matters")
    part, validation = toy_part(missing=0.2, **HARD), toy_part(40, 1, missing=0.2, **HARD)
    order = (NAMES[2], NAMES[0], NAMES[1])
    runs = []
    start: MultimodalModel | None = None
    for names in (NAMES[:3], order):
        parts = {"train": _listed(part, names), "validation": _listed(validation, names)}
        # Unequal patience uses: phases of different lengths must not shift each other's random numbers.
        method, ctx = prepare(name, brisk(name), optimizer="sgd", learning_rate=0.05, epochs=4, patience=1, **parts)
        if start is None:
            start = ctx.model
            begin = weights(start)
        else:
            _take_over(ctx.model, start, begin)
        runs.append(train(method, ctx))
    torch.testing.assert_close(runs[0].logits(), runs[1].logits(), rtol=1e-5, atol=1e-5)
    assert {line["phase"]: line["epoch"] for line in runs[0].lines} == {line["phase"]: line["epoch"] for line in runs[1].lines}


def _listed(part: MemoryPart, names: tuple[str, ...]) -> MemoryPart:
    return MemoryPart({key: part.inputs[key] for key in names}, {key: part.present[key] for key in names}, part.target)


def _take_over(model: MultimodalModel, other: MultimodalModel, state: dict[str, torch.Tensor]) -> None:
    """Give a model the weights of one whose modalities are listed in another order."""
    state = dict(state)
    if isinstance(other.fusion, ConcatFusion):
        blocks = dict(
            zip(other.modalities, state["fusion.linear.weight"].split(list(other.fusion.sizes.values()), 1), strict=True)
        )
        state["fusion.linear.weight"] = torch.cat([blocks[key] for key in model.modalities], 1)
    model.load_state_dict(state)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_neutral_hyperparameters_equal_joint_training_bit_for_bit(name: str, optimizer: str) -> None:
    card = make_method({"name": name}).card
    if card.neutral is None:
        pytest.skip("the card names no neutral hyper-parameters")
    settings = {"fusion": card.fusion or "concat", "optimizer": optimizer, "train": toy_part(missing=0.2, **HARD)}
    joint = train_toy("joint", **settings)
    run = train_toy(name, {**brisk(name), **card.neutral}, **settings)
    assert len(run.epochs) == len(joint.epochs)
    for mine, plain in zip(run.epochs, joint.epochs, strict=True):
        assert_same({key: mine[key] for key in plain}, plain)
    assert [line["validation"]["fused"] for line in run.lines] == [line["validation"]["fused"] for line in joint.lines]
    if name != "joint":
        assert run.ctx.inert or not run.lines[0]["coefficients"], "a run in which a method does nothing must say so"


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_default_hyperparameters_differ_from_joint_training(name: str, optimizer: str) -> None:
    """Also under an adaptive optimizer, which cancels a constant factor on the gradient of a group."""
    card = make_method({"name": name}).card
    if card.kind == "baseline" and card.neutral == {}:
        pytest.skip("this is joint training")
    fusion = card.fusion or "concat"
    # long enough, and at a rate at which SGD gets somewhere: some methods act on what modalities have learned
    rate = 0.1 if optimizer == "sgd" else 0.01
    settings = {"fusion": fusion, "optimizer": optimizer, "train": toy_part(40, signal=4.0), "epochs": 8, "learning_rate": rate}
    joint = train_toy("joint", **settings)
    run = train_toy(name, brisk(name), **settings)
    assert not run.ctx.inert
    difference = max(float((run.last[key] - value).abs().max()) for key, value in joint.last.items() if encoder_or_fusion(key))
    assert difference > 1e-3


def test_parts_of_a_batch_give_the_gradient_of_the_batch(name: str) -> None:
    """Accumulation saves memory and changes nothing else, also with class weights and missing modalities."""
    for extra in ({}, {"task": Classification(CLASSES, [0.5, 1.0, 2.5]), "train": toy_part(missing=0.4, **HARD)}):
        whole, parts = (
            train_toy(name, brisk(name), optimizer="sgd", learning_rate=0.02, accumulate=count, **extra) for count in (1, 3)
        )
        assert_close(whole.last, parts.last)
        for one, other in zip(whole.lines, parts.lines, strict=True):
            assert one["losses"] == pytest.approx(other["losses"], rel=1e-4)


@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_bfloat16_runs_and_stays_near_float32(name: str, missing: float) -> None:
    parts = {
        "train": toy_part(48, missing=missing, never=[NAMES[0]] if missing else []),
        "validation": toy_part(40, 1, missing=missing),
    }
    half, full = (train_toy(name, brisk(name), precision=precision, epochs=2, **parts) for precision in ("bfloat16", "float32"))
    assert {value.dtype for value in half.last.values()} == {torch.float32}
    assert differs(half.last, full.last), "autocast was not in force"
    for one, other in zip(half.lines, full.lines, strict=True):
        assert one["losses"] == pytest.approx(other["losses"], rel=0.2)


def test_clipping_and_schedules_run(name: str) -> None:
    run = train_toy(name, brisk(name), clip_norm=0.1, schedule="cosine", optimizer="sgd")
    plain = train_toy(name, brisk(name), schedule="cosine", optimizer="sgd")
    assert differs(run.last, plain.last, encoder_or_fusion)
    rates = [line["learning_rate"] for line in run.lines if line["phase"] == run.lines[0]["phase"]]
    assert rates == pytest.approx([1e-2, 0.75e-2, 0.25e-2])


def test_what_a_phase_does_not_train_stays_bit_for_bit(name: str) -> None:
    method, ctx = prepare(name, brisk(name), train=toy_part(**HARD), weight_decay=0.1)
    run = train(method, ctx)
    # Between phases a method may change what it likes.
    ends = {line["phase"]: state for line, state in zip(run.lines, run.epochs, strict=True)}
    for phase, before in run.phases:
        after = ends[phase.name]
        chosen = {id(item) for item in phase.parameters(ctx.model)}
        for key, item in ctx.model.named_parameters():
            if id(item) not in chosen and key in before:
                assert torch.equal(before[key], after[key]), f"{key} changed in phase {phase.name}"
        assert any(differs(before, after, lambda key, own=key: key == own) for key in before), "the phase trained nothing"
    assert all(item.requires_grad for item in ctx.model.parameters())


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_what_the_user_froze_stays_frozen(name: str, optimizer: str) -> None:
    """A pretrained encoder whose parameters need no gradient is used, not trained."""
    frozen = NAMES[0]

    def freeze(model: MultimodalModel) -> None:
        for item in model.parameters_of(frozen):
            item.requires_grad_(False)

    method, ctx = prepare(name, train=toy_part(**HARD), weight_decay=0.1, optimizer=optimizer)
    start = weights(ctx.model)
    run = train(method, ctx, change=freeze)
    for key, value in start.items():
        if key.startswith("encoders."):
            assert torch.equal(value, run.last[key]) == (f"of_{frozen}." in key), key
    assert not any(item.requires_grad for item in ctx.model.parameters_of(frozen))
    assert all(item.requires_grad for item in ctx.model.parameters_of(NAMES[1]))


def test_predictor_says_what_validation_measured(name: str) -> None:
    """The metrics of the log are those of the predictor on all validation samples at once."""
    validation = toy_part(1100, 1, missing=0.3, **HARD)  # more than one batch of evaluation
    run = train_toy(name, brisk(name), train=toy_part(missing=0.2, **HARD), validation=validation)
    metrics = validate(run.ctx, run.predictor)
    (batch,) = validation.batches([torch.arange(len(validation))], [len(validation)])
    run.predictor.eval()
    with torch.no_grad():
        outputs = run.predictor(batch)
    assert validation.target is not None
    task = run.ctx.task
    assert metrics["fused"] == pytest.approx(task.metrics(outputs.logits[None], validation.target)[0], rel=1e-5)
    for modality, logits in outputs.unimodal.items():
        rows = validation.present[modality]
        assert metrics[modality] == pytest.approx(task.metrics(logits[None, rows], validation.target[rows])[0], rel=1e-5)
    kept = [line for line in run.lines if line["best"]][-1]["validation"]
    if len(run.phases) == 1:
        assert metrics == kept
