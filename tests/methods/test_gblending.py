"""Blending: probes start from and return to the same weights, their losses give the weights, and over-fitting costs weight."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from equipoise.data.loader import MemoryPart
from equipoise.functional.blending import blending_weights
from equipoise.methods.base import Update, make_method
from equipoise.training.checkpoint import load_checkpoint, save_checkpoint
from tests.contract.harness import NAMES, Trained, assert_same, toy_model, toy_part, train_toy, weights
from tests.methods.helpers import make_batch, make_context

ONLINE: dict[str, Any] = {"hyperparameters": {"super_epoch": 2}, "epochs": 5}


def losses_of(run: Trained, state: dict[str, torch.Tensor], branch: str) -> list[float]:
    """The training and the validation loss of a branch, by hand."""
    model, found = run.ctx.model, []
    model.load_state_dict(state)
    model.eval()
    for name in ("train", "validation"):
        part = run.ctx.part(name)
        assert isinstance(part, MemoryPart)
        assert part.target is not None
        (batch,) = part.batches([torch.arange(len(part))], [len(part)])
        with torch.no_grad():
            outputs = model(batch)
        rows = torch.ones(len(part), dtype=torch.bool) if branch == "fused" else part.present[branch]
        logits = outputs.logits if branch == "fused" else outputs.unimodal[branch]
        found.append(F.cross_entropy(logits[rows].double(), part.target[rows]).item())
    return found


@pytest.mark.parametrize("settings", [{}, ONLINE], ids=["offline", "online"])
def test_probes_give_the_weights_and_leave_no_trace(settings: dict[str, Any]) -> None:
    parts = {"train": toy_part(missing=0.3, signal=1.0), "validation": toy_part(40, 1, missing=0.3, signal=1.0)}
    run = train_toy("gblending", **parts, **settings)
    names = [phase.name for phase, _ in run.phases]
    rounds = [names[start : start + 5] for start in range(0, len(names), 5)]
    assert len(rounds) == (3 if settings else 1)
    assert [len([line for line in run.lines if line["phase"] == one[-1]]) for one in rounds] == ([2, 2, 1] if settings else [3])
    starts = {phase.name: state for phase, state in run.phases}
    ends = {line["phase"]: state for line, state in zip(run.lines, run.epochs, strict=True)}
    for one in rounds:
        for name in one:
            assert_same(starts[name], starts[one[0]])
        branches = [*NAMES[:3], "fused"]
        before = torch.tensor([losses_of(run, starts[one[0]], branch) for branch in branches]).T
        after = torch.tensor([losses_of(run, ends[name], branch) for name, branch in zip(one, branches, strict=False)]).T
        line = next(line for line in run.lines if line["phase"] == one[-1])
        found = torch.tensor([line["coefficients"][f"weight.{branch}"] for branch in branches])
        torch.testing.assert_close(found, blending_weights(before, after), rtol=1e-3, atol=1e-4)
        assert float(found.sum()) == pytest.approx(1.0)


def test_online_rates_fall_over_the_whole_run() -> None:
    run = train_toy("gblending", ONLINE["hyperparameters"], epochs=6, schedule="cosine")
    rates = [line["learning_rate"] for line in run.lines if line["phase"].startswith("train")]
    assert all(later < earlier for earlier, later in pairwise(rates))


def test_online_resumes_in_every_phase_bit_for_bit(tmp_path: Path) -> None:
    places: list[list[int]] = []

    def save(payload: dict[str, Any]) -> None:
        save_checkpoint(tmp_path / f"{len(places)}.pt", payload)
        places.append(payload["position"])

    straight = train_toy("gblending", **ONLINE, save=save, checkpoint_seconds=0.0)
    middles = [number for number, place in enumerate(places) if place[1:] == [0, 1]]
    assert len(middles) == 15
    for number in middles[1::3]:
        resumed = train_toy("gblending", **ONLINE, resume=load_checkpoint(tmp_path / f"{number}.pt"))
        assert_same(resumed.state, straight.state)
        assert_same(resumed.method.state_dict(), straight.method.state_dict())


def test_a_modality_that_over_fits_gets_less_weight() -> None:
    """Both say the class alike, but one has 300 columns of noise beside, by which its encoder tells training samples apart."""

    def with_noise(part: MemoryPart, seed: int) -> MemoryPart:
        noise = torch.randn(len(part), 300, generator=torch.Generator().manual_seed(seed))
        signal = part.inputs["alpha"]
        inputs = {"clean": signal, "noisy": torch.cat([signal, noise], 1)}
        return MemoryPart(inputs, dict.fromkeys(inputs, part.present["alpha"]), part.target)

    parts = {"train": with_noise(toy_part(signal=2.0), 5), "validation": with_noise(toy_part(60, 1, signal=2.0), 6)}
    run = train_toy("gblending", **parts, epochs=20)
    found = run.method.state["weights"]
    assert found["clean"] > 5 * found["noisy"]


def test_loss_is_the_weighted_sum_of_all_branches() -> None:
    part = toy_part(24, signal=1.0)
    assert part.target is not None
    model = toy_model({name: tuple(value.shape[1:]) for name, value in part.inputs.items()})
    method = make_method({"name": "gblending"})
    ctx = make_context(model, method)
    shares = {"alpha": 0.1, "beta": 0.0, "gamma": 0.3, "fused": 0.6}
    method.state["weights"] = shares
    batch = make_batch(part.inputs, part.target)
    outputs = model(batch)
    losses = method.losses(ctx, Update(batch), outputs)
    assert set(losses) == {"alpha", "gamma", "fused"}
    expected = 0.6 * F.cross_entropy(outputs.logits, part.target)
    for name in ("alpha", "gamma"):
        expected = expected + shares[name] * F.cross_entropy(outputs.unimodal[name], part.target)
    torch.testing.assert_close(torch.stack(list(losses.values())).sum(), expected)


def test_a_modality_without_samples_has_no_probe_and_no_loss() -> None:
    run = train_toy("gblending", train=toy_part(never=["beta"]), validation=toy_part(40, 1))
    assert "probe beta" not in [phase.name for phase, _ in run.phases]
    assert run.method.state["weights"]["beta"] == 0.0
    assert_same(
        {key: value for key, value in run.last.items() if "of_beta." in key},
        {key: value for key, value in weights(toy_model_of(run)).items() if "of_beta." in key},
    )


def toy_model_of(run: Trained) -> torch.nn.Module:
    """The model as it was at first, with its heads."""
    model = toy_model({name: tuple(run.ctx.part("train").inputs[name].shape[1:]) for name in NAMES[:3]})  # type: ignore[attr-defined]
    model.add_heads(0)
    return model
