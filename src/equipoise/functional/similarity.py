"""Similarity networks of samples and their fusion over modalities (SNF); dense, and on nearest neighbours alone.

Networks are numpy arrays of shape (samples, samples), or SciPy sparse ones of the same shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array, issparse
from scipy.spatial.distance import cdist

from equipoise.errors import ConfigError, DataError

_Floats = NDArray[np.float64]
_Integers = NDArray[np.int64]
_Sparse: TypeAlias = Any  # scipy.sparse.csr_array, which has no types

_ROWS = 64  # rows of a fusion that are worked on at a time
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
    distance = cdist(values, values, "sqeuclidean")
    others = min(neighbours, len(values) - 1)
    near = np.partition(distance, others, axis=1)[:, : others + 1].sum(1) / others  # the sample itself adds nothing
    return _kernel(distance, near[:, None], near, mu)


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
        # K values a row: as sparse arrays they spread similarity in K N^2 steps instead of N^3.
        local = [csr_array(_row_normalised(state * (state >= _percentile(state, percentile)))) for state in states]
        for _ in range(iterations):
            total = sum(states[1:], states[0])
            # What spreads through a symmetric network is symmetric: sym() would change the rounding alone.
            states = [_spread_all(step, (total - state) / (len(states) - 1)) for state, step in zip(states, local, strict=True)]
            for state in states:
                state.flat[:: samples + 1] += self_weight
    fused = _row_normalised(sum(states, np.zeros((samples, samples))) / len(states))
    return np.asarray((fused + fused.T + np.eye(samples)) / 2)


def sparsify(network: Any, neighbours: int = 20) -> Any:
    """Keep the strongest edges of a network.

    The diagonal becomes 0, each row keeps its ``K`` largest values (the first of equal ones), and the larger of the two
    directions of an edge is kept. A rule without a scale, our choice: a fixed threshold suits one number of samples only.

    Args:
        network: Similarities of shape (samples, samples), an array or sparse.
        neighbours: ``K``; more than there are others keeps all.

    Returns:
        A symmetric array of shape (samples, samples), sparse for a sparse network. Each row has at least ``K`` edges, where
        it had as many.

    Raises:
        DataError: If the network is not square.
        ConfigError: If ``neighbours`` is less than 1.

    Example:
        >>> sparsify([[9.0, 3.0, 2.0], [3.0, 9.0, 1.0], [2.0, 1.0, 9.0]], neighbours=1)
        array([[0., 3., 2.],
               [3., 0., 0.],
               [2., 0., 0.]])
    """
    _options(neighbours)
    if issparse(network):
        samples = _square([network])
        edges = csr_array(network, dtype=np.float64).tocoo()
        other = edges.row != edges.col
        index, values = _strongest(edges.row[other], edges.col[other], edges.data[other], samples, neighbours)
        rows = np.arange(samples).repeat(index.shape[1])
        kept = csr_array((values.ravel(), (rows, index.ravel())), shape=(samples, samples))
        kept.eliminate_zeros()
        return csr_array(kept.maximum(kept.T))
    values = np.array(network, np.float64)
    samples = _square([values])
    np.fill_diagonal(values, -np.inf)
    count = min(neighbours, samples - 1)
    least = np.partition(values, samples - count, axis=1)[:, samples - count, None] if count else np.inf
    more, equal = values > least, values == least
    more |= equal & (equal.cumsum(1) <= count - more.sum(1, keepdims=True))
    kept = np.where(more, values, 0.0)
    return np.maximum(kept, kept.T)


def neighbour_distances(x: ArrayLike, neighbours: int = 20) -> _Floats:
    """Return the mean squared distance of each sample to its nearest others: the ``near`` of :func:`affinity`.

    Args:
        x: Features of shape (samples, features).
        neighbours: Number of nearest samples.

    Returns:
        Distances of shape (samples,), on z-scored columns.

    Raises:
        DataError: If ``x`` is not a table of at least 2 rows of finite numbers.
        ConfigError: If ``neighbours`` is less than 1.

    Example:
        >>> neighbour_distances([[0.0], [1.0], [2.0]], neighbours=1)
        array([1., 1., 1.])
    """
    values = _scored(x)
    _options(neighbours)
    return np.asarray(_nearest(values, None, min(neighbours, len(values) - 1))[0].mean(1), np.float64)


def attach(
    train: Sequence[ArrayLike],
    new: Sequence[ArrayLike],
    neighbours: int = 20,
    mu: float = 0.5,
    near: Sequence[_Floats] | None = None,
) -> _Sparse:
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
        near: Per modality, what :func:`neighbour_distances` says of the training samples; computed here if not given.

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
    if near is None:
        near = [neighbour_distances(known, neighbours) for known in train]
    edges = [
        _attached(_table(known), _table(other), neighbours, mu, at) for known, other, at in zip(train, new, near, strict=True)
    ]
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
    distance, index = _nearest(values, None, min(neighbours, samples - 1))
    near = distance.mean(1)
    weights = _kernel(distance, near[:, None], near[index], mu)
    rows = np.arange(samples)
    edges = csr_array((weights.ravel(), (rows.repeat(index.shape[1]), index.ravel())), shape=(samples, samples))
    own = csr_array((_kernel(np.zeros(samples), near, near, mu), (rows, rows)), shape=(samples, samples))
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
    networks = [csr_array(network, dtype=np.float64).tocoo() for network in affinities]
    number = [network.row.astype(np.int64) * samples + network.col for network in networks]
    mirrored = [network.col.astype(np.int64) * samples + network.row for network in networks]
    # Edges in row order, each with its mirror image and the diagonal; every network is a vector over them.
    edges = np.unique(np.concatenate([*number, *mirrored, np.arange(samples) * (samples + 1)]))
    rows, columns = np.divmod(edges, samples)
    mirror = np.searchsorted(edges, columns * samples + rows)
    diagonal, lower = rows == columns, rows > columns

    def normalised(values: _Floats) -> _Floats:
        total = np.bincount(rows, values, samples)
        return values / np.where(total > 0, total, 1.0)[rows]

    states = []
    for network, keys in zip(networks, number, strict=True):
        values = normalised(np.bincount(np.searchsorted(edges, keys), network.data, len(edges)).astype(np.float64))
        states.append((values + values[mirror]) / 2)
    if len(states) > 1:
        strongest = [_strongest(rows, columns, state, samples, neighbours) for state in states]
        local = [(index, _row_normalised(largest)) for index, largest in strongest]
        for _ in range(iterations):
            total = sum(states, np.zeros(len(edges)))
            states = [
                _spread(rows, columns, (total - state) / (len(states) - 1), *step) + self_weight * diagonal
                for state, step in zip(states, local, strict=True)
            ]
            for state in states:  # what spreads through a symmetric network is symmetric: one direction of an edge is enough
                state[lower] = state[mirror[lower]]
    fused = normalised(sum(states, np.zeros(len(edges))) / len(states))
    return csr_array(((fused + fused[mirror] + diagonal) / 2, (rows, columns)), shape=(samples, samples))


def _spread_all(step: _Sparse, network: _Floats) -> _Floats:
    """Return ``S Q S^T`` of a symmetric ``Q``, by columns few enough to stay in the processor's cache."""
    found = np.empty_like(network)
    for first in range(0, len(network), _ROWS):
        columns = slice(first, first + _ROWS)
        found[:, columns] = step @ np.ascontiguousarray((step[columns] @ network).T)
    return found


def _strongest(rows: _Integers, columns: _Integers, values: _Floats, samples: int, neighbours: int) -> tuple[_Integers, _Floats]:
    """Return each row's largest values, as columns and values of shape (samples, neighbours), filled up with zeros."""
    degree = np.bincount(rows, minlength=samples)
    order = np.lexsort((-values, rows))
    rank = np.arange(len(rows)) - (degree.cumsum() - degree)[rows]
    order, rank = order[rank < neighbours], rank[rank < neighbours]
    width = int(min(neighbours, degree.max(initial=0)))
    index, largest = np.zeros((samples, width), np.int64), np.zeros((samples, width))
    index[rows[order], rank], largest[rows[order], rank] = columns[order], values[order]
    return index, largest


def _spread(rows: _Integers, columns: _Integers, values: _Floats, index: _Integers, shares: _Floats) -> _Floats:
    """Return ``S Q S^T`` on the edges of ``Q`` from a lower to a higher number, for ``S`` as columns and values of its rows."""
    samples, width = index.shape
    # Short integers: half the memory to move.
    near, begins = index.astype(np.int32), np.searchsorted(rows, np.arange(samples + 1)).astype(np.int32)
    places = np.arange(0, samples * width + 1, width).astype(np.int32)
    step = csr_array((shares.ravel(), near.ravel(), places), shape=(samples, samples))
    network = csr_array((values, columns.astype(np.int32), begins), shape=(samples, samples))
    upper = np.flatnonzero(rows <= columns)
    starts, ends = rows[upper].astype(np.int32), columns[upper]
    bounds = np.searchsorted(starts, np.arange(0, samples + _ROWS, _ROWS))
    found = np.zeros(len(rows))
    for number, first in enumerate(range(0, samples, _ROWS)):
        half = (step[first : first + _ROWS] @ network).toarray().ravel()
        part = slice(bounds[number], bounds[number + 1])
        place = near[ends[part]] + ((starts[part] - first) * samples)[:, None]
        found[upper[part]] = np.einsum("ek,ek->e", half.take(place), shares[ends[part]])
    return found


def _attached(known: _Floats, unknown: _Floats, neighbours: int, mu: float, near: _Floats) -> _Sparse:
    """Return the edges of one modality; each row sums to 1."""
    if known.shape[1] != unknown.shape[1]:
        raise DataError(f"new samples have {unknown.shape[1]} features, expected {known.shape[1]}, as the training samples")
    train, new = _scored(known), _scored(unknown, known)
    distance, index = _nearest(train, new, min(neighbours, len(train)))
    shares = _row_normalised(_kernel(distance, distance.mean(1, keepdims=True), near[index], mu))
    rows = np.arange(len(new)).repeat(index.shape[1])
    return csr_array((shares.ravel(), (rows, index.ravel())), shape=(len(new), len(train)))


def _kernel(distance: _Floats, near: _Floats, other_near: _Floats, mu: float) -> _Floats:
    deviation = mu * np.maximum((near + other_near + distance) / 3, _TINY)
    return np.asarray(np.exp(-0.5 * (distance / deviation) ** 2) / (deviation * np.sqrt(2 * np.pi)), np.float64)


def _nearest(values: _Floats, query: _Floats | None, neighbours: int) -> tuple[_Floats, _Integers]:
    """Return squared distances and numbers of the nearest of ``values``: to ``query``, or to each of them but itself."""
    from sklearn.neighbors import NearestNeighbors

    distance, index = NearestNeighbors(n_neighbors=neighbours).fit(values).kneighbors(query)
    return distance**2, index


def _scored(x: ArrayLike, reference: _Floats | None = None) -> _Floats:
    values = _table(x)
    base = values if reference is None else reference
    if len(base) < 2:
        raise DataError(f"{len(base)} samples were given, expected at least 2 to compare")
    varies = np.ptp(base, axis=0) > 0
    return np.asarray((values - base.mean(0)) / np.where(varies, base.std(0, ddof=1), 1.0) * varies, np.float64)


def _table(x: ArrayLike) -> _Floats:
    values = np.asarray(x, np.float64)
    if values.ndim != 2 or not np.isfinite(values).all():
        raise DataError(f"features of shape {values.shape} were given, expected (samples, features) of finite numbers")
    return values


def _square(networks: Sequence[Any]) -> int:
    shapes = [tuple(network.shape) for network in networks]
    if not shapes or any(shape != (shapes[0][0], shapes[0][0]) for shape in shapes):
        raise DataError(
            f"networks of shapes {shapes} were given, expected at least one, and the same (samples, samples) for each"
        )
    return int(shapes[0][0])


def _options(neighbours: int, mu: float = 1.0) -> None:
    if neighbours < 1:
        raise ConfigError(f"the number of neighbours is {neighbours}, expected at least 1")
    if not mu > 0:
        raise ConfigError(f"mu is {mu}, expected a positive number")


def _percentile(values: _Floats, percentile: float) -> _Floats:
    return np.asarray(np.percentile(values, percentile, axis=1, keepdims=True), np.float64)


def _symmetric(values: _Floats) -> _Floats:
    return (values + values.T) / 2


def _row_normalised(values: _Floats) -> _Floats:
    total = values.sum(1, keepdims=True)
    return np.asarray(values / np.where(total > 0, total, 1.0), np.float64)
