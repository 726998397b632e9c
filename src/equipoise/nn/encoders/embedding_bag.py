"""Averaged embeddings of hashed terms: an encoder of text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from equipoise.errors import ConfigError
from equipoise.nn.encoders.base import ENCODERS

POOLINGS = ("mean", "sum")
_DEVIATION = 0.1


@ENCODERS.register("embedding_bag")
class EmbeddingBag(nn.Module):
    """An embedding per term, pooled over the terms of a sample, and one layer with ReLU.

    It reads hashed terms, see :class:`~equipoise.data.prepare_hashing.HashedText`. There are fewer embeddings than hashes: term t
    has embedding ``1 + (t - 1) mod buckets``.

    Args:
        shape: Shape of one sample: (terms,), whole numbers, 0 where there is none.
        feature_size: Width of the features.
        buckets: Number of embeddings.
        width: Width of the embeddings.
        pooling: ``sum`` over the terms divided by the square root of their number, so that features of long and short texts vary
            alike, or ``mean``.

    Raises:
        ConfigError: Samples are no rows of terms, a size is not positive, or the pooling is unknown.

    References:
        Joulin et al., "Bag of tricks for efficient text classification", EACL 2017, arXiv 1607.01759 (without the layer).

    Example:
        >>> EmbeddingBag((30,), 8)(torch.tensor([[5.0, 70000.0, *[0.0] * 28]])).shape
        torch.Size([1, 8])
    """

    def __init__(
        self, shape: tuple[int, ...], feature_size: int, *, buckets: int = 2**16, width: int = 64, pooling: str = "sum"
    ) -> None:
        super().__init__()
        if len(shape) != 1:
            raise ConfigError(f"encoder embedding_bag needs samples of shape (terms,), found shape {shape}")
        if min(buckets, width) < 1 or pooling not in POOLINGS:
            raise ConfigError(
                f"encoder embedding_bag: buckets = {buckets}, width = {width}, pooling = {pooling!r}: "
                f"expected at least 1, at least 1, {' or '.join(POOLINGS)}"
            )
        self.buckets = buckets
        self.embeddings = nn.EmbeddingBag(buckets + 1, width, mode=pooling, padding_idx=0)
        with torch.no_grad():  # torch's start, with deviation 1, takes long to forget
            self.embeddings.weight *= _DEVIATION
        self.project = nn.Linear(width, feature_size)

    @classmethod
    def text_form(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the form of text that it reads."""
        return {"name": "hashing"}

    def forward(self, inputs: Tensor) -> Tensor:
        """Return features of shape (batch, feature_size)."""
        terms = inputs.round().long()
        places = torch.where(terms > 0, (terms - 1) % self.buckets + 1, 0)
        pooled = self.embeddings(places)
        if self.embeddings.mode == "sum":
            pooled = pooled / (terms > 0).sum(1, keepdim=True).clamp_min(1).sqrt()
        return torch.relu(self.project(pooled))
