"""Coalitions against passes of the whole model, and what is contributed against sums."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score
from torch import Tensor

import equipoise
from equipoise.batch import Batch
from equipoise.data.loader import Loader
from equipoise.diagnosis.coalitions import all_members, measure_coalitions, outputs_of
from equipoise.diagnosis.material import Material, gather, log_probabilities
from tests.diagnosis.conftest import QUICK, arrays


def whole(material: Material) -> Batch:
    """All judged samples as one batch."""
    (batch,) = Loader(material.judged.part, 10**6).ordered()
    return batch


def chosen(material: Material, row: Tensor) -> list[str]:
    """Names of the members of a coalition."""
    return [name for name, member in zip(material.names, row.tolist(), strict=True) if member]


@torch.no_grad()
def test_masked_coalitions_equal_passes_of_the_whole_model(material: Material) -> None:
    members = all_members(3)
    said = torch.cat(list(outputs_of(material, "mask", members)))
    assert not all(bool(mask.all()) for mask in material.judged.present.values())
    for row, found in zip(members, said, strict=True):
        names = chosen(material, row)
        have = torch.zeros(found.shape[0], dtype=torch.bool)
        for name in names:
            have |= material.judged.present[name]
        if names:
            expected = log_probabilities(material.model(whole(material), only=names).logits)
            torch.testing.assert_close(found[have], expected[have], rtol=0, atol=1e-6)
        torch.testing.assert_close(found[~have], torch.full_like(found[~have], 1 / 3).log())


@torch.no_grad()
@pytest.mark.parametrize("way", ["mean", "permutation"])
def test_replaced_features_are_those_of_training_or_of_others(material: Material, way: str) -> None:
    members = all_members(3)
    said = torch.cat(list(outputs_of(material, way, members)))
    torch.testing.assert_close(said[-1], material.judged.fused, rtol=0, atol=1e-6)  # nobody is replaced
    judged = material.judged
    without = members.tolist().index([True, True, False])
    mixed = dict(judged.outputs.features)
    have = judged.present["m2"]
    if way == "mean":
        mixed["m2"] = material.train.features["m2"][material.train.present["m2"]].mean(0).expand_as(mixed["m2"])
        torch.testing.assert_close(said[without], log_probabilities(material.model.fusion(mixed, judged.present)))
    else:  # each feature of those who have the modality is used once, by another sample
        rows = have.nonzero().squeeze(1)
        foreign = [{**mixed, "m2": mixed["m2"][[row]].expand_as(mixed["m2"])} for row in rows.tolist()]
        tried = torch.stack([log_probabilities(material.model.fusion(item, judged.present)) for item in foreign])[:, rows]
        distance, source = (tried - said[without][rows]).abs().amax(2).min(0)
        assert float(distance.max()) < 1e-6
        assert sorted(source.tolist()) == list(range(len(rows)))
        assert source.tolist() != list(range(len(rows)))
    gone = ~have
    torch.testing.assert_close(said[without][gone], material.judged.fused[gone], rtol=0, atol=1e-6)


def test_contributions(material: Material) -> None:
    for way, found in measure_coalitions(material).items():
        assert [item.modalities for item in found.scores][-1] == ("m0", "m1", "m2")
        assert len(found.scores) == 7
        full = balanced_accuracy_score(material.judged.target, material.judged.fused.argmax(1))
        assert found.scores[-1].score.value == pytest.approx(full)
        total = sum(value.value for value in found.shapley.values())
        if way == "mask":
            assert total == pytest.approx(full - 1 / 3)
        score = {item.modalities: item.score.value for item in found.scores}
        assert found.removal["m0"].value == pytest.approx(full - score["m1", "m2"])
        assert found.shapley["m0"].value > found.shapley["m2"].value
        assert found.shapley["m0"].low < found.shapley["m0"].value < found.shapley["m0"].high
        assert 0 < found.deviation.low < found.deviation.value < found.deviation.high < 1
        assert found.standard_error is None
        assert {(one, two) for one, two, _ in found.interactions} == {("m0", "m1"), ("m0", "m2"), ("m1", "m2")}


def test_more_than_twelve_modalities_are_sampled() -> None:
    data, target = arrays(90, 13, missing=0.0)
    run = equipoise.fit(data, target=target, encoder="mlp", epochs=2, **QUICK)
    material = gather(run, run.predictor.read(data, labelled=True, target=target))
    (found,) = measure_coalitions(material).values()
    assert found.standard_error is not None
    assert set(found.standard_error) == set(found.shapley) == set(data)
    full = balanced_accuracy_score(material.judged.target, material.judged.fused.argmax(1))
    assert sum(value.value for value in found.shapley.values()) == pytest.approx(full - 1 / 3)
    assert len(found.scores) == 27
    assert found.interactions == ()
    scores = {item.modalities: item.score.value for item in found.scores}
    rest = tuple(f"m{number}" for number in range(1, 13))
    assert found.removal["m0"].value == pytest.approx(scores[tuple(data)] - scores[rest])
    assert np.isfinite(found.deviation.value)
