"""The sample graph: which samples are alike, and what graph encoders need to know of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array, vstack
from torch import Tensor

from equipoise.batch import Neighbours
from equipoise.config import GraphOptions
from equipoise.data.dataset import Dataset
from equipoise.data.preprocessing import Preprocessing
from equipoise.errors import DataError
from equipoise.functional.graph import normalise_adjacency, unit_mean_degree
from equipoise.functional.similarity import (
    affinity,
    attach,
    fuse_networks,
    neighbour_distances,
    sparse_affinity,
    sparse_fuse,
    sparsify,
)

_Floats = NDArray[np.float64]
_Inputs: TypeAlias = Mapping[str, NDArray[np.float32]]
_Present: TypeAlias = Mapping[str, NDArray[np.bool_]]
_Sparse: TypeAlias = Any  # scipy.sparse.csr_array, which has no types

DENSE_NODES = 5000
"""Up to this many nodes the option ``form = auto`` makes the network from all pairs of samples, above it from neighbours."""

_FUSED = "fused"


@dataclass(frozen=True, eq=False)
class _Network:
    """Normalised edges among nodes.

    Attributes:
        modalities: What it was made from.
        edges: Weights of shape (nodes, nodes) without the diagonal.
        own: Weight of each node for itself, of shape (nodes,).
        degree: What the edges were normalised by, of shape (nodes,).
    """

    modalities: tuple[str, ...]
    edges: _Sparse
    own: _Floats
    degree: _Floats


class SampleGraph:
    """Similarities among nodes (training samples, or all), to which any other sample can be attached.

    The nodes' networks of all modalities are fused into one (:func:`~equipoise.functional.similarity.fuse_networks`), its
    strongest edges are kept, brought to a mean degree of 1, and normalised with a self-loop: ``A``. A sample whose features
    equal a node's is that node. Any other one gets edges to the nodes nearest to it
    (:func:`~equipoise.functional.similarity.attach`), of which no node and no other new sample takes notice.

    Missing modalities: in the network of a modality, a sample that lacks it is joined to itself alone, and the fusion fills
    its row from the others. Where modality m is propagated, nodes that lack m contribute nothing, and the other weights of the
    row, that for the sample itself among them, are scaled to the same sum.

    The fusion is that of the source; what is done to its result, the attaching and the missing modalities are our choice.

    References:
        Wang et al., "Similarity network fusion for aggregating data types on a genomic scale", Nature Methods 11, 2014.

    Args:
        options: How it is made, in full.
        encoded: The modalities whose encoders use it.
        features: Per modality the nodes' features of shape (nodes, features), zero where a node lacks it.
        present: Per modality which nodes have it.
        near: Per modality, the ``near`` of the nodes that have it.
        networks: The networks, by modality or ``fused``.
    """

    def __init__(
        self,
        options: GraphOptions,
        encoded: Sequence[str],
        features: _Inputs,
        present: _Present,
        near: Mapping[str, _Floats],
        networks: Mapping[str, _Network],
    ) -> None:
        self.options = options
        self.encoded = tuple(encoded)
        self._features, self._present, self._near, self._networks = dict(features), dict(present), dict(near), dict(networks)
        self._tables = {}
        for name in self.encoded:
            network = self._networks[self._key(name)]
            edges, own = _among(network.edges, network.own, self._present[name])
            self._tables[name] = _propagate(edges, own, self._features[name], self._features[name])

    def __len__(self) -> int:
        return len(next(iter(self._present.values())))

    @classmethod
    def fit(
        cls, parts: Sequence[Dataset], preprocessing: Preprocessing, encoded: Sequence[str], options: GraphOptions
    ) -> SampleGraph:
        """Make the graph of some samples from their prepared features. Labels are not looked at.

        Args:
            parts: The samples that become nodes.
            preprocessing: How they are prepared.
            encoded: The modalities whose encoders use the graph.
            options: How it is made.
        """
        prepared = [preprocessing.transform(part) for part in parts]
        return cls.build(
            {name: np.concatenate([part[name] for part in prepared]) for name in preprocessing.shapes},
            {name: np.concatenate([part.present[name] for part in parts]) for name in preprocessing.shapes},
            encoded,
            options,
        )

    @classmethod
    def build(cls, inputs: _Inputs, present: _Present, encoded: Sequence[str], options: GraphOptions) -> SampleGraph:
        """Make the graph from prepared features.

        Args:
            inputs: Per modality the nodes' prepared features, of shape (nodes, ...).
            present: Per modality which nodes have it, booleans of shape (nodes,).
            encoded: The modalities whose encoders use the graph.
            options: How it is made.

        Raises:
            DataError: A feature is not finite.

        Example:
            >>> inputs = {"a": np.arange(8, dtype=np.float32)[:, None]}
            >>> graph = SampleGraph.build(inputs, {"a": np.ones(8, bool)}, ["a"], GraphOptions(neighbours=2))
            >>> propagated, neighbours = graph.place({"a": np.array([[6.6]], np.float32)}, {"a": np.ones(1, bool)})
            >>> sorted(neighbours["a"].nodes[0].tolist())
            [6, 7]
        """
        # Sorted, as a file gives them back: the order of sums decides the last digit.
        names = tuple(sorted(inputs if options.source == _FUSED else encoded))
        features = _flat(inputs, present, names)
        options = resolve(options, len(present[names[0]]))
        assert options.neighbours is not None
        has = {name: present[name] for name in names}
        near = {name: neighbour_distances(features[name][has[name]], options.neighbours) for name in names if has[name].sum() > 1}
        if options.source == _FUSED:
            networks = {_FUSED: _network(features, has, names, np.ones_like(has[names[0]]), options)}
        else:
            networks = {name: _network(features, has, (name,), has[name], options) for name in names}
        return cls(options, encoded, features, has, near, networks)

    def place(self, inputs: _Inputs, present: _Present) -> tuple[dict[str, NDArray[np.float32]], dict[str, Neighbours]]:
        """Return what graph encoders take, for any samples.

        Args:
            inputs: Per modality prepared samples of shape (samples, ...).
            present: Per modality which samples have it, booleans of shape (samples,).

        Returns:
            The inputs, propagated for modalities whose encoders use the graph; and for these the edges.
        """
        features = _flat(inputs, present, self._features)
        placed = {key: self._edges(network, features, present) for key, network in self._networks.items()}
        propagated, neighbours = dict(inputs), {}
        for name in self.encoded:
            edges, own = _among(*placed[self._key(name)], self._present[name])
            values = _propagate(edges, own, self._features[name], features[name])
            shape = inputs[name].shape
            propagated[name] = np.where(present[name][:, None], values, np.float32(0)).reshape(shape)
            table = torch.from_numpy(self._tables[name].reshape(-1, *shape[1:]))
            neighbours[name] = Neighbours(*_lists(edges), torch.from_numpy(own.astype(np.float32)), table)
        return propagated, neighbours

    def _key(self, name: str) -> str:
        return _FUSED if self.options.source == _FUSED else name

    def _edges(self, network: _Network, features: _Inputs, present: _Present) -> tuple[_Sparse, _Floats]:
        """Return normalised edges of samples to nodes, and the samples' weights for themselves."""
        node = self._same(network.modalities, features, present)
        new = np.flatnonzero(node < 0)
        found = self._attach(
            network.modalities,
            {name: features[name][new] for name in network.modalities},
            {name: present[name][new] for name in network.modalities},
        )
        loop, degree = self.options.self_loop, found.sum(1) + self.options.self_loop
        if self.options.norm == "row":
            found = diags_array(_inverse(degree)) @ found
        else:
            found = diags_array(np.sqrt(_inverse(degree))) @ found @ diags_array(np.sqrt(_inverse(network.degree)))
        place = node.copy()
        place[new] = len(self) + np.arange(len(new))
        edges = csr_array(vstack([network.edges, found]))[place]
        return edges, np.concatenate([network.own, loop * _inverse(degree)])[place]

    def _same(self, names: Sequence[str], features: _Inputs, present: _Present) -> NDArray[np.int64]:
        """Return the first node that equals each sample in these modalities, or -1."""
        columns = []
        for name in names:
            columns += [np.concatenate([self._features[name], features[name]]).view(np.uint8)]
            columns += [np.concatenate([self._present[name], present[name]]).view(np.uint8)[:, None]]
        rows = np.concatenate(columns, axis=1)
        _, first, which = np.unique(rows.view(np.dtype((np.void, rows.shape[1])))[:, 0], return_index=True, return_inverse=True)
        found = first[which[len(self) :]]
        return np.where(found < len(self), found, -1)

    def _attach(self, names: Sequence[str], features: _Inputs, present: _Present) -> _Sparse:
        """Return edges of new samples to nodes, averaged over the modalities that a sample has; each row sums to 1."""
        shape = (len(present[names[0]]), len(self))
        total, count = csr_array(shape), np.zeros(shape[0])
        assert self.options.neighbours is not None
        for name in names:
            rows, nodes = np.flatnonzero(present[name]), np.flatnonzero(self._present[name])
            if name in self._near and len(rows):
                known, new = self._features[name][nodes], features[name][rows]
                found = attach([known], [new], self.options.neighbours, self.options.mu, [self._near[name]]).tocoo()
                total = total + csr_array((found.data, (rows[found.row], nodes[found.col])), shape=shape)
                count[rows] += 1
        return diags_array(_inverse(count)) @ total

    def to_tensors(self) -> dict[str, Tensor]:
        """Return all that is needed to make the graph again, besides its options: see :meth:`from_tensors`."""
        found: dict[str, NDArray[Any]] = {}
        for kind, values in (("features", self._features), ("present", self._present), ("near", self._near)):
            found |= {f"{kind}: {name}": value for name, value in values.items()}
        for key, network in self._networks.items():
            edges = network.edges
            parts = (edges.indptr.astype(np.int64), edges.indices.astype(np.int64), edges.data, network.own, network.degree)
            found |= {f"{part}: {key}": value for part, value in zip(_PARTS, parts, strict=True)}
        return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in found.items()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], encoded: Sequence[str], options: GraphOptions) -> SampleGraph:
        """Make the graph again.

        Args:
            tensors: What :meth:`to_tensors` gave.
            encoded: The modalities whose encoders use the graph.
            options: Its options.

        Raises:
            DataError: The tensors are not those of a graph of these modalities.
        """
        kinds: dict[str, dict[str, NDArray[Any]]] = {kind: {} for kind in ("features", "present", "near", *_PARTS)}
        try:
            for key, value in tensors.items():
                kind, name = key.split(": ", 1)
                kinds[kind][name] = value.numpy()
            features, present = kinds["features"], kinds["present"]
            nodes = len(next(iter(present.values())))
            networks = {}
            for key in kinds["own"]:
                starts, ends, weights, own, degree = (kinds[part][key] for part in _PARTS)
                edges = csr_array((weights, ends, starts), shape=(nodes, nodes))
                networks[key] = _Network(tuple(sorted(features)) if key == _FUSED else (key,), edges, own, degree)
            return cls(options, encoded, features, present, kinds["near"], networks)
        except (KeyError, ValueError, StopIteration, IndexError) as error:
            raise DataError(f"the sample graph is damaged: {error!r}") from error


_PARTS = ("starts", "ends", "weights", "own", "degree")


def resolve(options: GraphOptions, nodes: int) -> GraphOptions:
    """Return options in full for a number of nodes.

    Example:
        >>> resolve(GraphOptions(), 150).neighbours, resolve(GraphOptions(), 150).form
        (15, 'dense')
    """
    neighbours = options.neighbours or (20 if nodes >= 200 else max(5, round(nodes / 10)))
    form = options.form if options.form != "auto" else "dense" if nodes <= DENSE_NODES else "sparse"
    return replace(options, neighbours=neighbours, form=form)


def _network(
    features: _Inputs, present: _Present, names: Sequence[str], rows: NDArray[np.bool_], options: GraphOptions
) -> _Network:
    """Return the network of some modalities among the nodes ``rows``; other nodes get no edge."""
    assert options.neighbours is not None
    chosen = np.flatnonzero(rows)
    samples, dense = len(chosen), options.form == "dense"
    networks = []
    for name in names:
        members = np.flatnonzero(present[name][chosen])
        if len(members) > 1:
            values = features[name][chosen][members]
            network = (affinity if dense else sparse_affinity)(values, options.neighbours, options.mu)
            networks.append(_joined_to_itself(network, members, samples))
    strongest = csr_array((samples, samples))
    if networks:
        fused = (fuse_networks if dense else sparse_fuse)(networks, options.neighbours, options.iterations)
        strongest = csr_array(sparsify(fused, options.neighbours))
    found = strongest.tocoo()
    place = torch.from_numpy(np.stack([found.row, found.col]).astype(np.int64))
    adjacency = torch.sparse_coo_tensor(place, torch.from_numpy(found.data), found.shape, check_invariants=True)
    scaled = unit_mean_degree(adjacency)
    normalised = normalise_adjacency(scaled, options.self_loop, options.norm).coalesce()
    (starts, ends), weights = normalised.indices().numpy(), normalised.values().numpy()
    other = starts != ends
    edges = csr_array((weights[other], (chosen[starts[other]], chosen[ends[other]])), shape=(len(rows), len(rows)))
    own, degree = np.zeros(len(rows)), np.full(len(rows), options.self_loop)
    own[chosen[starts[~other]]] = weights[~other]
    degree[chosen] += scaled.sum(1).to_dense().numpy()
    return _Network(tuple(names), edges, own, degree)


def _joined_to_itself(network: Any, members: NDArray[np.int64], samples: int) -> Any:
    """Return the network of some samples as one of all, in which each other sample is joined to itself alone."""
    if len(members) == samples:
        return network
    if isinstance(network, np.ndarray):
        whole = np.eye(samples)
        whole[np.ix_(members, members)] = network
        return whole
    own = np.ones(samples)
    own[members] = 0
    found = network.tocoo()
    return csr_array((found.data, (members[found.row], members[found.col])), shape=(samples, samples)) + diags_array(own)


def _among(edges: _Sparse, own: _Floats, having: NDArray[np.bool_]) -> tuple[_Sparse, _Floats]:
    """Return edges to the nodes ``having`` a modality alone; each row, the weight for itself included, keeps its sum."""
    kept = edges @ diags_array(having.astype(np.float64))
    factor = (edges.sum(1) + own) * _inverse(kept.sum(1) + own)
    kept = csr_array(diags_array(factor) @ kept)
    kept.eliminate_zeros()
    return kept, own * factor


def _propagate(edges: _Sparse, own: _Floats, nodes: NDArray[np.float32], samples: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(edges @ nodes.astype(np.float64) + own[:, None] * samples, np.float32)


def _lists(edges: _Sparse) -> tuple[Tensor, Tensor]:
    """Return the nodes and weights of each row, filled up with zeros to one width."""
    edges.sort_indices()
    degree = np.diff(edges.indptr)
    shape = (len(degree), max(1, int(degree.max(initial=0))))
    rows = np.arange(shape[0]).repeat(degree)
    place = np.arange(edges.nnz) - edges.indptr[:-1].repeat(degree)
    nodes, weights = np.zeros(shape, np.int64), np.zeros(shape, np.float32)
    nodes[rows, place], weights[rows, place] = edges.indices, edges.data
    return torch.from_numpy(nodes), torch.from_numpy(weights)


def _flat(inputs: _Inputs, present: _Present, names: Iterable[str]) -> dict[str, NDArray[np.float32]]:
    """Return features of shape (samples, features), zero where a modality is absent; equal numbers have equal bytes."""
    # Adding 0 makes -0 a plain 0.
    return {
        name: np.ascontiguousarray(
            np.where(present[name][:, None], inputs[name].reshape(len(inputs[name]), -1), 0) + 0.0, np.float32
        )
        for name in names
    }


def _inverse(values: _Floats) -> _Floats:
    return np.where(values > 0, 1 / np.where(values > 0, values, 1.0), 0.0)
