"""Balance at the decision layer: joint training, and then for each class those modalities decide that recognise it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from equipoise.data.schema import CLASSES
from equipoise.functional.decision import class_abilities, class_weights, decision_bias, logit_shares, temperatures
from equipoise.methods.base import Method, MethodCard, hparam, register
from equipoise.nn.fusion.decision import DecisionFusion
from equipoise.training.context import Context


@register(
    "decision_balance",
    card=MethodCard(
        title="Decision-layer balance (after Revisit Modality Imbalance at the Decision Layer)",
        summary="Trains jointly; then calibrates the modalities and weighs each for each class by how well it recognises it.",
        formula="z[c] = M sum_m w_mc log softmax(z_m / T_m)[c],  w_mc = A_mc^k / sum_n A_nc^k",
        authors="Ma, Chen",
        venue="arXiv 2025",
        arxiv="2510.14411",
        kind="epoch",
        tasks=CLASSES,
        extra="one pass over the validation part per epoch",
        fusion="decision",
        differs=(
            "The paper shows that fusion heads stay biased though encoders are balanced, and asks for weights at the decision "
            "layer by class; it proposes no algorithm. This one is our choice: calibration, recalls shrunk towards a guess, "
            "weights in proportion to them, all measured on the validation part, which selects the epoch as well."
        ),
    ),
)
@dataclass(kw_only=True)
class DecisionBalance(Method):
    """Set the decision layer by what each modality can do, class by class.

    Training is joint training of a linear head on the concatenated features, written as one head per modality with logits
    ``z_m``. After each epoch, on the validation part: the temperature ``T_m`` makes the probabilities of modality m fit best; its
    ability at class c is its recall, shrunk: ``A_mc = (hits_mc + 1) / (n_mc + C)``; the weights are ``w_mc ~ A_mc^exponent``.
    They serve to predict; the next epoch trains without them. ``exponent = 0`` only calibrates.

    Logged per epoch: the temperatures, each modality's share of the logits before the correction, and the share of classes in
    which the order of the shares is not that of the abilities (:func:`~equipoise.functional.decision.decision_bias`).
    """

    exponent: float = hparam(1.0, low=0.0, help="how sharply the weights follow the abilities", search=(0.5, 4.0))

    def needs(self) -> set[str]:
        return {"validation"}

    def on_epoch_start(self, ctx: Context) -> None:
        fusion = _fusion(ctx)
        fusion.weights.fill_(1.0)
        fusion.temperatures.fill_(1.0)

    @torch.no_grad()
    def on_epoch_end(self, ctx: Context) -> None:
        fusion, outputs, target = _fusion(ctx), ctx.outputs("validation"), ctx.part("validation").target
        assert target is not None
        target = target.to(outputs.logits.device)
        logits = torch.stack([outputs.unimodal[name] for name in fusion.names]).float()
        present = torch.stack([outputs.present[name] for name in fusion.names])
        abilities = class_abilities(logits, target, present)
        fusion.weights.copy_(class_weights(abilities, self.exponent))
        fusion.temperatures.copy_(temperatures(logits, target, present))

        # What the head alone would do: without its bias, before the correction.
        terms = [outputs.features[name].to(_weight(fusion, name)) @ _weight(fusion, name).T for name in fusion.names]
        shares = logit_shares(torch.stack(terms), present)
        ctx.log("biased_classes", decision_bias(shares, abilities).float().mean())
        for number, name in enumerate(fusion.names):
            if bool(present[number].any()):
                ctx.log(f"share.{name}", shares[number].mean())
                ctx.log(f"temperature.{name}", float(fusion.temperatures[number]))


def _fusion(ctx: Context) -> DecisionFusion:
    assert isinstance(ctx.model.fusion, DecisionFusion)
    return ctx.model.fusion


def _weight(fusion: DecisionFusion, name: str) -> Tensor:
    head = fusion.heads[name]
    assert isinstance(head, nn.Linear)
    return head.weight
