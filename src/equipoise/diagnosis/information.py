"""How much modalities tell about the target through the model, alone and in pairs, and how much of it twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from equipoise.diagnosis.coalitions import outputs_of
from equipoise.diagnosis.material import Estimate, Material, Said
from equipoise.errors import DataError
from equipoise.functional.bootstrap import bootstrap, interval
from equipoise.functional.budgets import bootstrap_interval, label_entropy, measure
from equipoise.functional.decomposition import PARTS, broja_parts, joint_table, minimum_parts, specific_parts
from equipoise.functional.information import ksg, represent, ross
from equipoise.seeding import generator

MOST_CLASSES = 12
"""Pairs are decomposed up to this many classes: the table has their number to the third power of cells."""

_MOST_CLASSES_RESAMPLED = 5
_RESAMPLES = 100
_MOST_NEIGHBOURS = 1000


@dataclass(frozen=True)
class Told:
    """What an output tells about the class.

    Attributes:
        budget: ``H(Y) - mean -log p_y`` after scaling by the temperature of least loss, in nats: what the output is worth as a
            prediction. A lower bound of ``I(X; Y)``, but for the temperature, which is fitted to the same samples.
        temperature: That temperature; above 1 the output is surer than it is right.
        raw: The same without scaling.
        neighbours: Nearest-neighbour estimate of the information between the output and the class (Ross 2014), in nats; None
            where some class has too few samples.
    """

    budget: Estimate
    temperature: float
    raw: float
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
            decompositions (``broja``, ``minimum``, ``specific``); None for more than 12 classes. Synergy that only the fusion
            can see is not in it: compare ``together`` with the budgets.
        intervals: Of the parts by ``broja``; None for more than 5 classes.
    """

    first: str
    second: str
    between: float | None
    together: Told
    parts: dict[str, dict[str, float]] | None
    intervals: dict[str, Estimate] | None


@dataclass(frozen=True)
class Information:
    """What is told about the class, in nats.

    Attributes:
        label_entropy: ``H(Y)``: all that there is to tell.
        fused: What the fused output tells.
        modalities: What each modality's own output tells.
        pairs: What pairs tell.
    """

    label_entropy: float
    fused: Told
    modalities: dict[str, Told]
    pairs: tuple[Pair, ...]


def measure_information(material: Material) -> Information:
    """Measure information on the judged samples."""
    judged = material.judged
    return Information(
        label_entropy(judged.target),
        _told(judged, judged.fused),
        {name: _told(judged, judged.own[name], judged.present[name]) for name in material.seen},
        tuple(_pair(material, first, second) for first, second in combinations(material.seen, 2)),
    )


def _told(judged: Said, logits: Tensor, have: Tensor | None = None) -> Told:
    """Say what an output tells about the class of the samples that have it."""
    every = torch.ones(len(judged.target), dtype=torch.bool) if have is None else have
    logits, target, groups = logits[every], judged.target[every], judged.groups(every)
    known = label_entropy(target)
    found = measure(logits, target, known)
    told = known - cross_entropy(logits / found["temperature"], target, reduction="none")
    rows = _some(len(target))
    neighbours = _or_none(lambda: ross(represent(logits[rows]), target[rows].numpy()))
    interval = Estimate(float(told.mean()), *bootstrap_interval(told, groups=groups))
    return Told(interval, found["temperature"], found["raw"], neighbours)


def _pair(material: Material, first: str, second: str) -> Pair:
    judged, size = material.judged, len(material.classes)
    both = judged.present[first] & judged.present[second]
    target, one, two = judged.target[both], judged.own[first][both], judged.own[second][both]
    chosen = torch.tensor([[name in (first, second) for name in material.names]])
    (said,) = outputs_of(material, "mask", chosen)
    some = both if bool(both.any()) else judged.present[first] | judged.present[second]
    rows = _some(len(target))
    parts = intervals = None
    if size <= MOST_CLASSES and len(target):
        codes, sizes = (one.argmax(1), two.argmax(1), target), (size, size, size)
        table = joint_table(*codes, sizes)
        ways = {"broja": broja_parts, "minimum": minimum_parts, "specific": specific_parts}
        parts = {name: dict(zip(PARTS, way(table).tolist(), strict=True)) for name, way in ways.items()}
        if size <= _MOST_CLASSES_RESAMPLED:
            count, groups = len(target), judged.groups(both)
            drawn = bootstrap(lambda counts: broja_parts(joint_table(*codes, sizes, counts)), count, _RESAMPLES, groups=groups)
            values = zip(PARTS, interval(drawn).T.tolist(), strict=True)
            intervals = {name: Estimate(parts["broja"][name], *ends) for name, ends in values}
    return Pair(
        first,
        second,
        _or_none(lambda: ksg(represent(one[rows]), represent(two[rows]))),
        _told(judged, said[0], some),
        parts,
        intervals,
    )


def _some(samples: int) -> Tensor:
    """Return the rows that nearest neighbours are searched among: all, or a thousand of them."""
    return torch.randperm(samples, generator=generator(0, "neighbours"))[:_MOST_NEIGHBOURS].sort().values


def _or_none(estimate: Callable[[], float]) -> float | None:
    """Return an estimate, or None where there are too few samples for it."""
    try:
        return estimate()
    except DataError:
        return None
