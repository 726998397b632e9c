"""Teachers are frozen and correct, the distance to them a naive loop's, and it keeps a weak modality's features."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from equipoise.data.loader import MemoryPart
from equipoise.methods.base import Update, make_method
from tests.contract.harness import NAMES, assert_same, toy_model, toy_part, train_toy, weights
from tests.methods.helpers import make_batch, make_context


def test_targets_are_what_the_selected_teachers_say() -> None:
    parts = {"train": toy_part(missing=0.3, signal=1.0), "validation": toy_part(40, 1, missing=0.3, signal=1.0)}
    run = train_toy("umt", encoder={"dropout": 0.3}, **parts)
    names = [phase.name for phase, _ in run.phases]
    assert names == ["teacher alpha", "teacher beta", "teacher gamma", "train"]
    model = run.ctx.model
    (batch,) = parts["train"].batches([torch.arange(70)], [70])
    for name in NAMES[:3]:
        best = [number for number, line in enumerate(run.lines) if line["phase"] == f"teacher {name}" and line["best"]][-1]
        model.load_state_dict(run.epochs[best])
        model.eval()
        with torch.no_grad():
            torch.testing.assert_close(run.method.state["targets"][name], model(batch).features[name])


def test_students_start_where_the_teachers_did() -> None:
    run = train_toy("umt", train=toy_part(signal=1.0))
    first, last = run.phases[0][1], run.phases[-1][1]
    for part, same in (("encoders.", True), ("heads.", False)):
        keys = [key for key in first if key.startswith(part)]
        assert keys
        assert all(torch.equal(first[key], last[key]) == same for key in keys)


def test_distance_equals_a_naive_loop() -> None:
    part = toy_part(24, signal=1.0, missing=0.4)
    assert part.target is not None
    model = toy_model({name: tuple(value.shape[1:]) for name, value in part.inputs.items()})
    method = make_method({"name": "umt", "distillation": 3.0})
    ctx = make_context(model, method)
    targets = {name: torch.randn(50, 8) for name in model.modalities}
    method.state["targets"] = targets
    (batch,) = part.batches([torch.tensor([20, 3, 11, 7, 15, 0])], [6])
    outputs = model(batch)
    losses = method.losses(ctx, Update(batch), outputs)
    torch.testing.assert_close(losses["fused"], F.cross_entropy(outputs.logits, batch.labels))
    for name in model.modalities:
        values = [
            (outputs.features[name][row] - targets[name][number]).square().mean()
            for row, number in enumerate(batch.index.tolist())
            if part.present[name][number]
        ]
        torch.testing.assert_close(losses[f"{name} teacher"], 3.0 * torch.stack(values).mean())


def test_a_modality_without_training_samples_has_no_teacher() -> None:
    run = train_toy("umt", train=toy_part(never=["beta"]), validation=toy_part(40, 1))
    assert set(run.method.state["targets"]) == {"alpha", "gamma"}
    assert "teacher beta" not in [phase.name for phase, _ in run.phases]


def linear_probe(run_state: dict[str, torch.Tensor], part: MemoryPart, name: str) -> float:
    """Loss of the best linear head on a modality's features."""
    model = toy_model({key: tuple(value.shape[1:]) for key, value in part.inputs.items()})
    model.load_state_dict({key: value for key, value in run_state.items() if not key.startswith("heads.")})
    model.eval()
    with torch.no_grad():
        features = model(make_batch(part.inputs, part.target)).features[name]
    head = torch.nn.Linear(features.shape[1], 3)
    torch.nn.init.zeros_(head.weight)
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=200)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(head(features), part.target) + 1e-3 * head.weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return closure().item()


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_weak_modality_keeps_better_features_than_in_joint_training(optimizer: str) -> None:
    parts = {"train": toy_part(150, signal=6.0, names=NAMES[:3]), "validation": toy_part(60, 1, signal=6.0, names=NAMES[:3])}
    settings = {**parts, "epochs": 15, "optimizer": optimizer, "learning_rate": 5e-3 if optimizer == "adamw" else 0.05}
    joint = train_toy("joint", **settings)
    taught = train_toy("umt", **settings)
    assert linear_probe(taught.state, parts["train"], "gamma") < linear_probe(joint.state, parts["train"], "gamma")


def test_no_teacher_without_distillation() -> None:
    run, joint = (train_toy(name, options) for name, options in (("umt", {"distillation": 0.0}), ("joint", {})))
    assert_same(run.last, joint.last)
    assert weights(run.ctx.model).keys() == weights(joint.ctx.model).keys()
