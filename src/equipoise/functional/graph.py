"""Adjacency matrices made ready for graph convolution, dense or sparse."""

from __future__ import annotations

import torch
from torch import Tensor

from equipoise.errors import ConfigError, DataError, suggest

KINDS = ("symmetric", "row")


def normalise_adjacency(adjacency: Tensor, self_loop: float = 1.0, kind: str = "symmetric") -> Tensor:
    """Add self-loops to a graph and divide by the degrees.

    With ``A' = A + self_loop * I`` and ``d_i = sum_j A'_ij``: ``symmetric`` is ``A'_ij / sqrt(d_i d_j)``, the layer's rule in
    the source, and ``row`` is ``A'_ij / d_i``, the mean over neighbours. A node without edges or self-loop gets a row of
    zeros. Edges on the diagonal are kept, and the self-loop comes on top.

    Our choice: a self-loop of any weight (1 in the source). It counts against the scale of the edges, so bring that to one
    with :func:`unit_mean_degree` first; without edges, the result is the identity and a graph convolution a plain layer.

    Args:
        adjacency: Weights from 0, of shape (nodes, nodes): dense, or sparse in COO or CSR layout.
        self_loop: Weight of the edge from each node to itself, from 0.
        kind: ``symmetric`` or ``row``.

    Returns:
        A tensor of the same shape, layout, type and device.

    Raises:
        DataError: If the matrix is not square, or has a negative weight.
        ConfigError: If the kind is unknown or the self-loop is negative.

    References:
        Kipf and Welling, "Semi-supervised classification with graph convolutional networks", ICLR 2017, arXiv 1609.02907.

    Example:
        >>> normalise_adjacency(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
        tensor([[0.5000, 0.5000],
                [0.5000, 0.5000]])
    """
    if kind not in KINDS:
        raise ConfigError(f"normalisation {kind!r} is unknown, {suggest(kind, KINDS)}")
    if not self_loop >= 0:
        raise ConfigError(f"the self-loop has weight {self_loop}, expected a number from 0")
    _check(adjacency)
    nodes = adjacency.shape[0]
    if adjacency.layout == torch.strided:
        looped = adjacency + self_loop * torch.eye(nodes, dtype=adjacency.dtype, device=adjacency.device)
        degree = looped.sum(1)
        if kind == "row":
            return looped * _inverse(degree).unsqueeze(1)
        root = _inverse(degree).sqrt()
        return looped * root.unsqueeze(1) * root
    edges = _coo(adjacency)
    loops = torch.arange(nodes, device=adjacency.device).expand(2, -1)
    values = torch.cat([edges.values(), edges.values().new_full((nodes,), self_loop)])
    edges = torch.sparse_coo_tensor(torch.cat([edges.indices(), loops], 1), values, edges.shape, check_invariants=True).coalesce()
    (rows, columns), values = edges.indices(), edges.values()
    degree = values.new_zeros(nodes).index_add(0, rows, values)
    factor = _inverse(degree)[rows] if kind == "row" else _inverse(degree).sqrt()[rows] * _inverse(degree).sqrt()[columns]
    return _like(adjacency, edges.indices(), values * factor)


def unit_mean_degree(adjacency: Tensor) -> Tensor:
    """Scale the edges so that the mean degree is 1.

    ``A * nodes / sum(A)``. Fused similarities have a scale of no meaning; after this a self-loop of 1 weighs as much as all
    edges of an average node. Our choice.

    Args:
        adjacency: Weights from 0, of shape (nodes, nodes): dense, or sparse in COO or CSR layout.

    Returns:
        A tensor of the same shape, layout, type and device; zeros if there are no edges.

    Raises:
        DataError: If the matrix is not square, or has a negative weight.

    Example:
        >>> unit_mean_degree(torch.tensor([[0.0, 4.0], [4.0, 0.0]]))
        tensor([[0., 1.],
                [1., 0.]])
    """
    _check(adjacency)
    nodes = adjacency.shape[0]
    if adjacency.layout == torch.strided:
        return adjacency * (nodes * _inverse(adjacency.sum()))
    edges = _coo(adjacency)
    return _like(adjacency, edges.indices(), edges.values() * (nodes * _inverse(edges.values().sum())))


def _check(adjacency: Tensor) -> None:
    if adjacency.dim() != 2 or adjacency.shape[0] != adjacency.shape[1]:
        raise DataError(f"an adjacency of shape {tuple(adjacency.shape)} was given, expected (nodes, nodes)")
    if adjacency.layout not in (torch.strided, torch.sparse_coo, torch.sparse_csr):
        raise DataError(f"an adjacency of layout {adjacency.layout} was given, expected a dense, COO or CSR tensor")
    weights = adjacency if adjacency.layout == torch.strided else _coo(adjacency).values()
    if weights.numel() and not bool((weights >= 0).all()):
        raise DataError("an adjacency with a weight that is negative or not a number was given, expected weights from 0")


def _coo(adjacency: Tensor) -> Tensor:
    edges: Tensor = adjacency.to_sparse_coo().coalesce()
    return edges


def _like(adjacency: Tensor, indices: Tensor, values: Tensor) -> Tensor:
    edges = torch.sparse_coo_tensor(indices, values, adjacency.shape, is_coalesced=True, check_invariants=True)
    return edges if adjacency.layout == torch.sparse_coo else edges.to_sparse_csr()


def _inverse(degree: Tensor) -> Tensor:
    return torch.where(degree > 0, 1 / torch.where(degree > 0, degree, 1.0), 0.0)
