"""What the branches of a model tell, share and lack on held-out samples, and the loss weights that follow.

The formulas are in :mod:`equipoise.functional.weighting`; names and averaging over time are here. All our choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from equipoise.functional import weighting
from equipoise.functional.information import label_entropy, normalised
from equipoise.functional.metrics import confusion, macro_f1
from equipoise.functional.transfer import Estimate, class_information, shared_information


@dataclass(frozen=True)
class Measured:
    """What held-out samples say about branches.

    Attributes:
        entropy: ``H(Y)`` in nats.
        f1: Macro-F1 of each branch.
        told: ``I(H_m; Y)`` of each branch.
        shared: ``I(H_m; H_n)`` by pair of names, in the alphabetical order of the two.
    """

    entropy: float
    f1: dict[str, float]
    told: dict[str, Estimate]
    shared: dict[tuple[str, str], Estimate]

    def signals(self) -> dict[str, float]:
        """Return by name ``F.m``, ``J.m``, ``rho.m & n`` (normalised), ``noise`` (least rho that counts) and ``entropy``."""
        noise = max((item.noise for item in self.shared.values()), default=0.0)
        return (
            {f"F.{name}": value for name, value in self.f1.items()}
            | {f"J.{name}": item.value for name, item in self.told.items()}
            | {_rho(*pair): normalised(item.value, self.entropy) for pair, item in self.shared.items()}
            | {"noise": normalised(2 * noise, self.entropy), "entropy": self.entropy}
        )


def measure(
    logits: Mapping[str, Tensor], present: Mapping[str, Tensor], target: Tensor, neighbours: int = 5, permutations: int = 20
) -> Measured:
    """Measure branches, each on the samples that have its modality, pairs on those that have both.

    Args:
        logits: Outputs of each branch on held-out samples, of shape (samples, classes).
        present: Which samples have which modality, booleans of shape (samples,); each modality is in one at least.
        target: Class codes of shape (samples,).
        neighbours: Neighbours of the estimates of information.
        permutations: Permutations that show what chance finds.
    """
    f1, told, shared = {}, {}, {}
    for name, rows in present.items():
        counts = confusion(logits[name][rows].argmax(1), target[rows], logits[name].shape[1])
        f1[name] = float(macro_f1(counts))
        told[name] = class_information(logits[name][rows], target[rows], neighbours, permutations)
    # In one order whatever the order of the modalities: permutations of the first are not those of the second.
    for one, other in combinations(sorted(present), 2):
        rows = present[one] & present[other]
        shared[one, other] = shared_information(logits[one][rows], logits[other][rows], neighbours, permutations)
    return Measured(label_entropy(target.cpu().numpy()), f1, told, shared)


def loss_weights(
    signals: Mapping[str, float], names: Sequence[str], temperature: float = 0.25, eta: float = 0.5, *, relevance: bool = False
) -> tuple[Tensor, float]:
    """Return the weight of each branch's loss and that of the fused one.

    ``w = M softmax(need * support / temperature)`` and ``w_F = 1 + eta (1 - mean rho)``.

    Args:
        signals: From :meth:`Measured.signals`, or averages of them.
        names: The modalities.
        temperature: The smaller, the sharper.
        eta: Extra weight of the fused loss where modalities share nothing.
        relevance: Let ``J_m / H(Y)`` support a modality as well as what it shares.

    Returns:
        Weights of shape (modalities,) that sum to their number, and the fused weight.
    """
    rho = torch.zeros(len(names), len(names))
    for (i, one), (j, other) in combinations(enumerate(names), 2):
        rho[i, j] = rho[j, i] = signals[_rho(*sorted((one, other)))]
    f1, told = (torch.tensor([signals[f"{key}.{name}"] for name in names]) for key in "FJ")
    entropy = signals["entropy"]
    support = weighting.support(rho, signals["noise"], told / entropy if relevance and entropy > 0 else None)
    weights = weighting.modality_weights(weighting.need(f1), support, temperature)
    return weights, weighting.fused_weight(float(weighting.mean_dependence(rho)), eta)


def _rho(one: str, other: str) -> str:
    return f"rho.{one} & {other}"
