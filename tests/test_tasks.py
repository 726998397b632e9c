"""Classification: loss, weights, score, uncertainty, and its description."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch.nn import functional as F

from equipoise.errors import ConfigError
from equipoise.tasks import Classification, task_from_json

LOGITS = torch.randn(9, 4, generator=torch.Generator().manual_seed(0))
TARGET = torch.tensor([0, 1, 2, 3, 0, 1, 0, 0, 2])


def test_loss_score_and_uncertainty_equal_naive_loops() -> None:
    task = Classification(4)
    losses, scores, unsure = task.losses(LOGITS, TARGET), task.score(LOGITS, TARGET), task.uncertainty(LOGITS)
    for row in range(9):
        powers = [math.exp(float(value)) for value in LOGITS[row]]
        probabilities = [power / sum(powers) for power in powers]
        right = probabilities[int(TARGET[row])]
        assert float(scores[row]) == pytest.approx(right, rel=1e-5)
        assert float(losses[row]) == pytest.approx(-math.log(right), rel=1e-5)
        assert float(unsure[row]) == pytest.approx(-sum(p * math.log(p) for p in probabilities), rel=1e-5)
    torch.testing.assert_close(task.log_probabilities(LOGITS).exp().sum(1), torch.ones(9))
    assert float(task.uncertainty(torch.zeros(1, 4))) == pytest.approx(task.largest_uncertainty)
    assert float(task.uncertainty(torch.tensor([[1e4, 0.0, 0.0, 0.0]]))) == pytest.approx(0.0, abs=1e-6)


def test_scores_of_several_modalities_at_once() -> None:
    task = Classification(4)
    both = torch.stack([LOGITS, -LOGITS])
    torch.testing.assert_close(task.score(both, TARGET), torch.stack([task.score(LOGITS, TARGET), task.score(-LOGITS, TARGET)]))
    assert not task.score(both.requires_grad_(), TARGET).requires_grad


def test_class_weights_make_the_weighted_mean() -> None:
    weights = [0.5, 1.0, 2.0, 4.0]
    task = Classification(4, weights)
    share = task.weights(TARGET)
    assert share is not None
    mean = (task.losses(LOGITS, TARGET) * share).sum() / share.sum()
    torch.testing.assert_close(mean, F.cross_entropy(LOGITS, TARGET, weight=torch.tensor(weights)))
    assert Classification(4).weights(TARGET) is None


def test_balanced_weights_give_each_class_the_same_say() -> None:
    share = Classification.balanced(4, TARGET).weights(TARGET)
    assert share is not None
    per_class = [float(share[code == TARGET].sum()) for code in range(4)]
    assert per_class == pytest.approx([9 / 4] * 4)


def test_metrics_hold_the_loss() -> None:
    found, opposite = Classification(4).metrics(torch.stack([LOGITS, -LOGITS]), TARGET)
    assert opposite["loss"] == pytest.approx(float(F.cross_entropy(-LOGITS, TARGET)), rel=1e-5)
    assert {"loss", "accuracy", "balanced_accuracy", "macro_f1"} <= set(found)
    assert found["loss"] == pytest.approx(float(F.cross_entropy(LOGITS, TARGET)), rel=1e-5)
    assert found["accuracy"] == pytest.approx(float((LOGITS.argmax(1) == TARGET).float().mean()))


@pytest.mark.parametrize("weights", [None, [0.5, 1.0, 2.0]])
def test_description_survives_json(weights: list[float] | None) -> None:
    task = task_from_json(json.loads(json.dumps(Classification(3, weights).to_json())))
    assert isinstance(task, Classification)
    assert task.to_json() == {"name": "classification", "classes": 3, "class_weights": weights}
    assert task.outputs == 3


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least two classes, found 1"):
        Classification(1)
    with pytest.raises(ConfigError, match="class weights: 2 given for 3 classes"):
        Classification(3, [1.0, 2.0])
    with pytest.raises(ConfigError, match="unknown task 'ranking'"):
        task_from_json({"name": "ranking"})
