"""Numbers: a score is R², a guess is the mean of the training targets."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from equipoise.diagnosis.grading.base import Grading, Terms
from equipoise.diagnosis.grading.classes import PENALTY
from equipoise.diagnosis.grading.labels import label_logits, scaled
from equipoise.functional.information import ksg
from equipoise.functional.value_metrics import correlation, explained_mean, explained_values
from equipoise.tasks import Regression, Task


class ValueGrading(Grading):
    """One or several numbers. What is said and decided are numbers, standardised by the mean and spread of the training targets.

    The score is R², averaged over the numbers that vary. What a sample gives to it is ``(y - mean y)^2 - (y - p)^2``: how much
    nearer the prediction is than the mean of the judged samples. Chance is the R² of saying the mean of the training targets:
    0 or, where the judged samples have another mean, less. A resample keeps that mean, so that intervals of R² come from
    ratios of sums.
    """

    terms = Terms(
        task="regression",
        one="number",
        a="the number",
        many="numbers",
        key="r2",
        score="R²",
        scores="R²",
        guess="saying the mean of the training targets",
        far=0.1,
        holds="",
        probe="model",
        loss="loss (half squared standardised error)",
        unit="of standardised values",
        gives="prediction",
        constant="mean of the targets",
        right="error of these, in standard deviations",
        shares=False,
        ability="R² of its own output",
        main="r2",
    )
    read = staticmethod(label_logits)
    mean = staticmethod(explained_mean)

    def __init__(self, task: Task, names: tuple[str, ...], train: Tensor) -> None:
        super().__init__(task, names, train)
        assert isinstance(task, Regression)
        self._standardised = task.standardised

    @property
    def nothing(self) -> Tensor:
        return torch.zeros(len(self.names), dtype=torch.float64)

    def check(self, target: Tensor) -> str:
        return "" if bool(_varied(target).any()) else "samples with equal targets only, a diagnosis needs different ones"

    def notes(self, target: Tensor) -> list[str]:
        notes = [
            "confusion matrices, calibration and information budgets are of classes and labels; of numbers there are residuals "
            "and errors instead"
        ]
        same = [name for name, varied in zip(self.names, _varied(target).tolist(), strict=True) if not varied]
        if same:
            notes.append(f"scores leave out numbers that are the same for all test samples: {', '.join(same)}")
        return notes

    def chance(self, target: Tensor) -> float:
        return float(self.mean(self.values(self.nothing.expand(1, len(target), -1), target), target))

    def decide(self, said: Tensor) -> Tensor:
        return said

    def values(self, decided: Tensor, target: Tensor) -> Tensor:
        return explained_values(self.predicted(decided), target)

    def losses(self, said: Tensor, target: Tensor) -> Tensor:
        return 0.5 * (said - self._standardised(target)).square().mean(-1)

    def constant_loss(self, target: Tensor) -> float:
        return 0.5 * float(self._standardised(target).var(0, correction=0).mean())

    def agreement(self, said: Tensor, decided: Tensor) -> Tensor:
        return (-0.5 * (said - decided).square().mean(-1)).exp()

    def right(self, decided: Tensor, target: Tensor) -> Tensor:
        """Return the root mean square error over the numbers of a sample, in standard deviations of the training targets."""
        return (decided - self._standardised(target)).square().mean(-1).sqrt()

    def disagreement(self, own: Tensor, present: Tensor) -> Tensor:
        """Return the Jensen-Shannon divergence of normal predictions of unit variance, taken to their geometric mean."""
        shares = (present / present.sum(0).clamp_min(1))[:, :, None]
        apart = own - (shares * own).sum(0)
        return 0.5 * (shares * apart.square()).sum(0).mean(1)

    def probe(self, features: NDArray[Any], target: Tensor, new: NDArray[Any]) -> Tensor:
        from sklearn.linear_model import Ridge
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        if not len(target):
            return torch.zeros(len(new), target.shape[1], dtype=torch.float64)
        line = make_pipeline(StandardScaler(), Ridge(alpha=PENALTY))
        line.fit(features.astype("float64"), self._standardised(target).numpy())
        return torch.from_numpy(line.predict(new.astype("float64"))).reshape(len(new), target.shape[1])

    def also(self, decided: Tensor, target: Tensor) -> dict[str, list[float]]:
        return {"mae": (self.predicted(decided) - target).abs().mean((-2, -1)).tolist()}

    def ranges(self, target: Tensor) -> dict[str, dict[str, float]]:
        columns = (target.mean(0), target.std(0, correction=0), target.amin(0), target.amax(0))
        keys = ("mean", "deviation", "least", "most")
        rows = torch.stack(columns, 1).tolist()
        return {name: dict(zip(keys, row, strict=True)) for name, row in zip(self.names, rows, strict=True)}

    def predicted(self, said: Tensor) -> Tensor:
        return self.task.predictions(said)

    def rows(self, said: Tensor, target: Tensor) -> list[dict[str, Any]]:
        errors = self.predicted(said) - target
        r2 = self.values(said, target)
        return [
            {
                "class": name,
                "r2": float(self.mean(r2[None, :, [number]], target[:, [number]])),
                "mae": float(errors[:, number].abs().mean()),
                "rmse": float(errors[:, number].square().mean().sqrt()),
                "correlation": float(correlation(said[:, number], target[:, number])),
                "support": len(target),
            }
            for number, name in enumerate(self.names)
        ]

    def text(self, decided: Tensor) -> str:
        return self.truth(self.predicted(decided))

    def truth(self, target: Tensor) -> str:
        return ", ".join(f"{value:.4g}" for value in target.tolist())

    def confidence(self, said: Tensor) -> None:
        return None

    def ability(self, said: Tensor, target: Tensor) -> dict[str, float | None]:
        varied = _varied(target).tolist()
        return {row["class"]: row["r2"] if varies else None for row, varies in zip(self.rows(said, target), varied, strict=True)}

    def neighbours(self, said: Tensor, target: Tensor) -> float:
        return ksg(scaled(said), scaled(target.double()))

    def coordinates(self, said: Tensor) -> NDArray[Any]:
        return scaled(said)

    def numbers(self, said: Tensor) -> Tensor:
        return self.predicted(said)


def _varied(target: Tensor) -> Tensor:
    """Return which numbers are not the same for all samples."""
    return target.amax(0) > target.amin(0) if len(target) else torch.zeros(target.shape[1], dtype=torch.bool)
