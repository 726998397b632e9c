"""The optimizer of a phase: its parameter groups, its learning rate over time, and scaled updates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from equipoise.config import TrainingOptions
from equipoise.errors import ConfigError

if TYPE_CHECKING:
    from equipoise.methods.base import Phase
    from equipoise.nn.multimodal import MultimodalModel


def schedule_factor(options: TrainingOptions, epoch: int, epochs: int) -> float:
    """Return the factor of the learning rate in an epoch.

    ``cosine``: ``(1 + cos(pi e / E)) / 2``; ``step``: ``factor ** floor(e / step_epochs)``; ``constant``: 1.

    Args:
        options: Says which schedule.
        epoch: The epoch ``e``, counted from 0.
        epochs: Epochs ``E`` of the phase.

    Example:
        >>> schedule_factor(TrainingOptions(schedule="cosine"), 50, 100)
        0.5
    """
    if options.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * epoch / epochs))
    if options.schedule == "step":
        return options.step_factor ** (epoch // options.step_epochs)
    return 1.0


class PhaseOptimizer:
    """The optimizer of one training phase.

    Parameters that appear in mid-phase (a new head) join at the next :meth:`start_epoch`, at the learning rate of that epoch.

    Args:
        model: The model.
        phase: Says which parameters train.
        options: Optimizer, learning rate, schedule and clipping.
    """

    def __init__(self, model: MultimodalModel, phase: Phase, options: TrainingOptions) -> None:
        self._model = model
        self._phase = phase
        self._options = options
        self._factors: dict[str, float] = {}
        self._known: set[int] = set()
        self._course = phase.learning_rate
        common: dict[str, Any] = {"lr": self.rate, "weight_decay": options.weight_decay}
        groups = self._new_groups()
        if not groups:
            raise ConfigError(f"phase {phase.name!r}: there is nothing to train, everything that it trains is frozen")
        # The fused kernels are the same arithmetic in one call. That of SGD fails where some parameters get their first
        # gradient later than others, as they do when modalities take turns or are missing.
        self.torch: torch.optim.Optimizer = (
            torch.optim.AdamW(groups, fused=True, **common)
            if options.optimizer == "adamw"
            else torch.optim.SGD(groups, momentum=options.momentum, foreach=True, **common)
        )

    @property
    def adaptive(self) -> bool:
        """Whether the optimizer divides a gradient by its own running size, so that a constant factor on it cancels."""
        return self._options.optimizer == "adamw"

    @property
    def rate(self) -> float:
        """The learning rate in force; encoders with one of their own follow the same course."""
        return self._options.learning_rate * self._course

    def parameters(self) -> list[nn.Parameter]:
        """Return the parameters that train, in a fixed order."""
        return [parameter for group in self.torch.param_groups for parameter in group["params"]]

    def _new_groups(self) -> list[dict[str, Any]]:
        """Return groups of the phase's parameters that have not joined yet, one for each learning rate."""
        own = {id(item): rate for name, rate in self._model.learning_rates.items() for item in self._model.parameters_of(name)}
        new: dict[float, list[nn.Parameter]] = {}
        for item in self._phase.parameters(self._model):
            if item.requires_grad and id(item) not in self._known:
                self._known.add(id(item))
                new.setdefault(own.get(id(item), self._options.learning_rate), []).append(item)
        return [{"params": items, "base": base, "lr": base * self._course} for base, items in new.items()]

    def adopt_new_parameters(self) -> None:
        """Let parameters join that the model has gained."""
        for group in self._new_groups():
            self.torch.add_param_group(group)

    def start_epoch(self, epoch: int, epochs: int) -> None:
        """Set the learning rates of an epoch and let new parameters join."""
        self._course = self._phase.learning_rate * schedule_factor(self._options, epoch, epochs)
        self.adopt_new_parameters()
        for group in self.torch.param_groups:
            group["lr"] = group["base"] * self._course

    def scale(self, modality: str, factor: float) -> None:
        """Scale the next update of a modality's encoder.

        Under SGD the gradient is multiplied. Under an adaptive optimizer a factor on the gradient would cancel, so the step
        itself is: it then is that of a learning rate multiplied by the factor.

        Args:
            modality: Whose encoder.
            factor: The factor; a second one multiplies the first.
        """
        if factor == 1.0:
            return
        if self.adaptive:
            self._factors[modality] = self._factors.get(modality, 1.0) * factor
        else:
            gradients = [item.grad for item in self._model.parameters_of(modality) if item.grad is not None]
            if gradients:  # none where the user froze the encoder
                torch._foreach_mul_(gradients, factor)

    @torch.no_grad()
    def step(self) -> None:
        """Clip and apply the gradients."""
        if self._options.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.parameters(), self._options.clip_norm)
        scaled = [(group, factor) for name, factor in self._factors.items() for group in self._groups_of(name)]
        for group, factor in scaled:
            group["lr"] *= factor
        self.torch.step()
        for group, _ in scaled:
            group["lr"] = group["base"] * self._course
        self._factors.clear()

    def _groups_of(self, modality: str) -> list[dict[str, Any]]:
        """Return the groups that hold an encoder's parameters alone; what shares a group with others is first set apart."""
        own = {id(item) for item in self._model.parameters_of(modality)}
        found = []
        for group in list(self.torch.param_groups):
            inside = [item for item in group["params"] if id(item) in own]
            if inside and len(inside) < len(group["params"]):
                group["params"] = [item for item in group["params"] if id(item) not in own]
                group = {**group, "params": inside}
                self.torch.param_groups.append(group)
            if inside:
                found.append(group)
        return found

    def state_dict(self) -> dict[str, Any]:
        """Return the optimizer's state and which parameters its groups hold, by name."""
        names = {id(item): name for name, item in self._model.named_parameters()}
        groups = [[names[id(item)] for item in group["params"]] for group in self.torch.param_groups]
        return {"torch": self.torch.state_dict(), "groups": groups}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a state; groups are rebuilt as they were, whatever order parameters joined in."""
        by_name = dict(self._model.named_parameters())
        self.torch.param_groups.clear()
        self.torch.state.clear()
        self._known.clear()
        for names in state["groups"]:
            parameters = [by_name[name] for name in names]
            self._known |= {id(item) for item in parameters}
            self.torch.add_param_group({"params": parameters})
        self.torch.load_state_dict(state["torch"])


class Freezer:
    """Decides which parameters of a model need gradients.

    A parameter that needed none when the run first saw it (of a pretrained encoder, of a teacher) never does.

    Args:
        model: The model.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._known: dict[int, tuple[nn.Parameter, bool]] = {}
        self._every: list[nn.Parameter] = []

    def train_only(self, chosen: Sequence[nn.Parameter]) -> None:
        """Let the parameters in ``chosen`` need gradients and all others none."""
        training = {id(item) for item in chosen}
        self._every = list(self._model.parameters())
        for item in self._every:
            _, may_train = self._known.setdefault(id(item), (item, item.requires_grad))
            item.requires_grad_(may_train and id(item) in training)

    def clear_gradients(self) -> None:
        """Set the gradients of all parameters that the model had at the last :meth:`train_only` to None, frozen ones too."""
        for item in self._every:
            item.grad = None

    def release(self) -> None:
        """Leave all parameters as they were found."""
        for item, may_train in self._known.values():
            item.requires_grad_(may_train)
