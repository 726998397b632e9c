"""Classes: a score is the balanced accuracy, a guess has one over their number."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from equipoise.diagnosis.grading.base import Choices, Grading, Terms, Told
from equipoise.evaluation.metrics import class_report
from equipoise.functional.bootstrap import balanced_mean
from equipoise.functional.budgets import label_entropy, measure
from equipoise.functional.information import represent, ross
from equipoise.functional.metrics import brier_score, confusion, macro_f1, quadratic_kappa

PENALTY = 10.0
"""Weight of half the squared length of a linear probe's weights, against its summed loss on standardised features."""


def log_probabilities(logits: Tensor) -> Tensor:
    """Return log-probabilities in double precision, on the CPU."""
    return logits.detach().cpu().double().log_softmax(-1)


def disagreement(own: Tensor, present: Tensor) -> Tensor:
    """Return the Jensen-Shannon divergence of predictions, ``H(mean_m p_m) - mean_m H(p_m)`` over the present modalities.

    Args:
        own: Log-probabilities of shape (modalities, samples, classes).
        present: Which sample has which modality, booleans of shape (modalities, samples).

    Returns:
        Divergences in nats, of shape (samples,), 0 where fewer than two modalities are present.

    References:
        Lin, "Divergence measures based on the Shannon entropy", IEEE Transactions on Information Theory 37, 1991.

    Example:
        >>> own = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]]).log()
        >>> disagreement(own, torch.ones(2, 1, dtype=torch.bool))
        tensor([0.6931])
    """
    shares = present / present.sum(0).clamp_min(1)
    p = own.exp()
    mixed = (shares[:, :, None] * p).sum(0)
    between: Tensor = torch.special.entr(mixed).sum(1) - (shares * torch.special.entr(p).sum(2)).sum(0)
    return between.clamp_min(0)


def class_probe(features: NDArray[Any], target: Tensor, new: NDArray[Any]) -> Tensor:
    """Decide by logistic regression (C = 0.1) on standardised features; codes of shape (samples,).

    Args:
        features: Features of the training samples, of shape (samples, width).
        target: Their class codes.
        new: Features of the samples to decide about.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if len(target.unique()) < 2:  # nothing to tell apart
        return torch.full((len(new),), int(target[0]) if len(target) else 0)
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=1 / PENALTY, max_iter=1000))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # features of a dead encoder are constant; the classifier then says the same of all
        classifier.fit(features, target.numpy())
    return torch.from_numpy(classifier.predict(new))


class ClassGrading(Grading):
    """One of several classes. What is said are log-probabilities, what is decided codes; values are 1 for a hit, 0 for a miss.

    The score is the balanced accuracy: guessing evenly among the classes has one over their number, however frequent each is,
    which macro-F1 does not have.
    """

    terms = Terms(
        task="classification",
        one="class",
        a="the class",
        many="classes",
        key="balanced_accuracy",
        score="balanced accuracy",
        scores="balanced accuracies",
        guess="a guess",
        far=0.2,
        holds="the labels hold",
        probe="classifier",
        loss="log-loss (nats)",
        unit="in nats",
        gives="logits",
        constant="class frequencies",
        right="of these right",
        shares=True,
        ability="how often its own output is right",
        main="macro_f1",
    )
    read = staticmethod(log_probabilities)
    mean = staticmethod(balanced_mean)

    @property
    def nothing(self) -> Tensor:
        return torch.full((len(self.names),), 1 / len(self.names), dtype=torch.float64).log()

    def check(self, target: Tensor) -> str:
        codes = target.unique().tolist()
        names = ", ".join(repr(self.names[code]) for code in codes)
        return "" if len(codes) > 1 else f"samples of one class only ({names}), a diagnosis needs at least two"

    def chance(self, target: Tensor) -> float:
        return 1 / len(self.names)

    def decide(self, said: Tensor) -> Tensor:
        return said.argmax(-1)

    def values(self, decided: Tensor, target: Tensor) -> Tensor:
        return (decided == target).double()

    def guessed(self, said: Tensor, target: Tensor) -> Tensor:
        told = said.amax(-1) > said.amin(-1)
        return torch.where(told, self.values(self.decide(said), target), self.chance(target))

    def losses(self, said: Tensor, target: Tensor) -> Tensor:
        return -_of(said, target)

    def constant_loss(self, target: Tensor) -> float:
        return label_entropy(target)

    def agreement(self, said: Tensor, decided: Tensor) -> Tensor:
        return _of(said, decided).exp()

    def right(self, decided: Tensor, target: Tensor) -> Tensor:
        return self.values(decided, target)

    def disagreement(self, own: Tensor, present: Tensor) -> Tensor:
        return disagreement(own, present)

    def probe(self, features: NDArray[Any], target: Tensor, new: NDArray[Any]) -> Tensor:
        return class_probe(features, target, new)

    def also(self, decided: Tensor, target: Tensor) -> dict[str, list[float]]:
        return {"macro_f1": macro_f1(confusion(decided, target, len(self.names))).tolist()}

    def counts(self, target: Tensor) -> dict[str, int]:
        return dict(zip(self.names, target.bincount(minlength=len(self.names)).tolist(), strict=True))

    def predicted(self, said: Tensor) -> Tensor:
        return said.exp()

    def rows(self, said: Tensor, target: Tensor) -> list[dict[str, Any]]:
        return class_report(self.predicted(said).numpy(), target.numpy(), self.names)

    def confusion(self, decided: Tensor, target: Tensor) -> list[list[int]]:
        counts: list[list[int]] = confusion(decided, target, len(self.names)).tolist()
        return counts

    def text(self, decided: Tensor) -> str:
        return self.names[int(decided)]

    def truth(self, target: Tensor) -> str:
        return self.text(target)

    def confidence(self, said: Tensor) -> Tensor:
        return said.amax(-1).exp()

    def centred(self, terms: Tensor) -> Tensor:
        return terms - terms.mean(2, keepdim=True)

    def ability(self, said: Tensor, target: Tensor) -> dict[str, float | None]:
        hits = self.values(self.decide(said), target)
        of_class = {name: hits[target == code] for code, name in enumerate(self.names)}
        return {name: float(values.mean()) if len(values) else None for name, values in of_class.items()}

    def lengths(self, terms: Tensor, target: Tensor) -> dict[str, Tensor]:
        whole = terms.norm(dim=2)
        return {name: whole[:, target == code] for code, name in enumerate(self.names)}

    def told(self, said: Tensor, target: Tensor) -> Told:
        known = label_entropy(target)
        found = measure(said, target, known)
        values = known - F.cross_entropy(said / found["temperature"], target, reduction="none")
        return Told(values, found["temperature"], found["raw"])

    def neighbours(self, said: Tensor, target: Tensor) -> float:
        return ross(represent(said), target.numpy())

    def coordinates(self, said: Tensor) -> NDArray[Any]:
        return represent(said)

    def codes(self, first: Tensor, second: Tensor, target: Tensor) -> list[tuple[Tensor, Tensor, Tensor, int]]:
        return [(self.decide(first), self.decide(second), target, len(self.names))]

    def choices(self, said: Tensor, target: Tensor) -> Choices:
        probabilities = self.predicted(said)
        return Choices(probabilities, target, None, float(brier_score(probabilities, target)))


class OrdinalGrading(ClassGrading):
    """Classes in an order: judged as classes are, with the agreement that knows the order beside it."""

    terms = replace(ClassGrading.terms, task="ordinal", main="kappa")

    def also(self, decided: Tensor, target: Tensor) -> dict[str, list[float]]:
        kappa = quadratic_kappa(confusion(decided, target, len(self.names))).tolist()
        return {"kappa": kappa, **super().also(decided, target)}


def _of(said: Tensor, codes: Tensor) -> Tensor:
    """Return what is said of some classes, of shape (..., samples)."""
    return said.gather(-1, codes.expand(said.shape[:-1]).unsqueeze(-1)).squeeze(-1)
