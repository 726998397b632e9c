"""Speeds and switches equal the authors' numbers; a curated modality learns by itself and evaluation never sees curation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from equipoise.functional.curation import relative_speed
from equipoise.methods.base import Update, make_method
from equipoise.methods.greedy import Greedy
from equipoise.nn.fusion.transfer import TransferFusion
from tests.contract.harness import NAMES, toy_model, toy_part, train_toy
from tests.methods.helpers import gradients_of, make_batch, make_context

CASE: dict[str, Any] = json.loads((Path(__file__).parents[1] / "golden" / "greedy_speed.json").read_text())["cases"][0]


def test_authors_speeds_and_switches() -> None:
    inputs = CASE["inputs"]
    method = make_method({"name": "greedy", "threshold": inputs["epsilon"], "window": inputs["window"]})
    assert isinstance(method, Greedy)
    method.state = {"bypass": [0.0, 0.0], "own": [0.0, 0.0], "curated": None, "left": 0}
    names = inputs["parameter_names"]
    kinds = ({"net_view_0"}, {"net_view_1"}, {"visual", "squeeze"}, {"skeleton", "squeeze"})
    groups = [[number for number, name in enumerate(names) if any(word in name for word in kind)] for kind in kinds]
    weights = torch.tensor(inputs["weight_sq_norms"], dtype=torch.float64)
    for step, (squares, golden) in enumerate(zip(inputs["grad_sq_norms_per_step"], CASE["outputs"]["per_step"], strict=True)):
        gradients = torch.tensor(squares, dtype=torch.float64)
        sums = (torch.stack([value[group].sum() for group in groups]) for value in (gradients, weights))
        own, bypass = relative_speed(*sums).view(2, 2).tolist()
        method.advance(list(zip(bypass, own, strict=True)), step >= inputs["unlock_before_step"])
        found = torch.tensor([method.state["bypass"], method.state["own"]], dtype=torch.float64)
        torch.testing.assert_close(
            found.flatten().sort().values, torch.tensor(golden["accumulated"], dtype=torch.float64).sort().values
        )
        difference = (found[0] / found[1]).log10()
        assert (difference[0] - difference[1]).item() == pytest.approx(golden["d_BDR"], rel=1e-9)
        assert (method.state["curated"] is not None) == golden["curation_mode"]
        if golden["curation_mode"]:
            assert method.state["curated"] == golden["caring_modality"]


def test_a_curated_modality_learns_by_itself_with_the_mean_gate() -> None:
    part = toy_part(24, signal=1.0, missing=0.3)
    assert part.target is not None
    model = toy_model({name: tuple(value.shape[1:]) for name, value in part.inputs.items()}, "transfer")
    fusion = model.fusion
    assert isinstance(fusion, TransferFusion)
    method = make_method({"name": "greedy", "start": 0, "threshold": 0.0, "window": 1})
    ctx = make_context(model, method, learning_rate=0.0)
    batch = make_batch(part.inputs, part.target, part.present)
    seen = []
    for _ in range(4):
        for update in method.updates(ctx, batch):
            seen.append(dict(fusion.replaced))
            gradients_of(ctx, method, update)
            bare = [name for name in model.modalities if all(item.grad is None for item in fusion.excite[name].parameters())]
            assert bare == list(fusion.replaced)
        assert fusion.replaced == {}
    assert [len(replaced) for replaced in seen] == [0, 1, 0, 1]
    ((name, gate),) = seen[1].items()
    with torch.no_grad():
        features = model(batch).features
        gates = fusion.gates(features, part.present)[name][part.present[name]]
    torch.testing.assert_close(gate, gates.mean(0))
    torch.testing.assert_close(method.state["gates"][name], gates.mean(0))


def test_one_modality_has_nobody_to_lean_on() -> None:
    run = train_toy("greedy", {"start": 0, "threshold": 0.0}, train=toy_part(names=("alpha",)))
    assert run.ctx.inert
    assert all(line["coefficients"]["curated"] == 0 for line in run.lines)


def test_the_weak_modality_says_more_by_itself_with_guidance() -> None:
    found = []
    for threshold in (1e9, 0.01):
        losses = []
        for seed in range(3):
            parts = {"train": toy_part(150, names=NAMES[:2], signal=6.0), "validation": toy_part(200, 1, NAMES[:2], signal=6.0)}
            run = train_toy("greedy", {"threshold": threshold}, epochs=20, seed=seed, **parts)
            losses.append(run.lines[-1]["validation"]["beta"]["loss"])
        found.append(sum(losses))
    assert found[1] < found[0]


def test_loss_is_the_sum_over_branches() -> None:
    part = toy_part(20, signal=1.0, missing=0.3)
    assert part.target is not None
    model = toy_model({name: tuple(value.shape[1:]) for name, value in part.inputs.items()}, "transfer")
    method = make_method({"name": "greedy"})
    batch = make_batch(part.inputs, part.target, part.present)
    outputs = model(batch)
    losses = method.losses(make_context(model, method), Update(batch), outputs)
    assert isinstance(model.fusion, TransferFusion)
    votes = model.fusion.votes(outputs.features, part.present)
    for name, rows in part.present.items():
        torch.testing.assert_close(losses[name], F.cross_entropy(votes[name][rows], part.target[rows]))
    count = torch.stack(list(part.present.values())).sum(0)
    torch.testing.assert_close(outputs.logits, torch.stack(list(votes.values())).sum(0) / count[:, None])
