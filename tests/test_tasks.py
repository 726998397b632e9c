"""Tasks: loss, weights, score, uncertainty, metrics, and their description."""

from __future__ import annotations

import json
import math

import pytest
import torch
from sklearn.metrics import accuracy_score, cohen_kappa_score, f1_score, mean_squared_error, r2_score
from torch.nn import functional as F

from equipoise.errors import ConfigError
from equipoise.tasks import Classification, Multilabel, Ordinal, Regression, Task, make_task, task_from_json

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
    torch.testing.assert_close(task.predictions(LOGITS).sum(1), torch.ones(9))
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


LABELS = (torch.rand(9, 4, generator=torch.Generator().manual_seed(1)) < 0.5).float()
NUMBERS = 20 + 3 * torch.randn(9, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def test_labels_equal_naive_loops() -> None:
    task = Multilabel(4)
    values = {
        "losses": task.losses(LOGITS, LABELS),
        "score": task.score(LOGITS, LABELS),
        "unsure": task.uncertainty(LOGITS),
        "confidence": task.confidence(LOGITS),
        "divergence": task.divergence(LOGITS, -LOGITS),
    }
    for row in range(9):
        wanted: dict[str, list[float]] = {name: [] for name in values}
        for label in range(4):
            p = 1 / (1 + math.exp(-float(LOGITS[row, label])))
            right = p if LABELS[row, label] else 1 - p
            wanted["losses"].append(-math.log(right))
            wanted["score"].append(right)
            wanted["unsure"].append(-p * math.log(p) - (1 - p) * math.log(1 - p))
            wanted["confidence"].append(max(p, 1 - p))
            wanted["divergence"].append(p * math.log(p / (1 - p)) + (1 - p) * math.log((1 - p) / p))
        for name, numbers in wanted.items():
            assert float(values[name][row]) == pytest.approx(sum(numbers) / 4, rel=1e-4), name
    assert float(task.uncertainty(torch.zeros(1, 4))) == pytest.approx(task.largest_uncertainty)


def test_balanced_labels_count_the_same_with_and_without() -> None:
    target = torch.tensor([[1.0, 1.0], [0.0, 1.0], [0.0, 1.0], [0.0, 0.0]])
    parts = Multilabel.balanced(target).losses(torch.zeros(4, 2), target)
    assert parts.tolist() == pytest.approx([math.log(2) * value / 2 for value in (3 + 1 / 3, 4 / 3, 4 / 3, 2)])


def test_numbers_equal_naive_loops() -> None:
    task = Regression.fitted(NUMBERS)
    mean, scale = NUMBERS.mean(0), NUMBERS.std(0, correction=0)
    losses, scores, said = task.losses(LOGITS, NUMBERS), task.score(LOGITS, NUMBERS), task.predictions(LOGITS)
    for row in range(9):
        errors = [float((NUMBERS[row, k] - mean[k]) / scale[k]) - float(LOGITS[row, k]) for k in range(4)]
        assert float(losses[row]) == pytest.approx(sum(error**2 / 2 for error in errors) / 4, rel=1e-4)
        assert float(scores[row]) == pytest.approx(math.exp(-float(losses[row])), rel=1e-5)
        assert said[row].tolist() == pytest.approx((mean + scale * LOGITS[row]).tolist(), rel=1e-5)
    assert losses.dtype == LOGITS.dtype
    assert task.losses(torch.zeros(9, 4), NUMBERS).mean() == pytest.approx(0.5)


def test_large_numbers_keep_their_digits() -> None:
    target = 1.7e9 + torch.arange(10, dtype=torch.float64)[:, None]
    task = Regression.fitted(target)
    exact = ((target - target.mean()) / target.std(correction=0)).float()
    assert float(task.losses(exact, target).max()) < 1e-10


@pytest.mark.parametrize("task", [Classification(4), Ordinal(4), Multilabel(4), Regression([0.0] * 4, [1.0] * 4)])
def test_what_every_task_promises(task: Task) -> None:
    target = {"multilabel": LABELS, "regression": NUMBERS}.get(task.name, TARGET)
    both = torch.stack([LOGITS, -2 * LOGITS])
    score = task.score(both, target)
    assert bool(((score >= 0) & (score <= 1)).all())
    torch.testing.assert_close(score[1], task.score(both[1], target))
    assert not task.score(both.clone().requires_grad_(), target).requires_grad
    first, second = both
    assert task.divergence(first, first).abs().max() < 1e-6
    assert bool((task.divergence(first, second) > 0).all())
    torch.testing.assert_close(task.disagreement(first, second), task.disagreement(second, first))
    assert bool((task.disagreement(first, second) <= task.divergence(first, second)).all())
    assert bool((task.confidence(both) <= 1).all())
    assert bool((task.uncertainty(both) <= task.largest_uncertainty + 1e-6).all())
    found, other = task.metrics(both, target)
    assert set(found) == set(task.measured)
    assert other["loss"] == pytest.approx(float(task.mean_loss(both[1], target)), rel=1e-4)
    assert task.monitor("auto") == task.main_metric in found
    with pytest.raises(ConfigError, match=f"monitor = 'auroc' is no metric of {task.name}"):
        task.monitor("auroc")
    again = task_from_json(json.loads(json.dumps(task.to_json())))
    assert (type(again), again.outputs, again.to_json()) == (type(task), 4, task.to_json())


@pytest.mark.parametrize("task", [Classification(4), Multilabel(4), Regression([1.0] * 4, [2.0] * 4)])
def test_the_mean_of_votes_is_the_normalised_product_of_predictions(task: Task) -> None:
    """The geometric mean of probabilities, brought to a sum of one; of normal distributions of one variance, the mean."""
    second = LOGITS.flip(0)
    fused = task.predictions((task.votes(LOGITS) + task.votes(second)) / 2)
    p, q = task.predictions(LOGITS), task.predictions(second)
    if task.name == "regression":
        expected = (p + q) / 2
    elif task.name == "multilabel":
        yes, no = (p * q).sqrt(), ((1 - p) * (1 - q)).sqrt()
        expected = yes / (yes + no)
    else:
        expected = (p * q).sqrt() / (p * q).sqrt().sum(1, keepdim=True)
    torch.testing.assert_close(fused, expected)


def test_a_predictor_that_is_added_learns_what_is_left() -> None:
    classes, numbers = Classification(4), Regression([0.0] * 4, [1.0] * 4)
    weight = 1 - 0.5 * classes.score(LOGITS, TARGET)
    torch.testing.assert_close(
        classes.residual_losses(LOGITS, -LOGITS, TARGET, 0.5), weight * F.cross_entropy(-LOGITS, TARGET, reduction="none")
    )
    target = NUMBERS.float()
    previous, newest = LOGITS.clone().requires_grad_(), (target - LOGITS).requires_grad_()
    loss = numbers.residual_losses(previous, newest, target, 0.5)
    assert float(loss.max().detach()) < 1e-8
    loss.sum().backward()
    assert previous.grad is None


def test_fast_metrics_equal_scikit_learn() -> None:
    (found,) = Multilabel(4).metrics(LOGITS[None], LABELS)
    said, truth = (LOGITS >= 0).numpy(), LABELS.numpy().astype(bool)
    assert found["macro_f1"] == pytest.approx(f1_score(truth, said, average="macro"))
    assert found["micro_f1"] == pytest.approx(f1_score(truth, said, average="micro"))
    assert found["subset_accuracy"] == pytest.approx(accuracy_score(truth, said))
    task = Regression.fitted(NUMBERS)
    (values,) = task.metrics(LOGITS[None], NUMBERS)
    predicted = task.predictions(LOGITS.double()).numpy()
    assert values["r2"] == pytest.approx(r2_score(NUMBERS.numpy(), predicted))
    assert values["mse"] == pytest.approx(mean_squared_error(NUMBERS.numpy(), predicted))
    (ordered,) = Ordinal(4).metrics(LOGITS[None], TARGET)
    assert ordered["kappa"] == pytest.approx(cohen_kappa_score(TARGET, LOGITS.argmax(1), weights="quadratic"))
    assert ordered["mae"] == pytest.approx(float((TARGET - LOGITS.argmax(1)).abs().double().mean()))


def test_tasks_are_made_of_training_targets() -> None:
    assert make_task("ordinal", 4, TARGET).to_json() == {"name": "ordinal", "classes": 4, "class_weights": None}
    assert isinstance(make_task("ordinal", 4, TARGET, balanced=True), Ordinal)
    assert make_task("multilabel", 4, LABELS, balanced=True).to_json()["positive_weights"] is not None
    with pytest.raises(ConfigError, match="class_weights = 'balanced' is for classes and labels, the task is regression"):
        make_task("regression", 4, NUMBERS, balanced=True)
    with pytest.raises(ConfigError, match="unknown task 'ranking'"):
        make_task("ranking", 4, NUMBERS)
    with pytest.raises(ConfigError, match="expected a scale above 0"):
        Regression([0.0], [0.0])
    with pytest.raises(ConfigError, match="at least one label"):
        Multilabel(0)
    with pytest.raises(ConfigError, match="positive weights: 1 given for 2 labels"):
        Multilabel(2, [1.0])
