"""Attention fusion: modalities are tokens that look at each other."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from equipoise.errors import ConfigError
from equipoise.nn.fusion.base import FUSIONS, Features, Fusion, Present
from equipoise.nn.per_modality import PerModality
from equipoise.tasks import Task


@FUSIONS.register("attention")
class AttentionFusion(Fusion):
    """One layer of multi-head self-attention over modality tokens, then their mean.

    ``t_m = P_m f_m``; ``a = t + MultiHead(LayerNorm(t))``; ``z = W mean_m a_m + b`` over present modalities (Vaswani et al.,
    2017, arXiv 1706.03762, with normalisation first). Absent modalities are neither looked at nor averaged. The bias of
    ``P_m`` tells the tokens apart.

    Args:
        sizes: Width of the features of each modality.
        task: The task.
        hidden: Width of a token.
        heads: Attention heads; they divide ``hidden``.

    Raises:
        ConfigError: ``heads`` does not divide ``hidden``.
    """

    def __init__(self, sizes: Mapping[str, int], task: Task, *, hidden: int = 64, heads: int = 4) -> None:
        super().__init__(sizes, task)
        if hidden < 1 or heads < 1 or hidden % heads:
            raise ConfigError(f"fusion attention: heads = {heads} must divide hidden = {hidden}")
        self.count = heads
        self.project = PerModality({name: nn.Linear(size, hidden) for name, size in sizes.items()})
        self.norm = nn.LayerNorm(hidden)
        self.query_key_value = nn.Linear(hidden, 3 * hidden)
        self.out = nn.Linear(hidden, hidden)
        self.head = nn.Linear(hidden, task.outputs)

    def forward(self, features: Features, present: Present) -> Tensor:
        available = self.available(features, present)[:, [self.names.index(name) for name in features]]
        tokens = torch.stack([self.project[name](value) for name, value in features.items()], 1)
        batch, count, width = tokens.shape
        query, key, value = (
            self.query_key_value(self.norm(tokens)).view(batch, count, 3, self.count, -1).permute(2, 0, 3, 1, 4).unbind(0)
        )
        # A sample without any modality would give a softmax over nothing; its tokens are left out of the mean below.
        visible = (available > 0) | (available.sum(1, keepdim=True) == 0)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=visible[:, None, None, :])
        tokens = tokens + self.out(mixed.transpose(1, 2).reshape(batch, count, width))
        pooled = (tokens * available[:, :, None]).sum(1) / available.sum(1, keepdim=True).clamp_min(1)
        logits: Tensor = self.head(pooled)
        return logits
