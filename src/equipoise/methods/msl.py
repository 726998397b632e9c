"""Modality-specific learning rates: each encoder learns at a pace of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from equipoise.batch import Outputs
from equipoise.config import parse_word
from equipoise.errors import ConfigError, suggest
from equipoise.functional.rates import adapted_rate
from equipoise.methods.base import Method, MethodCard, Update, hparam, register
from equipoise.training.context import Context


@register(
    "msl",
    card=MethodCard(
        title="Modality-specific learning rates (MSLR)",
        summary="Each encoder has a learning rate of its own, kept as stated or adapted to how its modality does.",
        formula="lr_m = r_m lr;  with a window: every N epochs r_m <- r_m u_m / mean of the last N u_m",
        authors="Yao, Mihalcea",
        venue="Findings of ACL 2022",
        link="https://aclanthology.org/2022.findings-acl.143",
        kind="gradient",
        extra="one validation pass per epoch",
        neutral={"window": None},
        differs=(
            "That each modality has a rate of its own, fixed or adapted, is published; which rule adapts it is taken from an "
            "independent reimplementation, not from the paper. The score u (mean probability of the true class; there: "
            "accuracy), that rates start at 1, and the window are our choices."
        ),
    ),
)
@dataclass(kw_only=True)
class MSLR(Method):
    """Joint training in which the encoder of modality m moves at ``r_m`` times the learning rate.

    ``rates`` gives ``r_m`` at the start. Every ``window`` epochs ``r_m`` is multiplied by ``u_m / mean(last N u_m)``, N being
    the window and ``u_m`` the mean probability of the true class by modality m alone on the validation part. Without a window
    the stated rates are kept.
    """

    rates: dict[str, Any] | None = hparam(None, help="factor of each modality's learning rate at first; 1 where none is stated")
    window: int | None = hparam(
        5,
        low=2,
        help="epochs between two adaptations, and of the mean they look at (none: keep the stated rates)",
        search=(2, 20),
    )

    def needs(self) -> set[str]:
        return set() if self.window is None else {"validation"}

    def setup(self, ctx: Context) -> None:
        # A word of the command line is a number only here: the options of a mapping have no types.
        stated = {name: parse_word(rate) if isinstance(rate, str) else rate for name, rate in (self.rates or {}).items()}
        for name, rate in stated.items():
            if name not in ctx.modalities:
                raise ConfigError(f"method msl: rates: unknown modality {name!r}, {suggest(name, ctx.modalities)}")
            if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 <= rate < float("inf"):
                raise ConfigError(f"method msl: rates: {name} = {rate!r} is not valid, expected a number of at least 0")
        self.state["rates"] = {name: float(stated.get(name, 1.0)) for name in ctx.modalities}
        self.state["scores"] = {name: [] for name in ctx.modalities}

    def modulate_gradients(self, ctx: Context, update: Update, outputs: Outputs) -> None:
        for name, rate in self.state["rates"].items():
            ctx.log(f"rate.{name}", rate, neutral=1.0)
            ctx.optimizer.scale(name, rate)

    def on_epoch_end(self, ctx: Context) -> None:
        if self.window is None:
            return
        target = ctx.part("validation").target
        assert target is not None
        for name, logits in ctx.outputs("validation").unimodal.items():
            rows = ctx.part("validation").present[name].to(logits.device)
            if not bool(rows.any()):
                continue
            scores = self.state["scores"][name]
            scores.append(ctx.runtime.share(float(ctx.task.score(logits[rows].float(), target.to(logits.device)[rows]).mean())))
            del scores[: -self.window]
            if (ctx.epoch + 1) % self.window == 0:
                self.state["rates"][name] = adapted_rate(self.state["rates"][name], scores)
