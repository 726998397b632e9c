"""Encoders by import path, frozen ones, and learning rates of their own."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import equipoise
from equipoise.config import EncoderOptions, TrainingOptions
from equipoise.errors import ConfigError, RunError
from equipoise.methods.base import Phase, make_method
from equipoise.nn.encoders.base import build_encoder, encoder_class
from equipoise.nn.fusion.linear import ConcatFusion
from equipoise.nn.multimodal import MultimodalModel, build_model, describe_encoders
from equipoise.tasks import Classification
from equipoise.training.optimizers import PhaseOptimizer
from tests.contract.harness import assert_same, differs, train_toy, weights
from tests.end_to_end.harness import labels, mapping

OWNER = "encoder of modality 'a'"
SHAPES = {"alpha": (6,), "beta": (5,), "gamma": (4,)}
NETS = '''
import torch
from torch import nn

class Ours(nn.Module):
    """Called like the encoders that come along."""
    def __init__(self, shape, feature_size, *, width=8):
        super().__init__()
        inputs = int(torch.tensor(shape).prod())
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(inputs, width), nn.Linear(width, feature_size))
    def forward(self, inputs):
        return self.layers(inputs)

class Plain(nn.Module):
    """Takes options of its own only."""
    def __init__(self, inputs, hidden: int = 4, act="relu", extra=None):
        super().__init__()
        self.linear, self.act, self.extra = nn.Linear(inputs, hidden), act, extra
    def forward(self, inputs):
        return getattr(torch, self.act)(self.linear(inputs))

class Open(nn.Module):
    def __init__(self, feature_size, **more):
        super().__init__()
        self.linear, self.more = nn.Linear(5, feature_size), more
    def forward(self, inputs):
        return self.linear(inputs)

class Broken(nn.Module):
    def __init__(self):
        raise KeyError("weights")

class Flat(nn.Module):
    def forward(self, inputs):
        return inputs.sum()

class Refuses(nn.Module):
    def forward(self, inputs):
        assert inputs.ndim == 9, "nine dimensions\\nplease"

def function(shape):
    return nn.Linear(3, 4)
'''


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package of the user's with encoders, which is on the path during the test."""
    package = f"nets_{tmp_path.name}"
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text("")
    (tmp_path / package / "models.py").write_text(NETS)
    (tmp_path / package / "damaged.py").write_text("import nothing_of_this_name\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return f"{package}.models"


def test_a_class_is_called_by_what_its_constructor_takes(nets: str) -> None:
    ours = build_encoder({"name": f"{nets}.Ours", "width": "3"}, (2, 3), 8, OWNER)
    assert (ours(torch.zeros(4, 2, 3)).shape, ours.layers[1].out_features) == ((4, 8), 3)  # type: ignore[index, union-attr]
    plain: Any = build_encoder({"name": f"{nets}.Plain", "inputs": 5, "act": "tanh", "extra": [1]}, (5,), 8, OWNER)
    assert (plain(torch.zeros(4, 5)).shape, plain.act, plain.extra) == ((4, 4), "tanh", [1])
    some: Any = build_encoder({"name": f"{nets}.Open", "depth": "2", "feature_size": 6}, (5,), 8, OWNER)
    assert (some(torch.zeros(4, 5)).shape, some.more) == ((4, 6), {"depth": 2})


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("nowhere.nets.Net", {}, r"nowhere.nets.Net cannot be imported \(ModuleNotFoundError: No module named 'nowhere'\)"),
        ("{nets}.Missing", {}, r"Missing cannot be imported \(AttributeError: module .* has no attribute 'Missing'\)"),
        ("{package}.damaged.Net", {}, r"cannot be imported \(ModuleNotFoundError: No module named 'nothing_of_this_name'\)"),
        ("{nets}.function", {}, "expected a class derived from torch.nn.Module"),
        ("{nets}.torch", {}, "expected a class derived from torch.nn.Module"),
        ("{nets}.Ours", {"widht": 3}, r"\(.*Ours\): unknown option 'widht', did you mean 'width'"),
        ("{nets}.Ours", {"width": "wide"}, r"\(.*Ours\): width = 'wide' is not valid, expected a value like 8"),
        ("{nets}.Plain", {}, r"\(.*Plain\): option 'inputs' is missing, which has no default"),
        ("{nets}.Broken", {}, r"\(.*Broken\) cannot be made: KeyError: 'weights'"),
        ("mpl", {}, "unknown encoder 'mpl', did you mean 'mlp'"),
    ],
)
def test_what_cannot_be_made_is_refused_in_one_sentence(nets: str, name: str, options: dict[str, Any], sentence: str) -> None:
    name = name.format(nets=nets, package=nets.split(".")[0])
    with pytest.raises(ConfigError, match=sentence) as caught:
        build_encoder({"name": name, **options}, (5,), 8, OWNER)
    assert str(caught.value).startswith((OWNER, "unknown encoder"))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("Flat", r"encoder of modality 'scan' must give features of shape \(batch, width\), found \(\) for 2 samples"),
        ("Refuses", r"encoder of modality 'scan' cannot take samples of shape \(1, 6, 6\): nine dimensions$"),
    ],
)
def test_wrong_features_are_refused_before_anything_is_written(nets: str, tmp_path: Path, name: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        fit(out=tmp_path / "run", encoder={"scan": f"{nets}.{name}"})
    assert not (tmp_path / "run").exists()


def fit(**options: Any) -> equipoise.Run:
    return equipoise.fit(mapping(), target=labels(), **{"epochs": 1, "device": "cpu", "progress": False, **options})


def test_a_run_folder_imports_nothing_by_itself(nets: str, tmp_path: Path) -> None:
    run = fit(out=tmp_path / "run", encoder={"scan": {"name": f"{nets}.Ours", "width": 3}})
    expected = run.predict(mapping()).probabilities
    sentence = rf"run: this run has encoders .* would be imported: {nets}.Ours; if you trust it, allow it by --allow-imports"
    with pytest.raises(RunError, match=sentence):
        equipoise.load(tmp_path / "run")
    with pytest.raises(RunError, match=sentence):
        equipoise.resume(tmp_path / "run", mapping(), target=labels(), progress=False)
    allowed = equipoise.load(tmp_path / "run", device="cpu", allow_imports=True)
    assert (allowed.predict(mapping()).probabilities == expected).all()
    module = encoder_class(f"{nets}.Ours", OWNER)((1, 6, 6), 64, width=3)  # type: ignore[call-arg]
    passed = equipoise.load(tmp_path / "run", device="cpu", encoders={"scan": module})
    assert (passed.predict(mapping()).probabilities == expected).all()
    assert passed.config["encoders"]["scan"]["name"] == "own", "what trains on with this run must not import it either"
    (tmp_path / "run" / "summary.json").unlink()
    with pytest.raises(RunError, match=sentence):
        equipoise.resume(tmp_path / "run", mapping(), target=labels(), progress=False)


@pytest.mark.parametrize("encoder", ["{nets}.Ours", {"name": "{nets}.Ours"}, {"blood": {"name": "{nets}.Ours"}}])
def test_an_import_path_in_the_options_alone_is_seen_too(nets: str, tmp_path: Path, encoder: Any) -> None:
    """The options of a run are what is trained with when one trains on with it."""
    fit(out=tmp_path / "run")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    config["options"]["encoder"] = json.loads(json.dumps(encoder).replace("{nets}", nets))
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    with pytest.raises(RunError, match="would be imported"):
        equipoise.load(tmp_path / "run")


class Normed(nn.Module):
    """An encoder with everything that training mode changes."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(width, 7), nn.BatchNorm1d(7), nn.Dropout(0.5))

    def forward(self, inputs: Tensor) -> Tensor:
        features: Tensor = self.layers(inputs)
        return features


def test_a_frozen_module_of_the_users_keeps_weights_and_batch_statistics() -> None:
    module = Normed(36)
    before = weights(module)
    run = fit(epochs=2, encoders={"scan": module}, encoder={"scan": {"frozen": True}, "blood": {"learning_rate": 0.1}})
    assert_same(weights(module), before)
    assert not module.training
    assert run.config["encoders"]["scan"] == {"name": "own", "class": f"{__name__}.Normed", "frozen": True}
    free = Normed(36)
    fit(epochs=2, encoders={"scan": free})
    assert not torch.equal(weights(free)["layers.2.running_mean"], torch.zeros(7))


def test_frozen_encoders_stay_in_evaluation_mode() -> None:
    encoders = {"a": nn.Dropout(0.5), "b": nn.Dropout(0.5)}
    model = MultimodalModel(encoders, ConcatFusion({"a": 2, "b": 2}, Classification(3)), {"a": EncoderOptions(frozen=True)})
    for mode in (True, False, True):
        model.train(mode)
        assert not model.encoders["a"].training
        assert model.encoders["b"].training == mode
    wrapper = nn.Sequential(copy.deepcopy(model)).train()
    assert not wrapper[0].encoders["a"].training  # type: ignore[union-attr, index]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"frozen": "maybe"}, f"{OWNER}: frozen = 'maybe' is not valid, expected true or false"),
        ({"learning_rate": 0}, f"{OWNER}: learning_rate = 0.0 is out of range, expected more than 0"),
        ({"frozen": "true", "learning_rate": "1e-3"}, f"{OWNER}: frozen = true and learning_rate = 0.001 contradict"),
    ],
)
def test_wrong_options_on_training_are_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        build_model({"a": (3,)}, {"a": {"name": "mlp", **options}}, {"name": "concat"}, 8, Classification(3), 0)


def test_options_that_every_encoder_has_reach_encoders_of_another_name() -> None:
    description = {"frozen": True, "hidden": 5, "name": "mlp", "image": "cnn"}
    found = describe_encoders(description, {"image": "image", "table": "tabular"})
    assert found["image"] == {"name": "cnn", "frozen": True}
    assert found["table"] == {"name": "mlp", "hidden": 5, "frozen": True}


def rated(method: str = "joint", **rates: float) -> MultimodalModel:
    """A model for a method, in which some encoders have learning rates of their own."""
    fusion = make_method({"name": method}).card.fusion or "concat"
    described = {name: {"name": "mlp", "hidden": 12, "learning_rate": rates.get(name)} for name in SHAPES}
    return build_model(SHAPES, described, {"name": fusion}, 8, Classification(3), 0)


def test_a_learning_rate_of_its_own_takes_the_course_of_the_runs() -> None:
    model = rated(alpha=0.5)
    optimizer = PhaseOptimizer(model, Phase(learning_rate=0.1), TrainingOptions(learning_rate=0.2))
    for epoch, factor in ((0, 1.0), (5, 0.5)):
        optimizer.start_epoch(epoch, 10)
        found = {id(item): group["lr"] for group in optimizer.torch.param_groups for item in group["params"]}
        own = {id(item) for item in model.parameters_of("alpha")}
        assert len(found) == len(list(model.parameters()))
        for key, rate in found.items():
            assert rate == pytest.approx((0.5 if key in own else 0.2) * 0.1 * factor)
        assert optimizer.rate == pytest.approx(0.2 * 0.1 * factor)


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_scaling_an_update_multiplies_the_rate_of_the_encoder(name: str) -> None:
    model = rated(alpha=0.5)
    options = TrainingOptions(learning_rate=0.1, weight_decay=0.0, schedule="constant", optimizer=name, momentum=0.0)
    optimizer = PhaseOptimizer(model, Phase(), options)
    optimizer.start_epoch(0, 1)
    for factor in (0.2, 1.0):
        before = weights(model)
        for item in model.parameters():
            item.grad = torch.ones_like(item)
        optimizer.scale("alpha", factor)
        optimizer.step()
        for key, value in weights(model).items():
            expected = 0.5 * factor if "of_alpha." in key else 0.1
            torch.testing.assert_close(before[key] - value, torch.full_like(value, expected), rtol=1e-3, atol=1e-6)


def test_the_runs_own_rate_stated_for_an_encoder_changes_nothing() -> None:
    plain, stated = (train_toy("joint", model=model) for model in (rated(), rated(beta=1e-2)))
    assert_same(plain.state, stated.state)


@pytest.mark.parametrize("method", ["msl", "ogm", "umt"])
def test_runs_with_rates_of_their_own_resume_bit_for_bit(method: str) -> None:
    saved: list[dict[str, Any]] = []
    settings: dict[str, Any] = {"checkpoint_seconds": 0.0, "schedule": "cosine"}

    def keep(payload: dict[str, Any]) -> None:
        saved.append(copy.deepcopy(payload))

    straight = train_toy(method, model=rated(method, alpha=0.05, beta=1e-4), save=keep, **settings)
    common = train_toy(method, model=rated(method), **settings)
    assert differs(straight.last, common.last, lambda key: "of_alpha." in key)
    middle = saved[len(saved) // 2]
    resumed = train_toy(method, model=rated(method, alpha=0.05, beta=1e-4), resume=middle, **settings)
    assert_same(resumed.last, straight.last)


def test_a_phase_of_frozen_parameters_alone_says_so() -> None:
    described = {name: {"name": "mlp", "frozen": True} for name in SHAPES}
    model = build_model(SHAPES, described, {"name": "concat"}, 8, Classification(3), 0)
    phase = Phase(name="alone", parameters=lambda model: model.parameters_of("alpha"))
    with pytest.raises(ConfigError, match="phase 'alone': there is nothing to train, everything that it trains is frozen"):
        PhaseOptimizer(model, phase, TrainingOptions())
