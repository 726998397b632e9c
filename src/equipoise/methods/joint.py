"""Plain joint training: the baseline that every method is compared with."""

from __future__ import annotations

from dataclasses import dataclass

from equipoise.methods.base import Method, MethodCard, register


@register(
    "joint",
    card=MethodCard(
        title="Joint training",
        summary="One loss on the fused prediction; the modality that learns fastest takes over.",
        formula="L = loss(z, y)",
        kind="baseline",
        neutral={},
    ),
)
@dataclass(kw_only=True)
class Joint(Method):
    """One loss on the fused logits: ``L = loss(z, y)``."""
