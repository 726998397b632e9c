"""Adaptive intra-network modulation: the fusion learns from degraded blocks of encoders that lead, whose slow channels learn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import nan

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from equipoise.batch import Batch, Outputs
from equipoise.data.schema import CLASSES
from equipoise.errors import ConfigError
from equipoise.functional.class_means import class_sums, moved_means
from equipoise.functional.intranetwork import depth_strength, prototype_scores, relative_movement, slow_channels
from equipoise.functional.modulation import discrepancy_ratios
from equipoise.methods.base import Method, MethodCard, Update, hparam, register
from equipoise.methods.late import unimodal_losses
from equipoise.nn.blocks import Place, blocks_of, channel_weights, hooked, pooled_channels, scale_channels
from equipoise.training.context import Closure, Context


@register(
    "aim",
    card=MethodCard(
        title="Adaptive Intra-Network Modulation (AIM), our realisation of its idea",
        summary="Where a modality leads at some depth, the fusion learns from its encoder with fast channels damped.",
        formula="h_ml <- (1 - r_ml) h_ml on fast channels,  r_ml = tanh(k max(0, s_ml / mean s_nl - 1));  L = l(z') + ...",
        authors="Shen, Chen, Zhang",
        venue="arXiv 2025",
        arxiv="2508.19769",
        kind="loss",
        tasks=CLASSES,
        forwards=2.0,
        backwards=2.0,
        extra="one of the passes only of encoders that lead; class means and a copy of the weights of each block",
        together=True,
        differs=(
            "The paper's parts are kept: blocks degraded to what learns slowly, by modality and depth, scored by prototypes of "
            "each depth. Its formulas are not public in a form to build on; all those here are our choice: relative movement of "
            "channels, cosine prototypes, the strength, the weights of the losses. Depths are counted from the output. Encoders "
            "that use the sample graph cannot take part."
        ),
    ),
)
@dataclass(kw_only=True)
class AIM(Method):
    """Train the fusion on degraded features of encoders that lead, beside each modality's own loss.

    A block is a module with weights in the chain of an encoder; depth l counts blocks from the output. ``s_ml`` is the mean
    probability of the true class by cosine to class means of the block's output (averaged over places), in the batch before.
    ``r_ml = tanh(kappa max(0, s_ml / mean_{n != m} s_nl - 1))``. In a second pass of each encoder with some ``r > 0`` the
    channels of a block that are not among the ``slow`` share of least relative movement are multiplied by ``1 - r_ml``, so that
    the weaker modalities have something left to learn and gradients reach mostly the slow channels. With ``z'`` the logits of
    these features, ``L = loss(z', y) + plain loss(z, y) + sum_m loss(z_m, y)``, ``z_m`` from auxiliary heads. Movement is
    measured every ``period`` updates; before that nothing is degraded. Prediction uses the encoders as they are.
    """

    kappa: float = hparam(1.0, low=0.0, help="how fast the strength rises with a modality's lead", search=(0.5, 2.0))
    slow: float = hparam(0.5, low=0.0, high=1.0, help="share of a block's channels that are spared as slow")
    plain: float = hparam(0.5, low=0.0, help="weight of the loss on all features as they are", search=(0.1, 1.0))
    period: int = hparam(50, low=1, help="updates between two measurements of movement")
    _degraded: bool = field(default=False, init=False, repr=False, compare=False)

    def setup(self, ctx: Context) -> None:
        graphs = ctx.model.graph_modalities
        if graphs:
            raise ConfigError(
                f"method aim: the encoder of modality {graphs[0]!r} uses the sample graph; expected another encoder"
            )
        ctx.model.add_heads(ctx.options.seed)
        blocks, device = blocks_of(ctx.model), ctx.runtime.device
        weights = {place: channel_weights(block).to(device) for place, block in blocks.items()}
        for key in ("means", "seen", "movement", "before"):
            self.state[key] = {name: [] for name in ctx.modalities}
        for (name, _), value in weights.items():
            self.state["means"][name].append(value.new_zeros(ctx.task.outputs, len(value)))
            self.state["seen"][name].append(torch.zeros(ctx.task.outputs, dtype=torch.bool, device=device))
            self.state["movement"][name].append(value.new_zeros(len(value)))
            self.state["before"][name].append(value)
        self.state["measured"] = False
        self.state["strength"] = {name: [0.0] * len(self.state["means"][name]) for name in ctx.modalities}

    def losses(self, ctx: Context, update: Update, outputs: Outputs) -> dict[str, Tensor]:
        batch = update.batch
        losses = {"plain": self.plain * ctx.task_loss(outputs.logits, batch)} | unimodal_losses(ctx, update, outputs)
        leading = [name for name in outputs.features if self.state["measured"] and any(self.state["strength"][name])]
        logits = self._degraded_logits(ctx, batch, outputs, leading) if leading else outputs.logits
        return losses | {"fused": ctx.task_loss(logits, batch)}

    def _degraded_logits(self, ctx: Context, batch: Batch, outputs: Outputs, leading: list[str]) -> Tensor:
        absent = {name: batch.present[name] for name in ctx.modalities if name not in batch.complete}

        def degrade(place: Place, output: Tensor, block: nn.Module) -> Tensor:
            name, depth = place
            fast = ~slow_channels(self.state["movement"][name][depth], self.slow)
            return scale_channels(output, block, 1 - fast.to(output.dtype) * self.state["strength"][name][depth])

        chosen = {place: block for place, block in blocks_of(ctx.model).items() if place[0] in leading}
        # Running statistics of inputs are those of the encoders as they are.
        layers = [item for name in leading for item in ctx.model.encoders[name].modules()]
        norms = [item for item in layers if isinstance(item, _BatchNorm) and item.track_running_stats]
        for item in norms:
            item.track_running_stats = False
        self._degraded = True
        with hooked(chosen, degrade):
            features = ctx.model.encode(batch.inputs, absent, leading, batch.neighbours)
        self._degraded = False
        for item in norms:
            item.track_running_stats = True
        logits: Tensor = ctx.model.fuse({**outputs.features, **features}, absent)
        return logits

    def compute_gradients(self, ctx: Context, closure: Closure) -> tuple[Outputs, dict[str, Tensor]]:
        records: dict[Place, list[Tensor]] = {}

        def record(place: Place, output: Tensor, block: nn.Module) -> None:
            if not self._degraded:
                records.setdefault(place, []).append(pooled_channels(output.detach(), block))

        with hooked(blocks_of(ctx.model), record):
            outputs, losses = ctx.backward(closure)
        self._score(ctx, closure.update.batch, records)
        return outputs, losses

    @torch.no_grad()
    def _score(self, ctx: Context, batch: Batch, records: Mapping[Place, list[Tensor]]) -> None:
        """Score all depths by the class means so far, move those means, and set the strengths of the next batch."""
        totals, places = [], list(blocks_of(ctx.model))
        for name, depth in places:
            means, seen = self.state["means"][name][depth], self.state["seen"][name][depth]
            labels = batch.labels[batch.present[name]]
            rows = torch.cat([*records.get((name, depth), ()), means[:0]]).to(means.dtype)
            if len(rows) > len(labels):  # several frames of each sample
                rows = rows.view(len(labels), -1, means.shape[1]).mean(1)
            rows = nn.functional.normalize(rows, dim=1)
            scores = prototype_scores(rows, means, seen, labels)
            totals.append(torch.stack([scores.sum(), seen[labels].sum().to(scores.dtype)]))
            new, number = class_sums(rows, torch.ones_like(labels, dtype=torch.bool), labels, ctx.task.outputs)
            moved = moved_means(means, seen, ctx.runtime.sum(new), ctx.runtime.sum(number), 0.95)
            self.state["means"][name][depth], self.state["seen"][name][depth] = moved
        sums, counts = ctx.runtime.sum(torch.stack(totals)).unbind(1)
        found = dict(zip(places, (sums / counts).tolist(), strict=True))  # nan while nothing is known
        for depth in range(max(depth for _, depth in places) + 1):
            ratios = discrepancy_ratios([found.get((name, depth), nan) for name in ctx.modalities])
            for name, ratio in zip(ctx.modalities, ratios, strict=True):
                if (name, depth) in found:
                    self.state["strength"][name][depth] = depth_strength(ratio, self.kappa)
        for name, strengths in self.state["strength"].items():
            ctx.log(f"strength.{name}", sum(strengths) / len(strengths), neutral=0.0)

    @torch.no_grad()
    def after_update(self, ctx: Context, update: Update, outputs: Outputs, closure: Closure) -> None:
        if (ctx.update + 1) % self.period:
            return
        kept = 0.9 if self.state["measured"] else 0.0
        for (name, depth), block in blocks_of(ctx.model).items():
            weights, movement = channel_weights(block), self.state["movement"][name]
            moved = relative_movement(weights, self.state["before"][name][depth])
            movement[depth] = kept * movement[depth] + (1 - kept) * moved
            self.state["before"][name][depth] = weights
        self.state["measured"] = True
