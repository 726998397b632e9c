"""The loader: each sample once, batches of one size, shares that make up the whole."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from equipoise.batch import Batch
from equipoise.data.loader import Loader, MemoryPart
from equipoise.errors import ConfigError
from tests.contract.harness import toy_part

sizes = st.tuples(st.integers(1, 80), st.integers(1, 90))


def part_of(samples: int) -> MemoryPart:
    """Samples that hold their own number."""
    number = torch.arange(samples)
    return MemoryPart({"a": number[:, None].float()}, {"a": number % 3 > 0}, number % 5)


def rows(batches: list[Batch]) -> list[int]:
    return [row for batch in batches for row in batch.index.tolist()]


@given(sizes, st.integers(0, 5))
@settings(deadline=None, max_examples=60)
def test_an_epoch_holds_every_sample_once_in_batches_of_one_size(size: tuple[int, int], epoch: int) -> None:
    samples, batch_size = size
    loader = Loader(part_of(samples), batch_size, seed=1)
    batches = list(loader.epoch(epoch))
    assert sorted(rows(batches)) == list(range(samples))
    lengths = [len(batch) for batch in batches]
    assert len(batches) == loader.count == -(-samples // batch_size)
    assert max(lengths) <= batch_size
    assert max(lengths) - min(lengths) <= 1
    for batch in batches:
        assert batch.total == len(batch)
        assert batch.inputs["a"][:, 0].tolist() == batch.index.tolist()
        assert batch.labels.tolist() == [row % 5 for row in batch.index.tolist()]
        assert batch.present["a"].tolist() == [row % 3 > 0 for row in batch.index.tolist()]
        assert batch.complete == frozenset()


@given(sizes, st.integers(1, 4))
@settings(deadline=None, max_examples=60)
def test_shares_of_processes_make_up_each_batch(size: tuple[int, int], world: int) -> None:
    samples, batch_size = size
    part = part_of(samples)
    try:
        loaders = [Loader(part, batch_size, 1, rank, world) for rank in range(world)]
    except ConfigError:
        assert min(len(batch) for batch in Loader(part, batch_size, 1).epoch(0)) < world
        return
    alone = list(Loader(part, batch_size, 1).epoch(0))
    shares = [list(loader.epoch(0)) for loader in loaders]
    assert all(len(share) == len(alone) for share in shares)
    for number, batch in enumerate(alone):
        pieces = [share[number] for share in shares]
        assert rows(pieces) == batch.index.tolist()
        assert {piece.total for piece in pieces} == {len(batch)}
        lengths = [len(piece) for piece in pieces]
        assert min(lengths) >= 1
        assert max(lengths) - min(lengths) <= 1


def test_the_order_follows_from_seed_and_epoch() -> None:
    part = part_of(50)
    first = rows(list(Loader(part, 8, seed=1).epoch(("train", 0, 0))))
    torch.manual_seed(99)
    assert rows(list(Loader(part, 8, seed=1).epoch(("train", 0, 0)))) == first
    assert rows(list(Loader(part, 16, seed=1).epoch(("train", 0, 0)))) == first
    others = [
        rows(list(Loader(part, 8, seed).epoch(key)))
        for seed, key in ((2, ("train", 0, 0)), (1, ("train", 0, 1)), (1, ("train", 1, 0)), (1, ("more", 0, 0)))
    ]
    assert len({tuple(order) for order in [first, *others]}) == 5


@pytest.mark.parametrize("weighted", [False, True])
def test_skipping_leaves_the_rest_as_it_was(weighted: bool) -> None:
    part = toy_part(50)
    weights = torch.rand(50, generator=torch.Generator().manual_seed(0)) if weighted else None
    loader = Loader(part, 8, seed=1)
    whole = list(loader.epoch(3, weights))
    for skip in range(loader.count + 1):
        rest = list(loader.epoch(3, weights, skip))
        assert rows(rest) == rows(whole[skip:])
        for batch, same in zip(rest, whole[skip:], strict=True):
            assert torch.equal(batch.inputs["beta"], same.inputs["beta"])
            assert batch.total == same.total


def test_weights_say_how_often_samples_are_drawn() -> None:
    samples = 20_000
    weights = (torch.arange(samples) % 4).float()
    drawn = torch.tensor(rows(list(Loader(part_of(samples), 5000).epoch(0, weights)))) % 4
    shares = torch.bincount(drawn, minlength=4) / samples
    assert shares[0] == 0
    torch.testing.assert_close(shares, torch.tensor([0, 1, 2, 3]) / 6, rtol=0, atol=0.015)
    again = torch.tensor(rows(list(Loader(part_of(samples), 5000).epoch(0, weights)))) % 4
    assert torch.equal(drawn, again)


@pytest.mark.parametrize("weighted", [False, True])
def test_some_rows_make_up_the_epochs(weighted: bool) -> None:
    chosen = torch.tensor([1, 4, 5, 9, 11, 12, 17])
    weights = torch.arange(20.0) if weighted else None
    shares = [list(Loader(part_of(20), 3, 1, rank, 2, chosen).epoch(0, weights)) for rank in range(2)]
    (alone,) = [list(Loader(part_of(20), 3, 1, rows=chosen).epoch(0, weights))]
    assert [rows([share[number] for share in shares]) for number in range(3)] == [batch.index.tolist() for batch in alone]
    found = rows(alone)
    assert len(found) == 7
    assert set(found) <= set(chosen.tolist())
    assert weighted or sorted(found) == chosen.tolist()
    assert rows(list(Loader(part_of(20), 3, rows=chosen).ordered())) == list(range(20))


def test_in_order_nothing_is_left_out_in_any_process() -> None:
    part = toy_part(2500)
    for rank in range(2):
        batches = list(Loader(part, 100, 0, rank, 2).ordered())
        assert rows(batches) == list(range(2500))
        assert [batch.total for batch in batches] == [1024, 1024, 452]
        assert torch.equal(torch.cat([batch.inputs["alpha"] for batch in batches]), part.inputs["alpha"])


def test_gathering_batch_by_batch_gives_the_same_as_at_once() -> None:
    part, large = toy_part(50, missing=0.3), toy_part(50, missing=0.3)
    large._small = False
    for batch, same in zip(Loader(part, 8).epoch(0), Loader(large, 8).epoch(0), strict=True):
        assert torch.equal(batch.index, same.index)
        assert batch.total == same.total
        assert batch.complete == same.complete
        for name in part.inputs:
            assert torch.equal(batch.inputs[name], same.inputs[name])
            assert torch.equal(batch.present[name], same.present[name])
        assert torch.equal(batch.labels, same.labels)


def test_too_many_processes_are_refused() -> None:
    with pytest.raises(ConfigError, match="batch_size = 2 gives 5 samples in 3 batches, too few for 2 processes"):
        Loader(part_of(5), 2, world=2)


def test_samples_without_targets() -> None:
    part = MemoryPart({"a": torch.zeros(5, 2)}, {"a": torch.ones(5, dtype=torch.bool)}, None)
    assert [batch.target for batch in Loader(part, 2).epoch(0)] == [None] * 3
    assert part.complete == {"a"}
