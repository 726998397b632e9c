"""Labels: each is a question of its own between having and not having it, and what is reported is averaged over labels."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from equipoise.diagnosis.grading.base import Choices, Grading, Terms, Told
from equipoise.diagnosis.grading.classes import class_probe, disagreement
from equipoise.errors import DataError
from equipoise.functional.budgets import label_entropy, measure
from equipoise.functional.information import represent, ross
from equipoise.functional.label_metrics import balanced_label_mean, label_f1


def label_logits(logits: Tensor) -> Tensor:
    """Return log-odds in double precision, on the CPU."""
    return logits.detach().cpu().double()


class LabelGrading(Grading):
    """Labels that do not exclude each other. What is said are log-odds, what is decided booleans; a value is 1 for a hit.

    The score is the balanced accuracy of each label (the mean of how often it is seen where it is and not seen where it is not),
    averaged over the labels that some samples have and others have not: whoever knows nothing has one half, however frequent
    the labels are. Macro-F1 has no such level: naming every label always has ``2 f / (1 + f)`` of a label with frequency f,
    naming none has 0. It stands beside the score.

    Where nothing is known, the frequencies of the labels in training are said, and each label is right half of the time.
    """

    terms = Terms(
        task="multilabel",
        one="label",
        a="a label",
        many="labels",
        key="balanced_accuracy",
        score="balanced accuracy averaged over labels",
        scores="balanced accuracies averaged over labels",
        guess="a guess",
        far=0.2,
        holds="a label holds",
        probe="classifier",
        loss="log-loss (nats per label)",
        unit="in nats per label",
        gives="logits",
        constant="label frequencies",
        right="labels right in these",
        shares=True,
        ability="balanced accuracy of its own output",
        main="macro_f1",
    )
    read = staticmethod(label_logits)
    mean = staticmethod(balanced_label_mean)

    @property
    def nothing(self) -> Tensor:
        half = 0.5 / max(len(self.train), 1)  # of a sample: log-odds stay finite
        return self.train.double().mean(0).clamp(half, 1 - half).logit()

    def check(self, target: Tensor) -> str:
        return "" if bool(_both(target).any()) else "no label that some samples have and others have not, a diagnosis needs one"

    def notes(self, target: Tensor) -> list[str]:
        notes = ["a confusion matrix is of classes; of labels there is a table with a row for each instead"]
        same = [name for name, both in zip(self.names, _both(target).tolist(), strict=True) if not both]
        if same:
            notes.append(f"scores leave out labels that all or none of the test samples have: {', '.join(same)}")
        return notes

    def chance(self, target: Tensor) -> float:
        return 0.5

    def decide(self, said: Tensor) -> Tensor:
        return said >= 0

    def values(self, decided: Tensor, target: Tensor) -> Tensor:
        return (decided == (target > 0.5)).double()

    def guessed(self, said: Tensor, target: Tensor) -> Tensor:
        told = (said != self.nothing).any(-1, keepdim=True)
        return torch.where(told, self.values(self.decide(said), target), 0.5)

    def losses(self, said: Tensor, target: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(said, target.double().expand(said.shape), reduction="none").mean(-1)

    def constant_loss(self, target: Tensor) -> float:
        return sum(map(label_entropy, _codes(target).unbind(1))) / len(self.names)

    def agreement(self, said: Tensor, decided: Tensor) -> Tensor:
        return torch.sigmoid(said * (2.0 * decided - 1)).mean(-1)

    def right(self, decided: Tensor, target: Tensor) -> Tensor:
        return self.values(decided, target).mean(-1)

    def disagreement(self, own: Tensor, present: Tensor) -> Tensor:
        labels = own.shape[2]
        apart = disagreement(_two(own).flatten(1, 2), present.repeat_interleave(labels, 1))
        return apart.view(-1, labels).mean(1)

    def probe(self, features: NDArray[Any], target: Tensor, new: NDArray[Any]) -> Tensor:
        return torch.stack([class_probe(features, codes, new) for codes in _codes(target).unbind(1)], 1) > 0

    def also(self, decided: Tensor, target: Tensor) -> dict[str, list[float]]:
        return {"macro_f1": label_f1(decided, target > 0.5)[0].tolist()}

    def counts(self, target: Tensor) -> dict[str, int]:
        return dict(zip(self.names, _codes(target).sum(0).tolist(), strict=True))

    def predicted(self, said: Tensor) -> Tensor:
        return torch.sigmoid(said)

    def rows(self, said: Tensor, target: Tensor) -> list[dict[str, Any]]:
        decided, truth = self.decide(said), target > 0.5
        hits, named, have = (part.sum(0).double() for part in (decided & truth, decided, truth))
        columns = (hits / named.clamp_min(1), hits / have.clamp_min(1), 2 * hits / (named + have).clamp_min(1))
        return [
            {"class": name, "precision": precision, "recall": recall, "f1": f1, "support": int(support)}
            for name, precision, recall, f1, support in zip(
                self.names, *(part.tolist() for part in (*columns, have)), strict=True
            )
        ]

    def text(self, decided: Tensor) -> str:
        return ", ".join(name for name, has in zip(self.names, decided.tolist(), strict=True) if has) or "none"

    def truth(self, target: Tensor) -> str:
        return self.text(target > 0.5)

    def ability(self, said: Tensor, target: Tensor) -> dict[str, float | None]:
        hits, both = self.values(self.decide(said), target)[None], _both(target).tolist()
        return {
            name: float(self.mean(hits[:, :, [number]], target[:, [number]])) if both[number] else None
            for number, name in enumerate(self.names)
        }

    def told(self, said: Tensor, target: Tensor) -> Told:
        """Return what is told about a label, averaged over labels; one temperature is fitted to all of them."""
        codes, logits = _codes(target), _two(said)
        known = self.constant_loss(target)
        found = measure(logits.flatten(0, 1), codes.flatten(), known)
        scaled = F.cross_entropy(logits.flatten(0, 1) / found["temperature"], codes.flatten(), reduction="none")
        return Told(known - scaled.view(said.shape).mean(1), found["temperature"], found["raw"])

    def neighbours(self, said: Tensor, target: Tensor) -> float:
        """Return the estimate for each label by its own log-odds, averaged over the labels with samples enough."""
        found = []
        for logits, codes in zip(said.unbind(1), _codes(target).unbind(1), strict=True):
            if int(codes.bincount(minlength=2).min()) > 5:
                found.append(ross(represent(_two(logits)), codes.numpy()))
        if not found:
            raise DataError("no label has samples enough on both sides")
        return sum(found) / len(found)

    def coordinates(self, said: Tensor) -> NDArray[Any]:
        return scaled(said)

    def codes(self, first: Tensor, second: Tensor, target: Tensor) -> list[tuple[Tensor, Tensor, Tensor, int]]:
        columns = (self.decide(first).long(), self.decide(second).long(), _codes(target))
        return [(*codes, 2) for codes in zip(*(item.unbind(1) for item in columns), strict=True)]

    def choices(self, said: Tensor, target: Tensor) -> Choices:
        """Return each label of each sample as a choice between two."""
        sample = torch.arange(len(said)).repeat_interleave(said.shape[1])
        brier = float((self.predicted(said) - target.double()).square().mean())
        return Choices(_two(said).flatten(0, 1).exp(), _codes(target).flatten(), sample, brier)


def scaled(values: Tensor) -> NDArray[Any]:
    """Return columns of mean 0 and variance 1; zeros where a column is constant."""
    apart = values - values.mean(0)
    size = apart.square().mean(0).sqrt()
    return torch.where(size > 0, apart / size.clamp_min(torch.finfo(size.dtype).tiny), 0.0).numpy()


def _codes(target: Tensor) -> Tensor:
    return (target > 0.5).long()


def _both(target: Tensor) -> Tensor:
    """Return which labels some samples have and others have not."""
    return (target > 0.5).any(0) & (target <= 0.5).any(0)


def _two(logits: Tensor) -> Tensor:
    """Return the log-probabilities of not having and of having each label, of shape (..., 2)."""
    return F.logsigmoid(torch.stack([-logits, logits], -1))
