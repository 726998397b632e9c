"""OGM-GE equals the authors' numbers; where it departs from their code, it says so and these tests show it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from equipoise.methods.base import Update, make_method
from equipoise.nn.fusion import build_fusion
from equipoise.nn.multimodal import MultimodalModel
from equipoise.tasks import Classification
from tests.contract.harness import toy_model, toy_part, weights
from tests.methods.helpers import gradients_of, make_batch, make_context, outputs_of, step

CASES: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "golden" / "ogm_ge.json").read_text())["cases"]


def double(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def golden_model(case: dict[str, Any]) -> MultimodalModel:
    """The authors' fusion head on encoders that hold a convolution and a bias."""
    fusion = build_fusion({"name": case["fusion"]}, {"a": 5, "v": 5}, Classification(4)).double()
    values = {key.removeprefix("fusion_module."): double(value) for key, value in case["fusion_weights"].items()}
    names = {
        "fc_out.weight": "linear.weight",
        "fc_out.bias": "linear.bias",
        "fc_x.weight": "heads.of_a.weight",
        "fc_x.bias": "heads.of_a.bias",
        "fc_y.weight": "heads.of_v.weight",
        "fc_y.bias": "heads.of_v.bias",
    }
    fusion.load_state_dict({names[key]: value for key, value in values.items()})
    convolutions = {}
    for name in ("a", "v"):
        shape = double(case[f"grad_conv_{name}_plain"]).shape
        convolutions[name] = nn.Conv2d(shape[1], shape[0], (shape[2], shape[3])).double()
    return MultimodalModel(convolutions, fusion)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("alpha", [0.1, 0.3, 0.8])
def test_authors_scores_and_gradients(case: dict[str, Any], alpha: float) -> None:
    golden = case["alpha"][str(alpha)]
    model = golden_model(case)
    method = make_method({"name": "ogm", "alpha": alpha, "noise": False})
    ctx = make_context(model, method, optimizer="sgd")
    features = {name: double(case[f"features_{name}"]) for name in ("a", "v")}
    batch = make_batch(features, torch.tensor(case["labels"]))
    outputs = outputs_of(model.fusion, features, batch)
    for name in ("a", "v"):
        torch.testing.assert_close(outputs.unimodal[name], double(case[f"unimodal_logits_{name}"]), rtol=1e-9, atol=1e-12)
        score = ctx.task.score(outputs.unimodal[name], batch.labels).sum()
        assert float(score) == pytest.approx(golden[f"score_{name}"], rel=1e-9)
    assert float(ctx.task_loss(outputs.logits, batch).detach()) == pytest.approx(case["loss"], rel=1e-9)

    for name in ("a", "v"):
        convolution = model.encoders[name]
        convolution.weight.grad = double(case[f"grad_conv_{name}_plain"])
        convolution.bias.grad = torch.ones_like(convolution.bias)
    method.modulate_gradients(ctx, Update(batch), outputs)
    for name in ("a", "v"):
        convolution = model.encoders[name]
        torch.testing.assert_close(convolution.weight.grad, double(golden[f"grad_conv_{name}_mod"]), rtol=1e-6, atol=1e-12)
        # Differs from the published code: the whole encoder is slowed, not its convolutions alone.
        torch.testing.assert_close(
            convolution.bias.grad, torch.full_like(convolution.bias, golden[f"coeff_{name}"]), rtol=1e-6, atol=0
        )
    assert ctx.take_log() == pytest.approx({"coefficient.a": golden["coeff_a"], "coefficient.v": golden["coeff_v"]}, rel=1e-6)


@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_three_modalities_equal_a_naive_loop(missing: float) -> None:
    part = toy_part(30, signal=2.0, missing=missing)
    model = toy_model({name: tuple(value.shape[1:]) for name, value in part.inputs.items()}, "sum")
    method = make_method({"name": "ogm", "alpha": 0.5, "noise": False})
    ctx = make_context(model, method, optimizer="sgd")
    assert part.target is not None
    batch = make_batch(part.inputs, part.target, part.present)
    outputs, _ = gradients_of(ctx, method, Update(batch))
    scores = {}
    for name in model.modalities:
        rows = [row for row in range(len(batch)) if bool(part.present[name][row])]
        scores[name] = sum(float(outputs.unimodal[name][row].detach().softmax(0)[part.target[row]]) for row in rows) / len(rows)
    expected = {}
    for name, score in scores.items():
        others = [value for other, value in scores.items() if other != name]
        ratio = score / (sum(others) / len(others))
        expected[f"coefficient.{name}"] = 1 - math.tanh(0.5 * ratio) if ratio > 1 else 1.0
    assert ctx.take_log() == pytest.approx(expected, rel=1e-5)
    assert min(expected.values()) < 1.0 == max(expected.values())


def test_nobody_is_slowed_where_nobody_leads() -> None:
    """Differs from the published code, which slows the first modality at a ratio of exactly 1."""
    model = MultimodalModel(
        {"a": nn.Linear(2, 2), "v": nn.Linear(2, 2)}, build_fusion({"name": "sum"}, {"a": 2, "v": 2}, Classification(2))
    )
    method = make_method({"name": "ogm", "alpha": 0.8, "noise": False})
    ctx = make_context(model, method, optimizer="sgd")
    batch = make_batch({"a": torch.zeros(3, 2), "v": torch.zeros(3, 2)}, torch.tensor([0, 1, 1]))
    same = {"a": torch.ones(3, 2), "v": torch.ones(3, 2)}
    logits = {"a": torch.ones(3, 2), "v": torch.ones(3, 2)}
    outputs = outputs_of(model.fusion, same, batch)
    outputs._unimodal = logits
    for item in model.parameters():
        item.grad = torch.ones_like(item)
    method.modulate_gradients(ctx, Update(batch), outputs)
    assert all(bool((item.grad == 1).all()) for item in model.parameters() if item.grad is not None)
    assert ctx.take_log() == {"coefficient.a": 1.0, "coefficient.v": 1.0}
    assert ctx.inert


def noisy_step(number: int, seed: int = 0, noise: bool = True) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, float]]:
    """Gradients of wide encoders before and after modulation."""
    sizes = {"a": 150, "v": 150}
    model = MultimodalModel(
        {name: nn.Linear(200, size) for name, size in sizes.items()}, build_fusion({"name": "sum"}, sizes, Classification(2))
    )
    method = make_method({"name": "ogm", "alpha": 0.5, "noise": noise})
    ctx = make_context(model, method, optimizer="sgd", seed=seed)
    ctx.update = number
    random = torch.Generator().manual_seed(3)
    for item in model.parameters():
        item.grad = torch.randn(item.shape, generator=random) * 0.7
    before = {name: item.grad.clone() for name, item in model.named_parameters() if item.grad is not None}
    batch = make_batch({name: torch.zeros(4, 200) for name in sizes}, torch.tensor([0, 1, 1, 0]))
    outputs = outputs_of(model.fusion, {name: torch.zeros(4, size) for name, size in sizes.items()}, batch)
    outputs._unimodal = {"a": torch.tensor([[3.0, 0.0], [0.0, 3.0], [0.0, 3.0], [3.0, 0.0]]), "v": torch.zeros(4, 2)}
    method.modulate_gradients(ctx, Update(batch), outputs)
    after = {name: item.grad.clone() for name, item in model.named_parameters() if item.grad is not None}
    return before, after, ctx.take_log()


def test_noise_has_the_spread_of_the_gradient_before_it_was_scaled() -> None:
    before, after, log = noisy_step(0)
    assert log["coefficient.a"] < 1 == log["coefficient.v"]
    noise = {}
    for name in ("a", "v"):
        key, bias = f"encoders.of_{name}.weight", f"encoders.of_{name}.bias"
        noise[name] = after[key] - log[f"coefficient.{name}"] * before[key]
        count = noise[name].numel()
        assert float(noise[name].std()) == pytest.approx(float(before[key].std()), rel=4 / math.sqrt(2 * count))
        assert abs(float(noise[name].mean())) < 4 * 0.7 / math.sqrt(count)
        correlation = float((noise[name] * before[key]).mean()) / 0.49
        assert abs(correlation) < 4 / math.sqrt(count)
        torch.testing.assert_close(after[bias], log[f"coefficient.{name}"] * before[bias])  # biases get no noise
    assert abs(float((noise["a"] * noise["v"]).mean())) / 0.49 < 4 / math.sqrt(noise["a"].numel())
    for key in before:
        if key.startswith("fusion"):
            assert torch.equal(before[key], after[key])


def test_noise_follows_from_seed_and_update() -> None:
    key = "encoders.of_a.weight"
    first = noisy_step(0)[1][key]
    assert torch.equal(first, noisy_step(0)[1][key])
    assert not torch.equal(first, noisy_step(1)[1][key])
    assert not torch.equal(first, noisy_step(0, seed=1)[1][key])
    before, after, log = noisy_step(0, noise=False)
    torch.testing.assert_close(after[key], before[key] * log["coefficient.a"])


def _leading_step(optimizer: str, options: dict[str, Any], steps: int = 1) -> tuple[dict[str, Tensor], dict[str, float]]:
    part = toy_part(30, signal=5.0)
    model = toy_model({name: tuple(value.shape[1:]) for name, value in part.inputs.items()})
    method = make_method({"name": "ogm", **options})
    ctx = make_context(model, method, optimizer=optimizer, learning_rate=1e-2)
    assert part.target is not None
    start = weights(model)
    for _ in range(steps):
        step(ctx, method, Update(make_batch(part.inputs, part.target)))
    return {key: value - start[key] for key, value in weights(model).items()}, ctx.take_log()


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_the_update_is_slowed_also_under_an_adaptive_optimizer(optimizer: str) -> None:
    """Adam divides a gradient by its own size, so that a factor on the gradient would change nothing."""
    plain, _ = _leading_step(optimizer, {"alpha": 0.0, "noise": False})
    slowed, log = _leading_step(optimizer, {"alpha": 0.5, "noise": False})
    factors = {name.removeprefix("coefficient."): value for name, value in log.items()}
    assert min(factors.values()) < 0.7
    for key, change in plain.items():
        factor = next((value for name, value in factors.items() if f"of_{name}." in key), 1.0)
        # float32 weights of size 1 hold their change to 1e-7
        torch.testing.assert_close(slowed[key], change * factor, rtol=1e-3, atol=3e-7)


def test_modulation_keeps_to_its_window() -> None:
    for options, number, slowed in (
        ({"start": 2}, 1, False),
        ({"start": 2}, 2, True),
        ({"stop": 2}, 1, True),
        ({"stop": 2}, 2, False),
    ):
        part = toy_part(30, signal=5.0)
        model = toy_model({name: tuple(value.shape[1:]) for name, value in part.inputs.items()})
        method = make_method({"name": "ogm", **options})
        ctx = make_context(model, method)
        ctx.epoch = number
        assert part.target is not None
        gradients_of(ctx, method, Update(make_batch(part.inputs, part.target)))
        assert bool(ctx.take_log()) == slowed
