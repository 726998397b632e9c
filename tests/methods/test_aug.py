"""AUG's losses equal the authors' numbers, its updates a naive loop; classifiers grow, train, and survive every restart."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import equipoise
from equipoise.data.loader import MemoryPart
from equipoise.methods.base import Update, make_method
from equipoise.nn.fusion.boosted import BoostedFusion
from equipoise.nn.multimodal import MultimodalModel
from equipoise.training.checkpoint import load_checkpoint, save_checkpoint
from equipoise.training.context import Context
from tests.contract.harness import NAMES, Trained, assert_same, toy_model, toy_part, train_toy, weights
from tests.methods.helpers import gradients_of, make_batch, make_context, step

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "aug.json").read_text())["cases"]
CASES = [case for case in GOLDEN if "labels" in case["inputs"]]
GROWING: dict[str, Any] = {"period": 1, "tau": 0.0}


def fusion_of(model: MultimodalModel) -> BoostedFusion:
    assert isinstance(model.fusion, BoostedFusion)
    return model.fusion


def prepared(part: MemoryPart, options: dict[str, Any] | None = None, **settings: Any) -> tuple[Any, Context]:
    """A run whose first modality has three classifiers and whose second has two."""
    model = toy_model({name: tuple(value.shape[1:]) for name, value in part.inputs.items()}, "boosted")
    method = make_method({"name": "aug", **(options or {})})
    ctx = make_context(model, method, optimizer="sgd", momentum=0.0, learning_rate=0.05, **settings)
    for name, count in zip(model.modalities, (3, 2), strict=False):
        fusion_of(model).resize(name, count, 0)
    ctx.optimizer.adopt_new_parameters()
    method.on_epoch_start(ctx)
    return method, ctx


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['inputs']['n_heads_a']}-{case['inputs']['n_heads_v']}")
@pytest.mark.parametrize("modality", ["a", "v"])
def test_authors_losses_and_scores(case: dict[str, Any], modality: str, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs, epoch = case["outputs"][modality], case["outputs"]["epoch_lr0.0"]
    whole = outputs["prev_logits"] is None
    logits = [outputs["full_logits"]] if whole else [outputs["prev_logits"], outputs["newest_logits"]]
    model = toy_model({"a": (3,), "v": (3,)}, "boosted")
    method = make_method({"name": "aug", "residual": case["inputs"]["lam"]})
    ctx = make_context(model, method)
    method.on_epoch_start(ctx)
    labels = torch.tensor(case["inputs"]["labels"])
    monkeypatch.setattr(BoostedFusion, "stages", lambda *_: torch.tensor(logits, dtype=torch.float64))
    batch = make_batch({name: torch.zeros(len(labels), 3) for name in ("a", "v")}, labels)
    update = Update(batch, only=(modality,))
    losses = method.losses(ctx, update, model(batch, only=(modality,)))
    assert float(sum(losses.values())) == pytest.approx(epoch[f"loss_{modality}"], rel=1e-12)
    assert len(losses) == (1 if whole else 3)
    sums = method.state["sums"][:, ("a", "v").index(modality)]
    assert float(sums[0]) == pytest.approx(epoch[f"score_{modality}"], rel=1e-6)
    assert sums[3] == len(labels)


@pytest.mark.parametrize("update", ["alternating", "joint"])
@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_updates_equal_a_naive_loop(update: str, missing: float) -> None:
    """With residual labels as the paper writes them, the shared layer stepping after each modality or once."""
    part = toy_part(20, signal=1.0, missing=missing)
    assert part.target is not None
    (method, ctx), (_, other) = (prepared(part, {"update": update, "residual": 0.7}) for _ in range(2))
    for item in method.updates(ctx, make_batch(part.inputs, part.target, part.present)):
        step(ctx, method, item)
    naive, fusion = other.model, fusion_of(other.model)

    def loss(name: str) -> Tensor:
        rows = part.present[name]
        target = F.one_hot(part.target[rows], 3).float()  # type: ignore[index]
        value = naive.encoders[name](part.inputs[name][rows])
        z = [fusion.shared(torch.relu(layer(value))) for layer in fusion.private[name]]  # type: ignore[union-attr]
        total = F.cross_entropy(torch.stack(z).sum(0), target)
        if len(z) > 1:
            previous = torch.stack(z[:-1]).sum(0)
            label = target - 0.7 * target * previous.detach().softmax(1)
            total = total + F.cross_entropy(previous, target) - (label * z[-1].log_softmax(1)).sum(1).mean()
        return total

    def descend(value: Tensor) -> None:
        naive.zero_grad()
        value.backward()
        with torch.no_grad():
            for item in naive.parameters():
                if item.grad is not None:
                    item -= 0.05 * item.grad

    if update == "joint":
        descend(torch.stack([loss(name) for name in naive.modalities]).sum())
    else:
        for name in naive.modalities:
            descend(loss(name))
    for key, value in weights(naive).items():
        torch.testing.assert_close(
            ctx.model.state_dict()[key], value, rtol=1e-4, atol=1e-6, msg=lambda text, key=key: f"{key} {text}"
        )


def test_scores_are_means_over_the_samples_that_have_the_modality() -> None:
    part = toy_part(40, signal=3.0, missing=0.4, placeholder=float("nan"))
    assert part.target is not None
    method, ctx = prepared(part, {"update": "joint"})
    logits = {
        name: value.detach() for name, value in ctx.model(make_batch(part.inputs, part.target, part.present)).unimodal.items()
    }
    for rows in (slice(0, 15), slice(15, 40)):
        present = {name: mask[rows] for name, mask in part.present.items()}
        batch = make_batch({name: value[rows] for name, value in part.inputs.items()}, part.target[rows], present)
        method.losses(ctx, Update(batch), ctx.model(batch))
    method.on_epoch_end(ctx)
    for name, score in zip(ctx.modalities, method.state["scores"], strict=True):
        right = [float(logits[name][row].softmax(0)[part.target[row]]) for row in range(40) if part.present[name][row]]
        assert score == pytest.approx(sum(right) / len(right), rel=1e-5)


def test_a_modality_without_samples_in_the_batch_gets_no_turn() -> None:
    part = toy_part(24, never=["beta"])
    assert part.target is not None
    for update, turns in (("alternating", [("alpha",), ("gamma",)]), ("joint", [None])):
        method, ctx = prepared(part, {"update": update})
        batch = make_batch(part.inputs, part.target, part.present)
        found = list(method.updates(ctx, batch))
        assert [item.only for item in found] == turns
        for item in found:
            gradients_of(ctx, method, item)
            private = fusion_of(ctx.model).private["beta"]
            assert all(item.grad is None for item in [*ctx.model.parameters_of("beta"), *private.parameters()])


def grown(scores: list[float], epochs: int, **options: Any) -> list[dict[str, int]]:
    """Classifiers at each epoch of a run whose scores stay the same."""
    model = toy_model(dict.fromkeys(NAMES[: len(scores)], (3,)), "boosted")
    method = make_method({"name": "aug", **options})
    ctx = make_context(model, method, epochs=epochs)
    method.state["scores"] = scores
    found = []
    for ctx.epoch in range(epochs):
        method.on_epoch_start(ctx)
        found.append({name: fusion_of(model).count(name) for name in model.modalities})
    return found


def test_assignments_come_after_the_first_epoch_and_every_tenth_of_them() -> None:
    counts = [found["beta"] for found in grown([0.9, 0.2, 0.5], 30)]
    steps = [epoch for epoch in range(1, 30) if counts[epoch] > counts[epoch - 1]]
    assert steps == [1, 3, 6, 9, 12, 15, 18, 21, 24, 27]
    assert counts[-1] == 11
    counts = [found["beta"] for found in grown([0.9, 0.2, 0.5], 30, period=10)]
    assert [epoch for epoch in range(1, 30) if counts[epoch] > counts[epoch - 1]] == [1, 10, 20]
    counts = [found["beta"] for found in grown([0.9, 0.2, 0.5], 5)]
    assert counts == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("scores", "options", "expected"),
    [
        ([0.9, 0.2, 0.5], {}, [1, 4, 1]),
        ([0.9, 0.2, 0.5], {"max_heads": 2}, [1, 2, 1]),
        ([0.9, 0.2, 0.5], {"max_heads": 1}, [1, 1, 1]),
        ([0.50, 0.495], {}, [1, 1]),
        ([0.495, 0.50], {}, [1, 1]),
        ([0.52, 0.50], {}, [1, 4]),
        ([0.52, 0.50], {"tau": 0.03}, [1, 1]),
        ([0.52, 0.50], {"sigma": 1.1}, [1, 1]),
        ([0.3, 0.9, 0.4, 0.8], {}, [4, 1, 1, 1]),
        ([0.7], {}, [1]),
        ([math.nan, 0.2, 0.9], {}, [1, 4, 1]),
    ],
)
def test_who_gets_a_classifier(scores: list[float], options: dict[str, Any], expected: list[int]) -> None:
    assert list(grown(scores, 4, period=1, **options)[-1].values()) == expected


def uneven(samples: int = 60, seed: int = 0) -> MemoryPart:
    """One loud modality and two quiet ones."""
    return toy_part(samples, seed, signal=2.0)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_new_classifiers_train_at_the_rate_of_the_epoch(optimizer: str) -> None:
    settings: dict[str, Any] = {"train": uneven(), "epochs": 5, "optimizer": optimizer, "schedule": "cosine"}
    run = train_toy("aug", GROWING, **settings)
    last = run.lines[-1]["coefficients"]
    assert sum(last[f"classifiers.{name}"] for name in NAMES[:3]) == 3 + 4
    for name in NAMES[:3]:
        keys = [key for key in run.last if key.startswith(f"fusion.private.of_{name}.") and key.endswith("weight")]
        assert len(keys) == last[f"classifiers.{name}"]
        for key in keys[:-1]:  # the last one may have come in the last epoch
            first = next(number for number, state in enumerate(run.epochs) if key in state)
            assert not torch.equal(run.epochs[first][key], run.epochs[first + 1][key]), key
    assert {group["lr"] for group in run.ctx.optimizer.torch.param_groups} == {run.lines[-1]["learning_rate"]}
    joined = sum(item.numel() for item in run.ctx.optimizer.parameters())
    assert joined == sum(value.numel() for key, value in run.last.items() if key != "fusion.weights")


def test_frozen_classifiers_stay_bit_for_bit() -> None:
    run = train_toy("aug", {**GROWING, "freeze_new_heads": True}, train=uneven(), epochs=5, weight_decay=0.1)
    added = [key for key in run.last if key.startswith("fusion.private.") and int(key.split(".")[3]) > 0]
    assert added
    fresh = BoostedFusion(dict.fromkeys(NAMES[:3], 8), run.ctx.task)
    for key in added:
        _, _, of, number, kind = key.split(".")
        fresh.resize(of.removeprefix("of_"), int(number) + 1, run.ctx.options.seed)
        start = getattr(fresh.private[of.removeprefix("of_")][int(number)], kind)  # type: ignore[index]
        assert torch.equal(run.last[key], start), key
    assert not torch.equal(run.epochs[0]["fusion.shared.weight"], run.last["fusion.shared.weight"])
    assert not torch.equal(run.epochs[0]["fusion.private.of_alpha.0.weight"], run.last["fusion.private.of_alpha.0.weight"])


def counts(run: Trained) -> dict[str, int]:
    return {name: fusion_of(run.ctx.model).count(name) for name in run.ctx.modalities}


def test_resuming_with_grown_classifiers_equals_never_stopping(tmp_path: Path) -> None:
    """After an epoch and within one, with the best epoch before the last classifiers came."""
    settings: dict[str, Any] = {
        "train": toy_part(60, missing=0.2, signal=1.0),
        "validation": toy_part(40, 3, missing=0.2, signal=0.3),
        "epochs": 6,
        "checkpoint_seconds": 0.0,
        "schedule": "cosine",
        "learning_rate": 0.03,
    }
    options = {**GROWING, "fusion_weights": "validation"}
    places: list[tuple[int, int]] = []

    def save(payload: dict[str, Any]) -> None:
        save_checkpoint(tmp_path / f"{len(places)}.pt", payload)
        places.append((payload["position"][1], payload["position"][2]))

    straight = train_toy("aug", options, save=save, **settings)
    final = straight.lines[-1]["coefficients"]
    assert sum(counts(straight).values()) < sum(final[f"classifiers.{name}"] for name in NAMES[:3]), "the best epoch was the last"
    for place in [(2, 1), (3, 0), (5, 1), (6, 0)]:
        resumed = train_toy("aug", options, resume=load_checkpoint(tmp_path / f"{places.index(place)}.pt"), **settings)
        assert_same(resumed.state, straight.state)
        assert_same(resumed.method.state_dict(), straight.method.state_dict())
        assert resumed.lines == straight.lines[-len(resumed.lines) :] or not resumed.lines
        assert resumed.ctx.notes == straight.ctx.notes
        assert torch.equal(resumed.logits(), straight.logits())


def test_a_finished_run_with_several_classifiers_loads_and_predicts_the_same(tmp_path: Path) -> None:
    method = {"name": "aug", **GROWING, "fusion_weights": "validation"}
    run = equipoise.fit("wisconsin", method=method, epochs=4, out=tmp_path / "run", progress=False, device="cpu")
    (note,) = run.summary["notes"]
    assert sum(int(word.rstrip(",")) for word in note.split() if word.rstrip(",").isdigit()) > 3, "nothing grew"
    loaded = equipoise.load(tmp_path / "run", device="cpu")
    first, second = run.predict("wisconsin"), loaded.predict("wisconsin")
    assert (first.probabilities == second.probabilities).all()
    for name, values in first.unimodal.items():
        assert (values == second.unimodal[name]).all()
        assert (first.weights[name] == second.weights[name]).all()


def test_learned_fusion_weights_silence_noise_and_are_stored() -> None:
    parts = []
    for seed in (0, 1):
        part = toy_part(150, seed, signal=3.0)
        part.inputs["beta"] = torch.randn(150, 5, generator=torch.Generator().manual_seed(seed + 10))
        parts.append(part)
    settings: dict[str, Any] = {"train": parts[0], "validation": parts[1], "epochs": 6}
    run = train_toy("aug", {"fusion_weights": "validation", "max_heads": 1}, **settings)
    stored = dict(zip(NAMES[:3], run.state["fusion.weights"].tolist(), strict=True))
    assert stored["beta"] < 0.1
    assert stored["alpha"] > 0.5
    best = [line for line in run.lines if line["best"]][-1]["coefficients"]
    assert stored == pytest.approx({name: best[f"weight.{name}"] for name in NAMES[:3]})
    plain = train_toy("aug", {"max_heads": 1}, **settings)
    torch.testing.assert_close(plain.state["fusion.weights"], torch.full((3,), 1 / 3))
    losses = [min(line["validation"]["fused"]["loss"] for line in found.lines) for found in (run, plain)]
    assert losses[0] < losses[1]


def test_the_log_shows_gains_and_the_gap_beside_its_curve() -> None:
    run = train_toy("aug", GROWING, train=uneven(72), epochs=5)  # batches of equal size
    gaps = []
    for number, line in enumerate(run.lines):
        found = line["coefficients"]
        losses = [line["losses"][name] for name in NAMES[:3]]
        gaps.append(max(losses) - min(losses))
        assert found["gap"] == pytest.approx(gaps[-1], rel=1e-4)
        if number:
            rate = max(0.0, gaps[0] / gaps[1] - 1)
            assert found["gap_curve"] == pytest.approx(gaps[0] / (1 + rate * number), rel=1e-3)
        for name in NAMES[:3]:
            gain = line["losses"].get(f"{name} previous", line["losses"][name]) - line["losses"][name]
            assert found[f"gain.{name}"] == pytest.approx(gain, abs=1e-4)
            assert 0 < found[f"confidence.{name}"] < 1
    assert any(abs(line["coefficients"][f"gain.{name}"]) > 1e-3 for line in run.lines for name in NAMES[:3])


def test_one_modality_never_grows() -> None:
    run = train_toy("aug", GROWING, train=toy_part(60, names=NAMES[:1], signal=1.0), epochs=3)
    assert counts(run) == {"alpha": 1}
    assert [line["coefficients"]["gap"] for line in run.lines] == [0.0] * 3
