"""MMCosine: features and class weights are compared by direction, so that no modality wins by length."""

from __future__ import annotations

from dataclasses import dataclass

from equipoise.methods.base import Method, MethodCard, hparam, register
from equipoise.nn.fusion.cosine import CosineFusion
from equipoise.training.context import Context


@register(
    "mmcosine",
    card=MethodCard(
        title="Multimodal cosine loss (MMCosine)",
        summary="The logits of each modality are scaled cosines, so that none takes over by longer features or weights.",
        formula="L = loss(z, y);  z_c = s sum_m <f_m, w_mc> / (|f_m| |w_mc|)",
        authors="Xu, Feng, Zhang, Hu",
        venue="ICASSP 2023",
        arxiv="2303.05338",
        kind="loss",
        fusion="cosine",
        neutral={"scaling": 1.0},
        differs=(
            "Predictions use the cosines that were trained (the published code validates the un-normalised output of a linear "
            "layer). Features of length 0 give logits 0 and get no gradient. Neutral: joint training of the same fusion at s = 1."
        ),
    ),
)
@dataclass(kw_only=True)
class MMCosine(Method):
    """The task loss on ``z = sum_m s cos(f_m, w_m)``: :class:`~equipoise.nn.fusion.cosine.CosineFusion`, scaled.

    Cosines lie in [-1, 1]; without the scaling ``s`` the probability of a class could not come near 1. The paper tunes ``s``
    per data set.
    """

    scaling: float = hparam(10.0, above=0.0, help="factor on the cosines (the paper's s)", search=(5.0, 30.0))

    def setup(self, ctx: Context) -> None:
        assert isinstance(ctx.model.fusion, CosineFusion)
        ctx.model.fusion.scaling.fill_(self.scaling)
