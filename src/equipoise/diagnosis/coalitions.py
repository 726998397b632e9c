"""What every coalition of modalities reaches inside the model, from one pass of the encoders, and what each contributes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from equipoise.diagnosis.material import RESAMPLES, Estimate, Material
from equipoise.functional.bootstrap import bootstrap, interval
from equipoise.functional.coalitions import members_of_all, shapley_values
from equipoise.functional.equilibrium import contribution_shares, equilibrium_deviation
from equipoise.functional.shapley import EXACT_UP_TO, sampled_shapley, shapley_interactions
from equipoise.seeding import generator

WAYS = ("mask", "mean", "permutation")
"""How a modality is taken away: as the model treats one that is missing; its features replaced by their mean over the training
samples; its features replaced by those of another sample. They disagree where the model never met what it is given."""

_NUMBERS = 2**24


@dataclass(frozen=True)
class CoalitionScore:
    """What one coalition reaches.

    Attributes:
        modalities: Its members.
        score: Its score.
        loss: Its mean loss.
        main: Its main metric of the task, such as macro-F1.
    """

    modalities: tuple[str, ...]
    score: Estimate
    loss: float
    main: float


@dataclass(frozen=True)
class Contributions:
    """What modalities contribute to the score when the others are taken away in one way.

    Attributes:
        scores: Score of each coalition that was evaluated, the empty one left out.
        shapley: Shapley value of each modality; they sum to the score of all minus that of none.
        interactions: Shapley interaction index of each pair, as ``[first, second, estimate]``; none beyond 12 modalities.
        removal: By how much the score falls when this modality alone is taken away.
        deviation: Equilibrium deviation of the Shapley values: 0 where all are equal, 1 where one modality has everything.
        standard_error: Of each Shapley value, of the choice of orders; None where all coalitions were evaluated.
        also: Shapley values by the main metric of the task and by the loss (above 0 where a modality lowers it), by the names of
            these; empty where coalitions were sampled. The empty coalition gives the same answer to all samples.
    """

    scores: tuple[CoalitionScore, ...]
    shapley: dict[str, Estimate]
    interactions: tuple[tuple[str, str, Estimate], ...]
    removal: dict[str, Estimate]
    deviation: Estimate
    standard_error: dict[str, float] | None
    also: dict[str, dict[str, float]] = field(default_factory=dict)


def measure_coalitions(material: Material) -> dict[str, Contributions]:
    """Measure all coalitions, by each way to take a modality away.

    With more than 12 modalities Shapley values come from random orders, and by the first way alone.
    """
    ways = WAYS if len(material.names) <= EXACT_UP_TO else WAYS[:1]
    return {way: _contributions(material, way) for way in ways}


def _contributions(material: Material, way: str) -> Contributions:
    count, target, groups, mean = len(material.names), material.judged.target, material.judged.groups(), material.grading.mean
    exact = count <= EXACT_UP_TO
    every = torch.ones(1, count, dtype=torch.bool)
    without = every & ~torch.eye(count, dtype=torch.bool)
    members = all_members(count) if exact else torch.cat([~without, without, every])
    values, losses, main = evaluate(material, way, members)
    error, also = None, {}
    if exact:
        shapley = shapley_values(values)
        removed = values[-1] - values[[len(values) - 1 - 2**number for number in range(count)]]
        by = {material.grading.terms.main: shapley_values(main), "loss": -shapley_values(losses)}
        also = {key: dict(zip(material.names, found.tolist(), strict=True)) for key, found in by.items()}
    else:
        known = _remember(lambda rows: evaluate(material, way, rows)[0])
        shapley, _ = sampled_shapley(known, count)
        spread = sampled_shapley(lambda rows: mean(known(rows), target), count)[1]
        error, removed = dict(zip(material.names, spread.tolist(), strict=True)), values[-1] - values[count:-1]
    pairs = [(one, two) for two in range(count) for one in range(two)] if exact else []
    together = shapley_interactions(values) if pairs else values[:0]
    shown = [number for number, row in enumerate(members) if bool(row.any())]
    scores = material.estimates(values[shown], target, groups)
    crossed = material.estimates(torch.stack([together[pair] for pair in pairs]) if pairs else values[:0], target, groups)
    return Contributions(
        tuple(
            CoalitionScore(_named(material, members[number]), score, float(losses[number]), float(main[number]))
            for number, score in zip(shown, scores, strict=True)
        ),
        dict(zip(material.names, material.estimates(shapley, target, groups), strict=True)),
        tuple((material.names[one], material.names[two], found) for (one, two), found in zip(pairs, crossed, strict=True)),
        dict(zip(material.names, material.estimates(removed, target, groups), strict=True)),
        _deviation(material, shapley),
        error,
        also,
    )


def all_members(count: int) -> Tensor:
    """Return the members of all coalitions, the empty one first, booleans of shape (2^count, count)."""
    return torch.cat([torch.zeros(1, count, dtype=torch.bool), members_of_all(count)])


def evaluate(material: Material, way: str, members: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return what coalitions reach: what each sample gives to the score of each, their losses and their main metrics.

    Where a sample has none of a coalition's modalities, nothing is known: that is worth a guess.

    Returns:
        Values of shape (coalitions, samples) or (coalitions, samples, outputs), losses and metrics of shape (coalitions,), all
        float64.
    """
    grading, target = material.grading, material.judged.target
    found = [
        (grading.guessed(said, target), grading.losses(said, target).mean(1), grading.main(said, target))
        for said in outputs_of(material, way, members)
    ]
    values, losses, main = (torch.cat(parts) for parts in zip(*found, strict=True))
    return values, losses, main


def outputs_of(material: Material, way: str, members: Tensor) -> Iterator[Tensor]:
    """Yield what coalitions say, float64 of shape (block, samples, outputs), in blocks that fit in memory.

    Args:
        material: The model and its features.
        way: One of :data:`WAYS`.
        members: Booleans of shape (coalitions, modalities).
    """
    fuse = _ways(material)[way]
    size = max(1, _NUMBERS // (len(material.judged.target) * len(material.classes)))
    for block in members.split(size):
        with torch.no_grad():
            yield fuse(block)


def _ways(material: Material) -> dict[str, Callable[[Tensor], Tensor]]:
    features, present, grading = material.judged.outputs.features, material.incomplete, material.grading
    have = torch.stack([material.judged.present[name] for name in material.names]).double()

    def masked(members: Tensor) -> Tensor:
        some = members.any(1)
        said = grading.nothing.repeat(len(members), have.shape[1], 1)
        if bool(some.any()):
            said[some] = grading.read(material.model.fusion.coalitions(features, present, members[some]))
        nothing = members.double() @ have == 0
        return torch.where(nothing[:, :, None], grading.nothing, said)

    def replaced(others: Mapping[str, Tensor]) -> Callable[[Tensor], Tensor]:
        def fuse(members: Tensor) -> Tensor:
            rows = []
            for row in members.tolist():
                mixed = {
                    name: features[name] if member else others[name] for name, member in zip(material.names, row, strict=True)
                }
                rows.append(grading.read(material.model.fusion(mixed, present)))
            return torch.stack(rows)

        return fuse

    return {"mask": masked, "mean": replaced(_means(material)), "permutation": replaced(_permuted(material))}


def _means(material: Material) -> dict[str, Tensor]:
    """Return the mean features of the training samples in place of those of each judged sample."""
    found = {}
    for name, value in material.judged.outputs.features.items():
        have = material.train.present[name].to(value.device)
        mean = material.train.outputs.features[name][have].mean(0) if bool(have.any()) else value.new_zeros(value.shape[1])
        found[name] = mean.expand_as(value)
    return found


def _permuted(material: Material) -> dict[str, Tensor]:
    """Return the features of another sample in place of those of each judged sample, among those that have the modality."""
    found = {}
    for name, value in material.judged.outputs.features.items():
        have = material.judged.present[name].nonzero().squeeze(1)
        order = torch.randperm(len(have), generator=generator(0, "permutation", name))
        rows = torch.arange(len(value)).index_copy(0, have, have[order])
        found[name] = value[rows.to(value.device)]
    return found


def _remember(value: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Return a function that computes what it is asked first, and gives it again to whoever asks the same."""
    known: list[Tensor] = []

    def give(members: Tensor) -> Tensor:
        if not known:
            known.append(value(members))
        return known[0]

    return give


def _named(material: Material, row: Tensor) -> tuple[str, ...]:
    return tuple(name for name, member in zip(material.names, row.tolist(), strict=True) if member)


def _deviation(material: Material, shapley: Tensor) -> Estimate:
    target, groups, mean = material.judged.target, material.judged.groups(), material.grading.mean

    def deviate(values: Tensor) -> Tensor:
        return torch.stack([equilibrium_deviation(contribution_shares(row)) for row in values])

    drawn = bootstrap(lambda counts: deviate(mean(shapley, target, counts)), len(target), RESAMPLES, groups=groups)
    low, high = interval(drawn).tolist()
    return Estimate(float(deviate(mean(shapley, target)[None])[0]), low, high)
