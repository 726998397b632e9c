"""A verdict by stated rules: what is wrong with a model, which numbers say so, and which methods address it.

Scores are taken on samples that training never saw, intervals are 95 % over resamples of these samples. They are not corrected
for the number of modalities. What a score is, and ``chance``, the score of knowing nothing, depend on the task:

==================  ============================================  =======================================================
task                score                                         chance
==================  ============================================  =======================================================
``classification``  balanced accuracy                             one over the number of classes
``ordinal``         balanced accuracy                             one over the number of classes
``multilabel``      balanced accuracy of each label, averaged     one half, whatever the frequencies of the labels
``regression``      R²                                            R² of saying the mean of the training targets: about 0
==================  ============================================  =======================================================

Each is 1 for what is always right. R² is the square of a correlation: it is small where accuracies are not, so that one limit is
lower for it. The rules:

``at chance``
    The model as a whole tells next to nothing: its score is not shown to beat chance and cannot be far above it, by the limits of
    the next rule. How its modalities share in that matters little before it learns something.

``uninformative: NAMES``
    Modality m tells next to nothing: in a model of its own neither head nor probe is shown to beat chance (the lower ends of
    both intervals are at most chance) and neither can be far above it (the upper ends are at most ``chance + 0.2 (1 - chance)``;
    of R² ``chance + 0.1 (1 - chance)``), and the model is not shown to lose without m (the interval of the score that it loses
    reaches 0 or below).

``starved: NAMES``
    Modality m is not uninformative, and its encoder learned less inside than alone: the gap of linear probes on frozen features
    (alone minus inside) is more than 5 % of what the modality tells alone, ``alone - chance``, with its interval above 0. What
    tells nothing alone (at most chance) has nothing to lose.

``conflicting``
    The model is better without a modality: the score rises by more than 0.01 when it is taken away by the mask, with its
    interval above 0; or, where gradients were logged, the gradients of a modality's own loss and of the joint loss in its
    features point against each other: the mean of their cosine over at least 5 measured epochs is below 0 with its interval
    over the epochs.

``over-fitted: NAMES``
    Modality m says more than it knows: the loss of its own output is below that of the best answer that is the same for all
    samples (how frequent each class or label is, or the mean of the numbers) on the training samples, but above it on new ones
    (interval above 0), where that answer would be better; and its score is less there (the interval is below the score of
    training).

``balanced``
    None of these was found. What samples are too few to decide is said beside it: modalities whose encoder lost (or won) more
    than 5 % with an interval that has 0 in it.

The thresholds are our choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from statistics import mean, stdev

from equipoise.diagnosis.capacity import Capacity
from equipoise.diagnosis.coalitions import Contributions
from equipoise.diagnosis.dynamics import Dynamics
from equipoise.diagnosis.generalisation import Generalisation
from equipoise.diagnosis.grading import Terms
from equipoise.diagnosis.grading.classes import ClassGrading
from equipoise.diagnosis.material import Estimate
from equipoise.methods.base import METHODS

FUSED = "fused"
"""The output of all modalities together."""

MEASUREMENTS = 5
"""Gradients are judged from this many measurements."""

BETTER = 0.01
"""A model is better without a modality from this difference of scores."""

REMEDIES: dict[str, tuple[tuple[str, str], ...]] = {
    "starved": (
        (
            "joint_unimodal",
            "a loss on a head of its own reaches an encoder that the fused loss leaves alone; on mfeat it took the weakest "
            "branch from 29 to 68 % macro-F1, where the modality alone has 74",
        ),
        (
            "mi_balance",
            "weak branches that share information with others get more weight; on mfeat its weakest reached 73 of 74 %",
        ),
        ("iibalance", "weighs by what each modality alone can tell; on mfeat its weakest branch reached 72 of 74 %"),
        ("aug", "gives a weak modality more classifiers; on mfeat its weakest branch reached 72 of 74 %"),
    ),
    "conflicting": (
        ("mmpareto", "steps in a direction that no modality's loss opposes"),
        ("mla", "trains modalities in turn, each in directions that leave the others' answers as they are"),
        ("late", "trains each modality by itself, so that gradients cannot conflict"),
    ),
    "uninformative": (
        ("iibalance", "asks of a modality what it alone can tell, which here is next to nothing; leaving it out is simpler"),
    ),
    "over-fitted": (
        ("gblending", "weighs each modality's loss by how much of what it learns holds on held-out samples"),
        ("modality_dropout", "takes modalities away at random, so that none is relied upon blindly"),
        ("relearning", "sets back an encoder that fits training samples much better than new ones"),
    ),
}
"""What addresses a finding, each with the reason; measured numbers are means of 5 folds (``benchmarks/results/real_sets.md``)."""


@dataclass(frozen=True)
class Evidence:
    """A number that speaks for a finding.

    Attributes:
        modality: Whose number it is.
        words: What it is.
        estimate: The number with its interval.
    """

    modality: str
    words: str
    estimate: Estimate


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        kind: ``at chance``, ``starved``, ``conflicting``, ``uninformative`` or ``over-fitted``.
        modalities: Which modalities are concerned; ``fused`` is all of them together.
        evidence: The numbers that say so.
        methods: Methods for the task that address it, each with the reason; empty where there are none.
    """

    kind: str
    modalities: tuple[str, ...]
    evidence: tuple[Evidence, ...]
    methods: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Verdict:
    """What is wrong, or that nothing was found to be.

    Attributes:
        headline: The findings in one line, or ``balanced``.
        findings: The findings, empty for ``balanced``.
        unclear: Evidence about modalities that the samples are too few to judge.
        text: The verdict as one paragraph.
    """

    headline: str
    findings: tuple[Finding, ...]
    unclear: tuple[Evidence, ...]
    text: str


def judge(
    capacities: Sequence[Capacity],
    contributions: Contributions,
    generalisation: Mapping[str, Generalisation],
    chance: float,
    dynamics: Dynamics | None = None,
    terms: Terms = ClassGrading.terms,
) -> Verdict:
    """Apply the rules of this module.

    Args:
        capacities: Capacity gaps.
        contributions: Contributions when modalities are masked.
        generalisation: How each output does on new samples.
        chance: Score of guessing.
        dynamics: The course of training, where it was logged.
        terms: The words of the task.
    """
    silent = [item for item in capacities if _tells_nothing(item, contributions.removal[item.modality], chance, terms.far)]
    starved = [item for item in capacities if item.state == "starved" and item not in silent]
    whole = generalisation[FUSED].score
    found = {
        "at chance": [Evidence(FUSED, _score_of("the whole model", chance), whole)]
        if _at_chance(whole, chance, terms.far)
        else [],
        "starved": [
            Evidence(item.modality, "score that its encoder lost against training alone", item.encoder_gap) for item in starved
        ],
        "conflicting": _conflicts(contributions, dynamics) if len(capacities) > 1 else [],
        "uninformative": [Evidence(item.modality, _score_of("a model of its own", chance), item.alone) for item in silent],
        "over-fitted": _over_fitted(generalisation, [item.modality for item in capacities], terms),
    }
    findings = tuple(
        Finding(kind, tuple(dict.fromkeys(item.modality for item in evidence)), tuple(evidence), remedies(kind, terms.task))
        for kind, evidence in found.items()
        if evidence
    )
    unclear = tuple(
        Evidence(item.modality, "score that its encoder lost against training alone", item.encoder_gap)
        for item in capacities
        if item.state == "unclear" and item not in silent
    )
    headline = "; ".join(_title(finding) for finding in findings) or "balanced"
    return Verdict(headline, findings, unclear, _text(headline, findings, unclear, capacities))


def remedies(kind: str, task: str) -> tuple[tuple[str, str], ...]:
    """Return the methods for a task that address a finding, each with the reason.

    Example:
        >>> [name for name, _ in remedies("starved", "regression")]
        ['joint_unimodal', 'aug']
    """
    return tuple(item for item in REMEDIES.get(kind, ()) if task in METHODS.get(item[0]).card.tasks)


def _score_of(whose: str, chance: float) -> str:
    return f"score of {whose} (chance: {round(chance, 2) + 0:.2f})"


def _at_chance(score: Estimate, chance: float, far: float) -> bool:
    return score.low <= chance and score.high <= chance + far * (1 - chance)


def _tells_nothing(item: Capacity, removal: Estimate, chance: float, far: float) -> bool:
    return removal.low <= 0 and all(_at_chance(score, chance, far) for score in (item.alone, item.alone_probe))


def _conflicts(contributions: Contributions, dynamics: Dynamics | None) -> list[Evidence]:
    found = [
        Evidence(name, "score that the model loses without it", removal)
        for name, removal in contributions.removal.items()
        if removal.value < -BETTER and removal.high < 0
    ]
    for name, curves in (dynamics.gradients if dynamics else {}).items():
        values = [value for value in curves.get("cosine", ()) if value is not None]
        if len(values) >= MEASUREMENTS:
            reach = 1.96 * stdev(values) / len(values) ** 0.5
            estimate = Estimate(mean(values), mean(values) - reach, mean(values) + reach)
            if estimate.high < 0:
                found.append(Evidence(name, "cosine of the gradients of its own and of the joint loss", estimate))
    return found


def _over_fitted(generalisation: Mapping[str, Generalisation], names: Sequence[str], terms: Terms) -> list[Evidence]:
    return [
        Evidence(name, f"loss above that of the {terms.constant} on new samples, {terms.unit}", generalisation[name].excess)
        for name in names
        if generalisation[name].train_loss < generalisation[name].entropy
        and generalisation[name].excess.low > 0
        and generalisation[name].score.high < generalisation[name].train_score
    ]


def _title(finding: Finding) -> str:
    return finding.kind if finding.kind in ("at chance", "conflicting") else f"{finding.kind}: {', '.join(finding.modalities)}"


def _number(evidence: Evidence) -> str:
    found = evidence.estimate
    if isnan(found.value):
        return f"{evidence.modality}: {evidence.words} is not defined"
    return f"{evidence.modality}: {evidence.words} {found.value:.3f} (95 %: {found.low:.3f} to {found.high:.3f})"


def _text(headline: str, findings: Sequence[Finding], unclear: Sequence[Evidence], capacities: Sequence[Capacity]) -> str:
    sentences = [f"{headline[0].upper()}{headline[1:]}."]
    for finding in findings:
        which = f"{finding.kind.capitalize()} by" if len(findings) > 1 else "By"
        sentences.append(f"{which} these numbers: {'; '.join(map(_number, finding.evidence))}.")
        if finding.methods:
            name, reason = finding.methods[0]
            others = ", ".join(other for other, _ in finding.methods[1:])
            sentences.append(f"Try {name}: {reason}{f' (or {others})' if others else ''}.")
        elif finding.kind == "uninformative":
            sentences.append("Leave it out, or look at the data.")
        elif finding.kind == "at chance":
            sentences.append("Before balance comes learning: look at data, encoders and learning rate, or train for longer.")
    if not findings:
        sentences.append(
            "No encoder is shown to have learned less than alone, and the model is not shown to lose by any modality."
        )
    if unclear:
        sentences.append(f"Too few samples to decide: {'; '.join(map(_number, unclear))}.")
    fed = [item.modality for item in capacities if item.state == "over-fed"]
    if fed:
        sentences.append(f"Learned more inside than alone: {', '.join(fed)}.")
    return " ".join(sentences)
