"""Modality-specific learning rates are learning rates, whatever the optimizer, and follow the validation part."""

from __future__ import annotations

import pytest
import torch

from equipoise.errors import ConfigError
from equipoise.methods.base import Update, make_method
from tests.contract.harness import toy_model, toy_part, train_toy, weights
from tests.methods.helpers import make_batch, make_context, step

RATES = {"alpha": 0.25, "gamma": 3.0}


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_rate_is_a_learning_rate(optimizer: str) -> None:
    """Each encoder moves as in a joint training at its own learning rate; the fusion at the common one."""
    part = toy_part(30, signal=1.0)
    assert part.target is not None
    found = {}
    for name, rate in (("msl", 1.0), ("joint", 0.25), ("joint", 1.0), ("joint", 3.0)):
        model = toy_model({key: tuple(value.shape[1:]) for key, value in part.inputs.items()})
        method = make_method({"name": name, **({"rates": RATES} if name == "msl" else {})})
        ctx = make_context(model, method, optimizer=optimizer, learning_rate=1e-2 * rate)
        start = weights(model)
        step(ctx, method, Update(make_batch(part.inputs, part.target)))
        found[name, rate] = {key: value - start[key] for key, value in weights(model).items()}
    for key, moved in found["msl", 1.0].items():
        rate = next((rate for modality, rate in RATES.items() if f"of_{modality}." in key), 1.0)
        torch.testing.assert_close(moved, found["joint", rate][key], rtol=1e-3, atol=3e-7)


def test_rates_follow_the_validation_part() -> None:
    """Recomputed by hand from the weights after each epoch."""
    parts = {"train": toy_part(60, signal=1.0, missing=0.2), "validation": toy_part(50, 1, signal=1.0, missing=0.2)}
    run = train_toy("msl", {"window": 2, "rates": {"beta": 0.5}}, epochs=5, **parts)
    assert run.ctx.model is not None
    scores: dict[str, list[float]] = {name: [] for name in run.ctx.modalities}
    rates = {"alpha": 1.0, "beta": 0.5, "gamma": 1.0}
    target = parts["validation"].target
    assert target is not None
    for number, state in enumerate(run.epochs):
        assert run.lines[number]["coefficients"] == pytest.approx(
            {f"rate.{name}": rate for name, rate in rates.items()}, rel=1e-5
        )
        run.ctx.model.load_state_dict(state)
        for name, logits in run.ctx.outputs("validation").unimodal.items():
            rows = parts["validation"].present[name]
            sure = [float(logits[row].softmax(0)[target[row]]) for row in range(50) if bool(rows[row])]
            scores[name].append(sum(sure) / len(sure))
            if number % 2 == 1:
                last = scores[name][-2:]
                rates[name] *= last[-1] / (sum(last) / 2)
    assert rates["alpha"] > 1.0
    assert rates["beta"] != 0.5


def test_stated_rates_are_kept_without_a_window() -> None:
    run = train_toy("msl", {"rates": RATES}, epochs=4)
    for line in run.lines:
        assert line["coefficients"] == pytest.approx({"rate.alpha": 0.25, "rate.beta": 1.0, "rate.gamma": 3.0})


def test_a_rate_may_be_a_word_of_the_command_line() -> None:
    assert train_toy("msl", {"rates": {"beta": "0.5"}}).lines[0]["coefficients"]["rate.beta"] == 0.5


def test_a_rate_of_zero_leaves_an_encoder_alone() -> None:
    part = toy_part(30)
    start = weights(toy_model({key: tuple(value.shape[1:]) for key, value in part.inputs.items()}))
    run = train_toy("msl", {"rates": {"beta": 0.0}}, train=part, weight_decay=0.1)
    for key, value in start.items():
        if key.startswith("encoders."):
            assert torch.equal(value, run.last[key]) == ("of_beta." in key)


@pytest.mark.parametrize(
    ("rates", "words"),
    [
        ({"alhpa": 0.5}, "unknown modality 'alhpa', did you mean 'alpha'"),
        ({"alpha": -1}, "alpha = -1 is not valid, expected a number of at least 0"),
        ({"alpha": float("nan")}, "alpha = nan is not valid"),
        ({"alpha": "fast"}, "alpha = 'fast' is not valid"),
    ],
)
def test_wrong_rates_are_refused(rates: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=f"method msl: rates: {words}"):
        train_toy("msl", {"rates": rates})
