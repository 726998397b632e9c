"""The model: encoders see present rows only, names are free, descriptions are forgiving and mistakes are named."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from equipoise.errors import ConfigError
from equipoise.nn.fusion import FUSIONS
from equipoise.nn.multimodal import MultimodalModel, build_model, describe_encoders, feature_width
from equipoise.tasks import Classification
from tests.contract.harness import NAMES, assert_same, toy_model, toy_part, weights
from tests.methods.helpers import make_batch

SHAPES = {"alpha": (6,), "beta": (5,), "gamma": (4,)}


@pytest.mark.parametrize("fusion", FUSIONS.names())
@pytest.mark.parametrize("placeholder", [float("nan"), 1e6])
def test_placeholders_influence_neither_logits_nor_gradients(fusion: str, placeholder: float) -> None:
    found = []
    for value in (0.0, placeholder):
        part = toy_part(20, missing=0.5, placeholder=value)
        model = toy_model(SHAPES, fusion)
        assert part.target is not None
        outputs = model(make_batch(part.inputs, part.target, part.present))
        (outputs.logits.square().sum() + sum(item.square().sum() for item in outputs.unimodal.values())).backward()
        found.append((outputs, {name: item.grad for name, item in model.named_parameters()}))
    (first, first_gradients), (second, second_gradients) = found
    assert torch.equal(first.logits, second.logits)
    assert bool(torch.isfinite(second.logits).all())
    assert_same(first.unimodal, second.unimodal)
    assert_same(first_gradients, second_gradients)
    for name, features in second.features.items():
        assert bool((features[~second.present[name]] == 0).all())


def test_batch_statistics_never_see_placeholders() -> None:
    part = toy_part(40, missing=0.5, placeholder=1e6)
    encoders = {name: nn.Sequential(nn.BatchNorm1d(shape[0]), nn.Linear(shape[0], 4)) for name, shape in SHAPES.items()}
    model = build_model(SHAPES, encoders, {"name": "concat"}, 8, Classification(3), 0)
    assert all(bool((module[0].running_mean == 0).all()) for module in encoders.values())
    assert part.target is not None
    model(make_batch(part.inputs, part.target, part.present)).logits.sum().backward()
    for name, module in encoders.items():
        mean = part.inputs[name][part.present[name]].mean(0)
        torch.testing.assert_close(module[0].running_mean, 0.1 * mean)


def test_only_leaves_the_other_encoders_alone() -> None:
    part = toy_part(10)
    model = toy_model(SHAPES, "sum")
    assert part.target is not None
    batch = make_batch(part.inputs, part.target)
    for size in (1, 2, 3):
        for names in combinations(SHAPES, size):
            model.zero_grad(set_to_none=True)
            outputs = model(batch, only=names)
            assert tuple(outputs.features) == tuple(outputs.unimodal) == names
            outputs.logits.sum().backward()
            for name in SHAPES:
                assert all((item.grad is not None) == (name in names) for item in model.parameters_of(name))
            said = [model.fusion.heads[name](outputs.features[name]) for name in names]
            torch.testing.assert_close(outputs.logits, torch.stack(said).sum(0))


@pytest.mark.parametrize("fusion", ["logit", "information", "sum", "entropy_gate", "budget", "boosted"])
def test_fused_and_unimodal_logits_cost_one_pass_through_the_heads(fusion: str, monkeypatch: pytest.MonkeyPatch) -> None:
    part, model = toy_part(20), toy_model(SHAPES, fusion)
    calls = []
    plain = type(model.fusion).contributions

    def counted(*arguments: Any) -> Any:
        calls.append(1)
        return plain(*arguments)

    monkeypatch.setattr(type(model.fusion), "contributions", counted)
    assert part.target is not None
    outputs = model(make_batch(part.inputs, part.target, part.present))
    assert outputs.logits.shape == outputs.unimodal["alpha"].shape
    assert len(calls) == 1


def test_parameters_are_owned_once() -> None:
    model = toy_model(SHAPES)
    model.add_heads(0)
    model.extras["more"] = nn.Linear(2, 2)
    own = [item for name in model.modalities for item in model.parameters_of(name)]
    ids = [id(item) for item in [*own, *model.shared_parameters()]]
    assert len(ids) == len(set(ids)) == len(list(model.parameters()))


def test_auxiliary_heads_answer_instead_of_the_fusion() -> None:
    part = toy_part(10, missing=0.4)
    model = toy_model(SHAPES)
    assert part.target is not None
    batch = make_batch(part.inputs, part.target, part.present)
    split = model(batch).unimodal
    model.add_heads(3)
    outputs = model(batch)
    assert model.heads is not None
    for name, logits in outputs.unimodal.items():
        rows = part.present[name]
        torch.testing.assert_close(logits[rows], model.heads[name](outputs.features[name][rows]))
        assert bool((logits[~rows] == 0).all())
        assert not torch.equal(logits, split[name])
    again = toy_model(SHAPES)
    torch.manual_seed(9)
    again.add_heads(3)
    assert again.heads is not None
    assert_same(weights(model.heads), weights(again.heads))


def test_initial_weights_depend_on_seed_and_name_only() -> None:
    whole = toy_model(SHAPES, seed=4)
    torch.manual_seed(77)
    alone = toy_model({"beta": (5,)}, "gated", seed=4)
    turned = toy_model(dict(reversed(SHAPES.items())), "gated", seed=4)
    for other in (alone, turned):
        assert_same(weights(whole.encoders["beta"]), weights(other.encoders["beta"]))
    assert not torch.equal(whole.parameters_of("beta")[0], toy_model(SHAPES, seed=5).parameters_of("beta")[0])
    same = toy_model({"beta": (5,), "other": (5,)}, seed=4)
    assert not torch.equal(same.parameters_of("beta")[0], same.parameters_of("other")[0])


def test_building_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    toy_model(SHAPES).add_heads(0)
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize("name", ["train", "a.b", "a%2Eb", "forward", "weight", "with blank", "Ü", "0", ""])
def test_modalities_are_called_as_people_like(name: str) -> None:
    shapes = {name: (6,), "x": (5,)}
    for fusion in FUSIONS.names():
        model = toy_model(shapes, fusion)
        model.add_heads(0)
        batch = make_batch({name: torch.randn(4, 6), "x": torch.randn(4, 5)}, torch.tensor([0, 1, 2, 0]))
        outputs = model(batch)
        assert set(outputs.unimodal) == {name, "x"}
        again = toy_model(shapes, fusion, seed=1)
        again.add_heads(1)
        again.load_state_dict(model.state_dict())
        assert torch.equal(again(batch).logits, outputs.logits)


def test_no_modality_is_called_like_what_all_say_together() -> None:
    with pytest.raises(ConfigError, match="cannot be called 'fused'"):
        toy_model({"fused": (3,), "other": (3,)})


KINDS = {"image": "image", "text": "tabular", "wave": "array"}


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        (None, {"image": {"name": "cnn"}, "text": {"name": "mlp"}, "wave": {"name": "mlp"}}),
        ("mlp", {name: {"name": "mlp"} for name in KINDS}),
        ({"name": "mlp", "hidden": 32}, {name: {"name": "mlp", "hidden": 32} for name in KINDS}),
        ({"image": "mlp"}, {name: {"name": "mlp"} for name in KINDS}),
        (
            {"image": {"width": 8}},
            {"image": {"name": "cnn", "width": 8}, "text": {"name": "mlp"}, "wave": {"name": "mlp"}},
        ),
        (
            {"name": "mlp", "hidden": 32, "image": {"name": "cnn", "width": 8}, "wave": {"hidden": 16}},
            {
                "image": {"name": "cnn", "width": 8},
                "text": {"name": "mlp", "hidden": 32},
                "wave": {"name": "mlp", "hidden": 16},
            },
        ),
    ],
)
def test_descriptions_of_encoders(description: Any, expected: dict[str, dict[str, Any]]) -> None:
    assert describe_encoders(description, KINDS) == expected


@pytest.mark.parametrize(
    ("description", "words"),
    [
        (3, "expected a name or a mapping, found 3"),
        ({"imag": {"name": "mlp"}}, "unknown modality 'imag', did you mean 'image'"),
        ({"image": 3}, "encoder of modality 'image': expected a name or a mapping, found 3"),
    ],
)
def test_wrong_descriptions_of_encoders(description: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        describe_encoders(description, KINDS)


class Wrong(nn.Module):
    """An encoder that keeps the positions."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs[:, None]


class Two(nn.Module):
    """An encoder that returns a pair."""

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        return inputs, inputs


@pytest.mark.parametrize(
    ("encoder", "words"),
    [
        (Wrong(), r"encoder of modality 'alpha' must give features of shape \(batch, width\), found \(2, 1, 6\) for 2 samples"),
        (Two(), "encoder of modality 'alpha' must give features .* found tuple"),
        (nn.Linear(7, 4), r"encoder of modality 'alpha' cannot take samples of shape \(6,\)"),
    ],
)
def test_encoders_that_do_not_fit_are_refused_in_one_sentence(encoder: nn.Module, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        build_model({"alpha": (6,)}, {"alpha": encoder}, {"name": "concat"}, 8, Classification(3), 0)
    assert len(str(caught.value).splitlines()) == 1


def test_encoders_must_not_share_parameters() -> None:
    shared = nn.Linear(6, 4)
    with pytest.raises(ConfigError, match="must not share"):
        build_model({"a": (6,), "b": (6,)}, {"a": shared, "b": shared}, {"name": "sum"}, 8, Classification(3), 0)


def test_trying_an_encoder_does_not_change_it() -> None:
    norm = nn.BatchNorm1d(6)
    encoder = nn.Sequential(norm, nn.Linear(6, 4))
    before = weights(encoder)
    assert feature_width(encoder, (6,), "a") == 4
    assert_same(weights(encoder), before)
    assert encoder.training


def test_users_encoders_may_differ_in_width() -> None:
    encoders = {name: nn.Linear(shape[0], 2 + place) for place, (name, shape) in enumerate(SHAPES.items())}
    batch = make_batch({name: torch.randn(4, *shape) for name, shape in SHAPES.items()}, torch.tensor([0, 1, 2, 0]))
    for fusion in set(FUSIONS.names()) - {"entropy_gate"}:
        model = build_model(SHAPES, encoders, {"name": fusion}, 8, Classification(3), 0)
        assert isinstance(model, MultimodalModel)
        assert model(batch).logits.shape == (4, 3)
        assert set(model(batch).unimodal) == set(NAMES[:3])
