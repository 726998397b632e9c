"""Budget fusion: a global prior over modalities times a per-sample gate driven by uncertainty."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from equipoise.errors import ConfigError
from equipoise.functional.prototypes import posterior_weights
from equipoise.nn.fusion.base import FUSIONS, Features, Fusion, Present, masked
from equipoise.nn.per_modality import PerModality
from equipoise.tasks import Task


@FUSIONS.register("budget")
class BudgetFusion(Fusion):
    """Uncertainty-aware fusion with a prior (IIBalance, stage II; Xiong et al., 2026, arXiv 2603.17347).

    Each modality has a unimodal head ``z_m = h_m(f_m)`` with normalised entropy ``u_m`` and a gate ``r_m = sigmoid(G_m(u_m))``.
    The weight ``omega_m = beta_m r_m / sum_n beta_n r_n`` over present modalities scales ``v_m = omega_m A_m f_m``; fused
    logits are ``C(sum_m v_m)``, branch logits ``C_m(v_m)``. That entropy drives a gate, that the gate multiplies the prior and
    that the weighted parts are summed before a classifier is published; the widths, the normalisation, the stop-gradient
    before the gate and the initial gate (0.88 at no, 0.12 at full uncertainty) are our choice.

    Args:
        sizes: Width of the features of each modality.
        task: The task.
        hidden: Width of each gate's hidden layer.
        gated: Whether uncertainty gates the prior; without it the weights are the prior.

    Attributes:
        prior: ``beta``, of shape (modalities,); a buffer, equal at first.

    Raises:
        ConfigError: ``hidden`` is not positive.
    """

    prior: Tensor

    def __init__(self, sizes: Mapping[str, int], task: Task, *, hidden: int = 16, gated: bool = True) -> None:
        super().__init__(sizes, task)
        if hidden < 1:
            raise ConfigError(f"fusion budget: hidden = {hidden} is out of range, expected at least 1")
        width = max(sizes.values())
        equal = len(set(sizes.values())) == 1
        self.gated = gated
        self.heads = PerModality({name: nn.Linear(size, task.outputs) for name, size in sizes.items()})
        self.gates = PerModality({name: _gate(hidden) for name in sizes})
        self.values = PerModality({name: nn.Identity() if equal else nn.Linear(size, width) for name, size in sizes.items()})
        self.classifier = nn.Linear(width, task.outputs)
        self.branches = PerModality({name: nn.Linear(width, task.outputs) for name in sizes})
        self.register_buffer("prior", torch.full((len(sizes),), 1.0 / len(sizes)))

    def contributions(self, features: Features, present: Present) -> dict[str, Tensor]:
        return masked({name: self.heads[name](value) for name, value in features.items()}, present)

    def sample_weights(self, features: Features, present: Present, logits: Mapping[str, Tensor] | None = None) -> Tensor:
        """Return the weight of each modality for each sample; see :meth:`Fusion.sample_weights`.

        Args:
            features: As there.
            present: As there.
            logits: The unimodal logits, where they are known already.
        """
        gates = self._gates(features, logits or self.contributions(features, present)) if self.gated else {}
        some = next(iter(features.values()))
        columns = torch.stack([gates.get(name, some.new_ones(some.shape[0])) for name in self.names], 1)
        every = not present and len(features) == len(self.names)
        return posterior_weights(self.prior, columns, None if every else self.available(features, present) > 0).T

    def _gates(self, features: Features, logits: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the gates of the modalities in ``features``, each of shape (batch,), by one pass through all nets at once."""
        # Without the stop the fused loss would make heads over-confident just to win weight.
        outputs = torch.stack([logits[name] for name in features]).detach()
        unsure = self.task.uncertainty(outputs) / self.task.largest_uncertainty
        nets = [tuple(self.gates[name].parameters()) for name in features]
        weight, bias, out, last = (torch.stack(values) for values in zip(*nets, strict=True))
        hidden = torch.relu(unsure[:, :, None] * weight.mT + bias[:, None])
        return dict(zip(features, torch.sigmoid((hidden * out).sum(-1) + last), strict=True))

    def weighted(self, features: Features, present: Present, logits: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """Return the weighted vectors ``v_m`` of each modality in ``features``, of shape (batch, width).

        Args:
            features: Features per modality.
            present: Which samples have a modality.
            logits: The unimodal logits, where they are known already.
        """
        weights = dict(zip(self.names, self.sample_weights(features, present, logits), strict=True))
        return {name: weights[name][:, None] * self.values[name](value) for name, value in features.items()}

    def forward(self, features: Features, present: Present) -> Tensor:
        return self.classify(self.weighted(features, present))

    def fuse(self, features: Features, present: Present, contributions: Callable[[], Mapping[str, Tensor]]) -> Tensor:
        return self.classify(self.weighted(features, present, contributions() if self.gated else None))

    def classify(self, weighted: Mapping[str, Tensor]) -> Tensor:
        """Return the fused logits from the vectors of :meth:`weighted`."""
        logits: Tensor = self.classifier(torch.stack(list(weighted.values())).sum(0))
        return logits


def _gate(hidden: int) -> nn.Sequential:
    """Return a net from uncertainty in [0, 1] to a number that starts as ``2 - 4 u``."""
    first, last = nn.Linear(1, hidden), nn.Linear(hidden, 1)
    with torch.no_grad():
        first.weight.uniform_(0.5, 1.5)
        first.bias.zero_()
        last.weight.copy_(-4.0 / (hidden * first.weight.T))
        last.bias.fill_(2.0)
    return nn.Sequential(first, nn.ReLU(), last)
