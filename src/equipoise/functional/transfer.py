"""Which modality can teach which: what modalities tell and share on held-out samples, and the choice of a teacher.

That a stronger modality teaches weaker ones where mutual information makes it plausible is published (Xie and Sanguinetti,
arXiv 2511.00987), as is the criterion ``I(teacher; student) > I(student; class)`` (Xie, Xu and Sanguinetti, arXiv 2510.13182).
Estimators, margins, the way noise is dealt with and every formula here are our choice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import one_hot

from equipoise.errors import ConfigError, suggest
from equipoise.functional.information import debiased, joint_softmax_information, ksg, represent, ross, within_class_permutation
from equipoise.functional.metrics import macro_f1

GATES = ("mutual_information", "f1_only", "off")
MOST_SAMPLES = 1000
"""More samples than these are not looked at: the cost grows faster than their number, the precision does not."""
MOST_CLASSES = 16
"""Beyond these the nearest-neighbour estimates collapse (they live in one dimension less) and the bounded one is taken."""

_Integers = NDArray[np.int64]
_Measure = Callable[[_Integers], float]


@dataclass(frozen=True)
class Estimate:
    """A mutual information.

    Attributes:
        value: In nats, what chance finds taken off, at least 0.
        noise: Standard deviation of what chance finds, in nats.
        neighbours: Neighbours of the estimator; 0 for the bounded joint-softmax one, which needs none.
    """

    value: float
    noise: float
    neighbours: int


@dataclass(frozen=True)
class Choice:
    """What was decided about one student.

    Attributes:
        teacher: The modality it might learn from; None where none is ahead of it.
        gap: ``I(teacher; student) - I(student; class)`` in nats.
        noise: Standard deviation of the gap where there is no information.
        accepted: Whether it learns from the teacher.
    """

    teacher: str | None
    gap: float
    noise: float
    accepted: bool


def class_information(logits: Tensor, labels: Tensor, neighbours: int = 5, permutations: int = 20) -> Estimate:
    """Estimate ``I(H; Y)``, what a modality's outputs tell about the class.

    :func:`~equipoise.functional.information.ross` on the represented logits, less its mean over permuted labels. Of small
    classes (our choice): those of fewer than 4 samples are left out, unless fewer than two classes remain; then those of one
    sample. The number of neighbours is lowered to what the smallest class left allows. Where even that leaves fewer than two
    classes, or there are more than 16 outputs, the bounded joint-softmax estimator answers.

    Args:
        logits: Outputs on held-out samples, of shape (samples, classes).
        labels: Class codes of shape (samples,).
        neighbours: Neighbours asked for.
        permutations: Number of permutations, at least 2.

    Returns:
        The estimate; 0 for fewer than 2 samples.
    """
    rows = _some(len(labels))
    logits, labels = logits.detach()[rows].double().cpu(), labels[rows].cpu()
    counts = torch.bincount(labels, minlength=logits.shape[1])
    least = next((number for number in (4, 2) if int((counts >= number).sum()) >= 2), 0)
    if not least or logits.shape[1] > MOST_CLASSES:
        soft, hard = logits.softmax(1), one_hot(labels, logits.shape[1]).double()
        return _estimate(lambda order: float(joint_softmax_information(soft, hard[order])), len(labels), permutations, 0)
    kept = counts[labels] >= least
    k = min(neighbours, int(counts[counts >= least].min()) - 1)
    values, codes = represent(logits[kept].numpy()), labels[kept].numpy()
    return _estimate(lambda order: ross(values, codes[order], k), len(codes), permutations, k)


def shared_information(first: Tensor, second: Tensor, neighbours: int = 5, permutations: int = 20) -> Estimate:
    """Estimate ``I(H_m; H_n)``, what the outputs of two modalities tell about each other.

    :func:`~equipoise.functional.information.ksg` between the represented logits, less its mean over permuted rows. With
    no more samples than neighbours, or more than 16 outputs, the bounded joint-softmax estimator answers (our choice).

    Args:
        first: Outputs of one modality on held-out samples that have both, of shape (samples, classes).
        second: Outputs of the other, of the same shape.
        neighbours: Number of neighbours.
        permutations: Number of permutations, at least 2.

    Returns:
        The estimate; 0 for fewer than 2 samples.
    """
    measure, samples, k = _pair(first, second, neighbours)
    return _estimate(measure, samples, permutations, k)


def label_only_information(first: Tensor, second: Tensor, labels: Tensor, neighbours: int = 5, permutations: int = 20) -> float:
    """Estimate the part of :func:`shared_information` that is there only because both know the class.

    The mean after permuting rows within each class, less the mean after permuting all rows. A teacher and a student that are
    independent given the class never satisfy ``I(T; S) > I(S; Y)``, so a gap beyond this share is structure beyond the label.

    Args:
        first: As in :func:`shared_information`.
        second: As in :func:`shared_information`.
        labels: Class codes of shape (samples,).
        neighbours: Number of neighbours.
        permutations: Number of permutations, at least 2.

    Returns:
        Nats, at least 0.
    """
    measure, samples, _ = _pair(first, second, neighbours)
    codes, generator = labels[_some(len(labels))].cpu().numpy(), np.random.default_rng(1)
    if samples < 2:
        return 0.0
    within = float(np.mean([measure(within_class_permutation(codes, generator)) for _ in range(permutations)]))
    return debiased(within, lambda random: measure(random.permutation(samples)), permutations)[0]


def f1_error(logits: Tensor, labels: Tensor, repeats: int = 200) -> float:
    """Return the standard error of the macro-F1 over resamples of the samples (bootstrap).

    Args:
        logits: Outputs of shape (samples, classes).
        labels: Class codes of shape (samples,).
        repeats: Number of resamples.
    """
    classes = logits.shape[1]
    cells = (labels * classes + logits.argmax(1)).cpu().numpy()
    drawn = np.random.default_rng(0).integers(0, len(cells), (repeats, len(cells)))
    numbers = cells[drawn] + np.arange(repeats)[:, None] * classes**2
    counts = np.bincount(numbers.ravel(), minlength=repeats * classes**2).reshape(repeats, classes, classes)
    return float(macro_f1(torch.from_numpy(counts)).std())


def choose_teacher(
    student: str,
    f1: Mapping[str, float],
    told: Mapping[str, Estimate],
    shared: Mapping[tuple[str, str], Estimate],
    margin: float,
    gate: str = "mutual_information",
) -> Choice:
    """Choose whom a modality learns from, and whether it should.

    Candidates are the modalities with ``F_t >= F_s + margin``: the gap below is not directional, a weak modality may share
    more with a strong one than the strong one tells about the class, so strength is a test of its own and the strongest
    modality has no teacher. Of the candidates the one of largest ``gap = I(H_t; H_s) - I(H_s; Y)`` is taken; it teaches if
    the gap exceeds twice its noise. All our choice, but for the sign of the gap (arXiv 2510.13182).

    Args:
        student: The modality.
        f1: Macro-F1 of each modality alone.
        told: ``I(H_m; Y)`` of each modality.
        shared: ``I(H_m; H_n)`` by pair of names, in the alphabetical order of the two.
        margin: How far ahead a teacher must be.
        gate: ``mutual_information``; ``f1_only`` (the strongest candidate teaches, whatever it shares) or ``off`` (nobody).

    Returns:
        The choice; at equal gaps the stronger candidate, then the first name.

    Raises:
        ConfigError: The gate is unknown.
    """
    if gate not in GATES:
        raise ConfigError(f"gate {gate!r} is unknown, {suggest(gate, GATES)}")
    candidates = sorted(name for name in f1 if name != student and f1[name] > f1[student] and f1[name] >= f1[student] + margin)
    pairs = {name: shared[min(name, student), max(name, student)] for name in candidates}
    gaps = {name: pair.value - told[student].value for name, pair in pairs.items()}
    if not candidates:
        return Choice(None, 0.0, 0.0, accepted=False)
    teacher = max(candidates, key=lambda name: (f1[name],) if gate == "f1_only" else (gaps[name], f1[name]))
    noise = float(np.hypot(pairs[teacher].noise, told[student].noise))
    accepted = gate == "f1_only" or (gate == "mutual_information" and gaps[teacher] > 2 * noise)
    return Choice(teacher, gaps[teacher], noise, accepted)


def _some(samples: int) -> Tensor:
    """Return the numbers of at most ``MOST_SAMPLES`` samples, the same every time."""
    if samples <= MOST_SAMPLES:
        return torch.arange(samples)
    return torch.from_numpy(np.sort(np.random.default_rng(0).choice(samples, MOST_SAMPLES, replace=False)))


def _pair(first: Tensor, second: Tensor, neighbours: int) -> tuple[_Measure, int, int]:
    """Return what two modalities share as a function of the order of the second's rows, the samples, and the neighbours."""
    rows = _some(len(first))
    one, other = (value.detach()[rows].double().cpu() for value in (first, second))
    if len(one) <= max(neighbours, 1) or one.shape[1] > MOST_CLASSES:
        p, q = one.softmax(1), other.softmax(1)
        return lambda order: float(joint_softmax_information(p, q[order])), len(p), 0
    x, y = represent(one.numpy()), represent(other.numpy())
    return lambda order: ksg(x, y[order], neighbours), len(x), neighbours


def _estimate(measure: _Measure, samples: int, permutations: int, neighbours: int) -> Estimate:
    if samples < 2:
        return Estimate(0.0, 0.0, neighbours)
    value, noise = debiased(measure(np.arange(samples)), lambda random: measure(random.permutation(samples)), permutations)
    return Estimate(value, noise, neighbours)
