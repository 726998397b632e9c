"""What counts as right for labels and numbers, against scikit-learn, scipy and closed forms."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from sklearn.metrics import balanced_accuracy_score, log_loss, r2_score
from torch import Tensor

from equipoise.data.schema import TASKS
from equipoise.diagnosis.grading import GRADINGS, Grading, make_grading
from equipoise.evaluation.metrics import multilabel_metrics, regression_metrics
from equipoise.functional.label_metrics import balanced_label_mean
from equipoise.functional.metrics import expected_calibration_error
from equipoise.functional.value_metrics import correlation, explained_mean, explained_values
from equipoise.tasks import Multilabel, make_task

LABELS = ("rain", "hail", "snow")
NUMBERS = ("age", "weight")


def draw(seed: int = 0, samples: int = 60) -> tuple[Tensor, Tensor]:
    """Log-odds of three labels of different frequency, and what is true."""
    random = torch.Generator().manual_seed(seed)
    target = (torch.rand(samples, 3, generator=random) < torch.tensor([0.5, 0.2, 0.8])).float()
    return 2 * torch.randn(samples, 3, generator=random, dtype=torch.float64) + target, target


def labels() -> tuple[Grading, Tensor, Tensor]:
    said, target = draw()
    return make_grading(make_task("multilabel", 3, target), LABELS, draw(1)[1]), said, target


def numbers() -> tuple[Grading, Tensor, Tensor]:
    random = torch.Generator().manual_seed(0)
    train, target = (torch.randn(40, 2, generator=random, dtype=torch.float64) * torch.tensor([10.0, 2.0]) + 50 for _ in range(2))
    task = make_task("regression", 2, train)
    said = (target - train.mean(0)) / train.std(0, correction=0)
    return make_grading(task, NUMBERS, train), said + 0.5 * torch.randn(40, 2, generator=random, dtype=torch.float64), target


def test_every_task_has_its_words() -> None:
    assert {name: grading.terms.task for name, grading in GRADINGS.items()} == {name: name for name in TASKS}
    for name, grading in GRADINGS.items():
        assert grading.terms.main == make_task(name, 3, torch.tensor([[1.0], [2.0]])).main_metric


def test_the_score_of_labels_is_their_balanced_accuracy_averaged() -> None:
    grading, said, target = labels()
    decided = grading.decide(said)
    found = grading.mean(grading.values(decided, target)[None], target)
    expected = [balanced_accuracy_score(target[:, k] > 0.5, decided[:, k]) for k in range(3)]
    assert float(found) == pytest.approx(np.mean(expected))
    assert list(grading.ability(said, target).values()) == pytest.approx(expected)


def test_resamples_of_labels_are_as_if_samples_were_repeated() -> None:
    grading, said, target = labels()
    values = grading.values(grading.decide(said), target)
    counts = torch.randint(0, 3, (2, len(target)), generator=torch.Generator().manual_seed(1))
    found = balanced_label_mean(values[None], target, counts)
    for row, value in zip(counts, found, strict=True):
        again = torch.arange(len(target)).repeat_interleave(row)
        assert float(value) == pytest.approx(float(balanced_label_mean(values[None, again], target[again])))


def test_a_label_that_all_have_or_none_says_nothing() -> None:
    target = torch.tensor([[1.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
    values = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]], dtype=torch.float64)
    assert balanced_label_mean(values, target).tolist() == [0.5]
    assert balanced_label_mean(values[..., 1:], target[:, 1:]).isnan().all()
    grading = make_grading(Multilabel(3), LABELS, target)
    assert "labels that all or none of the test samples have: hail, snow" in grading.notes(target)[-1]
    assert grading.ability(torch.ones(2, 3), target) == {"rain": 0.5, "hail": None, "snow": None}


def test_knowing_the_frequencies_of_labels_is_worth_a_guess() -> None:
    grading, _, target = labels()
    nothing = grading.nothing.expand(1, len(target), 3)
    assert grading.nothing.sigmoid().tolist() == pytest.approx(draw(1)[1].mean(0).tolist())
    assert grading.guessed(nothing, target).unique().tolist() == [0.5]
    named = grading.values(grading.decide(nothing), target)  # each label named by all or by none
    assert float(grading.mean(named, target)) == grading.chance(target) == 0.5


def test_labels_that_all_training_samples_have_keep_finite_odds() -> None:
    assert make_grading(Multilabel(2), LABELS[:2], torch.tensor([[1.0, 0.0]] * 4)).nothing.isfinite().all()


def test_losses_of_labels() -> None:
    grading, said, target = labels()
    expected = np.mean([log_loss(target[:, k], said[:, k].sigmoid(), labels=[0, 1]) for k in range(3)])
    assert float(grading.losses(said, target).mean()) == pytest.approx(expected)
    best = target.double().mean(0).logit().expand_as(said)
    assert grading.constant_loss(target) == pytest.approx(float(grading.losses(best, target).mean()))


def test_labels_disagree_one_by_one() -> None:
    grading, said, _ = labels()
    own, present = torch.stack([said, said.flip(0)]), torch.ones(2, len(said), dtype=torch.bool)
    p, q = (torch.stack([1 - item.sigmoid(), item.sigmoid()]) for item in own)
    expected = (jensenshannon(p.numpy(), q.numpy(), axis=0) ** 2).mean(1)
    assert grading.disagreement(own, present).tolist() == pytest.approx(expected.tolist())
    assert grading.disagreement(own, present).tolist() == pytest.approx(grading.task.disagreement(said, said.flip(0)).tolist())
    present[1] = False
    assert grading.disagreement(own, present).abs().max() < 1e-12


def test_what_is_told_of_a_label() -> None:
    grading, said, target = labels()
    told = grading.told(said, target)
    assert told is not None
    scales = [grading.losses(said / scale, target).mean() for scale in (0.9 * told.temperature, 1.1 * told.temperature)]
    best = grading.losses(said / told.temperature, target)
    assert best.mean() < min(scales)
    torch.testing.assert_close(told.values, grading.constant_loss(target) - best)


def test_confidence_in_labels_is_calibrated_choice_by_choice() -> None:
    grading, said, target = labels()
    choices = grading.choices(said, target)
    assert choices is not None
    expected = multilabel_metrics(said.sigmoid().numpy(), target.numpy())
    assert float(expected_calibration_error(choices.probabilities, choices.target)) == pytest.approx(
        cast("float", expected["ece"])
    )
    assert choices.brier == pytest.approx(cast("float", expected["brier"]))
    assert cast("Tensor", choices.sample).tolist() == [row for row in range(len(said)) for _ in range(3)]


def test_a_probe_of_labels_reads_each_from_the_features() -> None:
    grading, _, target = labels()
    features = np.hstack([target.numpy() * 2 - 1, np.ones((60, 1))]).astype(np.float32)
    assert bool((grading.probe(features, target, features) == (target > 0.5)).all())
    same = torch.ones_like(target)
    assert bool(grading.probe(features, same, features).all())


def test_the_score_of_numbers_is_r2() -> None:
    grading, said, target = numbers()
    values = grading.values(grading.decide(said), target)
    predicted = grading.predicted(said)
    assert float(grading.mean(values[None], target)) == pytest.approx(r2_score(target, predicted))
    other = grading.values(said + 1, target)
    difference = r2_score(target, predicted) - r2_score(target, grading.predicted(said + 1))
    assert float(grading.mean((values - other)[None], target)) == pytest.approx(difference)
    rows = grading.rows(said, target)
    for number, row in enumerate(rows):
        expected = regression_metrics(predicted[:, [number]].numpy(), target[:, [number]].numpy())
        assert {key: row[key] for key in ("r2", "mae", "rmse")} == pytest.approx(
            {key: expected[key] for key in ("r2", "mae", "rmse")}
        )
        assert row["correlation"] == pytest.approx(np.corrcoef(predicted[:, number], target[:, number])[0, 1])


def test_resamples_of_numbers_are_ratios_of_sums() -> None:
    random = torch.Generator().manual_seed(0)
    target, predicted = torch.randn(2, 30, 2, generator=random, dtype=torch.float64)
    counts = torch.randint(0, 3, (4, 30), generator=random)
    found = explained_mean(explained_values(predicted[None], target), target, counts)
    error, spread = (predicted - target).square(), (target - target.mean(0)).square()
    for row, value in zip(counts, found, strict=True):
        expected = 1 - (row[:, None] * error).sum(0) / (row[:, None] * spread).sum(0)
        assert float(value) == pytest.approx(float(expected.mean()))
    constant = torch.cat([target[:, :1], torch.ones(30, 1, dtype=torch.float64)], 1)
    alone = explained_mean(explained_values(predicted[None, :, :1], target[:, :1]), target[:, :1])
    assert float(explained_mean(explained_values(predicted[None], constant), constant)) == pytest.approx(float(alone))


def test_correlation_of_what_is_constant_is_not_defined() -> None:
    assert correlation(torch.ones(3), torch.arange(3.0)).isnan()


def test_chance_of_numbers_is_the_mean_of_training() -> None:
    grading, said, target = numbers()
    mean = grading.train.mean(0).expand_as(target)
    assert grading.chance(target) == pytest.approx(r2_score(target, mean))
    assert grading.chance(grading.train) == pytest.approx(0.0, abs=1e-12)
    assert grading.predicted(grading.nothing)[None].tolist() == mean[:1].tolist()
    standard = (target - grading.train.mean(0)) / grading.train.std(0, correction=0)
    assert grading.constant_loss(target) == pytest.approx(float(standard.var(0, correction=0).mean() / 2))
    assert grading.losses(said, target).tolist() == pytest.approx(grading.task.losses(said, target).tolist())
    expected = (said - standard).square().mean(1).sqrt()
    assert grading.right(said, target).tolist() == pytest.approx(expected.tolist())


def test_numbers_disagree_by_their_distance() -> None:
    grading, said, _ = numbers()
    own = torch.stack([said, said.flip(0), 7 * said])
    present = torch.tensor([[True], [True], [False]]).expand(-1, len(said))
    expected = grading.task.disagreement(said, said.flip(0))
    assert grading.disagreement(own, present).tolist() == pytest.approx(expected.tolist())


def test_a_probe_of_numbers_is_a_line() -> None:
    grading, _, _ = numbers()
    features = np.linspace(-1, 1, 400)[:, None]
    target = torch.from_numpy(np.hstack([50 + 30 * features, 60 - features]))
    found = grading.predicted(grading.probe(features, target, features))
    # Of the slope, n / (n + penalty) is left: the probe is ridge regression on standardised features.
    expected = target.mean(0) + (target - target.mean(0)) * 400 / 410
    torch.testing.assert_close(found, expected)
    assert grading.probe(features[:0], target[:0], features).unique().tolist() == [0.0]


def test_what_is_said_in_words() -> None:
    grading, _, _ = labels()
    assert grading.text(torch.tensor([True, False, True])) == "rain, snow"
    assert grading.truth(torch.tensor([0.0, 0.0, 0.0])) == "none"
    assert numbers()[0].truth(torch.tensor([12.5, 0.12346])) == "12.5, 0.1235"


def test_information_of_numbers_is_that_of_a_gaussian() -> None:
    random = torch.Generator().manual_seed(0)
    said = torch.randn(1000, 1, generator=random, dtype=torch.float64)
    target = said + torch.randn(1000, 1, generator=random, dtype=torch.float64)
    grading = make_grading(make_task("regression", 1, target), ("y",), target)
    assert grading.neighbours(said, target) == pytest.approx(0.5 * np.log(2), abs=0.05)
    assert grading.told(said, target) is None
    assert grading.choices(said, target) is None


def test_what_cannot_be_judged_by() -> None:
    assert "no label that some samples have and others have not" in labels()[0].check(torch.tensor([[1.0, 0.0, 0.0]] * 3))
    assert "equal targets only" in numbers()[0].check(torch.ones(3, 2))
    assert labels()[0].check(labels()[2]) == numbers()[0].check(numbers()[2]) == ""
