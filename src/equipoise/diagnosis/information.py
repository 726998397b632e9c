"""How much modalities tell about the target through the model, alone and in pairs, and how much of it twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from equipoise.diagnosis.coalitions import outputs_of
from equipoise.diagnosis.material import Estimate, Material
from equipoise.errors import DataError
from equipoise.functional.bootstrap import bootstrap, interval
from equipoise.functional.budgets import bootstrap_interval
from equipoise.functional.decomposition import PARTS, broja_parts, joint_table, minimum_parts, specific_parts
from equipoise.functional.information import ksg
from equipoise.seeding import generator

MOST_CLASSES = 12
"""Pairs are decomposed up to this many classes: the table has their number to the third power of cells."""

_MOST_CLASSES_RESAMPLED = 5
_MOST_TABLES_RESAMPLED = 5
_RESAMPLES = 100
_MOST_NEIGHBOURS = 1000


@dataclass(frozen=True)
class Told:
    """What an output tells about the target; of labels what is told about one, averaged over labels.

    Attributes:
        budget: ``H(Y) - mean -log p_y`` after scaling by the temperature of least loss, in nats: what the output is worth as a
            prediction. A lower bound of ``I(X; Y)``, but for the temperature, which is fitted to the same samples. None for
            numbers.
        temperature: That temperature; above 1 the output is surer than it is right. None for numbers.
        raw: The same without scaling. None for numbers.
        neighbours: Nearest-neighbour estimate of the information between the output and the class or label (Ross 2014) or the
            numbers (Kraskov 2004), in nats; None where there are too few samples.
    """

    budget: Estimate | None
    temperature: float | None
    raw: float | None
    neighbours: float | None


@dataclass(frozen=True)
class Pair:
    """What two modalities tell.

    Attributes:
        first: The one.
        second: The other.
        between: Nearest-neighbour estimate of the information between their own outputs, in nats; None for too few samples.
        together: What the model says from both, as :attr:`Told.budget`.
        parts: Redundant, unique and synergistic information of the classes that both name by themselves, in nats, by three
            decompositions (``broja``, ``minimum``, ``specific``), averaged over labels; None for numbers and for more than 12
            classes. Synergy that only the fusion can see is not in it: compare ``together`` with the budgets.
        intervals: Of the parts by ``broja``; None for more than 5 classes or labels.
    """

    first: str
    second: str
    between: float | None
    together: Told
    parts: dict[str, dict[str, float]] | None
    intervals: dict[str, Estimate] | None


@dataclass(frozen=True)
class Information:
    """What is told about the target, in nats.

    Attributes:
        label_entropy: ``H(Y)``: all that there is to tell, of labels about one, averaged; None for numbers, whose loss is no
            length of a code.
        fused: What the fused output tells.
        modalities: What each modality's own output tells.
        pairs: What pairs tell.
    """

    label_entropy: float | None
    fused: Told
    modalities: dict[str, Told]
    pairs: tuple[Pair, ...]


def measure_information(material: Material) -> Information:
    """Measure information on the judged samples."""
    judged = material.judged
    fused = _told(material, judged.fused)
    return Information(
        None if fused.budget is None else material.grading.constant_loss(judged.target),
        fused,
        {name: _told(material, judged.own[name], judged.present[name]) for name in material.seen},
        tuple(_pair(material, first, second) for first, second in combinations(material.seen, 2)),
    )


def _told(material: Material, said: Tensor, have: Tensor | None = None) -> Told:
    """Say what an output tells about the target of the samples that have it."""
    judged, grading = material.judged, material.grading
    every = torch.ones(len(judged.target), dtype=torch.bool) if have is None else have
    said, target, groups = said[every], judged.target[every], judged.groups(every)
    rows = _some(len(target))
    neighbours = _or_none(lambda: grading.neighbours(said[rows], target[rows]))
    told = grading.told(said, target)
    if told is None:
        return Told(None, None, None, neighbours)
    budget = Estimate(float(told.values.mean()), *bootstrap_interval(told.values, groups=groups))
    return Told(budget, told.temperature, told.raw, neighbours)


def _pair(material: Material, first: str, second: str) -> Pair:
    judged, grading = material.judged, material.grading
    both = judged.present[first] & judged.present[second]
    one, two = judged.own[first][both], judged.own[second][both]
    chosen = torch.tensor([[name in (first, second) for name in material.names]])
    (said,) = outputs_of(material, "mask", chosen)
    some = both if bool(both.any()) else judged.present[first] | judged.present[second]
    rows = _some(len(one))
    parts, intervals = _parts(grading.codes(one, two, judged.target[both]), judged.groups(both))
    return Pair(
        first,
        second,
        _or_none(lambda: ksg(grading.coordinates(one[rows]), grading.coordinates(two[rows]))),
        _told(material, said[0], some),
        parts,
        intervals,
    )


def _parts(
    questions: list[tuple[Tensor, Tensor, Tensor, int]], groups: Tensor | None
) -> tuple[dict[str, dict[str, float]] | None, dict[str, Estimate] | None]:
    """Decompose what two answers tell, averaged over the questions that they answer, and give the intervals of the parts."""
    most = max((size for *_, size in questions), default=0)
    if not questions or most > MOST_CLASSES or not len(questions[0][0]):
        return None, None

    def averaged(way: Callable[[Tensor], Tensor], counts: Tensor | None = None) -> Tensor:
        tables = [joint_table(first, second, true, (size, size, size), counts) for first, second, true, size in questions]
        return way(torch.stack(tables)).mean(0)

    ways = {"broja": broja_parts, "minimum": minimum_parts, "specific": specific_parts}
    parts = {name: dict(zip(PARTS, averaged(way).tolist(), strict=True)) for name, way in ways.items()}
    if most > _MOST_CLASSES_RESAMPLED or len(questions) > _MOST_TABLES_RESAMPLED:
        return parts, None
    count = len(questions[0][0])
    drawn = bootstrap(lambda counts: averaged(broja_parts, counts), count, _RESAMPLES, groups=groups)
    values = zip(PARTS, interval(drawn).T.tolist(), strict=True)
    return parts, {name: Estimate(parts["broja"][name], *ends) for name, ends in values}


def _some(samples: int) -> Tensor:
    """Return the rows that nearest neighbours are searched among: all, or a thousand of them."""
    return torch.randperm(samples, generator=generator(0, "neighbours"))[:_MOST_NEIGHBOURS].sort().values


def _or_none(estimate: Callable[[], float]) -> float | None:
    """Return an estimate, or None where there are too few samples for it."""
    try:
        return estimate()
    except DataError:
        return None
