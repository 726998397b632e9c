"""Graph convolution in batches equals the formula on the whole graph, and its gradients do."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from equipoise.batch import Batch, Neighbours
from equipoise.data.loader import Loader, MemoryPart
from equipoise.errors import ConfigError
from equipoise.nn.encoders.base import GraphEncoder, build_encoder
from equipoise.nn.encoders.gcn import GCN
from equipoise.nn.multimodal import MultimodalModel, build_model
from equipoise.tasks import Classification

NODES, WIDTH = 30, 5


def graph(nodes: int = NODES, seed: int = 0) -> tuple[Tensor, Tensor]:
    """A sparse matrix of edges without the diagonal, and weights of nodes for themselves."""
    random = torch.Generator().manual_seed(seed)
    edges = torch.rand(nodes, nodes, generator=random) * (torch.rand(nodes, nodes, generator=random) < 0.15)
    return edges.fill_diagonal_(0), torch.rand(nodes, generator=random)


def lists(edges: Tensor, own: Tensor, table: Tensor) -> Neighbours:
    """The edges as lists that are filled up with zeros."""
    width = int((edges != 0).sum(1).max())
    weights, nodes = edges.topk(width, dim=1)
    return Neighbours(nodes, weights, own, table)


def dense(encoder: GCN, propagated: Tensor, edges: Tensor, own: Tensor) -> Tensor:
    """The formula with whole matrices, from ``A X`` on."""
    hidden = nn.functional.elu(propagated @ encoder.first.weight.T + encoder.first.bias)
    second = nn.functional.elu((edges + torch.diag(own)) @ hidden @ encoder.second.weight.T + encoder.second.bias)
    return second + hidden if encoder.residual else second


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("rows", [torch.arange(NODES), torch.tensor([3]), torch.tensor([7, 0, 29, 7])])
def test_batches_equal_the_formula_on_the_whole_graph(residual: bool, rows: Tensor) -> None:
    encoder = GCN((WIDTH,), 6, dropout=0.0, residual=residual)
    propagated, (edges, own) = torch.randn(NODES, WIDTH), graph()
    neighbours = lists(edges, own, propagated)
    assert (neighbours.weights == 0).any()  # some list is filled up
    assert (neighbours.take(rows).nodes.numel() < NODES) == (len(rows) == 1)  # both ways to find the rows of the table
    found = encoder(propagated[rows], neighbours.take(rows))
    wanted = dense(encoder, propagated, edges, own)[rows]
    torch.testing.assert_close(found, wanted)
    for mine, theirs in zip(
        torch.autograd.grad(found.square().sum(), encoder.parameters()),
        torch.autograd.grad(wanted.square().sum(), encoder.parameters()),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


def test_gradients_are_the_same_each_time() -> None:
    encoder = GCN((WIDTH,), 64, dropout=0.0)
    propagated, (edges, own) = torch.randn(200, WIDTH), graph(200)
    neighbours = lists(edges, own, propagated)
    first, *others = (torch.autograd.grad(encoder(propagated, neighbours).sum(), encoder.first.weight)[0] for _ in range(4))
    assert all(torch.equal(first, other) for other in others)


def test_bfloat16_is_near_float32() -> None:
    encoder = GCN((WIDTH,), 6, dropout=0.0)
    propagated, (edges, own) = torch.randn(NODES, WIDTH), graph()
    neighbours = lists(edges, own, propagated)
    exact = encoder(propagated, neighbours)
    with torch.autocast("cpu", torch.bfloat16):
        rough = encoder(propagated, neighbours)
    torch.testing.assert_close(rough.float(), exact, rtol=0.05, atol=0.05)
    rough.float().sum().backward()
    assert encoder.first.weight.grad is not None
    assert encoder.first.weight.grad.isfinite().all()


def test_dropout_acts_in_training_alone_and_samples_are_flattened() -> None:
    encoder = GCN((2, 3), 6)
    inputs, (edges, own) = torch.randn(NODES, 2, 3), graph()
    neighbours = lists(edges, own, inputs)
    assert not torch.equal(encoder(inputs, neighbours), encoder(inputs, neighbours))
    encoder.eval()
    torch.testing.assert_close(encoder(inputs, neighbours), dense(encoder, inputs.flatten(1), edges, own))


class Mean(GraphEncoder):
    """A graph encoder as a user writes one: the mean of what neighbours look like."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(WIDTH, 3)

    def forward(self, inputs: Tensor, neighbours: Neighbours) -> Tensor:
        near = (neighbours.table[neighbours.nodes] * neighbours.weights[..., None]).sum(1)
        features: Tensor = self.layer(near + inputs)
        return features


@pytest.mark.parametrize("own", [False, True])
def test_the_model_gives_each_encoder_the_edges_of_the_samples_that_have_its_modality(own: bool) -> None:
    shapes = {"a": (WIDTH,), "b": (4,)}
    described = {"a": Mean() if own else {"name": "gcn", "dropout": 0.0}, "b": {"name": "mlp"}}
    model = build_model(shapes, described, {"name": "concat"}, 6, Classification(3), 0)
    assert model.graph_modalities == ("a",)
    assert model.fusion.sizes == {"a": 3 if own else 6, "b": 6}
    inputs, (edges, weights) = {"a": torch.randn(NODES, WIDTH), "b": torch.randn(NODES, 4)}, graph()
    present = {"a": torch.arange(NODES) % 3 > 0, "b": torch.ones(NODES, dtype=torch.bool)}
    neighbours = lists(edges, weights, inputs["a"])
    part = MemoryPart(inputs, present, None, {"a": neighbours})
    (batch,) = Loader(part, NODES).ordered()
    features = model(batch).features["a"]
    assert not features[~present["a"]].any()
    rows = present["a"].nonzero().squeeze(1)
    torch.testing.assert_close(features[rows], model.encoders["a"](inputs["a"], neighbours)[rows])
    torch.testing.assert_close(model(batch.rows(4, 9)).logits, model(batch).logits[4:9])
    alone = model(batch.masked({"b": torch.zeros(NODES, dtype=torch.bool)}))
    torch.testing.assert_close(alone.features["a"], features)


@pytest.mark.parametrize("small", [True, False])
def test_batches_of_an_epoch_carry_the_edges_of_their_samples(small: bool) -> None:
    inputs, (edges, own) = {"a": torch.randn(NODES, WIDTH)}, graph()
    whole = lists(edges, own, inputs["a"])
    part = MemoryPart(inputs, {"a": torch.ones(NODES, dtype=torch.bool)}, None, {"a": whole})
    part._small = small
    batches: list[Batch] = [*Loader(part, 7).epoch(0), *Loader(part, 1024).ordered()]
    assert len(batches) == 6
    for batch in batches:
        found = batch.neighbours["a"]
        assert torch.equal(found.nodes, whole.nodes[batch.index])
        assert torch.equal(found.weights, whole.weights[batch.index])
        assert torch.equal(found.own, own[batch.index])
        assert found.table is whole.table
        assert torch.equal(batch.to(torch.device("cpu")).neighbours["a"].nodes, found.nodes)
        assert torch.equal(batch.rows(1, 3).neighbours["a"].own, found.own[1:3])


def test_an_encoder_on_the_graph_needs_edges() -> None:
    model = build_model({"a": (3,)}, {"a": {"name": "gcn"}}, {"name": "concat"}, 4, Classification(2), 0)
    assert isinstance(model, MultimodalModel)
    with pytest.raises(TypeError, match="neighbours"):
        model.encode({"a": torch.zeros(2, 3)})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dropout": 1.0}, "dropout = 1.0"),
        ({"residual": 3}, "residual = 3 is not valid, expected a value like True"),
        ({"hidden": 3}, "unknown option 'hidden', choose from: dropout, residual"),
    ],
)
def test_options_that_do_not_fit(options: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build_encoder({"name": "gcn", **options}, (5,), 8, "encoder of modality 'a'")
