"""Who may teach whom: estimates that survive small classes, and a choice that is not fooled by its own criterion."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from equipoise.errors import ConfigError
from equipoise.functional.information import ksg, represent, ross
from equipoise.functional.metrics import confusion, macro_f1
from equipoise.functional.transfer import (
    MOST_CLASSES,
    MOST_SAMPLES,
    Estimate,
    choose_teacher,
    class_information,
    f1_error,
    label_only_information,
    shared_information,
)

CLASSES = 4


def outputs(noise: dict[str, float], samples: int = 400, seed: int = 0) -> tuple[dict[str, Tensor], Tensor]:
    """Logits of branches that read one latent variable through different noise; the latent holds more than the class."""
    random = np.random.default_rng(seed)
    labels = random.choice(CLASSES, samples, p=[0.2, 0.12, 0.45, 0.23])
    latent = 2.5 * np.eye(CLASSES)[labels] + random.normal(size=(samples, CLASSES))
    said = {name: latent * (size < 100) + size * random.normal(size=latent.shape) for name, size in noise.items()}
    return {name: torch.tensor(value) for name, value in said.items()}, torch.tensor(labels)


def measured(
    noise: dict[str, float], samples: int = 400
) -> tuple[dict[str, float], dict[str, Estimate], dict[tuple[str, str], Estimate]]:
    said, labels = outputs(noise, samples)
    names = sorted(said)
    f1 = {name: float(macro_f1(confusion(said[name].argmax(1), labels, CLASSES))) for name in names}
    told = {name: class_information(said[name], labels) for name in names}
    shared = {(a, b): shared_information(said[a], said[b]) for a in names for b in names if a < b}
    return f1, told, shared


def test_information_equals_its_parts() -> None:
    said, labels = outputs({"a": 0.5, "b": 0.8}, 120)
    x, y = represent(said["a"].numpy()), represent(said["b"].numpy())
    random = np.random.default_rng(0)
    null = [ksg(x, y[random.permutation(120)], 5) for _ in range(20)]
    found = shared_information(said["a"], said["b"])
    assert found.value == pytest.approx(ksg(x, y, 5) - np.mean(null))
    assert found.noise == pytest.approx(np.std(null, ddof=1))
    random = np.random.default_rng(0)
    codes = labels.numpy()
    null = [ross(x, codes[random.permutation(120)], 5) for _ in range(20)]
    told = class_information(said["a"], labels)
    assert told.value == pytest.approx(ross(x, codes, 5) - np.mean(null))
    assert (told.neighbours, found.neighbours) == (5, 5)


def test_noise_tells_and_shares_nothing_and_more_signal_tells_more() -> None:
    _, told, shared = measured({"junk": 1000.0, "middle": 1.5, "strong": 0.1})
    assert told["strong"].value > told["middle"].value + 0.2
    assert told["middle"].value > 0.2
    assert told["junk"].value < 0.06
    assert shared["junk", "strong"].value < 0.08
    assert shared["middle", "strong"].value > 0.3


@pytest.mark.parametrize(
    ("counts", "neighbours"),
    [
        ((30, 30, 30, 6), 5),
        ((30, 30, 30, 4), 3),
        ((30, 30, 30, 2), 5),
        ((30, 30, 1, 1), 5),
        ((30, 3, 3, 2), 1),
        ((2, 2, 1, 0), 1),
    ],
)
def test_small_classes_lower_the_neighbours_or_are_left_out(counts: tuple[int, ...], neighbours: int) -> None:
    labels = torch.arange(CLASSES).repeat_interleave(torch.tensor(counts))
    said = 3.0 * torch.eye(CLASSES)[labels] + torch.randn(len(labels), CLASSES, generator=torch.Generator().manual_seed(0))
    found = class_information(said, labels)
    assert found.neighbours == neighbours
    assert np.isfinite(found.value)
    if sum(counts) > 20 and counts[1] > 3:
        assert found.value > 0.5


@pytest.mark.parametrize("counts", [(30, 1, 1, 1), (1, 1, 1, 1), (30, 0, 0, 0), (1, 0, 0, 0)])
def test_where_no_two_classes_have_neighbours_the_bounded_estimator_answers(counts: tuple[int, ...]) -> None:
    labels = torch.arange(CLASSES).repeat_interleave(torch.tensor(counts))
    found = class_information(9.0 * torch.eye(CLASSES)[labels], labels)
    assert found.neighbours == 0
    assert 0 <= found.value <= np.log(CLASSES)
    if sum(count > 0 for count in counts) < 2:
        assert found.value == pytest.approx(0.0, abs=1e-12)


def test_many_classes_take_the_bounded_estimator() -> None:
    classes = MOST_CLASSES + 1
    labels = torch.arange(classes).repeat(12)
    said = 8.0 * torch.eye(classes)[labels]
    for found in (class_information(said, labels), shared_information(said, said)):
        assert found.neighbours == 0
        assert found.value > 1.0
    junk = torch.randn(len(labels), classes, generator=torch.Generator().manual_seed(1))
    assert class_information(junk, labels).value < 0.1


@pytest.mark.parametrize(("samples", "neighbours"), [(1, 0), (2, 0), (5, 0), (6, 5)])
def test_few_pairs_do_not_fail(samples: int, neighbours: int) -> None:
    said, labels = outputs({"a": 0.1, "b": 0.1}, samples)
    found = shared_information(said["a"], said["b"])
    assert found.neighbours == neighbours
    assert found.value >= 0
    assert label_only_information(said["a"], said["b"], labels) >= 0


def test_no_more_samples_are_looked_at_than_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    said, labels = outputs({"a": 0.5, "b": 0.5}, MOST_SAMPLES + 50)
    sizes = []

    def counted(x: np.ndarray, y: np.ndarray, k: int) -> float:
        sizes.append(len(x))
        return ksg(x, y, k)

    monkeypatch.setattr("equipoise.functional.transfer.ksg", counted)
    shared_information(said["a"], said["b"], permutations=2)
    label_only_information(said["a"], said["b"], labels, permutations=2)
    assert set(sizes) == {MOST_SAMPLES}


def test_label_only_share_is_all_where_nothing_else_is_shared() -> None:
    """A teacher and a student that are independent given the class: the criterion can never hold for them."""
    random = np.random.default_rng(0)
    labels = random.integers(0, CLASSES, 400)
    means = 2.0 * np.eye(CLASSES)[labels]
    first, second = (torch.tensor(means + random.normal(size=means.shape)) for _ in range(2))
    target = torch.tensor(labels)
    whole = shared_information(first, second).value
    assert label_only_information(first, second, target) == pytest.approx(whole, abs=0.1)
    assert whole < class_information(second, target).value
    more = first + 0.3 * torch.tensor(random.normal(size=means.shape))
    assert label_only_information(first, more, target) < 0.7 * shared_information(first, more).value


def test_bootstrap_error_is_that_of_a_share() -> None:
    """Two balanced classes, nothing ever wrong but a share of errors that is even: macro-F1 is close to the accuracy."""
    labels = torch.arange(2).repeat(200)
    wrong = torch.arange(400) % 4 < 1
    said = torch.eye(2)[torch.where(wrong, 1 - labels, labels)]
    wrong_rate = float(wrong.float().mean())
    assert f1_error(said, labels) == pytest.approx(np.sqrt(wrong_rate * (1 - wrong_rate) / 400), rel=0.25)
    assert f1_error(torch.eye(2)[labels], labels) == 0.0


def test_the_strong_never_learns_from_the_weak_though_the_gap_would_let_it() -> None:
    f1, told, shared = measured({"strong": 0.3, "weak": 0.9})
    pair = shared["strong", "weak"]
    assert pair.value - told["strong"].value > 2 * pair.noise  # the criterion is not directional
    down = choose_teacher("weak", f1, told, shared, 0.02)
    assert (down.teacher, down.accepted) == ("strong", True)
    assert down.gap == pytest.approx(pair.value - told["weak"].value)
    for gate in ("mutual_information", "f1_only", "off"):
        up = choose_teacher("strong", f1, told, shared, 0.02, gate)
        assert (up.teacher, up.accepted) == (None, False)


def exact(**values: float) -> dict[str, Estimate]:
    return {name: Estimate(value, 0.03, 5) for name, value in values.items()}


def test_the_largest_gap_chooses_and_noise_can_refuse() -> None:
    f1 = {"a": 0.9, "b": 0.8, "c": 0.5, "d": 0.49}
    told = exact(a=1.0, b=0.8, c=0.3, d=0.3)
    pairs = {("a", "c"): 0.5, ("b", "c"): 0.7, ("c", "d"): 2.0, ("a", "b"): 0.1, ("a", "d"): 0.1, ("b", "d"): 0.1}
    shared = {pair: Estimate(value, 0.04, 5) for pair, value in pairs.items()}
    found = choose_teacher("c", f1, told, shared, 0.02)
    assert (found.teacher, found.accepted) == ("b", True)
    assert found.gap == pytest.approx(0.4)
    assert found.noise == pytest.approx(0.05)
    assert choose_teacher("c", f1, told, shared, 0.02, "f1_only").teacher == "a"
    assert choose_teacher("c", f1, told, shared, 0.02, "f1_only").accepted
    assert not choose_teacher("c", f1, told, shared, 0.02, "off").accepted
    assert choose_teacher("c", f1, told, shared, 0.35).teacher == "a"  # b is not ahead far enough
    assert choose_teacher("c", f1, told, shared, 0.45).teacher is None
    assert choose_teacher("d", f1, told, shared, 0.02).teacher in ("a", "b")  # c shares most and is not ahead
    for value, accepted in ((0.39, False), (0.41, True)):  # gaps of 0.09 and 0.11 against twice 0.05
        close = shared | {("b", "c"): Estimate(value, 0.04, 5), ("a", "c"): Estimate(0.0, 0.04, 5)}
        assert choose_teacher("c", f1, told, close, 0.02).accepted == accepted


def test_equals_do_not_teach_each_other() -> None:
    f1, told = {"a": 0.7, "b": 0.7}, exact(a=0.1, b=0.1)
    for name in f1:
        assert choose_teacher(name, f1, told, {("a", "b"): Estimate(3.0, 0.0, 5)}, 0.0).teacher is None
    with pytest.raises(ConfigError, match="gate 'nonsense' is unknown"):
        choose_teacher("a", f1, told, {}, 0.0, "nonsense")
