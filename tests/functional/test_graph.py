"""Normalised adjacencies equal naive loops, in every layout."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from torch import Tensor

from equipoise.errors import ConfigError, DataError
from equipoise.functional.graph import normalise_adjacency, unit_mean_degree


def csr(dense: Tensor) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch calls its CSR layout beta, once
        return dense.to_sparse_csr()


def graph(nodes: int = 7, *, directed: bool = False) -> Tensor:
    weights = torch.rand(nodes, nodes, dtype=torch.float64) * (torch.rand(nodes, nodes) < 0.4)
    weights[2] = weights[:, 2] = 0
    return weights if directed else torch.maximum(weights, weights.T)


def naive(adjacency: Tensor, self_loop: float, kind: str) -> Tensor:
    nodes = len(adjacency)
    looped = [[float(adjacency[i, j]) + self_loop * (i == j) for j in range(nodes)] for i in range(nodes)]
    degree = [sum(row) for row in looped]
    out = torch.zeros_like(adjacency)
    for i in range(nodes):
        for j in range(nodes):
            scale = degree[i] if kind == "row" else math.sqrt(degree[i] * degree[j])
            out[i, j] = looped[i][j] / scale if scale else 0
    return out


@pytest.mark.parametrize("kind", ["symmetric", "row"])
@pytest.mark.parametrize("self_loop", [0.0, 1.0, 2.5])
@pytest.mark.parametrize("directed", [False, True])
def test_every_layout_equals_a_naive_loop(kind: str, self_loop: float, directed: bool) -> None:
    adjacency = graph(directed=directed)
    expected = naive(adjacency, self_loop, kind)
    for form in (adjacency, adjacency.to_sparse_coo(), csr(adjacency)):
        found = normalise_adjacency(form, self_loop, kind)
        assert found.layout == form.layout
        torch.testing.assert_close(found.to_dense(), expected, rtol=1e-12, atol=1e-15)


def test_rows_sum_to_one_and_symmetry_stays() -> None:
    adjacency = graph()
    torch.testing.assert_close(normalise_adjacency(adjacency, kind="row").sum(1), torch.ones(7, dtype=torch.float64))
    found = normalise_adjacency(adjacency)
    torch.testing.assert_close(found, found.T)
    assert float(torch.linalg.eigvalsh(found).abs().max()) == pytest.approx(1)


@pytest.mark.parametrize("kind", ["symmetric", "row"])
def test_a_graph_without_edges_is_the_identity(kind: str) -> None:
    empty = torch.zeros(4, 4)
    torch.testing.assert_close(normalise_adjacency(empty, 0.3, kind), torch.eye(4))
    torch.testing.assert_close(normalise_adjacency(empty.to_sparse_coo(), 0.3, kind).to_dense(), torch.eye(4))
    assert not normalise_adjacency(empty, 0.0, kind).any()


def test_repeated_sparse_edges_add_up() -> None:
    repeated = torch.sparse_coo_tensor(
        torch.tensor([[0, 0, 1], [1, 1, 0]]), torch.tensor([1.0, 2.0, 3.0]), (2, 2), check_invariants=True
    )
    torch.testing.assert_close(normalise_adjacency(repeated).to_dense(), naive(torch.tensor([[0.0, 3.0], [3.0, 0.0]]), 1, "row"))


def test_unit_mean_degree() -> None:
    adjacency = graph()
    for form in (adjacency, adjacency.to_sparse_coo(), csr(adjacency)):
        found = unit_mean_degree(form)
        assert found.layout == form.layout
        torch.testing.assert_close(found.to_dense(), adjacency / adjacency.sum(1).mean())
    assert not unit_mean_degree(torch.zeros(3, 3)).any()


def test_gradients_reach_the_weights() -> None:
    adjacency = (graph() + 0.1).requires_grad_()
    assert torch.autograd.gradcheck(normalise_adjacency, adjacency)
    adjacency = graph().requires_grad_()
    normalise_adjacency(adjacency, 0.0).sum().backward()
    assert adjacency.grad is not None
    assert adjacency.grad.isfinite().all()


def test_sparse_graphs_convolve_like_dense_ones() -> None:
    adjacency, x = graph(), torch.randn(7, 3, dtype=torch.float64, requires_grad=True)
    dense = normalise_adjacency(adjacency) @ x
    sparse = normalise_adjacency(adjacency.to_sparse_coo()) @ x
    torch.testing.assert_close(sparse, dense)
    first, second = (torch.autograd.grad(out.square().sum(), x)[0] for out in (dense, sparse))
    torch.testing.assert_close(first, second)


def test_errors() -> None:
    with pytest.raises(DataError, match=r"shape \(2, 3\)"):
        normalise_adjacency(torch.zeros(2, 3))
    with pytest.raises(DataError, match="negative or not a number"):
        normalise_adjacency(torch.tensor([[0.0, -1.0], [1.0, 0.0]]).to_sparse_coo())
    with pytest.raises(ConfigError, match="'symetric' is unknown, did you mean 'symmetric'"):
        normalise_adjacency(torch.zeros(2, 2), kind="symetric")
    with pytest.raises(ConfigError, match="weight -1"):
        normalise_adjacency(torch.zeros(2, 2), -1)
