"""Similarity networks equal the reference implementation's and naive loops; the sparse form equals the dense one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.stats import norm

from equipoise.errors import ConfigError, DataError
from equipoise.functional.similarity import (
    affinity,
    attach,
    fuse_networks,
    neighbour_distances,
    sparse_affinity,
    sparse_fuse,
    sparsify,
)

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parents[1] / "golden" / "snf.json").read_text())
X: list[Any] = GOLDEN["cases"][0]["inputs"]["X"]
Floats = NDArray[np.float64]


def clusters(samples: int = 40, modalities: int = 3, seed: int = 0) -> list[Floats]:
    generator = np.random.default_rng(seed)
    groups = np.arange(samples) % 2 * 3.0
    return [generator.normal(size=(samples, 3 + number)) + groups[:, None] for number in range(modalities)]


def naive_affinity(x: Floats, neighbours: int, mu: float) -> Floats:
    z = (x - x.mean(0)) / x.std(0, ddof=1)
    size = len(z)
    distance = np.array([[((a - b) ** 2).sum() for b in z] for a in z])
    near = [np.mean(sorted(np.delete(distance[i], i))[:neighbours]) for i in range(size)]
    out = np.empty((size, size))
    for i in range(size):
        for j in range(size):
            out[i, j] = norm.pdf(distance[i, j], 0, mu * (near[i] + near[j] + distance[i, j]) / 3)
    return out


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: f"K{case['inputs']['K']}")
def test_reference_implementation(case: dict[str, Any]) -> None:
    neighbours, out = case["inputs"]["K"], case["outputs"]
    networks = [affinity(x, neighbours, case["inputs"]["mu"]) for x in X]
    np.testing.assert_allclose(networks[0][:5], out["affinity_mod0"], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose([network.sum(1) for network in networks], out["affinity_rowsum"], rtol=1e-10)
    fused = fuse_networks(networks, neighbours, 5)
    np.testing.assert_allclose(fused[:5], out["fused_t5_rows0to4"], atol=1e-10)
    np.testing.assert_allclose(fused.sum(1), out["fused_t5_rowsum"], atol=1e-10)
    fused = fuse_networks(networks, neighbours, 20)
    np.testing.assert_allclose(fused[: len(out["fused_t20"])], out["fused_t20"], atol=1e-10)


@pytest.mark.parametrize("neighbours", [3, 11])
@pytest.mark.parametrize("mu", [0.3, 0.8])
def test_affinity_equals_a_naive_loop(neighbours: int, mu: float) -> None:
    x = np.random.default_rng(0).normal(size=(12, 2)) * [1, 50] + 7
    np.testing.assert_allclose(affinity(x, neighbours, mu), naive_affinity(x, neighbours, mu), rtol=1e-10)
    np.testing.assert_allclose(affinity(x * [3, 0.1] - 2, neighbours, mu), affinity(x, neighbours, mu), rtol=1e-10)


@pytest.mark.parametrize("modalities", [2, 4])
def test_fusion_equals_a_naive_loop(modalities: int) -> None:
    networks = [affinity(x, 4) for x in clusters(14, modalities)]
    size = 14
    states, steps = [], []
    for network in networks:
        state = network / network.sum(1, keepdims=True)
        state = (state + state.T) / 2
        step = np.zeros_like(state)
        for i in range(size):
            for j in np.argsort(-state[i])[:4]:
                step[i, j] = state[i, j]
            step[i] /= step[i].sum()
        states.append(state)
        steps.append(step)
    for _ in range(3):
        after = []
        for m in range(modalities):
            others = [states[n] for n in range(modalities) if n != m]
            state = steps[m] @ (sum(others) / len(others)) @ steps[m].T
            after.append((state + state.T) / 2 + np.eye(size))
        states = after
    expected = sum(states) / modalities
    expected = expected / expected.sum(1, keepdims=True)
    np.testing.assert_allclose(fuse_networks(networks, 4, 3), (expected + expected.T + np.eye(size)) / 2, atol=1e-13)


def test_one_modality_is_its_own_network() -> None:
    network = affinity(clusters()[0], 5)
    state = network / network.sum(1, keepdims=True)
    state = (state + state.T) / 2
    state = state / state.sum(1, keepdims=True)
    np.testing.assert_allclose(fuse_networks([network], 5), (state + state.T + np.eye(40)) / 2, atol=1e-14)
    sparse = sparse_affinity(clusters()[0], 39)
    np.testing.assert_allclose(sparse_fuse([sparse], 5).toarray(), fuse_networks([sparse.toarray()], 5), atol=1e-14)


def test_order_of_samples_and_modalities_does_not_matter() -> None:
    x = clusters()
    order = np.random.default_rng(0).permutation(40)
    fused = fuse_networks([affinity(values, 5) for values in x], 5)
    moved = fuse_networks([affinity(values[order], 5) for values in x[::-1]], 5)
    np.testing.assert_allclose(moved, fused[np.ix_(order, order)], atol=1e-12)
    np.testing.assert_allclose(fused, fused.T, atol=1e-14)


def test_constant_columns_and_copies_do_no_harm() -> None:
    x = np.random.default_rng(0).normal(size=(15, 2))
    np.testing.assert_allclose(affinity(np.hstack([x, np.full((15, 1), 0.1)]), 4), affinity(x, 4), rtol=1e-12)
    copies = np.repeat(x[:3], 5, axis=0)
    networks = [affinity(copies, 4), affinity(np.full((15, 2), 0.1), 4), affinity(x, 100)]
    assert all(np.isfinite(network).all() for network in networks)
    assert np.isfinite(fuse_networks(networks, 4)).all()
    assert np.isfinite(sparse_affinity(copies, 4).data).all()


@pytest.mark.parametrize("neighbours", [1, 3, 9, 50])
def test_sparsify_equals_a_naive_loop(neighbours: int) -> None:
    network = np.random.default_rng(0).random((10, 10))
    network = network + network.T
    expected = np.zeros((10, 10))
    for i in range(10):
        for j in sorted((j for j in range(10) if j != i), key=lambda j: -network[i, j])[:neighbours]:
            expected[i, j] = expected[j, i] = network[i, j]
    before = network.copy()
    np.testing.assert_array_equal(sparsify(network, neighbours), expected)
    np.testing.assert_array_equal(network, before)


def test_sparsify_keeps_exactly_k_of_equal_values() -> None:
    assert (sparsify(np.ones((4, 4)), 1) > 0).sum(1).tolist() == [3, 1, 1, 1]
    assert sparsify(np.ones((1, 1)), 3).tolist() == [[0.0]]


@pytest.mark.parametrize("neighbours", [3, 39, 100])
def test_sparse_affinity_is_the_dense_one_on_nearest_neighbours(neighbours: int) -> None:
    x = clusters()[1]
    sparse, dense = sparse_affinity(x, neighbours).toarray(), affinity(x, neighbours)
    z = (x - x.mean(0)) / x.std(0, ddof=1)
    distance = ((z[:, None] - z) ** 2).sum(2)
    close = distance.argsort(1).argsort(1) <= neighbours
    np.testing.assert_allclose(sparse, np.where(close | close.T, dense, 0), rtol=1e-9)


@pytest.mark.parametrize("modalities", [2, 3])
def test_complete_sparse_fusion_is_the_dense_one(modalities: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("equipoise.functional.similarity._ROWS", 7)
    sparse = [sparse_affinity(x, 40) for x in clusters(40, modalities)]
    dense = [affinity(x, 40) for x in clusters(40, modalities)]
    for neighbours in (5, 40, 60):
        expected = fuse_networks(dense, neighbours, 10)
        np.testing.assert_allclose(sparse_fuse(sparse, neighbours, 10).toarray(), expected, atol=1e-10)


def test_restricted_fusion_equals_dense_fusion_with_other_edges_dropped() -> None:
    networks = [sparse_affinity(x, 5) for x in clusters()]
    pattern = sum((network.toarray() for network in networks), np.zeros((40, 40))) > 0
    states = [network.toarray() / network.toarray().sum(1, keepdims=True) for network in networks]
    states = [(state + state.T) / 2 for state in states]
    steps = [np.where(state >= np.sort(state, axis=1)[:, [-4]], state, 0) for state in states]
    steps = [step / step.sum(1, keepdims=True) for step in steps]
    for _ in range(6):
        after = [pattern * (steps[m] @ ((sum(states) - states[m]) / 2) @ steps[m].T) for m in range(3)]
        states = [(state + state.T) / 2 + np.eye(40) for state in after]
    expected = sum(states) / 3
    expected = expected / expected.sum(1, keepdims=True)
    found = sparse_fuse(networks, 4, 6)
    np.testing.assert_allclose(found.toarray(), (expected + expected.T + np.eye(40)) / 2, atol=1e-12)
    assert found.nnz <= pattern.sum()


def test_restricted_fusion_finds_the_same_groups() -> None:
    x = clusters(200)
    dense = sparsify(fuse_networks([affinity(values, 10) for values in x], 10), 5)
    sparse = sparsify(sparse_fuse([sparse_affinity(values, 10) for values in x], 10).toarray(), 5)
    same = np.equal.outer(np.arange(200) % 2, np.arange(200) % 2)
    for network in (dense, sparse):
        assert network[same].sum() > 0.9 * network.sum()
    assert ((dense > 0) & (sparse > 0)).sum() > 0.5 * (dense > 0).sum()


def test_large_sets_fit() -> None:
    x = clusters(3000, 2)
    fused = sparse_fuse([sparse_affinity(values, 10) for values in x], 10, 2)
    assert fused.nnz < 3000 * 60
    np.testing.assert_allclose((fused - fused.T).data, 0, atol=1e-12)


def test_attach_equals_a_naive_loop() -> None:
    generator = np.random.default_rng(0)
    train = [generator.normal(size=(20, 3)), generator.normal(size=(20, 2)) * 9 + 4]
    new = [generator.normal(size=(6, 3)), generator.normal(size=(6, 2)) * 9 + 4]
    expected = np.zeros((6, 20))
    for known, unknown in zip(train, new, strict=True):
        z, q = ((values - known.mean(0)) / known.std(0, ddof=1) for values in (known, unknown))
        near = [np.mean(sorted(((z - z[j]) ** 2).sum(1))[1:5]) for j in range(20)]
        for i in range(6):
            distance = ((z - q[i]) ** 2).sum(1)
            best = np.argsort(distance)[:4]
            own = distance[best].mean()
            weights = [norm.pdf(distance[j], 0, 0.5 * (own + near[j] + distance[j]) / 3) for j in best]
            expected[i, best] += np.array(weights) / sum(weights) / 2
    found = attach(train, new, 4)
    np.testing.assert_allclose(found.toarray(), expected, atol=1e-12)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-12)
    alone = attach(train, [values[2:3] for values in new], 4)
    np.testing.assert_allclose(alone.toarray()[0], found.toarray()[2], atol=1e-14)


def test_attach_finds_the_sample_itself() -> None:
    x = clusters()
    edges = attach(x, x, 5).toarray()
    assert (edges.argmax(1) == np.arange(40)).all()
    assert attach(x, x, 100).shape == (40, 40)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: affinity(np.zeros(3)), r"features of shape \(3,\)"),
        (lambda: affinity([[np.nan], [1.0]]), "finite numbers"),
        (lambda: affinity([[1.0]]), "1 samples were given"),
        (lambda: fuse_networks([]), "at least one"),
        (lambda: fuse_networks([np.eye(2), np.eye(3)]), r"\[\(2, 2\), \(3, 3\)\]"),
        (lambda: sparse_fuse([csr_array((2, 3))]), r"\(2, 3\)"),
        (lambda: sparsify(np.zeros((2, 3))), r"\(2, 3\)"),
        (lambda: attach([np.eye(3)], []), "1 modalities of training and 0 of new"),
        (lambda: attach([np.eye(3)], [np.eye(2)]), "new samples have 2 features, expected 3"),
        (lambda: attach([np.eye(3), np.eye(3)], [np.eye(3), np.eye(3)[:2]]), "expected the same in each"),
    ],
)
def test_bad_data_is_named(call: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        call()


def test_bad_options_are_named() -> None:
    with pytest.raises(ConfigError, match="neighbours is 0"):
        sparse_affinity(np.eye(3), 0)
    with pytest.raises(ConfigError, match="mu is 0"):
        affinity(np.eye(3), 1, 0.0)


@pytest.mark.parametrize("neighbours", [1, 4, 50])
def test_a_sparse_network_is_sparsified_like_a_dense_one(neighbours: int) -> None:
    generator = np.random.default_rng(0)
    network = np.round(generator.random((30, 30)), 1) * (generator.random((30, 30)) < 0.4)  # with equal values, and with gaps
    network = np.maximum(network, network.T)
    network[7] = network[:, 7] = 0
    found = sparsify(csr_array(network), neighbours)
    assert isinstance(found, csr_array)
    np.testing.assert_array_equal(found.toarray(), sparsify(network, neighbours))
    assert found.nnz == (found.toarray() > 0).sum()


def test_distances_to_neighbours_set_the_scale_of_attached_samples() -> None:
    known, new = clusters(), clusters(9, seed=1)
    near = [neighbour_distances(x, 5) for x in known]
    z = (known[0] - known[0].mean(0)) / known[0].std(0, ddof=1)
    distance = ((z[:, None] - z) ** 2).sum(2)
    np.testing.assert_allclose(near[0], np.sort(distance, axis=1)[:, 1:6].mean(1), rtol=1e-6)
    np.testing.assert_array_equal(attach(known, new, 5, near=near).toarray(), attach(known, new, 5).toarray())
    assert not np.allclose(attach(known, new, 5, near=[10 * at for at in near]).toarray(), attach(known, new, 5).toarray())
