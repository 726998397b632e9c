"""An optimizer of the caller's, as methods see the optimizer of a phase."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from equipoise.training.optimizers import PhaseOptimizer

if TYPE_CHECKING:
    from equipoise.methods.base import Phase
    from equipoise.nn.multimodal import MultimodalModel


class AdoptedOptimizer(PhaseOptimizer):
    """Somebody else's optimizer: learning rate, schedule and clipping stay in the hands of whoever made it.

    Factors on the next step of an encoder (:meth:`scale`) take effect whoever calls ``optimizer.step()``: for that step alone its
    groups are cut where factors differ, so that a scheduler never sees other groups than those it was made with.

    Args:
        model: The model.
        phase: The only phase.
        optimizer: The optimizer.
        theirs: Numbers (``id``) of the caller's parameters: whether they are trained is for the caller to say. All others of the
            model, which a method added, join the optimizer's last group.
    """

    def __init__(self, model: MultimodalModel, phase: Phase, optimizer: torch.optim.Optimizer, theirs: set[int]) -> None:
        self.torch = optimizer
        self._model, self._phase = model, phase
        self._known = set(theirs)
        self._factors: dict[str, float] = {}
        self._cut: list[tuple[dict[str, Any], dict[str, Any]]] = []
        optimizer.register_step_pre_hook(self._before_step)
        optimizer.register_step_post_hook(self._after_step)
        self.adopt_new_parameters()

    @property
    def adaptive(self) -> bool:
        # Of any optimizer but SGD it is the step that is scaled: right for all that obey their learning rate.
        return not isinstance(self.torch, torch.optim.SGD)

    @property
    def rate(self) -> float:
        return float(self.torch.param_groups[0]["lr"])

    def parameters(self) -> list[nn.Parameter]:
        return [item for item in super().parameters() if item.requires_grad]

    def adopt_new_parameters(self) -> None:
        chosen = {id(item): item for item in self._phase.parameters(self._model) if id(item) not in self._known}
        self._known |= chosen.keys()
        self.torch.param_groups[-1]["params"].extend(chosen.values())
        self._every = [*self._model.parameters(), *super().parameters()]

    def clear_gradients(self) -> None:
        """Set all gradients to None and forget factors of a step that was never made."""
        self._factors.clear()
        for item in self._every:
            item.grad = None

    def step(self) -> None:
        self.torch.step()

    def _before_step(self, optimizer: torch.optim.Optimizer, *_: object) -> None:
        """Cut the groups where factors differ."""
        if not self._factors:
            return
        factors = {id(item): factor for name, factor in self._factors.items() for item in self._model.parameters_of(name)}
        for group in optimizer.param_groups:
            parts: dict[float, list[nn.Parameter]] = {}
            for item in group["params"]:
                parts.setdefault(factors.get(id(item), 1.0), []).append(item)
            for factor, items in parts.items():
                self._cut.append((group, {**group, "params": items, "lr": group["lr"] * factor}))
        optimizer.param_groups = [part for _, part in self._cut]

    def _after_step(self, optimizer: torch.optim.Optimizer, *_: object) -> None:
        """Put the groups back."""
        if not self._cut:
            return
        for group, part in self._cut:  # some optimizers count in their groups
            group.update({key: value for key, value in part.items() if key not in ("params", "lr")})
        optimizer.param_groups = list({id(group): group for group, _ in self._cut}.values())
        self._cut = []
        self._factors.clear()
