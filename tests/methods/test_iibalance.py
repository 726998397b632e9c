"""IIBalance: what budgets must be, what alignment may touch, how the stages follow each other, and every switch."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from equipoise.batch import Batch
from equipoise.data.loader import MemoryPart
from equipoise.errors import ConfigError
from equipoise.methods.base import Update, make_method
from equipoise.nn.fusion import build_fusion
from equipoise.nn.multimodal import MultimodalModel
from equipoise.tasks import Classification
from equipoise.training.checkpoint import load_checkpoint, save_checkpoint
from equipoise.training.context import Context
from tests.contract.harness import NAMES, Trained, assert_same, prepare, toy_model, toy_part, train, train_toy
from tests.methods.helpers import gradients_of, make_batch, make_context, step

THREE = NAMES[:3]


def budgets(*values: float) -> dict[str, dict[str, float]]:
    """Budgets of the first modalities, by every measure the same."""
    return {
        name: {"entropy": value, "grounded": value, "raw": value, "loss": 1.1 - value}
        for name, value in zip(NAMES, values, strict=False)
    }


def prepared(
    options: dict[str, Any] | None = None,
    values: tuple[float, ...] = (0.9, 0.3, 0.5),
    *,
    epoch: int = 0,
    missing: float = 0.0,
    model: MultimodalModel | None = None,
) -> tuple[Any, Context, Batch]:
    """A run of ten epochs within its main phase, with prototypes of one batch."""
    part = toy_part(30, names=NAMES[: len(values)], signal=2.0, missing=missing)
    model = model or toy_model({name: tuple(value.shape[1:]) for name, value in part.inputs.items()}, "budget")
    method = make_method({"name": "iibalance", "budget_temperature": 1.0, **(options or {})})
    ctx = make_context(model, method, optimizer="sgd", learning_rate=0.05, epochs=10)
    method.state["budgets"] = budgets(*values)
    ctx.epoch = epoch
    assert part.target is not None
    batch = make_batch(part.inputs, part.target, part.present)
    with torch.no_grad():
        method.after_update(ctx, Update(batch), model(batch), None)
    return method, ctx, batch


def losses_of(method: Any, ctx: Context, batch: Batch) -> dict[str, Tensor]:
    found: dict[str, Tensor] = method.losses(ctx, Update(batch), ctx.model(batch))
    return found


def budgets_of(run: Trained) -> dict[str, float]:
    return {name: values["entropy"] for name, values in run.method.state["budgets"].items()}


def with_junk(junk: str, seed: int) -> MemoryPart:
    """Three modalities of which the first is constant or noise."""
    part = toy_part(120, seed, signal=4.0)
    random = torch.Generator().manual_seed(seed + 50)
    part.inputs["alpha"] = torch.ones(120, 6) if junk == "constant" else torch.randn(120, 6, generator=random)
    return part


@pytest.mark.parametrize("junk", ["constant", "noise"])
@pytest.mark.parametrize("kind", ["entropy", "grounded"])
def test_a_modality_that_tells_nothing_has_no_budget(junk: str, kind: str) -> None:
    parts = {"train": with_junk(junk, 0), "validation": with_junk(junk, 1)}
    run = train_toy("iibalance", {"budget_kind": kind}, epochs=6, **parts)
    found = {name: values[kind] for name, values in run.method.state["budgets"].items()}
    assert abs(found["alpha"]) < 0.05 < 0.15 < min(found["beta"], found["gamma"])
    shares = dict(zip(THREE, run.state["fusion.prior"].tolist(), strict=True))
    assert min(shares, key=lambda name: shares[name]) == "alpha"
    assert sum(shares.values()) == pytest.approx(1)
    assert "anchor alpha" not in run.ctx.notes[0]
    assert run.logits().isfinite().all()


def test_skewed_classes_do_not_make_a_budget() -> None:
    """Nine tenths of the samples have one class: a constant modality is sure, and yet tells nothing."""
    parts = []
    for seed in (0, 1):
        part = toy_part(120, seed)
        part.target = (torch.arange(120) % 10 == 0).long()
        part.inputs["alpha"] = torch.ones(120, 6)
        part.inputs["beta"] = part.target[:, None] * 4.0 + part.inputs["beta"] * 0.3
        parts.append(part)
    run = train_toy("iibalance", train=parts[0], validation=parts[1], epochs=8)
    found = budgets_of(run)
    assert found["alpha"] < 0.03
    assert found["beta"] > 0.15


def test_identical_modalities_are_not_aligned() -> None:
    method, ctx, batch = prepared(values=(0.5, 0.5, 0.5))
    assert method._prior(ctx).tolist() == pytest.approx([1 / 3] * 3)
    assert set(losses_of(method, ctx, batch)) == set(THREE)
    part = toy_part(90, names=NAMES[:2], signal=2.0)
    held_out = toy_part(90, 1, names=NAMES[:2], signal=2.0)
    for item in (part, held_out):
        item.inputs["beta"] = item.inputs["alpha"].clone()
    run = train_toy("iibalance", train=part, validation=held_out, epochs=6)
    assert run.state["fusion.prior"].tolist() == pytest.approx([0.5, 0.5], abs=0.02)


def test_alignment_reaches_weak_encoders_that_are_switched_on_and_nothing_else() -> None:
    method, ctx, batch = prepared()
    method.state["active"]["gamma"] = False
    prototypes = method.state["prototypes"].clone()
    found = losses_of(method, ctx, batch)
    assert set(found) == {*THREE, "beta alignment"}
    found["beta alignment"].backward()
    moved = {name for name in THREE if any(item.grad is not None for item in ctx.model.parameters_of(name))}
    assert moved == {"beta"}
    assert all(bool(item.grad.abs().sum() > 0) for item in ctx.model.parameters_of("beta") if item.grad is not None)
    assert all(item.grad is None for item in ctx.model.fusion.parameters())
    assert torch.equal(method.state["prototypes"], prototypes)
    assert not method.state["prototypes"].requires_grad


@pytest.mark.parametrize("missing", [0.0, 0.4])
@pytest.mark.parametrize("switch", ["modality", "sample", "always"])
@pytest.mark.parametrize("strength", ["gap", "constant", "inverse"])
def test_alignment_equals_a_naive_loop(switch: str, strength: str, missing: float) -> None:
    options = {"switch": switch, "strength": strength, "alignment": 0.7, "temperature": 0.1}
    method, ctx, batch = prepared(options, (0.9, 0.85, 0.88), missing=missing, epoch=2)
    method.state["active"]["beta"] = False
    with torch.no_grad():
        for item in ctx.model.parameters_of("gamma"):
            item.mul_(0.5)
    features, found = ctx.model(batch).features, losses_of(method, ctx, batch)
    raw = [0.9, 0.85, 0.88]
    beta = [math.exp(value) / sum(math.exp(other) for other in raw) for value in raw]
    weights = {"gap": [beta[0] - value for value in beta], "constant": [1.0] * 3, "inverse": [value / beta[0] for value in beta]}
    prototypes = method.state["prototypes"]

    def shares(name: str, row: int) -> list[float]:
        vector = normalize(features[name][row], dim=0)
        scores = [math.exp(float((vector @ prototype).detach()) / 0.1) for prototype in prototypes]
        return [score / sum(scores) for score in scores]

    for number, name in enumerate(THREE[1:], start=1):
        key = f"{name} alignment"
        if switch == "modality" and name == "beta":
            assert key not in found
            continue
        total, count, drawn = 0.0, 0, 0
        for row in range(len(batch)):
            if not batch.present[name][row]:
                continue
            y, count = int(batch.labels[row]), count + 1
            own, ahead = shares(name, row)[y], shares("alpha", row)[y]
            if switch != "sample" or own < raw[number] / raw[0] * ahead:
                total, drawn = total - math.log(own), drawn + 1
        expected = 0.7 * (1 - 2 / 5) * weights[strength][number] * total / count
        assert float(found[key].detach()) == pytest.approx(expected, rel=1e-4)
        assert 0 < drawn < count if switch == "sample" else drawn == count


def test_classes_not_seen_yet_are_left_out() -> None:
    for switch in ("modality", "sample"):
        method, ctx, batch = prepared({"switch": switch})
        for seen in ([True, False, True], [False, False, False]):
            method.state["seen"] = torch.tensor(seen)
            found = losses_of(method, ctx, batch)
            assert all(bool(value.isfinite()) for value in found.values())
            if not any(seen):
                assert float(found["beta alignment"].detach()) == 0
            torch.stack(list(found.values())).sum().backward()
            assert all(bool(item.grad.isfinite().all()) for item in ctx.model.parameters() if item.grad is not None)


@pytest.mark.parametrize("missing", [0.0, 0.5])
def test_prototypes_follow_the_anchor(missing: float) -> None:
    method, ctx, batch = prepared({"memory": 0.8}, missing=missing)
    first = method.state["prototypes"].clone()
    features = ctx.model(batch).features["alpha"].detach()
    for label in range(3):
        rows = (batch.labels == label) & batch.present["alpha"]
        mean = normalize(features[rows], dim=1).mean(0)
        torch.testing.assert_close(first[label], normalize(mean, dim=0))
    with torch.no_grad():
        for item in ctx.model.parameters_of("alpha"):
            item.mul_(1.5)
    only = make_batch(
        {name: value[batch.labels != 1] for name, value in batch.inputs.items()},
        batch.labels[batch.labels != 1],
        {name: mask[batch.labels != 1] for name, mask in batch.present.items()},
    )
    outputs = ctx.model(only)
    method.after_update(ctx, Update(only), outputs, None)
    second = method.state["prototypes"]
    assert torch.equal(second[1], first[1])
    rows = (only.labels == 0) & only.present["alpha"]
    mean = normalize(outputs.features["alpha"][rows].detach(), dim=1).mean(0)
    torch.testing.assert_close(second[0], normalize(0.8 * first[0] + 0.2 * mean, dim=0))
    torch.testing.assert_close(second.norm(dim=1), torch.ones(3))


def test_stages_cross_fade() -> None:
    branch = {f"{name} branch" for name in THREE}
    aligned = {"beta alignment", "gamma alignment"}
    for epoch, names, floor in ((0, aligned, 1.0), (3, {*aligned, "fused", *branch}, 0.4), (5, {"fused", *branch}, 0.1)):
        method, ctx, batch = prepared(epoch=epoch)
        found = losses_of(method, ctx, batch)
        assert set(found) == {*THREE, *names}
        outputs = ctx.model(batch)
        for name in THREE:
            plain = ctx.task_loss(outputs.unimodal[name], batch)
            torch.testing.assert_close(found[name], floor * plain)
        if "fused" in names:
            torch.testing.assert_close(found["fused"], min(1.0, epoch / 5) * ctx.task_loss(outputs.logits, batch))
    method, ctx, batch = prepared({"floor": 0.0, "branch": 0.0}, epoch=9)
    assert set(losses_of(method, ctx, batch)) == {"fused"}


def test_both_stages_at_once_with_alignment_ramped() -> None:
    found = {}
    for epoch in (0, 1, 5):
        method, ctx, batch = prepared({"schedule": "sum"}, epoch=epoch)
        found[epoch] = losses_of(method, ctx, batch)
        torch.testing.assert_close(found[epoch]["fused"], ctx.task_loss(ctx.model(batch).logits, batch))
    torch.testing.assert_close(found[0]["beta alignment"] * 2, found[1]["beta alignment"])
    torch.testing.assert_close(found[5]["beta alignment"], found[1]["beta alignment"])


def test_one_stage_after_the_other_freezes_the_encoders() -> None:
    run = train_toy("iibalance", {"schedule": "phases"}, train=toy_part(signal=1.0), validation=toy_part(40, 1, signal=1.0))
    names = [phase.name for phase, _ in run.phases]
    assert names == [*(f"probe {name}" for name in THREE), "align", "fuse"]
    before, after = run.phases[-1][1], run.last
    assert all(torch.equal(before[key], after[key]) == key.startswith("encoders.") for key in before if key != "fusion.prior")
    assert {key for line in run.lines if line["phase"] == "align" for key in line["losses"]} <= {
        *THREE,
        *(f"{name} alignment" for name in THREE),
    }


def test_no_switch_no_prototypes() -> None:
    method, ctx, batch = prepared({"switch": "off"})
    assert not method.state["seen"].any()
    assert set(losses_of(method, ctx, batch)) == set(THREE)
    run = train_toy("iibalance", {"switch": "off"})
    assert not any("alignment" in key for line in run.lines for key in line["losses"])


def test_the_switch_compares_with_the_unscaled_budget() -> None:
    for raw, on in ((0.0, False), (1.2, True)):
        part = toy_part(40)
        method, ctx, _ = prepared()
        ctx._parts["validation"] = part
        for values in method.state["budgets"].values():
            values["raw"] = raw
        method.on_epoch_end(ctx)
        assert method.state["active"] == dict.fromkeys(THREE, on)
        log = ctx.take_log()
        assert {key for key in log if key.startswith("below_budget.")} == {"below_budget.beta", "below_budget.gamma"}
        logits = ctx.outputs("validation").unimodal["beta"]
        resolved = math.log(3) + float((logits.softmax(1) * logits.log_softmax(1)).sum(1).mean())
        assert log["resolved.beta"] == pytest.approx(max(resolved, 0.0), abs=1e-3)  # 14, 13 and 13 samples of the classes


class Normalised(nn.Module):
    """An encoder with running statistics, and a width of its own."""

    def __init__(self, size: int, width: int, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.layers = nn.Sequential(nn.Linear(size, width), nn.BatchNorm1d(width), nn.ReLU())

    def forward(self, value: Tensor) -> Tensor:
        found: Tensor = self.layers(value)
        return found


def uneven_model() -> MultimodalModel:
    """Features of different widths, so that projections are needed."""
    widths = {"alpha": 5, "beta": 8, "gamma": 6}
    encoders = {name: Normalised(6 - number, width, number) for number, (name, width) in enumerate(widths.items())}
    torch.manual_seed(9)
    return MultimodalModel(encoders, build_fusion({"name": "budget"}, widths, Classification(3)))


def test_probes_keep_the_epoch_of_least_loss_whatever_selects_the_others() -> None:
    run = train_toy("iibalance", train=toy_part(signal=0.7), epochs=14, learning_rate=0.05, patience=None)
    best_by_f1 = set()
    for name in THREE:
        lines = [line for line in run.lines if line["phase"] == f"probe {name}"]
        scores = [line["validation"][name] for line in lines]
        losses, f1 = ([score[key] for score in scores] for key in ("loss", "macro_f1"))
        assert [line["epoch"] for line in lines if line["best"]][-1] == losses.index(min(losses)) + 1
        best_by_f1.add(f1.index(max(f1)) == losses.index(min(losses)))
    assert False in best_by_f1, "choose another seed: both metrics choose the same epochs"


@pytest.mark.parametrize("warm", [False, True])
def test_training_starts_anew_after_the_probes(warm: bool) -> None:
    """Running statistics included; or goes on from the probes where asked to."""
    run = train(*prepare("iibalance", {"warm_start": warm}, model=uneven_model(), train=toy_part(70, signal=1.0)))
    fresh, begin = run.phases[0][1], run.phases[-1][1]
    assert any("running_mean" in key for key in fresh)
    assert any(key.startswith("extras.") for key in fresh)
    keys = [key for key in fresh if key != "fusion.prior"]
    changed = [key for key in keys if not torch.equal(fresh[key], begin[key])]
    assert bool(changed) == warm
    assert not torch.equal(fresh["fusion.prior"], begin["fusion.prior"])
    probes = [state for line, state in zip(run.lines, run.epochs, strict=True) if line["phase"].startswith("probe")]
    assert not torch.equal(
        probes[-1]["encoders.of_alpha.layers.1.running_mean"], fresh["encoders.of_alpha.layers.1.running_mean"]
    )


def test_unequal_widths_resume_bit_for_bit_whatever_the_global_generators_hold(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"train": toy_part(60, signal=1.0), "checkpoint_seconds": 0.0}
    places: list[list[int]] = []

    def save(payload: dict[str, Any]) -> None:
        save_checkpoint(tmp_path / f"{len(places)}.pt", payload)
        places.append(payload["position"])

    straight = train(*prepare("iibalance", model=uneven_model(), **settings), save=save)
    for place in ([1, 1, 1], [2, 3, 0], [3, 1, 2], [3, 3, 0]):
        method, ctx = prepare("iibalance", model=uneven_model(), **settings)
        torch.manual_seed(123)
        resumed = train(method, ctx, resume=load_checkpoint(tmp_path / f"{places.index(place)}.pt"))
        assert_same(resumed.state, straight.state)
        assert_same(resumed.method.state_dict(), straight.method.state_dict())
        assert resumed.ctx.notes == straight.ctx.notes


def test_unequal_widths_in_half_precision() -> None:
    run = train(*prepare("iibalance", model=uneven_model(), train=toy_part(60, signal=1.0), precision="bfloat16"))
    assert all(math.isfinite(value) for line in run.lines for value in line["losses"].values())


def test_one_modality_is_its_own_anchor() -> None:
    run = train_toy("iibalance", train=toy_part(60, names=NAMES[:1], signal=1.0))
    assert run.state["fusion.prior"].tolist() == [1.0]
    assert not any("alignment" in key for line in run.lines for key in line["losses"])
    assert "anchor alpha" in run.ctx.notes[0]


def test_options_of_the_prior() -> None:
    parts: dict[str, Any] = {"train": toy_part(70, signal=3.0), "validation": toy_part(60, 1, signal=3.0)}
    sharp, flat, uniform = (
        train_toy("iibalance", options, **parts).state["fusion.prior"]
        for options in ({"budget_temperature": 0.1}, {"budget_temperature": 1000.0}, {"uniform_prior": True})
    )
    assert sharp.max() > 0.9
    assert flat.tolist() == pytest.approx([1 / 3] * 3, abs=1e-3)
    assert uniform.tolist() == pytest.approx([1 / 3] * 3, abs=1e-7)
    raw = train_toy("iibalance", {"calibrate": False}, **parts).method.state["budgets"]
    assert all(values["temperature"] == 1 and values["entropy"] == values["raw"] for values in raw.values())
    scaled = train_toy("iibalance", **parts).method.state["budgets"]
    for values in scaled.values():
        assert values["temperature"] != 1
        assert values["entropy"] == pytest.approx(values["grounded"], abs=1e-5)  # what the best temperature brings about


def test_a_modality_that_is_confidently_wrong_is_reported() -> None:
    method, ctx, _ = prepared()
    for name, entropy, grounded in (("alpha", 0.9, -0.5), ("beta", 0.3, 0.2), ("gamma", 0.2, 0.1)):
        method.state["budgets"][name] |= {"entropy": entropy, "grounded": grounded}
    method._explain(ctx)
    assert ctx.notes[0].endswith("anchor alpha")
    assert ctx.notes[1].startswith("entropy names alpha the strongest modality, the true labels beta")
    method.budget_kind = "grounded"
    method._explain(ctx)
    assert ctx.notes[2].endswith("anchor beta")


def test_a_modality_without_validation_samples_is_refused_before_anything_is_trained() -> None:
    method, ctx = prepare("iibalance", validation=toy_part(40, 1, never=["beta"]))
    with pytest.raises(ConfigError, match="method iibalance: no validation sample has modality 'beta', so it has no budget"):
        train(method, ctx)
    assert ctx.updates_done == 0


def stored(path: Path, **changes: Any) -> str:
    path.write_text(json.dumps({"split_hash": "s1", "modalities": budgets(0.9, 0.3, 0.5), **changes}))
    return str(path)


def test_budgets_from_a_file(tmp_path: Path) -> None:
    method, ctx = prepare("iibalance", {"budgets": stored(tmp_path / "b.json")})
    ctx.split = "s1"
    run = train(method, ctx)
    assert [phase.name for phase, _ in run.phases] == ["train"]
    assert run.method.state["budgets"] == budgets(0.9, 0.3, 0.5)
    torch.testing.assert_close(run.state["fusion.prior"], (torch.tensor([0.9, 0.3, 0.5]) / 0.25).softmax(0))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"split_hash": "s2"}, "the budgets were measured on split 's2', this run has 's1'"),
        ({"split_hash": None}, "were measured on split None"),
        ({"modalities": budgets(0.9, 0.3)}, "no budget of modality 'gamma'; it has: alpha, beta"),
        ({"modalities": [1, 2]}, "no budget of modality 'alpha'; it has: none"),
        (
            {"modalities": {**budgets(0.9, 0.3, 0.5), "beta": {"entropy": 0.5}}},
            "modality 'beta': grounded is None, expected a number",
        ),
        ({"modalities": {**budgets(0.9, 0.3, 0.5), "beta": 3}}, "modality 'beta': entropy is None, expected a number"),
    ],
)
def test_budgets_that_do_not_fit_are_refused(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    method, ctx = prepare("iibalance", {"budgets": stored(tmp_path / "b.json", **changes)})
    ctx.split = "s1"
    with pytest.raises(ConfigError, match=rf"b\.json: .*{sentence}"):
        train(method, ctx)


def test_a_budgets_file_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "b.json").write_text("{")
    for name in ("b.json", "absent.json"):
        method, ctx = prepare("iibalance", {"budgets": str(tmp_path / name)})
        with pytest.raises(ConfigError, match=rf"cannot read .*{name}: .*expected a file of information budgets"):
            train(method, ctx)


def test_no_gate_leaves_the_prior_in_training_and_prediction() -> None:
    method, ctx, batch = prepared({"gate": False}, epoch=9)
    fusion = ctx.model.fusion
    fusion.prior.copy_(torch.tensor([0.6, 0.3, 0.1]))
    weights = fusion.sample_weights(ctx.model(batch).features, {})
    assert weights is not None
    torch.testing.assert_close(weights[:, 0], torch.tensor([0.6, 0.3, 0.1]))
    gradients_of(ctx, method, Update(batch))
    assert all(item.grad is None for item in fusion.gates.parameters())
    step(ctx, method, Update(batch))
