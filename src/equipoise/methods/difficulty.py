"""A course from easy to hard samples: each counts by how likely the model is to get it right."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from equipoise.batch import Outputs
from equipoise.functional.difficulty import STAGES, difficulty_weights
from equipoise.methods.base import Method, MethodCard, Update, hparam, register
from equipoise.training.context import Context


@register(
    "difficulty",
    card=MethodCard(
        title="Online difficulty soft weighting (after VL-Cogito's curriculum)",
        summary="Weighs each sample by how likely the model is to get it right: first easy ones, at last hard ones.",
        formula="L = mean_i max(F_stage(a_i), floor) loss(z_i, y_i),  a_i = exp(-loss(z_i, y_i)) = p_i(y_i)",
        authors="Yuan, Xiao, Leng, Wang, Li, Xu, Chan, Zhao, Xu, Wei, Zhang, Rong",
        venue="arXiv 2025",
        arxiv="2507.22607",
        kind="loss",
        neutral={"floor": 1.0},
        differs=(
            "The paper weighs the advantages of prompts in reinforcement learning. That its F weighs samples of supervised "
            "training is our choice, and with it: a is the probability of the true class, which is the accuracy of answers drawn "
            "from the model (there: of 16 drawn answers), no weight is below the floor (there: what is always wrong counts "
            "nothing in the first two stages, what is always right nothing in the last two), and stages are thirds of the epochs."
        ),
    ),
)
@dataclass(kw_only=True)
class Difficulty(Method):
    """Joint training in which easy samples count first and hard ones last.

    ``L = mean_i max(F(a_i), floor) loss(z_i, y_i)`` with ``a_i`` the probability that the fused prediction of this very update
    gives to the true class, without history, and ``F`` that of the easy, the medium and the hard stage
    (:func:`~equipoise.functional.difficulty.difficulty_weights`), each a third of the epochs.

    Were ``a_i`` the share of past epochs in which the sample was predicted right, whole classes that are not right by chance
    after the first epoch would hardly be learned.
    """

    floor: float = hparam(0.05, low=0.0, high=1.0, help="least weight of a sample", search=(0.0, 0.5))

    def losses(self, ctx: Context, update: Update, outputs: Outputs) -> dict[str, Tensor]:
        if self.floor == 1:
            return super().losses(ctx, update, outputs)
        values, stage = ctx.task.losses(outputs.logits, update.batch.labels), STAGES[len(STAGES) * ctx.epoch // ctx.epochs]
        # The loss is -log of the probability that is asked for: another softmax would cost more than all the rest.
        weights = difficulty_weights((-values.detach()).exp(), stage, self.floor)
        ctx.log("weight", weights.mean())
        return {"fused": ctx.sample_mean(weights * values, update.batch)}
