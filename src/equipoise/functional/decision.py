"""The decision layer: who decides each class, who should, and weights that let those decide who can.

The first part measures a bias of the fusion head, class by class; the second corrects it. For any number of modalities.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot

_LARGEST_TEMPERATURE = 20.0
_HALVINGS = 50


def head_norms(weight: Tensor, widths: list[int]) -> Tensor:
    """Return how large the weights are by which each modality decides each class: ``||W_m[c, :]||``.

    Args:
        weight: ``W = [W_1, ..., W_M]`` of a linear head on concatenated features, of shape (classes, sum of widths).
        widths: Width of each modality's features.

    Returns:
        Norms of shape (modalities, classes).

    References:
        Ma and Chen, Revisit Modality Imbalance at the Decision Layer, arXiv 2510.14411.

    Example:
        >>> head_norms(torch.tensor([[3.0, 4.0, 2.0]]), [2, 1]).tolist()
        [[5.0], [2.0]]
    """
    return torch.stack([block.norm(dim=1) for block in weight.split(widths, 1)])


def logit_shares(terms: Tensor, present: Tensor | None = None) -> Tensor:
    """Return which share of each class's logit comes from each modality.

    ``r_mc = mean_i |t_mic| / sum_n |t_nic|`` over the samples that have modality m, ``t_mi = W_m e_mi`` being its term. The
    paper shows such shares; this formula of them is our choice.

    Args:
        terms: ``t`` of shape (modalities, samples, classes), without bias.
        present: Which samples have which modality, booleans of shape (modalities, samples); all if left out.

    Returns:
        Shares of shape (modalities, classes), nan where no sample has the modality; they sum to 1 where all samples have all.

    Example:
        >>> logit_shares(torch.tensor([[[3.0]], [[-1.0]]])).tolist()
        [[0.75], [0.25]]
    """
    have = torch.ones(terms.shape[:2], dtype=torch.bool, device=terms.device) if present is None else present
    sizes = torch.where(have[:, :, None], terms.abs(), 0.0)
    shares = sizes / sizes.sum(0).clamp_min(torch.finfo(sizes.dtype).tiny)
    return shares.sum(1) / have.sum(1, keepdim=True)


def class_abilities(logits: Tensor, target: Tensor, present: Tensor | None = None) -> Tensor:
    """Return how well each modality alone recognises each class: its recall, shrunk as if more samples had been guessed.

    ``A_mc = (hits_mc + 1) / (n_mc + C)`` over the ``n_mc`` samples of class c that have modality m. Without samples it is that of
    a guess, ``1 / C``. The shrinkage is our choice: a recall of few samples is noise.

    Args:
        logits: Unimodal logits of shape (modalities, samples, classes).
        target: Classes of shape (samples,).
        present: Which samples have which modality, booleans of shape (modalities, samples); all if left out.

    Returns:
        Abilities of shape (modalities, classes), between 0 and 1.

    Example:
        >>> logits = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
        >>> class_abilities(logits, torch.tensor([0, 1]))
        tensor([[0.6667, 0.3333]])
    """
    classes = logits.shape[2]
    truth = one_hot(target, classes).to(logits.dtype)
    have = torch.ones(logits.shape[:2], device=logits.device) if present is None else present
    right = (logits.argmax(2) == target) * have
    return (right.to(truth) @ truth + 1) / (have.to(truth) @ truth + classes)


def decision_bias(shares: Tensor, abilities: Tensor) -> Tensor:
    """Return for which classes somebody decides more who can do less.

    Class c is biased where ``(r_mc - r_nc) (A_mc - A_nc) < 0`` for any two modalities: the order of the shares is not that of the
    abilities.

    Args:
        shares: ``r`` of shape (modalities, classes); see :func:`logit_shares`.
        abilities: ``A`` of the same shape; see :func:`class_abilities`.

    Returns:
        Booleans of shape (classes,).

    Example:
        >>> decision_bias(torch.tensor([[0.8, 0.8], [0.2, 0.2]]), torch.tensor([[0.9, 0.4], [0.3, 0.6]])).tolist()
        [False, True]
    """
    return ((shares[:, None] - shares) * (abilities[:, None] - abilities) < 0).flatten(0, 1).any(0)


def temperatures(logits: Tensor, target: Tensor, present: Tensor | None = None) -> Tensor:
    """Return the temperature of each modality that makes its probabilities fit best.

    ``argmin_T mean_i -log softmax(z_i / T)[y_i]`` over the samples that have it, for T from 1/20 to 20. It is convex in
    ``1 / T``, so that halving the interval finds it.

    Args:
        logits: Unimodal logits ``z`` of shape (modalities, samples, classes).
        target: Classes ``y`` of shape (samples,).
        present: Which samples have which modality, booleans of shape (modalities, samples); all if left out.

    Returns:
        Temperatures of shape (modalities,); 1 where no sample has the modality.

    References:
        Guo et al., On Calibration of Modern Neural Networks, ICML 2017, arXiv 1706.04599.

    Example:
        >>> logits = torch.tensor([[[2.0, 0.0]]]).expand(1, 4, 2)
        >>> temperatures(logits, torch.tensor([0, 0, 0, 1])).round(decimals=3).tolist()
        [1.82]
    """
    have = torch.ones(logits.shape[:2], device=logits.device) if present is None else present
    logits, have = logits.double(), have.double()
    of_truth = logits.gather(2, target.expand(len(logits), -1)[:, :, None]).squeeze(2)
    high = torch.full((len(logits),), _LARGEST_TEMPERATURE, dtype=torch.float64, device=logits.device)
    low = 1 / high
    for _ in range(_HALVINGS):
        middle = (low * high).sqrt()
        expected = ((logits / middle[:, None, None]).softmax(2) * logits).sum(2)
        # The slope of the loss in 1 / T: above zero the predictions are too sure.
        sure = ((expected - of_truth) * have).sum(1) > 0
        low, high = torch.where(sure, middle, low), torch.where(sure, high, middle)
    return torch.where(have.sum(1) > 0, (low * high).sqrt(), 1.0)


def class_weights(abilities: Tensor, exponent: float = 1.0) -> Tensor:
    """Return how much each modality counts for each class: ``w_mc = A_mc^k / sum_n A_nc^k``.

    Args:
        abilities: ``A`` of shape (modalities, classes); see :func:`class_abilities`.
        exponent: ``k``; 0 weighs all the same.

    Example:
        >>> class_weights(torch.tensor([[0.75, 0.2], [0.25, 0.2]])).tolist()
        [[0.75, 0.5], [0.25, 0.5]]
    """
    powers = abilities**exponent
    return powers / powers.sum(0)


def decide(log_probabilities: Tensor, weights: Tensor, available: Tensor) -> Tensor:
    """Return the fused logits ``z[c] = n sum_m w_mc log p_m[c] / sum_m w_mc`` over the ``n`` modalities that a sample has.

    With equal weights it is the sum of the log-probabilities.

    Args:
        log_probabilities: ``log p`` of shape (modalities, samples, classes).
        weights: ``w`` of shape (modalities, classes).
        available: Which samples have which modality, 0 or 1, of shape (modalities, samples).

    Returns:
        Logits of shape (samples, classes); zeros where a sample has nothing.

    Example:
        >>> decide(torch.tensor([[[-1.0]], [[-3.0]]]), torch.tensor([[0.75], [0.25]]), torch.ones(2, 1))
        tensor([[-3.]])
    """
    shares = weights[:, None] * available[:, :, None]
    shares = shares * (available.sum(0)[:, None] / shares.sum(0).clamp_min(torch.finfo(shares.dtype).tiny))
    return (shares * log_probabilities).sum(0)
