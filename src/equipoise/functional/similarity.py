"""Similarity networks of samples and their fusion over modalities (SNF); dense, and on nearest neighbours alone.

Networks are numpy arrays of shape (samples, samples), or SciPy sparse ones of the same shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array  # type: ignore[import-untyped]

from equipoise.errors import ConfigError, DataError

_Floats = NDArray[np.float64]
_Integers = NDArray[np.int64]
_Sparse: TypeAlias = Any  # scipy.sparse.csr_array, which has no types

_ROWS = 256  # rows of the sparse fusion that are dense at a time
_TINY = float(np.finfo(np.float64).eps)


def affinity(x: ArrayLike, neighbours: int = 20, mu: float = 0.5) -> _Floats:
    """Return how similar every two samples are in one modality.

    On z-scored columns (``ddof`` 1), with ``D(i, j)`` the squared Euclidean distance and ``near(i)`` the mean of ``D`` from
    ``i`` to its nearest other samples: ``eps_ij = (near(i) + near(j) + D(i, j)) / 3`` and
    ``W(i, j) = NormalPDF(D(i, j); mean 0, sd mu * eps_ij)``.

    The density as a kernel on the squared distance is what the authors' reference implementations do; the paper writes
    ``exp(-d^2 / (mu * eps))``. Our choice: constant columns count as zeros, ``near`` takes the samples there are if they are
    fewer than asked for, and ``eps`` is at least 2e-16 where samples coincide.

    Args:
        x: Features of shape (samples, features).
        neighbours: Number of nearest samples that set the scale around each one.
        mu: Width of the kernel, usually 0.3 to 0.8.

    Returns:
        A symmetric positive array of shape (samples, samples). It is a density: its scale falls with that of the distances.

    Raises:
        DataError: If ``x`` is not a table of at least 2 rows of finite numbers.
        ConfigError: If ``neighbours`` is less than 1 or ``mu`` is not positive.

    References:
        Wang et al., "Similarity network fusion for aggregating data types on a genomic scale", Nature Methods 11, 2014.

    Example:
        >>> network = affinity([[0.0], [1.0], [5.0]], neighbours=1)
        >>> bool(network[0, 1] > network[1, 2] > network[0, 2])
        True
    """
    values = _scored(x)
    _options(neighbours, mu)
    distance = _squared(values, values)
    np.fill_diagonal(distance, 0.0)
    return _kernel(distance, *(_near(distance, neighbours, skip=1)[:, None], _near(distance, neighbours, skip=1)[None]), mu)


def fuse_networks(affinities: Sequence[_Floats], neighbours: int = 20, iterations: int = 20, self_weight: float = 1.0) -> _Floats:
    """Fuse the networks of several modalities into one: similarity network fusion.

    ``P_m = sym(W_m / row sums)``, with ``sym(A) = (A + A^T) / 2``; ``S_m`` keeps of each row of ``P_m`` the values from its
    ``100 - 100 K / N`` percentile upwards (the ``K`` largest, the sample's own among them) and divides it by its sum. Then
    ``iterations`` times, for all modalities at once: ``P_m <- sym(S_m (mean of the other P_n) S_m^T) + self_weight * I``.
    At last ``F = mean_m P_m``, divided by its row sums, and ``(F + F^T + I) / 2``.

    The added identity and the last line are those of the public reference implementations, not of the paper. Our choice: one
    modality, for which there is nothing to diffuse, goes to the last line as it is.

    Args:
        affinities: One array of shape (samples, samples) per modality, from :func:`affinity`.
        neighbours: ``K``, the number of neighbours through which similarity spreads.
        iterations: Number of sweeps.
        self_weight: What each sweep adds to the diagonal.

    Returns:
        A symmetric array of shape (samples, samples).

    Raises:
        DataError: If there is no network, or the networks are not square and of one size.
        ConfigError: If ``neighbours`` is less than 1.

    References:
        Wang et al., Nature Methods 11, 2014.

    Example:
        >>> generator = np.random.default_rng(0)
        >>> networks = [affinity(generator.normal(size=(30, 2)) + np.repeat([[0], [4]], 15, axis=0), 5) for _ in range(3)]
        >>> fused = fuse_networks(networks, neighbours=5)
        >>> bool(fused[:15, :15].mean() > 3 * fused[:15, 15:].mean())
        True
    """
    samples = _square(affinities)
    _options(neighbours)
    states = [_symmetric(_row_normalised(np.asarray(network, np.float64))) for network in affinities]
    if len(states) > 1:
        percentile = max(0.0, 100 - 100 * neighbours / samples)
        local = [
            _row_normalised(np.where(state >= np.percentile(state, percentile, axis=1)[:, None], state, 0.0)) for state in states
        ]
        own = self_weight * np.eye(samples)
        for _ in range(iterations):
            total = sum(states, np.zeros((samples, samples)))
            states = [
                _symmetric(step @ ((total - state) / (len(states) - 1)) @ step.T) + own
                for state, step in zip(states, local, strict=True)
            ]
    fused = _row_normalised(sum(states, np.zeros((samples, samples))) / len(states))
    return np.asarray((fused + fused.T + np.eye(samples)) / 2)


def sparsify(network: ArrayLike, neighbours: int = 20) -> _Floats:
    """Keep the strongest edges of a network.

    The diagonal becomes 0, each row keeps its ``K`` largest values (the first of equal ones), and the larger of the two
    directions of an edge is kept. A rule without a scale, our choice: a fixed threshold suits one number of samples only.

    Args:
        network: Similarities of shape (samples, samples).
        neighbours: ``K``; more than there are others keeps all.

    Returns:
        A symmetric array of shape (samples, samples), each row of which has at least ``K`` edges.

    Raises:
        DataError: If the network is not square.
        ConfigError: If ``neighbours`` is less than 1.

    Example:
        >>> sparsify([[9.0, 3.0, 2.0], [3.0, 9.0, 1.0], [2.0, 1.0, 9.0]], neighbours=1)
        array([[0., 3., 2.],
               [3., 0., 0.],
               [2., 0., 0.]])
    """
    values = np.array(network, np.float64)
    samples = _square([values])
    _options(neighbours)
    np.fill_diagonal(values, -np.inf)
    best = np.argsort(-values, axis=1, kind="stable")[:, : min(neighbours, samples - 1)]
    kept = np.zeros_like(values)
    np.put_along_axis(kept, best, np.take_along_axis(values, best, axis=1), axis=1)
    return np.asarray(np.maximum(kept, kept.T))


def attach(train: Sequence[ArrayLike], new: Sequence[ArrayLike], neighbours: int = 20, mu: float = 0.5) -> _Sparse:
    """Return edges from new samples to their nearest training samples, so that the fused network need not be made again.

    Per modality, on columns z-scored by the mean and deviation of the training samples: the kernel of :func:`affinity` to the
    ``K`` nearest training samples, with ``near`` measured among training samples for both ends, divided by the row sum. The
    rows are averaged over modalities, so each sums to 1 and has at most ``modalities * K`` edges. New samples do not see one
    another: what one gets does not depend on the rest of its batch. The whole procedure is our choice.

    Args:
        train: Per modality, features of the training samples, of shape (training samples, features).
        new: Per modality, features of the new samples, of shape (new samples, the same features).
        neighbours: ``K``.
        mu: Width of the kernel.

    Returns:
        A ``scipy.sparse.csr_array`` of shape (new samples, training samples).

    Raises:
        DataError: If modalities, samples or features do not match, or a value is not finite.
        ConfigError: If ``neighbours`` is less than 1 or ``mu`` is not positive.

    Example:
        >>> attach([[[0.0], [1.0], [5.0]]], [[[4.9]]], neighbours=1).toarray()
        array([[0., 0., 1.]])
    """
    _options(neighbours, mu)
    if not train or len(train) != len(new):
        raise DataError(f"{len(train)} modalities of training and {len(new)} of new samples were given, expected as many of each")
    edges = [_attached(_table(known), _table(unknown), neighbours, mu) for known, unknown in zip(train, new, strict=True)]
    if len({edge.shape for edge in edges}) > 1:
        raise DataError(f"modalities have {[edge.shape for edge in edges]} new and training samples, expected the same in each")
    return csr_array(sum(edges[1:], edges[0]) / len(edges))


def sparse_affinity(x: ArrayLike, neighbours: int = 20, mu: float = 0.5) -> _Sparse:
    """Return :func:`affinity` on nearest neighbours alone: memory grows with samples times neighbours.

    An edge is kept if either of its ends counts the other among its nearest; the diagonal is kept too. Kept values equal
    those of :func:`affinity`, up to rounding; with all other samples as neighbours nothing is left out.

    Args:
        x: Features of shape (samples, features).
        neighbours: Number of nearest samples: for the scale, and to be kept.
        mu: Width of the kernel.

    Returns:
        A symmetric ``scipy.sparse.csr_array`` of shape (samples, samples).

    Raises:
        DataError: If ``x`` is not a table of at least 2 rows of finite numbers.
        ConfigError: If ``neighbours`` is less than 1 or ``mu`` is not positive.

    Example:
        >>> sparse_affinity([[0.0], [1.0], [5.0], [6.0]], neighbours=1).toarray().astype(bool).astype(int)
        array([[1, 1, 0, 0],
               [1, 1, 0, 0],
               [0, 0, 1, 1],
               [0, 0, 1, 1]])
    """
    values = _scored(x)
    _options(neighbours, mu)
    samples = len(values)
    distance, index = _nearest(values, values, min(neighbours + 1, samples))
    distance, index = _without_self(distance, index)
    near = distance.mean(1)
    weights = _kernel(distance, near[:, None], near[index], mu)
    diagonal = _kernel(np.zeros(samples), near, near, mu)
    edges = _sparse(np.arange(samples).repeat(index.shape[1]), index.ravel(), weights.ravel(), (samples, samples))
    own = _sparse(np.arange(samples), np.arange(samples), diagonal, (samples, samples))
    return csr_array(edges.maximum(edges.T) + own)


def sparse_fuse(affinities: Sequence[_Sparse], neighbours: int = 20, iterations: int = 20, self_weight: float = 1.0) -> _Sparse:
    """Fuse networks as :func:`fuse_networks` does, restricted to the edges that some modality has.

    This restriction is OUR CHOICE, not the paper's method: what the diffusion would send along any other edge is dropped in
    every sweep. Where the networks are complete it is :func:`fuse_networks`. Memory grows with the number of edges, and time
    with that times the number of neighbours, so some ten thousand samples fit where the dense form would not.

    Args:
        affinities: One sparse network of shape (samples, samples) per modality, from :func:`sparse_affinity`.
        neighbours: ``K``, the number of neighbours through which similarity spreads.
        iterations: Number of sweeps.
        self_weight: What each sweep adds to the diagonal.

    Returns:
        A symmetric ``scipy.sparse.csr_array`` of shape (samples, samples).

    Raises:
        DataError: If there is no network, or the networks are not square and of one size.
        ConfigError: If ``neighbours`` is less than 1.

    Example:
        >>> generator = np.random.default_rng(0)
        >>> networks = [sparse_affinity(generator.normal(size=(30, 2)), neighbours=29) for _ in range(3)]
        >>> dense = fuse_networks([network.toarray() for network in networks], neighbours=5)
        >>> bool(np.allclose(sparse_fuse(networks, neighbours=5).toarray(), dense))
        True
    """
    samples = _square(affinities)
    _options(neighbours)
    networks = [csr_array(network) for network in affinities]
    pattern = csr_array(
        sum(
            (_ones(network) + _ones(network).T for network in networks),
            csr_array(np.eye(0), shape=(samples, samples)) if False else _identity(samples),
        )
    )
    pattern.sum_duplicates()
    pattern.sort_indices()
    rows, columns = np.arange(samples).repeat(np.diff(pattern.indptr)), pattern.indices
    # Every network on these edges is a vector; `mirror` finds the other direction of each edge.
    mirror = csr_array((np.arange(len(rows)), columns, pattern.indptr), shape=(samples, samples)).T.tocsr()
    mirror.sort_indices()
    mirror = mirror.data
    diagonal = (rows == columns).astype(np.float64)

    def scaled(values: _Floats) -> _Floats:
        total = np.bincount(rows, values, samples)
        return values / np.where(total > 0, total, 1.0)[rows]

    def matrix(values: _Floats) -> _Sparse:
        return csr_array((values, columns, pattern.indptr), shape=(samples, samples))

    def on_edges(network: _Sparse) -> _Floats:
        # Adding the pattern keeps every edge, in order; the network is what that adds.
        full = csr_array(network + _sparse(rows, columns, np.ones(len(rows)), (samples, samples)))
        full.sort_indices()
        return np.asarray(full.data - 1.0)

    raise NotImplementedError
