"""Joint adaptation starts from the unimodal ensemble, changes it at low rank only, and finds what no modality finds alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from equipoise.data.loader import MemoryPart
from equipoise.errors import ConfigError
from equipoise.nn.adapters import adapters_of
from equipoise.tasks import Classification
from tests.contract.harness import NAMES, State, Trained, toy_model, toy_part, train_toy

FACTORS = (".down", ".up")


def plain(state: State) -> State:
    """Weights without adapters."""
    return {key: value for key, value in state.items() if not key.endswith(FACTORS)}


def trained(options: dict[str, object] | None = None, **settings: object) -> Trained:
    parts = {"train": toy_part(signal=1.0, missing=0.2), "validation": toy_part(40, 1, signal=1.0, missing=0.2)}
    return train_toy("mmlora", {"rank": 2, **(options or {})}, **(parts | settings))


def test_adaptation_starts_from_the_selected_unimodal_models() -> None:
    run = trained(encoder={"dropout": 0.3})
    assert [phase.name for phase, _ in run.phases] == ["alone alpha", "alone beta", "alone gamma", "adapt"]
    start = plain(run.phases[-1][1])
    for name in NAMES[:3]:
        best = [number for number, line in enumerate(run.lines) if line["phase"] == f"alone {name}" and line["best"]][-1]
        keys = [key for key in start if f"of_{name}." in key]
        assert len(keys) == 6  # two layers of the encoder and the head
        assert all(torch.equal(start[key], run.epochs[best][key]) for key in keys)
    adapters = {key: value for key, value in run.phases[-1][1].items() if key.endswith(FACTORS)}
    assert len(adapters) == 3 * 2 * 2
    assert all(bool(value.any()) == key.endswith(".down") for key, value in adapters.items())


def test_what_remains_is_the_frozen_weight_plus_a_change_of_low_rank() -> None:
    run = trained()
    start, kept = run.phases[-1][1], run.epochs[[number for number, line in enumerate(run.lines) if line["best"]][-1]]
    assert adapters_of(run.ctx.model) == []
    assert run.state.keys() == plain(run.last).keys()
    for key, value in run.state.items():
        if not key.startswith("encoders."):
            assert torch.equal(value, kept[key])
        elif key.endswith(".weight"):
            layer = key.removesuffix(".weight")
            assert torch.equal(start[key], kept[key])
            torch.testing.assert_close(value, kept[key] + kept[f"{layer}.up"] @ kept[f"{layer}.down"])
            assert 0 < torch.linalg.matrix_rank(value - start[key]) <= 2
        else:
            assert torch.equal(value, start[key])


def test_only_one_modality_is_adapted_where_one_is_named() -> None:
    run = trained({"only": "beta"})
    assert {key.split(".")[1] for key in run.last if key.endswith(FACTORS)} == {"of_beta"}
    log = run.lines[-1]["coefficients"]
    assert log["change.beta"] > 0 == log["change.alpha"] == log["change.gamma"]
    with pytest.raises(ConfigError, match=r"only: unknown modality 'betta'.*beta"):
        trained({"only": "betta"})


def test_convolutions_and_encoders_without_layers_take_part() -> None:
    part = toy_part(30)
    pictures = {"picture": part.inputs["alpha"][:, :4].reshape(30, 1, 2, 2), "row": part.inputs["beta"]}
    train = MemoryPart(pictures, {name: torch.ones(30, dtype=torch.bool) for name in pictures}, part.target)
    model = toy_model({"picture": (1, 2, 2), "row": (5,)}, "logit")
    model.encoders["picture"] = nn.Sequential(nn.Conv2d(1, 8, 2), nn.Flatten())
    model.encoders["row"] = nn.LayerNorm(5)
    model.fusion.heads["row"] = nn.Linear(5, 3)
    run = train_toy("mmlora", train=train, validation=train, model=model)
    log = run.lines[-1]["coefficients"]
    assert log["change.picture"] > 0 == log["change.row"]
    assert type(model.encoders["picture"][0]) is nn.Conv2d


def masked_by_noise(samples: int, seed: int) -> MemoryPart:
    """Modality alpha is the class under a noise that modality beta shows; beta has a faint word of its own."""
    random = torch.Generator().manual_seed(seed)
    target = torch.arange(samples) % 2
    sign = (2.0 * target - 1)[:, None]
    noise, rest = 2 * torch.randn(samples, 1, generator=random), torch.randn(samples, 6, generator=random)
    inputs = {
        "alpha": torch.cat([sign + noise, rest[:, :3]], 1),
        "beta": torch.cat([noise + 0.1 * rest[:, 3:4], 0.7 * sign + rest[:, 4:5], rest[:, 5:]], 1),
    }
    return MemoryPart(inputs, {name: torch.ones(samples, dtype=torch.bool) for name in inputs}, target)


@pytest.mark.parametrize(("optimizer", "rate"), [("sgd", 0.05), ("adamw", 0.01)])
def test_adaptation_finds_what_no_modality_finds_alone(optimizer: str, rate: float) -> None:
    """The paper's claim: an ensemble of unimodal models lacks adaptation between modalities; a change of low rank adds it."""
    settings = {"optimizer": optimizer, "learning_rate": rate, "epochs": 15, "task": Classification(2)}
    parts = {"train": masked_by_noise(200, 0), "validation": masked_by_noise(500, 50)}
    run = train_toy("mmlora", **parts, **settings)
    ensemble = train_toy("late", fusion="logit", **parts, **settings)
    adapted = [line["validation"]["fused"] for line in run.lines if line["phase"] == "adapt"]
    assert max(line["validation"]["fused"]["accuracy"] for line in ensemble.lines) < 0.87
    assert adapted[0]["accuracy"] < 0.87  # it starts from there
    assert max(line["accuracy"] for line in adapted) > 0.97
    assert adapted[-1]["loss"] < 0.2 * adapted[0]["loss"]
    heads = train_toy("mmlora", {"scale": 1e-6}, **parts, **settings)  # nothing but the heads can learn
    assert max(line["validation"]["fused"]["accuracy"] for line in heads.lines if line["phase"] == "adapt") < 0.93
