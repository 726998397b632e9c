"""Information acquisition regulation: while modalities learn most, the encoder of the leading one is held where it was."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.batch import Outputs
from equipoise.functional.regulation import information_growth, leads, regulation_coefficient
from equipoise.methods.base import Method, MethodCard, Update, hparam, register
from equipoise.methods.late import unimodal_losses
from equipoise.methods.ogm import unimodal_scores
from equipoise.training.context import Context


@register(
    "inforeg",
    card=MethodCard(
        title="Information Acquisition Regulation (InfoReg)",
        summary="In the early epochs, in which most is learned, ties the leading encoder to where it was when the epoch began.",
        formula="L = loss(z, y) + sum_m loss(z_m, y) + sum_m b_m/2 |w_m - w_m^epoch|^2,  b_m = b exp(tanh gap_m) if gap_m > 0",
        authors="Huang, Wei, Yang, Hu",
        venue="CVPR 2025",
        arxiv="2503.18595",
        kind="gradient",
        together=True,
        extra="a copy of the encoders' weights",
        differs=(
            "Form and defaults are those of the published code. Whichever modality leads is held (there: audio alone, since the "
            "branch for video repeats the condition). Each encoder has a window of its own (there: that of audio counts for "
            "all). The trace is the sum of all squared gradients of the losses (there: a sum of means over layers, regulation "
            "included). The gap is one of mean scores (there: of sums over a batch, of which tanh is nearly always 1); for more "
            "than two modalities it is to the mean of the others: our choices."
        ),
    ),
)
@dataclass(kw_only=True)
class InfoReg(Method):
    """Fused and unimodal losses, and a spring on the leading encoder while it acquires information fast.

    ``s_m`` is the mean probability of the true class by the auxiliary head of modality m in a batch, and ``gap_m`` by how much it
    exceeds the mean of the others. Encoder m with weights ``w_m`` gets ``b_m (w_m - w_m^epoch)`` added to its gradient,
    ``w_m^epoch`` being its weights at the start of the epoch and ``b_m = strength exp(tanh gap_m)`` if ``gap_m > 0``, else 0.

    Its prime learning window is open in the first epoch, and in epoch e while the Fisher trace ``T_m``, the sum over the updates
    of an epoch of the squared length of the encoder's gradient, still adds news: ``(A_{e-1} - A_{e-2}) / A_{e-1} > threshold``,
    ``A`` being the mean of ``T_m`` over the last ``span`` epochs.
    """

    strength: float = hparam(0.95, low=0.0, help="how hard an encoder that hardly leads is held", search=(0.1, 3.0), log=True)
    threshold: float = hparam(0.04, low=0.0, below=1.0, help="growth of information below which the window is closed")
    span: int = hparam(10, low=1, help="epochs over which the Fisher trace is averaged")

    def setup(self, ctx: Context) -> None:
        ctx.model.add_heads(ctx.options.seed)
        self.state["traces"] = {name: [] for name in ctx.modalities}

    def on_epoch_start(self, ctx: Context) -> None:
        traces = self.state["traces"]
        self.state["open"] = {
            name: not past or information_growth(past, self.span) > self.threshold for name, past in traces.items()
        }
        self.state["start"] = {name: [item.detach().clone() for item in ctx.model.parameters_of(name)] for name in ctx.modalities}
        self.state["trace"] = {name: torch.zeros((), device=ctx.runtime.device) for name in ctx.modalities}

    def losses(self, ctx: Context, update: Update, outputs: Outputs) -> dict[str, Tensor]:
        return super().losses(ctx, update, outputs) | unimodal_losses(ctx, update, outputs)

    @torch.no_grad()
    def modulate_gradients(self, ctx: Context, update: Update, outputs: Outputs) -> None:
        gaps = leads(unimodal_scores(ctx, update, outputs))
        for name, gap in zip(outputs.features, gaps, strict=True):
            coefficient = regulation_coefficient(gap, self.strength) if self.state["open"][name] else 0.0
            ctx.log(f"coefficient.{name}", coefficient, neutral=0.0)
            for item, start in zip(ctx.model.parameters_of(name), self.state["start"][name], strict=True):
                if item.grad is not None:
                    self.state["trace"][name] += item.grad.square().sum()
                    item.grad.add_(item - start, alpha=coefficient)

    def on_epoch_end(self, ctx: Context) -> None:
        for name, trace in self.state["trace"].items():
            ctx.log(f"fisher.{name}", trace)
            # One more than the mean needs, for the mean of the epoch before.
            self.state["traces"][name] = [*self.state["traces"][name], float(trace)][-self.span - 1 :]
