"""Re-learning equals the authors' re-initialisation, and sets back the encoder that memorised, not the one that learned."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from equipoise.data.loader import MemoryPart
from equipoise.methods.base import make_method
from equipoise.methods.relearning import Relearning
from equipoise.nn.fusion import build_fusion
from equipoise.nn.multimodal import MultimodalModel
from equipoise.tasks import Classification
from equipoise.training.context import Context
from tests.contract.harness import toy_model, toy_part, train_toy, weights
from tests.methods.helpers import make_context

REINIT: dict[str, Any] = json.loads((Path(__file__).parents[1] / "golden" / "dr.json").read_text())["cases"][0]["reinit"]


class Golden(nn.Module):
    """An encoder that holds the authors' parameters: a convolution, the affine part of a normalisation, a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.names = [key.removeprefix("audio_net.").replace(".", "_") for key in REINIT["theta"]]
        for name, value in zip(self.names, REINIT["theta0"].values(), strict=True):
            self.register_parameter(name, nn.Parameter(torch.tensor(value, dtype=torch.float64)))

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs


class Told(Relearning):
    """A diagnosis whose purities are given."""

    gap = 0.0

    def _purity(self, ctx: Context, part: str, features: Tensor, name: str) -> float:
        return 0.5 + (self.gap if part == "train" else 0.0)


@pytest.mark.parametrize("sign", [1, -1])
def test_authors_reinitialisation(sign: int) -> None:
    encoder = Golden()
    fusion = build_fusion({"name": "concat"}, {"audio": 2}, Classification(3))
    part = MemoryPart({"audio": torch.zeros(4, 2)}, {"audio": torch.ones(4, dtype=torch.bool)}, torch.tensor([0, 1, 2, 0]))
    model = MultimodalModel({"audio": encoder}, fusion)
    method = Told(period=5)
    ctx = make_context(model, method, part, part)
    ctx.phase = next(iter(method.phases(ctx)))
    head = weights(fusion)
    with torch.no_grad():
        for item, value in zip(encoder.parameters(), REINIT["theta"].values(), strict=True):
            item.copy_(torch.tensor(value, dtype=torch.float64))
    method.gap = sign * math.atanh(REINIT["alpha"]) / method.strength
    ctx.epoch = 5
    method.on_epoch_start(ctx)
    for item, value in zip(encoder.parameters(), REINIT["theta_new"].values(), strict=True):
        torch.testing.assert_close(item.data, torch.tensor(value, dtype=torch.float64), rtol=1e-6, atol=1e-7)
    assert all(torch.equal(value, head[key]) for key, value in weights(fusion).items())
    assert ctx.take_log() == pytest.approx({"set_back.audio": REINIT["alpha"]})


def test_the_memorising_encoder_is_set_back_and_the_other_left() -> None:
    """One modality separates the classes in the train part only, the other in both."""
    target = torch.arange(30) % 3
    told = torch.eye(3)[target] * 10 + torch.randn(30, 3, generator=torch.Generator().manual_seed(0)) * 0.01
    noise = torch.randn(30, 3, generator=torch.Generator().manual_seed(1))
    present = {name: torch.ones(30, dtype=torch.bool) for name in ("memory", "sense")}
    train = MemoryPart({"memory": told, "sense": told}, present, target)
    validation = MemoryPart({"memory": noise, "sense": told}, present, target)
    model = toy_model({"memory": (3,), "sense": (3,)}, encoder={"layers": 1})
    method = make_method({"name": "relearning", "period": 1})
    ctx = make_context(model, method, train, validation)
    ctx.phase = next(iter(method.phases(ctx)))
    start = weights(model)
    with torch.no_grad():
        for name in model.modalities:
            weight, bias = model.parameters_of(name)
            weight.copy_(torch.eye(8, 3))
            bias.fill_(5.0)
    learned = weights(model)
    ctx.epoch = 1
    kept = target.clone()
    method.on_epoch_start(ctx)
    log = ctx.take_log()
    assert torch.equal(target, kept)
    assert log["set_back.sense"] == 0.0
    assert log["set_back.memory"] > math.tanh(3 * 0.2)
    for key, value in weights(model).items():
        if "of_memory" in key:
            torch.testing.assert_close(value, torch.lerp(learned[key], start[key], log["set_back.memory"]))
        else:
            assert torch.equal(value, learned[key])


def test_diagnoses_come_every_period_and_not_too_often() -> None:
    part = toy_part(12)
    model = toy_model({name: tuple(value.shape[1:]) for name, value in part.inputs.items()})
    method = Told(period=2, times=3)
    method.gap = 0.2
    ctx = make_context(model, method, part, part)
    ctx.phase = next(iter(method.phases(ctx)))
    acted = []
    for ctx.epoch in range(12):
        method.on_epoch_start(ctx)
        if any(ctx.take_log().values()):
            acted.append(ctx.epoch)
    assert acted == [2, 4, 6]


def test_a_run_too_short_for_a_diagnosis_says_that_nothing_was_done() -> None:
    run = train_toy("relearning", {"period": 20}, epochs=2)
    assert run.ctx.inert


def test_purity_is_of_present_samples_scaled_to_one_range() -> None:
    """A wide column of noise, or the rows of absent samples, would make the clusters otherwise."""
    target = torch.arange(60) % 2
    noise = torch.rand(60, generator=torch.Generator().manual_seed(0)) * 100
    features = torch.stack([target.float(), noise, torch.full((60,), 7.0)], 1)
    have = torch.arange(60) >= 4
    features[~have] = 1e6
    part = MemoryPart({"a": features}, {"a": have}, target)
    model = toy_model({"a": (3,)}, task=Classification(2))
    method = Relearning()
    assert method._purity(make_context(model, method, part, part), "train", features, "a") == 1.0
    few = MemoryPart({"a": features}, {"a": torch.arange(60) < 1}, target)
    assert method._purity(make_context(model, method, few, few), "train", features, "a") == 0.0
