"""The smaller measures: capacity, decision layer, calibration, robustness, generalisation, and information against the truth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, log_loss

import equipoise
from equipoise.data.builtin.gaussian import Bit, gaussian, information
from equipoise.diagnosis.calibration import measure_calibration
from equipoise.diagnosis.capacity import measure_capacity, probe, state_of
from equipoise.diagnosis.coalitions import measure_coalitions
from equipoise.diagnosis.decision import measure_decision
from equipoise.diagnosis.dynamics import read_dynamics
from equipoise.diagnosis.generalisation import measure_generalisation
from equipoise.diagnosis.information import measure_information
from equipoise.diagnosis.material import Estimate, Material, gather
from equipoise.diagnosis.robustness import measure_robustness
from equipoise.nn.fusion.linear import ConcatFusion
from tests.diagnosis.conftest import QUICK


@pytest.mark.parametrize(
    ("gap", "expected"),
    [
        ((0.10, 0.05, 0.15), "starved"),
        ((0.10, -0.01, 0.21), "unclear"),
        ((0.01, 0.005, 0.015), "held"),
        ((-0.10, -0.15, -0.05), "over-fed"),
        ((-0.10, -0.21, 0.01), "unclear"),
    ],
)
def test_states(gap: tuple[float, float, float], expected: str) -> None:
    assert state_of(Estimate(*gap), alone=0.8, chance=0.5) == expected


def test_what_matters_is_the_share_of_what_there_is_to_tell() -> None:
    assert state_of(Estimate(0.01, 0.005, 0.015), alone=0.6, chance=0.5) == "starved"
    assert state_of(Estimate(0.01, 0.005, 0.015), alone=0.9, chance=0.5) == "held"


def test_a_model_compared_with_itself_holds(material: Material) -> None:
    for item in measure_capacity(material, material.train, material.judged):
        assert (item.gap, item.encoder_gap) == (Estimate(0, 0, 0), Estimate(0, 0, 0))
        assert item.state == "held"
        have = material.judged.present[item.modality]
        own = material.judged.own[item.modality][have].argmax(1)
        assert item.inside.value == pytest.approx(balanced_accuracy_score(material.judged.target[have], own))
        assert item.samples == int(have.sum())


def test_a_probe_fitted_to_one_class_says_that_class(material: Material) -> None:
    some = material.train.target == 1
    one = material.train
    present = {name: mask & some for name, mask in one.present.items()}
    only = type(one)(one.ids, one.part, one.outputs, one.target, present)
    assert probe(only, material.judged, "m0").unique().tolist() == [1]


def test_the_weight_of_a_linear_fusion_is_its_norm(material: Material) -> None:
    found = measure_decision(material)
    assert sum(item.share for item in found.values()) == pytest.approx(1.0)
    fusion = material.model.fusion
    if isinstance(fusion, ConcatFusion):
        blocks = fusion.linear.weight.detach().split(list(fusion.sizes.values()), 1)
        for item, block in zip(found.values(), blocks, strict=True):
            assert item.weight == pytest.approx(float(block.norm()), rel=1e-5)
    for name, item in found.items():
        have = material.judged.present[name]
        for code, words in enumerate(material.classes):
            rows = have & (material.judged.target == code)
            right = (material.judged.own[name][rows].argmax(1) == code).double().mean()
            assert item.ability[words] == pytest.approx(float(right))
    for words in material.classes:
        assert sum(item.class_share[words] or 0 for item in found.values()) == pytest.approx(1.0)


def test_calibration_is_of_those_who_have_the_modality(material: Material) -> None:
    found = measure_calibration(material)
    assert list(found) == ["fused", "m0", "m1", "m2"]
    for name, item in found.items():
        have = material.judged.present.get(name, torch.ones(len(material.judged.target), dtype=torch.bool))
        assert sum(item.samples) == int(have.sum())
        assert all((share is None) == (count == 0) for share, count in zip(item.accuracy, item.samples, strict=True))
        assert 0 <= item.error.low <= item.error.high <= 1


def test_robustness_starts_undisturbed_and_ends_without_the_modality(material: Material) -> None:
    curves = {(curve.modality, curve.kind): curve for curve in measure_robustness(material)}
    assert len(curves) == 9
    full = balanced_accuracy_score(material.judged.target, material.judged.fused.argmax(1))
    assert all(curve.scores[0].value == pytest.approx(full) for curve in curves.values())
    noise, shuffled = curves["m0", "noise"], curves["m0", "shuffling"]
    assert noise.scores[-1].value < full - 0.1
    assert shuffled.scores[1].value < full - 0.1
    # Who has nothing else keeps the modality, so that absence takes a little less than the coalition of the others lacks.
    others = {item.modalities: item for item in measure_coalitions(material)["mask"].scores}["m1", "m2"]
    assert others.score.value <= curves["m0", "absence"].scores[-1].value < full


def test_generalisation(material: Material) -> None:
    found = measure_generalisation(material)
    target = material.judged.target
    expected = log_loss(target, material.judged.fused.exp(), labels=[0, 1, 2])
    assert found["fused"].loss == pytest.approx(expected)
    assert found["fused"].excess.value == pytest.approx(expected - found["fused"].entropy)
    assert found["fused"].train_score == pytest.approx(
        balanced_accuracy_score(material.train.target, material.train.fused.argmax(1))
    )


def test_information_matches_the_truth_of_gaussian_channels() -> None:
    """The first modality has a bit to itself, and another one both have."""
    bits = (Bit("redundant", {"a": 1.5, "b": 1.5}), Bit("redundant", {"a": 1.2}))
    data: dict[str, Any] = dict(gaussian(4000, bits=bits, seed=1))
    target = data.pop("label")
    run = equipoise.fit(data, target=target, method="late", encoder="mlp", epochs=15, **QUICK)
    found = measure_information(gather(run, run.predictor.read(data, labelled=True, target=target)))
    for name in "ab":
        truth = information(bits, [name])
        assert found.modalities[name].budget.low < truth < found.modalities[name].budget.high
        assert found.modalities[name].neighbours == pytest.approx(truth, abs=0.06)
    assert found.fused.budget.value == pytest.approx(information(bits), abs=0.06)
    (pair,) = found.pairs
    assert pair.together.budget.value == pytest.approx(information(bits, ["a", "b"]), abs=0.06)
    assert pair.parts is not None
    assert pair.intervals is not None
    # Named classes say less than probabilities do; the order of the parts and what is absent stay.
    truth = {"redundant": information(bits, ["b"]), "unique_first": information(bits) - information(bits, ["b"])}
    for parts in pair.parts.values():
        for key, value in truth.items():
            assert 0.75 * value < parts[key] < 1.05 * value
        assert abs(parts["unique_second"]) < 0.04
        assert abs(parts["synergistic"]) < 0.04
    assert all(value.low <= value.high for value in pair.intervals.values())


def test_dynamics_have_a_gap_where_an_epoch_lacks_a_curve() -> None:
    line = {"phase": "train", "epoch": 1, "losses": {"fused": 1.0}, "coefficients": {}, "learning_rate": 0.1, "best": True}
    lines = [
        {**line, "validation": {"fused": {"loss": 1.0}}},
        {**line, "epoch": 2, "losses": {"a": 2.0}, "validation": {"fused": {"loss": 0.5}, "a": {"loss": 3.0}}},
    ]
    found = read_dynamics(lines)
    assert found is not None
    assert found.losses == {"fused": (1.0, None), "a": (None, 2.0)}
    assert found.validation == {"fused": {"loss": (1.0, 0.5)}, "a": {"loss": (None, 3.0)}}
    assert read_dynamics([]) is None
    assert np.isnan(found.learning_rate).sum() == 0
