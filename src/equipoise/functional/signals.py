"""What the branches of a model tell, share and lack on held-out samples, and the loss weights that follow.

The formulas are in :mod:`equipoise.functional.weighting`; names and averaging over time are here. All our choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor

from equipoise.errors import ConfigError
from equipoise.functional import weighting
from equipoise.functional.information import label_entropy, normalised
from equipoise.functional.metrics import confusion, macro_f1
from equipoise.functional.transfer import (
    Estimate,
    choose_teacher,
    class_information,
    f1_error,
    label_only_information,
    shared_information,
)


@dataclass(frozen=True)
class Measured:
    """What held-out samples say about branches.

    Attributes:
        entropy: ``H(Y)`` in nats.
        f1: Macro-F1 of each branch.
        told: ``I(H_m; Y)`` of each branch.
        shared: ``I(H_m; H_n)`` by pair of names, in the alphabetical order of the two.
    """

    entropy: float
    f1: dict[str, float]
    told: dict[str, Estimate]
    shared: dict[tuple[str, str], Estimate]

    def signals(self) -> dict[str, float]:
        """Return by name ``F.m``, ``J.m``, ``rho.m & n`` (normalised), ``noise`` (least rho that counts) and ``entropy``."""
        noise = max((item.noise for item in self.shared.values()), default=0.0)
        return (
            {f"F.{name}": value for name, value in self.f1.items()}
            | {f"J.{name}": item.value for name, item in self.told.items()}
            | {_rho(*pair): normalised(item.value, self.entropy) for pair, item in self.shared.items()}
            | {"noise": normalised(2 * noise, self.entropy), "entropy": self.entropy}
        )


class HeldOut(NamedTuple):
    """What branches say about samples that they were not trained on.

    Attributes:
        logits: Outputs of each branch, of shape (samples, classes).
        present: Which samples have which modality, booleans of shape (samples,).
        target: Class codes of shape (samples,).
    """

    logits: Mapping[str, Tensor]
    present: Mapping[str, Tensor]
    target: Tensor


def join(first: HeldOut, second: HeldOut) -> HeldOut:
    """Return the samples of both, those of the first before those of the second."""
    logits, present = (
        {name: torch.cat([value, other[name]]) for name, value in some.items()}
        for some, other in ((first.logits, second.logits), (first.present, second.present))
    )
    return HeldOut(logits, present, torch.cat([first.target, second.target]))


def measure(
    logits: Mapping[str, Tensor], present: Mapping[str, Tensor], target: Tensor, neighbours: int = 5, permutations: int = 20
) -> Measured:
    """Measure branches, each on the samples that have its modality, pairs on those that have both.

    Args:
        logits: Outputs of each branch on held-out samples, of shape (samples, classes).
        present: Which samples have which modality, booleans of shape (samples,); each modality is in one at least.
        target: Class codes of shape (samples,).
        neighbours: Neighbours of the estimates of information.
        permutations: Permutations that show what chance finds.
    """
    told, shared = {}, {}
    for name, rows in present.items():
        told[name] = class_information(logits[name][rows], target[rows], neighbours, permutations)
    # In one order whatever the order of the modalities: permutations of the first are not those of the second.
    for one, other in combinations(sorted(present), 2):
        rows = present[one] & present[other]
        shared[one, other] = shared_information(logits[one][rows], logits[other][rows], neighbours, permutations)
    return Measured(label_entropy(target.cpu().numpy()), f1_scores(logits, present, target), told, shared)


def f1_scores(logits: Mapping[str, Tensor], present: Mapping[str, Tensor], target: Tensor) -> dict[str, float]:
    """Return the macro-F1 of each branch on the samples that have its modality.

    Args:
        logits: As in :func:`measure`.
        present: As in :func:`measure`.
        target: As in :func:`measure`.
    """
    return {
        name: float(macro_f1(confusion(logits[name][rows].argmax(1), target[rows], logits[name].shape[1])))
        for name, rows in present.items()
    }


def stratified_folds(labels: Tensor, folds: int, seed: int = 0) -> Tensor:
    """Divide samples into folds for cross-fitting: sizes differ by one at most, and so do the shares of each class.

    A class of fewer samples than folds is missing from some of them.

    Args:
        labels: Class codes of shape (samples,).
        folds: Number of folds, from 2 to the number of samples.
        seed: Seed of the division.

    Returns:
        The fold of each sample, of shape (samples,).

    Raises:
        ConfigError: There are fewer than 2 folds, or fewer samples than folds.

    Example:
        >>> fold = stratified_folds(torch.tensor([0, 0, 0, 0, 1, 1]), 2)
        >>> sorted(fold[:4].tolist()), sorted(fold[4:].tolist())
        ([0, 0, 1, 1], [0, 1])
    """
    if not 2 <= folds <= len(labels):
        raise ConfigError(
            f"{folds} folds of {len(labels)} samples were asked for, expected at least 2 folds and a sample for each"
        )
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    by_class = order[labels.cpu()[order].argsort(stable=True)]
    return torch.empty_like(by_class).index_copy(0, by_class, torch.arange(len(labels)) % folds)


def grouped_folds(groups: Tensor, folds: int, seed: int = 0) -> Tensor:
    """Divide samples into folds for cross-fitting so that no group is in two of them, and folds are about equally large.

    Groups go, from the largest to the smallest, each to the fold that has fewest samples; the seed orders groups of one size.

    Args:
        groups: Number of each sample's group, whole numbers from 0, of shape (samples,).
        folds: Number of folds, from 2 to the number of groups.
        seed: Seed of the division.

    Returns:
        The fold of each sample, of shape (samples,).

    Raises:
        ConfigError: There are fewer than 2 folds, or fewer groups than folds.

    Example:
        >>> grouped_folds(torch.tensor([0, 0, 0, 1, 1, 2]), 2).tolist()
        [0, 0, 0, 1, 1, 1]
    """
    names, place, sizes = groups.cpu().unique(return_inverse=True, return_counts=True)
    if not 2 <= folds <= len(names):
        raise ConfigError(f"{folds} folds of {len(names)} groups were asked for, expected at least 2 folds and a group for each")
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(seed))
    chosen, held = torch.zeros(len(names), dtype=torch.int64), [0] * folds
    for group in order[sizes[order].argsort(descending=True, stable=True)].tolist():
        fold = held.index(min(held))
        chosen[group] = fold
        held[fold] += int(sizes[group])
    return chosen[place]


def choose_teachers(
    held_out: HeldOut,
    found: Measured,
    margin: float = 0.02,
    gate: str = "mutual_information",
    neighbours: int = 5,
    permutations: int = 20,
) -> tuple[dict[str, str], list[str]]:
    """Decide who learns from whom, by :func:`~equipoise.functional.transfer.choose_teacher`, and say why.

    Args:
        held_out: What the branches say.
        found: From :func:`measure` on it.
        margin: How far ahead a teacher must be, unless the standard error of the student's macro-F1 is larger.
        gate: As there.
        neighbours: Neighbours of the estimates of information.
        permutations: Permutations that show what chance finds.

    Returns:
        The teacher of each modality that has one, and a sentence on each modality.
    """
    (logits, present, target), teachers, notes = held_out, {}, []
    for name, rows in present.items():
        least = max(margin, f1_error(logits[name][rows], target[rows]))
        choice = choose_teacher(name, found.f1, found.told, found.shared, least, gate)
        if choice.teacher is None:
            notes.append(f"{name} (macro-F1 {found.f1[name]:.3f}) has no teacher: none is ahead by {least:.3f}")
            continue
        one, other = sorted((name, choice.teacher))
        both = present[one] & present[other]
        label_only = label_only_information(logits[one][both], logits[other][both], target[both], neighbours, permutations)
        notes.append(
            f"{name} (macro-F1 {found.f1[name]:.3f}) {'learns' if choice.accepted else 'does not learn'} from "
            f"{choice.teacher} ({found.f1[choice.teacher]:.3f}): they share {found.shared[one, other].value:.3f} nats, "
            f"{label_only:.3f} of them by the class alone; {name} tells {found.told[name].value:.3f} of the class; "
            f"gap {choice.gap:.3f}, noise {choice.noise:.3f}, gate {gate}"
        )
        if choice.accepted:
            teachers[name] = choice.teacher
    fewest = min(item.neighbours for item in [*found.told.values(), *found.shared.values()])
    if fewest < neighbours:
        how = f"{fewest} instead of {neighbours} neighbours" if fewest else "the bounded joint-softmax estimator"
        notes.append(f"few held-out samples of a class, or many classes: information was in part estimated with {how}")
    return teachers, notes


def loss_weights(
    signals: Mapping[str, float], names: Sequence[str], temperature: float = 0.25, eta: float = 0.5, *, relevance: bool = False
) -> tuple[Tensor, float]:
    """Return the weight of each branch's loss and that of the fused one.

    ``w = M softmax(need * support / temperature)`` and ``w_F = 1 + eta (1 - mean rho)``.

    Args:
        signals: From :meth:`Measured.signals`, or averages of them.
        names: The modalities.
        temperature: The smaller, the sharper.
        eta: Extra weight of the fused loss where modalities share nothing.
        relevance: Let ``J_m / H(Y)`` support a modality as well as what it shares.

    Returns:
        Weights of shape (modalities,) that sum to their number, and the fused weight.
    """
    rho = torch.zeros(len(names), len(names))
    for (i, one), (j, other) in combinations(enumerate(names), 2):
        rho[i, j] = rho[j, i] = signals[_rho(*sorted((one, other)))]
    f1, told = (torch.tensor([signals[f"{key}.{name}"] for name in names]) for key in "FJ")
    entropy = signals["entropy"]
    support = weighting.support(rho, signals["noise"], told / entropy if relevance and entropy > 0 else None)
    weights = weighting.modality_weights(weighting.need(f1), support, temperature)
    return weights, weighting.fused_weight(float(weighting.mean_dependence(rho)), eta)


def _rho(one: str, other: str) -> str:
    return f"rho.{one} & {other}"
