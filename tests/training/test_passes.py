"""Counted passes are those that were made: sample by sample, forward and backward, and none of the loop's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from equipoise.benchmark.cost import cost, share_of_work
from equipoise.methods.base import METHODS
from equipoise.nn.multimodal import MultimodalModel
from equipoise.run import fit
from equipoise.training.passes import Passes
from tests.contract.harness import toy_model, toy_part, train_toy

QUICK: dict[str, Any] = {"epochs": 2, "device": "cpu", "progress": False}


def test_joint_training_takes_each_sample_once_per_epoch_in_both_ways() -> None:
    once = {"forward": 210, "backward": 210}
    assert train_toy("joint", epochs=3).passes == {"alpha": once, "beta": once, "gamma": once}


def test_a_sample_without_a_modality_does_not_pass_through_its_encoder() -> None:
    part = toy_part(missing=0.4)
    passes = train_toy("joint", train=part, epochs=2, accumulate=3).passes
    for name, mask in part.present.items():
        assert passes[name] == {"forward": 2 * int(mask.sum()), "backward": 2 * int(mask.sum())}


def test_a_frozen_encoder_has_no_backward_pass() -> None:
    run = fit("wisconsin", encoder={"mean": {"frozen": True}}, **QUICK)
    counts = run.summary["encoded"]
    assert counts["mean"] == {"samples": 387, "forward": 774, "backward": 0}
    assert counts["worst"] == {"samples": 387, "forward": 774, "backward": 774}


@pytest.mark.parametrize(
    ("method", "forward", "backward"),
    [("joint", 1.0, 1.0), ("mie", 2.0, 2.0), ("mmpareto", 1.0, 2.0), ("unimodal", 1 / 3, 1 / 3), ("joint+mie", 2.0, 2.0)],
)
def test_what_methods_cost_in_passes_of_joint_training(method: str, forward: float, backward: float) -> None:
    found = cost(fit("wisconsin", method=method, feature_size=16, **QUICK))
    # The modalities of this set have ten columns each, so that their encoders are equally large.
    assert found["forwards"] / found["passes"] == pytest.approx(forward, abs=1e-5)
    assert found["backwards"] / found["passes"] == pytest.approx(backward, abs=1e-5)


def test_a_large_encoder_counts_for_more_than_a_small_one() -> None:
    run = fit("wisconsin", encoder={"mean": {"name": "mlp", "hidden": 500, "frozen": True}}, **QUICK)
    found, encoders = cost(run), dict(run.predictor.module.encoders.items())  # type: ignore[operator, union-attr]
    share = share_of_work(encoders, run.config["shapes"])["mean"]
    assert share > 0.5
    assert found["forwards"] == pytest.approx(found["passes"], abs=1e-5)
    assert found["backwards"] == pytest.approx((1 - share) * found["passes"], abs=1e-5)


def test_every_method_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The counts are those of a hook on each encoder, which sees the loop's own passes as well."""
    for name in METHODS.names():
        seen = 0

        def count(_module: nn.Module, _inputs: object, features: torch.Tensor) -> None:
            nonlocal seen
            seen += len(features)

        def watch(model: MultimodalModel, count: Any = count) -> None:
            for encoder in model.encoders.values():
                encoder.register_forward_hook(count)

        trained = train_toy(name, change=watch, epochs=2)
        counted = sum(item["forward"] for item in trained.passes.values())
        validation = len(trained.lines) * 3 * 40
        assert counted == seen - validation, name
        assert all(item["backward"] > 0 for item in trained.passes.values()), name


def test_gradients_that_only_reach_the_features_are_no_backward_pass() -> None:
    model = toy_model({"alpha": (4,)})
    passes = Passes(model)
    with passes.counting():
        features = model.encode({"alpha": torch.ones(5, 4)})["alpha"]
        torch.autograd.grad(features.sum(), features, retain_graph=True)
        assert passes.state_dict() == {"alpha": [5, 0]}
        features.sum().backward(retain_graph=True)
        features.sum().backward()
        assert passes.state_dict() == {"alpha": [5, 10]}
    model.encode({"alpha": torch.ones(5, 4)})
    assert passes.state_dict() == {"alpha": [5, 10]}


def test_an_encoder_counts_by_its_multiplications() -> None:
    encoders = {"small": nn.Linear(2, 8), "image": nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten())}
    # 2 x 8 products against 2 channels x 3 x 3 weights at 6 x 6 places
    assert share_of_work(encoders, {"small": [2], "image": [1, 8, 8]}) == {
        "small": pytest.approx(16 / (16 + 648)),
        "image": pytest.approx(648 / (16 + 648)),
    }
    assert share_of_work({"none": nn.Flatten()}, {"none": [3]}) == {}
