"""Several methods at once, where they act at different places: ``aug+opm``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from equipoise.batch import Batch, Outputs
from equipoise.data.schema import TASKS
from equipoise.errors import ConfigError, suggest
from equipoise.methods.base import METHODS, Method, MethodCard, Phase, Update, make_method
from equipoise.training.context import Closure, Context

_ONE_ONLY = {
    "phases": "the phases of training",
    "updates": "the updates made from a batch",
    "losses": "the losses",
    "compute_gradients": "how gradients are computed",
    "predictor": "what predicts",
}
"""Hooks that only one method can fill, and what they decide. All others are run one after the other."""


class Composition(Method):
    """Methods that are run together, each at its own places; at one place they act in the order in which they are named.

    What can be filled only once (phases, updates, losses, the computation of gradients, the predictor) must be left alone by
    all methods but one.

    Args:
        parts: The methods.

    Raises:
        ConfigError: Two methods claim the same place, or need different fusions; the message names both and the place.

    Example:
        >>> make_method({"name": "modality_dropout+ogm", "ogm": {"alpha": 0.5}}).hyperparameters()["ogm"]["alpha"]
        0.5
    """

    def __init__(self, parts: Sequence[Method]) -> None:
        self.parts = tuple(parts)
        self.name = "+".join(part.name for part in parts)  # type: ignore[misc]
        if len({part.name for part in parts}) < len(parts):
            raise ConfigError(f"method {self.name}: a method is named twice, expected different ones")
        self._owner = {hook: self._only(hook, place) for hook, place in _ONE_ONLY.items()}
        self.card = self._made_card()  # type: ignore[misc]
        self.state = {}

    def _only(self, hook: str, place: str) -> Method:
        """Return the method that fills a hook; any will do where none does, since it is then the base that answers."""
        claims = [part for part in self.parts if _overrides(part, hook)]
        if len(claims) > 1:
            names = " and ".join(part.name for part in claims)
            raise ConfigError(f"method {self.name}: {names} both decide {place}, so they cannot be combined")
        return claims[0] if claims else self.parts[0]

    def _made_card(self) -> MethodCard:
        cards = [part.card for part in self.parts]
        needed = {part.card.fusion: part.name for part in self.parts if part.card.fusion}
        if len(needed) > 1:
            words = " and ".join(f"{name} needs fusion {fusion!r}" for fusion, name in needed.items())
            raise ConfigError(f"method {self.name}: {words}, so they cannot be combined")
        return MethodCard(
            title=" + ".join(card.title for card in cards),
            summary=" ".join(card.summary for card in cards),
            formula="; ".join(card.formula for card in cards),
            kind="+".join(dict.fromkeys(card.kind for card in cards)),
            forwards=max(card.forwards for card in cards),
            backwards=max(card.backwards for card in cards),
            extra="; ".join(card.extra for card in cards if card.extra),
            fusion=next(iter(needed), ""),
            order_matters=any(card.order_matters for card in cards),
            tasks=tuple(task for task in TASKS if all(task in card.tasks for card in cards)),
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Composition) and self.parts == other.parts

    __hash__ = None  # type: ignore[assignment]

    def hyperparameters(self) -> dict[str, Any]:
        return {part.name: part.hyperparameters() for part in self.parts}

    def needs(self) -> set[str]:
        return set().union(*(part.needs() for part in self.parts))

    def setup(self, ctx: Context) -> None:
        for part in self.parts:
            part.setup(ctx)

    def phases(self, ctx: Context) -> Iterator[Phase]:
        for phase in self._owner["phases"].phases(ctx):
            yield dataclasses.replace(phase, reusable=False)  # the hyper-parameters of the other parts act in it

    def on_epoch_start(self, ctx: Context) -> None:
        for part in self.parts:
            part.on_epoch_start(ctx)

    def on_epoch_end(self, ctx: Context) -> None:
        for part in self.parts:
            part.on_epoch_end(ctx)

    def transform_batch(self, ctx: Context, batch: Batch) -> Batch:
        for part in self.parts:
            batch = part.transform_batch(ctx, batch)
        return batch

    def updates(self, ctx: Context, batch: Batch) -> Iterable[Update]:
        owner = self._owner["updates"]
        for update in owner.updates(ctx, batch):
            if update.only is not None and set(update.only) < set(ctx.modalities):
                for part in self.parts:
                    if part.card.together:
                        raise ConfigError(
                            f"method {self.name}: {part.name} compares the modalities of one update, but {owner.name} "
                            "updates them one at a time, so they cannot be combined"
                        )
            yield update

    def transform_outputs(self, ctx: Context, update: Update, outputs: Outputs) -> Outputs:
        for part in self.parts:
            outputs = part.transform_outputs(ctx, update, outputs)
        return outputs

    def losses(self, ctx: Context, update: Update, outputs: Outputs) -> dict[str, Tensor]:
        return self._owner["losses"].losses(ctx, update, outputs)

    def compute_gradients(self, ctx: Context, closure: Closure) -> tuple[Outputs, dict[str, Tensor]]:
        return self._owner["compute_gradients"].compute_gradients(ctx, closure)

    def modulate_gradients(self, ctx: Context, update: Update, outputs: Outputs) -> None:
        for part in self.parts:
            part.modulate_gradients(ctx, update, outputs)

    def after_update(self, ctx: Context, update: Update, outputs: Outputs, closure: Closure) -> None:
        for part in self.parts:
            part.after_update(ctx, update, outputs, closure)

    def predictor(self, ctx: Context) -> nn.Module:
        return self._owner["predictor"].predictor(ctx)

    def state_dict(self) -> dict[str, Any]:
        return {part.name: part.state_dict() for part in self.parts}

    def prediction_state(self) -> dict[str, Any]:
        return {part.name: part.prediction_state() for part in self.parts}

    def load_state_dict(self, ctx: Context, state: dict[str, Any]) -> None:
        for part in self.parts:
            part.load_state_dict(ctx, state[part.name])


def _overrides(method: Method, hook: str) -> bool:
    return getattr(type(method), hook) is not getattr(Method, hook)


def compose(description: Mapping[str, Any]) -> Composition:
    """Make a composition from its description.

    Args:
        description: ``name`` with names joined by ``+``; hyper-parameters of each method under its name.

    Raises:
        ConfigError: A name or a hyper-parameter is unknown, or the methods cannot be combined.
    """
    options = dict(description)
    names = [word.strip() for word in str(options.pop("name")).split("+")]
    for key, value in options.items():
        if key not in names:
            raise ConfigError(f"method {'+'.join(names)}: unknown option {key!r}, {suggest(key, names)} with a dot and an option")
        if not isinstance(value, Mapping):
            raise ConfigError(f"method {'+'.join(names)}: {key} = {value!r} is not valid, expected options of {key}")
    for name in names:
        METHODS.get(name)
    return Composition([make_method({**options.get(name, {}), "name": name}) for name in names])
