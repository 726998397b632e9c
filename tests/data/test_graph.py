"""The sample graph equals dense matrix formulas, new samples are attached to it, and missing modalities stay out of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from equipoise.batch import Neighbours
from equipoise.config import GraphOptions
from equipoise.data.graph import SampleGraph, resolve
from equipoise.errors import DataError
from equipoise.functional.graph import normalise_adjacency, unit_mean_degree
from equipoise.functional.similarity import affinity, attach, fuse_networks, sparsify

Inputs = dict[str, NDArray[np.float32]]
Present = dict[str, NDArray[np.bool_]]


def samples(count: int = 40, seed: int = 0, missing: float = 0.0) -> tuple[Inputs, Present]:
    """Two groups of samples; modality b is a picture, and every sample has a or b."""
    random = np.random.default_rng(seed)
    group = (np.arange(count) % 2 * 2.0).astype(np.float32)
    inputs = {
        "a": (random.normal(size=(count, 4)) + group[:, None]).astype(np.float32),
        "b": (random.normal(size=(count, 2, 3)) - group[:, None, None]).astype(np.float32),
        "c": random.normal(size=(count, 5)).astype(np.float32),
    }
    present = {name: random.random(count) >= missing for name in inputs}
    present["a"] |= ~present["b"]
    return inputs, present


def matrix(neighbours: Neighbours, nodes: int) -> torch.Tensor:
    """The edges to nodes as a dense matrix."""
    dense = torch.zeros(len(neighbours.own), nodes, dtype=neighbours.weights.dtype)
    return dense.scatter_add(1, neighbours.nodes, neighbours.weights)


def adjacency(inputs: Inputs, names: list[str], options: GraphOptions) -> torch.Tensor:
    """The normalised network by the dense functions, all modalities being there."""
    assert options.neighbours is not None
    networks = [affinity(inputs[name].reshape(len(inputs[name]), -1), options.neighbours, options.mu) for name in names]
    kept = sparsify(fuse_networks(networks, options.neighbours, options.iterations), options.neighbours)
    return normalise_adjacency(unit_mean_degree(torch.from_numpy(kept)), options.self_loop, options.norm)


@pytest.mark.parametrize("norm", ["symmetric", "row"])
@pytest.mark.parametrize("self_loop", [1.0, 0.3])
@pytest.mark.parametrize("source", ["fused", "own"])
def test_edges_and_propagated_inputs_equal_the_dense_formula(norm: str, self_loop: float, source: str) -> None:
    inputs, present = samples()
    options = GraphOptions(neighbours=6, norm=norm, self_loop=self_loop, source=source, mu=0.4, iterations=7)
    propagated, found = SampleGraph.build(inputs, present, ["a", "b"], options).place(inputs, present)
    assert propagated["c"] is inputs["c"]
    assert set(found) == {"a", "b"}
    for name, edges in found.items():
        wanted = adjacency(inputs, list(inputs) if source == "fused" else [name], options)
        torch.testing.assert_close(matrix(edges, 40) + torch.diag(edges.own), wanted.float(), rtol=1e-5, atol=1e-6)
        flat = torch.from_numpy(inputs[name]).flatten(1)
        values = torch.from_numpy(propagated[name])
        assert values.shape == inputs[name].shape
        torch.testing.assert_close(values.flatten(1), wanted.float() @ flat, rtol=1e-5, atol=1e-5)
        assert torch.equal(edges.table, values)  # the nodes are these samples


def test_the_sparse_form_with_all_neighbours_equals_the_dense_one() -> None:
    for source in ("fused", "own"):
        # Beyond a single network the sparse form knows no edges between samples that have no modality in common.
        inputs, present = samples(missing=0.3 if source == "own" else 0.0)
        found = []
        for form in ("dense", "sparse"):
            options = GraphOptions(neighbours=39, form=form, source=source)
            found.append(SampleGraph.build(inputs, present, ["a", "b"], options).place(inputs, present)[1])
        for name in ("a", "b"):
            dense, sparse = (matrix(item[name], 40) for item in found)
            torch.testing.assert_close(sparse, dense, rtol=1e-4, atol=1e-6)


def test_new_samples_are_attached_to_their_nearest_nodes() -> None:
    inputs, present = samples()
    new, there = samples(9, seed=1)
    for norm in ("symmetric", "row"):
        options = GraphOptions(neighbours=4, norm=norm, self_loop=0.5)
        graph = SampleGraph.build(inputs, present, ["a", "b"], options)
        propagated, found = graph.place(new, there)
        flat = {name: value.reshape(len(value), -1) for name, value in inputs.items()}
        raw = attach(list(flat.values()), [new[name].reshape(9, -1) for name in flat], 4, 0.5).toarray()
        networks = [affinity(value, 4) for value in flat.values()]
        degree = unit_mean_degree(torch.from_numpy(sparsify(fuse_networks(networks, 4), 4))).sum(1).numpy() + 0.5
        wanted = raw / 1.5 if norm == "row" else raw / np.sqrt(1.5 * degree)
        for name in ("a", "b"):
            torch.testing.assert_close(matrix(found[name], 40), torch.from_numpy(wanted).float(), rtol=1e-5, atol=1e-6)
            torch.testing.assert_close(found[name].own, torch.full((9,), 0.5 / 1.5))
            values = wanted @ flat[name] + 0.5 / 1.5 * new[name].reshape(9, -1)
            np.testing.assert_allclose(propagated[name].reshape(9, -1), values, rtol=1e-4, atol=1e-5)


def test_a_sample_that_equals_a_node_is_that_node_whatever_comes_with_it() -> None:
    inputs, present = samples(missing=0.2)
    graph = SampleGraph.build(inputs, present, ["a", "b"], GraphOptions(neighbours=5))
    propagated, found = graph.place(inputs, present)
    rows = np.array([7, 31, 7, 0])
    new, there = samples(3, seed=1)
    mixed = {name: np.concatenate([new[name], value[rows], new[name]]) for name, value in inputs.items()}
    having = {name: np.concatenate([there[name], value[rows], there[name]]) for name, value in present.items()}
    values, edges = graph.place(mixed, having)
    for name in ("a", "b"):
        np.testing.assert_array_equal(values[name][3:7], propagated[name][rows])
        assert torch.equal(matrix(edges[name], 40)[3:7], matrix(found[name], 40)[rows])
        assert torch.equal(edges[name].own[3:7], found[name].own[rows])
        np.testing.assert_allclose(values[name][:3], values[name][7:], rtol=1e-5)  # and the new ones do not see one another
    moved = {name: value[:1] + np.float32(1e-3) for name, value in inputs.items()}
    assert not torch.equal(
        matrix(graph.place(moved, {name: value[:1] for name, value in present.items()})[1]["a"], 40)[0], matrix(found["a"], 40)[0]
    )


def test_with_own_networks_a_modality_does_not_depend_on_the_others() -> None:
    inputs, present = samples()
    graph = SampleGraph.build(inputs, present, ["a"], GraphOptions(neighbours=5, source="own"))
    other = {**inputs, "b": inputs["b"] + 1, "c": inputs["c"][::-1]}
    assert torch.equal(graph.place(inputs, present)[1]["a"].weights, graph.place(other, present)[1]["a"].weights)


def test_placeholders_of_absent_samples_change_nothing() -> None:
    inputs, present = samples(missing=0.3)
    new, there = samples(11, seed=1, missing=0.3)
    results = []
    for value in (0.0, 1e6, np.nan):
        filled = {name: inputs[name].copy() for name in inputs}
        queried = {name: new[name].copy() for name in new}
        for name in inputs:
            filled[name][~present[name]] = value
            queried[name][~there[name]] = value
        graph = SampleGraph.build(filled, present, ["a", "b"], GraphOptions(neighbours=5))
        results.append([graph.place(filled, present), graph.place(queried, there)])
    for first, *others in zip(*results, strict=True):
        for other in others:
            for name in ("a", "b"):
                np.testing.assert_array_equal(first[0][name], other[0][name])
                assert all(
                    torch.equal(getattr(first[1][name], key), getattr(other[1][name], key))
                    for key in ("nodes", "weights", "own", "table")
                )


@pytest.mark.parametrize("form", ["dense", "sparse"])
def test_missing_modalities(form: str) -> None:
    inputs, present = samples(missing=0.3)
    new, there = samples(30, seed=1, missing=0.3)
    everywhere = {name: np.ones_like(mask) for name, mask in present.items()}
    options = GraphOptions(neighbours=6, form=form)
    graph = SampleGraph.build(inputs, present, ["a", "b"], options)
    for rows, having in ((inputs, present), (new, there)):
        propagated, found = graph.place(rows, having)
        full = graph.place(rows, having)[1]["a"]
        for name in ("a", "b"):
            dense = matrix(found[name], 40)
            assert not dense[:, ~torch.from_numpy(present[name])].any()  # neighbours that lack it say nothing
            assert not propagated[name][~having[name]].any()
        # Each row keeps its sum, whichever modality is propagated.
        sums = [(matrix(found[name], 40).sum(1) + found[name].own) for name in ("a", "b")]
        torch.testing.assert_close(sums[0], sums[1], rtol=1e-5, atol=1e-6)
        assert torch.equal(full.weights, found["a"].weights)
    # A sample that lacks a modality still has neighbours, found by the modalities that it has.
    lacking = np.flatnonzero(~present["b"])
    assert (matrix(graph.place(inputs, present)[1]["a"], 40)[lacking].sum(1) > 0).all()
    assert SampleGraph.build(inputs, everywhere, ["a"], options).place(inputs, everywhere)[1]["a"].own.isfinite().all()


def test_a_new_sample_is_attached_by_the_modalities_it_has() -> None:
    inputs, present = samples()
    new, there = samples(5, seed=1)
    graph = SampleGraph.build(inputs, present, ["a"], GraphOptions(neighbours=4, norm="row"))
    only = {**there, "b": np.zeros(5, bool), "c": np.zeros(5, bool)}
    found = matrix(graph.place(new, only)[1]["a"], 40)
    torch.testing.assert_close(found, torch.from_numpy(attach([inputs["a"]], [new["a"]], 4).toarray() / 2).float())


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("form", ["dense", "sparse"])
def test_fewer_nodes_than_neighbours(count: int, form: str) -> None:
    inputs, present = samples(count)
    graph = SampleGraph.build(inputs, present, ["a", "b"], GraphOptions(form=form))
    assert len(graph) == count
    for rows, having in ((inputs, present), samples(4, seed=1)):
        propagated, found = graph.place(rows, having)
        assert all(np.isfinite(value).all() for value in propagated.values())
        assert torch.equal((matrix(found["a"], count) > 0).any(1), torch.full((len(having["a"]),), count > 1))
    if count == 1:
        np.testing.assert_array_equal(propagated["a"], rows["a"])  # nobody near: a sample is its own neighbourhood


def test_a_modality_that_one_node_has_and_one_that_new_samples_lack() -> None:
    inputs, present = samples(12)
    present["c"] = np.arange(12) == 3
    graph = SampleGraph.build(inputs, present, ["a", "c"], GraphOptions(neighbours=3))
    new, there = samples(4, seed=1)
    there["a"] = there["b"] = np.array([False, True, True, True])
    propagated, found = graph.place(new, there)
    assert not matrix(found["a"], 12)[0].any()  # it has nothing that the nodes could be compared by
    assert np.isfinite(propagated["c"]).all()


def test_tensors_give_the_graph_back() -> None:
    inputs, present = samples(missing=0.2)
    new, there = samples(6, seed=1, missing=0.2)
    for source in ("fused", "own"):
        graph = SampleGraph.build(inputs, present, ["b", "a"], GraphOptions(source=source))
        again = SampleGraph.from_tensors(graph.to_tensors(), graph.encoded, graph.options)
        for rows, having in ((inputs, present), (new, there)):
            first, second = graph.place(rows, having), again.place(rows, having)
            for name in ("a", "b"):
                np.testing.assert_array_equal(first[0][name], second[0][name])
                assert torch.equal(first[1][name].weights, second[1][name].weights)
                assert torch.equal(first[1][name].table, second[1][name].table)


@pytest.mark.parametrize("lost", ["features: a", "present: b", "own: fused", "starts: fused"])
def test_a_graph_that_lacks_a_part_is_refused(lost: str) -> None:
    inputs, present = samples()
    graph = SampleGraph.build(inputs, present, ["a", "b"], GraphOptions())
    tensors = graph.to_tensors()
    del tensors[lost]
    with pytest.raises(DataError, match="the sample graph is damaged"):
        SampleGraph.from_tensors(tensors, graph.encoded, graph.options)


@pytest.mark.parametrize(
    ("stated", "nodes", "wanted"),
    [
        ({}, 20, (5, "dense")),
        ({}, 123, (12, "dense")),
        ({}, 200, (20, "dense")),
        ({}, 5000, (20, "dense")),
        ({}, 5001, (20, "sparse")),
        ({"neighbours": 7, "form": "dense"}, 9000, (7, "dense")),
    ],
)
def test_options_in_full(stated: dict[str, Any], nodes: int, wanted: tuple[int, str]) -> None:
    full = resolve(GraphOptions(**stated), nodes)
    assert (full.neighbours, full.form) == wanted
    assert resolve(full, 10) == full
    assert replace(full, neighbours=None, form="auto") == replace(GraphOptions(), neighbours=None, form="auto")
