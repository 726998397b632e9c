"""Who decided, and who disagrees."""

from __future__ import annotations

import pytest
import torch
from scipy.spatial.distance import jensenshannon

from equipoise.diagnosis.material import Material
from equipoise.diagnosis.samples import disagreement, measure_samples


def test_disagreement_of_two_is_the_divergence_of_scipy() -> None:
    own = torch.randn(2, 5, 3, dtype=torch.float64).log_softmax(2)
    found = disagreement(own, torch.ones(2, 5, dtype=torch.bool))
    expected = jensenshannon(own[0].exp().T, own[1].exp().T) ** 2
    assert found.tolist() == pytest.approx(expected.tolist())


def test_whoever_is_absent_disagrees_with_nobody() -> None:
    own = torch.randn(3, 1, 4).log_softmax(2)
    present = torch.tensor([[True], [False], [True]])
    assert disagreement(own, present).item() == pytest.approx(disagreement(own[::2], present[::2]).item())
    assert disagreement(own, torch.tensor([[True], [False], [False]])).item() == pytest.approx(0, abs=1e-6)


def test_contributions_sum_to_what_was_said(material: Material) -> None:
    found = measure_samples(material)
    assert sum(found.decided.values()) == pytest.approx(1.0)
    assert found.decided["m0"] > found.decided["m2"]
    values = [item.disagreement for item in found.samples]
    assert values == sorted(values, reverse=True)
    rows = {str(name): row for row, name in enumerate(material.judged.ids)}
    for item in found.samples:
        row = rows[item.id]
        assert item.confidence == pytest.approx(float(material.judged.fused[row].max().exp()))
        assert sum(item.contributions.values()) == pytest.approx(item.confidence - 1 / 3, abs=1e-6)
        assert set(item.own) == {name for name in material.names if material.judged.present[name][row]}
        assert item.decided in item.own
        assert item.contributions[item.decided] == max(item.contributions[name] for name in item.own)
        assert all(item.contributions[name] == pytest.approx(0, abs=1e-6) for name in set(material.names) - set(item.own))
