"""Diagnosing and re-learning: an encoder that has memorised its training samples is set back towards its start."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from equipoise.data.schema import CLASSES
from equipoise.functional.purity import purity, relearning_strength
from equipoise.methods.base import Method, MethodCard, Phase, hparam, register
from equipoise.training.context import Context


@register(
    "relearning",
    card=MethodCard(
        title="Diagnosing and Re-learning",
        summary=(
            "Every few epochs, sets each encoder back towards its initial weights by how much better it separates the "
            "training samples than new ones."
        ),
        formula="theta_m <- a_m theta_m^0 + (1 - a_m) theta_m,  a_m = tanh(lambda |purity_train - purity_validation|)",
        authors="Wei, Li, Feng, Hu",
        venue="ECCV 2024",
        arxiv="2407.09705",
        kind="epoch",
        tasks=CLASSES,
        extra="per diagnosis: one pass over train and validation, two k-means per modality",
        neutral={"strength": 0.0},
        differs="The validation part decides, never the test part (as in the published runs); labels are not changed in place.",
    ),
)
@dataclass(kw_only=True)
class Relearning(Method):
    """Diagnose the encoders every ``period`` epochs and re-initialise them softly.

    Features of the train and the validation part are scaled to [-1, 1] per dimension, each part by itself, and clustered by
    k-means with as many clusters as classes. The gap of the two purities measures over-training;
    ``theta_m <- a_m theta_m^0 + (1 - a_m) theta_m`` with ``a_m = tanh(strength * gap)``.
    """

    strength: float = hparam(
        3.0, low=0.0, help="how strongly a gap sets an encoder back (the paper's lambda)", search=(1.0, 10.0)
    )
    period: int = hparam(20, low=1, help="epochs between two diagnoses")
    times: int = hparam(3, low=1, help="most diagnoses in a run")

    def needs(self) -> set[str]:
        return {"train", "validation"} if self.strength > 0 else set()

    def phases(self, ctx: Context) -> Iterator[Phase]:
        self.state["start"] = {name: [item.detach().clone() for item in ctx.model.parameters_of(name)] for name in ctx.modalities}
        yield Phase()

    def on_epoch_start(self, ctx: Context) -> None:
        if self.strength == 0 or ctx.epoch == 0 or ctx.epoch % self.period or ctx.epoch // self.period > self.times:
            for name in ctx.modalities:
                ctx.log(f"set_back.{name}", 0.0, neutral=0.0)  # a run too short for a diagnosis must say so
            return
        parts = {part: ctx.outputs(part).features for part in ("train", "validation")}
        for name in ctx.modalities:
            found = {part: self._purity(ctx, part, features[name], name) for part, features in parts.items()}
            amount = relearning_strength(abs(found["train"] - found["validation"]), self.strength)
            ctx.log(f"set_back.{name}", amount, neutral=0.0)
            with torch.no_grad():
                for item, start in zip(ctx.model.parameters_of(name), self.state["start"][name], strict=True):
                    item.lerp_(start.to(item.device), amount)

    def _purity(self, ctx: Context, part: str, features: Tensor, name: str) -> float:
        from sklearn.cluster import KMeans

        target = ctx.part(part).target
        assert target is not None
        have = ctx.part(part).present[name].cpu().numpy()
        rows = features.float().cpu().numpy()[have]
        labels = target.cpu().numpy()[have]
        if len(rows) < ctx.task.outputs:
            return 0.0
        low, high = rows.min(0), rows.max(0)
        scaled = 2 * (rows - low) / np.where(high > low, high - low, 1.0) - 1
        clusters = KMeans(ctx.task.outputs, n_init=1, random_state=ctx.options.seed).fit_predict(scaled)
        return purity(clusters.astype(np.int64), labels)
