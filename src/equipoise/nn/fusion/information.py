"""Information fusion: modalities count by what each of them tells about the class."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from equipoise.errors import ConfigError, suggest
from equipoise.nn.fusion.base import FUSIONS, Features, Fusion, Present, masked
from equipoise.nn.fusion.late import LogitFusion
from equipoise.seeding import forked
from equipoise.tasks import Task

KINDS = ("logit", "concat")


@FUSIONS.register("information")
class InformationFusion(LogitFusion):
    """One linear head per modality, and a fusion that gives each modality the weight it is told to.

    ``logit`` (default): ``z = sum_m w_m log p_m / sum_m w_m`` over the modalities that a sample has, as
    :class:`~equipoise.nn.fusion.late.LogitFusion`. ``concat``: ``z = MLP([g_1 f_1; ...; g_M f_M])`` with gates
    ``g_m = M w_m``, one hidden layer, ELU and dropout; features of absent modalities are zero. Both kinds, and that weights
    are set from outside without a gradient, are our choice. At a few hundred samples the MLP over-fits and ``logit`` does
    better; both are here so that the validation part can choose.

    The unimodal logits are those of the heads in both kinds.

    Args:
        sizes: Width of the features of each modality.
        task: The task.
        kind: ``logit`` or ``concat``.
        hidden: Width of the hidden layer of ``concat``.
        dropout: Share of its units that are dropped in training.

    Attributes:
        weights: ``w``, of shape (modalities,), summing to 1; a buffer, equal at first, so that all gates are 1.

    Raises:
        ConfigError: The kind is unknown, ``hidden`` is not positive or ``dropout`` is not in [0, 1).
    """

    def __init__(
        self, sizes: Mapping[str, int], task: Task, *, kind: str = "logit", hidden: int = 64, dropout: float = 0.5
    ) -> None:
        super().__init__(sizes, task)
        if hidden < 1:
            raise ConfigError(f"fusion information: hidden = {hidden} is out of range, expected at least 1")
        if not 0 <= dropout < 1:
            raise ConfigError(f"fusion information: dropout = {dropout} is out of range, expected 0 to less than 1")
        self._hidden, self._dropout = hidden, dropout
        self.kind = "logit"
        self.mlp: nn.Module | None = None
        self.use(kind, seed=0)

    def use(self, kind: str, seed: int) -> None:
        """Choose the kind; the MLP of ``concat`` starts from weights of its own key.

        Args:
            kind: ``logit`` or ``concat``.
            seed: Seed of the initial weights.
        """
        if kind not in KINDS:
            raise ConfigError(f"fusion information: kind = {kind!r} is not valid, {suggest(kind, KINDS)}")
        self.kind, self.mlp = kind, None
        if kind == "concat":
            with forked(seed, "information fusion"):
                first, last = nn.Linear(sum(self.sizes.values()), self._hidden), nn.Linear(self._hidden, self.task.outputs)
            self.mlp = nn.Sequential(first, nn.ELU(), nn.Dropout(self._dropout), last).to(self.weights.device)

    def fuse(self, features: Features, present: Present, contributions: Callable[[], Mapping[str, Tensor]]) -> Tensor:
        if self.mlp is None:
            return super().fuse(features, present, contributions)
        known = masked(features, present)
        some = next(iter(known.values()))
        gates = len(self.names) * self.weights
        parts = [
            gates[number] * known[name] if name in known else some.new_zeros((some.shape[0], size))
            for number, (name, size) in enumerate(self.sizes.items())
        ]
        logits: Tensor = self.mlp(torch.cat(parts, 1))
        return logits

    def coalitions(self, features: Features, present: Present, members: Tensor) -> Tensor:
        if self.mlp is None:
            return super().coalitions(features, present, members)
        return Fusion.coalitions(self, features, present, members)
