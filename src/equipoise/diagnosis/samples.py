"""Sample by sample: which modality decided, and where modalities disagree most."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.diagnosis.coalitions import all_members, outputs_of
from equipoise.diagnosis.material import Material
from equipoise.functional.coalitions import shapley_values
from equipoise.functional.shapley import EXACT_UP_TO, sampled_shapley

SHOWN = 50
"""How many samples of most disagreement are listed."""


@dataclass(frozen=True)
class Sample:
    """One judged sample.

    Attributes:
        id: Its id.
        label: Name of its class.
        predicted: Name of the class that the fused output says.
        confidence: Probability of that class.
        decided: The modality that contributed most to that probability.
        contributions: Shapley value of each modality in that probability; they sum to it minus that of a guess.
        own: What each modality that it has says by itself: name of the class, and its probability.
        disagreement: See :attr:`Decisions.disagreement`.
    """

    id: str
    label: str
    predicted: str
    confidence: float
    decided: str
    contributions: dict[str, float]
    own: dict[str, tuple[str, float]]
    disagreement: float


@dataclass(frozen=True)
class Decisions:
    """Which modality decided.

    Attributes:
        decided: Share of the judged samples that each modality decided.
        right: Share of right predictions among those; None where it decided none.
        disagreement: Mean over samples of the Jensen-Shannon divergence of what the modalities of a sample say by themselves,
            ``H(mean_m p_m) - mean_m H(p_m)`` in nats: 0 where they agree.
        samples: The samples of most disagreement, most first.
    """

    decided: dict[str, float]
    right: dict[str, float | None]
    disagreement: float
    samples: tuple[Sample, ...]


def disagreement(own: Tensor, present: Tensor) -> Tensor:
    """Return the Jensen-Shannon divergence of predictions, ``H(mean_m p_m) - mean_m H(p_m)`` over the present modalities.

    Args:
        own: Log-probabilities of shape (modalities, samples, classes).
        present: Which sample has which modality, booleans of shape (modalities, samples).

    Returns:
        Divergences in nats, of shape (samples,), 0 where fewer than two modalities are present.

    References:
        Lin, "Divergence measures based on the Shannon entropy", IEEE Transactions on Information Theory 37, 1991.

    Example:
        >>> own = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]]).log()
        >>> disagreement(own, torch.ones(2, 1, dtype=torch.bool))
        tensor([0.6931])
    """
    shares = present / present.sum(0).clamp_min(1)
    p = own.exp()
    mixed = (shares[:, :, None] * p).sum(0)
    between: Tensor = torch.special.entr(mixed).sum(1) - (shares * torch.special.entr(p).sum(2)).sum(0)
    return between.clamp_min(0)


def measure_samples(material: Material) -> Decisions:
    """Say for each judged sample which modality decided, by Shapley values of the probability of the class that was predicted."""
    judged, names, count = material.judged, material.names, len(material.names)
    predicted = judged.fused.argmax(1)

    def probability(members: Tensor) -> Tensor:
        blocks = outputs_of(material, "mask", members)
        return torch.cat([said.gather(2, predicted.expand(len(said), -1)[:, :, None]).squeeze(2).exp() for said in blocks])

    exact = count <= EXACT_UP_TO
    contributions = shapley_values(probability(all_members(count))) if exact else sampled_shapley(probability, count)[0]
    present = torch.stack([judged.present[name] for name in names])
    winner = torch.where(present, contributions, -torch.inf).argmax(0)
    hits = judged.hits(predicted)
    own = torch.stack([judged.own[name] for name in names])
    apart = disagreement(own, present)
    chosen = apart.argsort(descending=True, stable=True)[:SHOWN].tolist()
    decided = [winner == number for number in range(count)]
    return Decisions(
        {name: float(mask.double().mean()) for name, mask in zip(names, decided, strict=True)},
        {name: float(hits[mask].mean()) if bool(mask.any()) else None for name, mask in zip(names, decided, strict=True)},
        float(apart.mean()),
        tuple(_sample(material, row, contributions[:, row], names[int(winner[row])], float(apart[row])) for row in chosen),
    )


def _sample(material: Material, row: int, contributions: Tensor, decided: str, apart: float) -> Sample:
    judged, classes = material.judged, material.classes
    code = int(judged.fused[row].argmax())
    return Sample(
        str(judged.ids[row]),
        classes[int(judged.target[row])],
        classes[code],
        float(judged.fused[row, code].exp()),
        decided,
        dict(zip(material.names, contributions.tolist(), strict=True)),
        {
            name: (classes[int(said[row].argmax())], float(said[row].max().exp()))
            for name, said in judged.own.items()
            if bool(judged.present[name][row])
        },
        apart,
    )
