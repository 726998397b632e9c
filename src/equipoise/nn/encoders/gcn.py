"""Graph convolution over the sample graph."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from equipoise.batch import Neighbours
from equipoise.errors import ConfigError
from equipoise.nn.encoders.base import ENCODERS, GraphEncoder


@ENCODERS.register("gcn")
class GCN(GraphEncoder):
    """Two graph convolutions with a residual connection; samples of any shape are flattened.

    ``H1 = Drop(ELU(A X W0 + b0))``, ``H = ELU(A H1 W1 + b1) + H1``, with the normalised edges ``A`` of the sample graph. The
    layer is that of the source; widths, the residual connection and the fused graph beneath it are our choice. A batch is
    computed from its samples and their neighbours alone, and gives what the whole graph would (dropout draws for a sample
    and for the same sample as a neighbour of others apart).

    On a graph fused over modalities the features of a modality are no longer its own alone: its neighbours were chosen by the
    others too. To measure what a modality can do by itself, use ``graph = {"source": "own"}``.

    Args:
        shape: Shape of one sample.
        feature_size: Width of the features and of the layer before them.
        dropout: Share of the first layer's activations that are dropped.
        residual: Whether the first layer's output is added to the second's.

    Raises:
        ConfigError: The share is not in [0, 1).

    References:
        Kipf and Welling, "Semi-supervised classification with graph convolutional networks", ICLR 2017, arXiv 1609.02907.

    Example:
        >>> neighbours = Neighbours(torch.tensor([[1], [0]]), torch.full((2, 1), 0.5), torch.full((2,), 0.5), torch.ones(2, 3))
        >>> GCN((3,), 8)(torch.ones(2, 3), neighbours).shape
        torch.Size([2, 8])
    """

    def __init__(self, shape: tuple[int, ...], feature_size: int, *, dropout: float = 0.5, residual: bool = True) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise ConfigError(f"encoder gcn: dropout = {dropout}: expected [0, 1)")
        self.first, self.second = nn.Linear(math.prod(shape), feature_size), nn.Linear(feature_size, feature_size)
        for layer in (self.first, self.second):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.dropout = nn.Dropout(dropout)
        self.residual = residual

    def forward(self, inputs: Tensor, neighbours: Neighbours) -> Tensor:
        """Return features of shape (batch, feature_size); see :class:`~equipoise.nn.encoders.base.GraphEncoder`."""
        table, nodes = neighbours.table, neighbours.nodes
        if nodes.numel() < len(table):  # otherwise looking for the rows that are needed costs more than it saves
            needed, place = torch.unique(nodes, return_inverse=True)
            table, nodes = table.index_select(0, needed), place
        own, others = self._hidden(inputs), self._hidden(table)
        weights = neighbours.weights
        # In the weights' number format: sums over many neighbours need it, and the operation takes no other.
        spread = F.embedding_bag(nodes, others.to(weights), mode="sum", per_sample_weights=weights)
        second = F.elu(self.second(spread + neighbours.own[:, None] * own))
        return second + own if self.residual else second

    def _hidden(self, inputs: Tensor) -> Tensor:
        hidden: Tensor = self.dropout(F.elu(self.first(inputs.flatten(1))))
        return hidden
