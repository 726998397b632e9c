"""Batches and outputs: views, masks, and logits that wait until asked."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from equipoise.batch import Batch, Outputs


def make(target: bool = True) -> Batch:
    present = {"a": torch.tensor([True, True, False, True]), "b": torch.ones(4, dtype=torch.bool)}
    return Batch(
        {"a": torch.arange(8.0).view(4, 2), "b": torch.arange(4.0)[:, None]},
        present,
        torch.tensor([0, 1, 1, 0]) if target else None,
        torch.tensor([7, 3, 9, 1]),
        frozenset({"b"}),
        8,
    )


def test_rows_are_views_with_their_share() -> None:
    batch = make()
    part = batch.rows(1, 3)
    assert len(batch) == 4
    assert len(part) == 2
    assert part.index.tolist() == [3, 9]
    assert part.labels.tolist() == [1, 1]
    assert part.present["a"].tolist() == [True, False]
    assert part.total == 4
    assert part.complete == {"b"}
    assert part.inputs["a"].data_ptr() == batch.inputs["a"][1:].data_ptr()
    assert part.whole is None


def test_masking_takes_away_and_never_gives() -> None:
    batch = make()
    masked = batch.masked({"a": torch.tensor([True, False, True, True])})
    assert masked.present["a"].tolist() == [True, False, False, True]
    assert masked.present["b"].all()
    assert masked.complete == {"b"}
    assert batch.masked({"b": torch.ones(4, dtype=torch.bool)}).complete == frozenset()
    assert batch.present["a"].tolist() == [True, True, False, True]


def test_a_batch_without_targets_says_so() -> None:
    batch = make(target=False)
    assert batch.rows(0, 2).target is None
    assert batch.to(torch.device("cpu")).target is None
    with pytest.raises(ValueError, match="carries no target"):
        _ = batch.labels


def test_to_moves_everything() -> None:
    moved = make().to(torch.device("meta"))
    tensors = [*moved.inputs.values(), *moved.present.values(), moved.labels, moved.index]
    assert {item.device.type for item in tensors} == {"meta"}
    assert moved.complete == {"b"}
    assert moved.total == 8


def outputs(rows: slice, calls: list[str]) -> Outputs:
    features = {"a": torch.arange(6.0, requires_grad=True).view(3, 2)[rows]}

    def fuse() -> torch.Tensor:
        calls.append("fuse")
        return features["a"] * 2

    def unimodal() -> dict[str, torch.Tensor]:
        calls.append("unimodal")
        return {"a": features["a"] * 3}

    return Outputs(features, {"a": torch.ones(3, dtype=torch.bool)[rows]}, fuse, unimodal)


def test_logits_are_computed_once_and_only_when_asked_for() -> None:
    calls: list[str] = []
    found = outputs(slice(0, 3), calls)
    assert calls == []
    assert found.logits is found.logits
    assert calls == ["fuse"]
    assert found.unimodal is found.unimodal
    assert calls == ["fuse", "unimodal"]


@pytest.mark.parametrize("cuts", [[0, 3], [0, 1, 3], [0, 1, 2, 3]])
def test_joined_outputs_are_those_of_the_whole_without_history(cuts: list[int]) -> None:
    whole = outputs(slice(0, 3), [])
    joined = Outputs.concatenate(outputs(slice(start, stop), []) for start, stop in pairwise(cuts))
    assert torch.equal(joined.logits, whole.logits)
    assert torch.equal(joined.unimodal["a"], whole.unimodal["a"])
    assert torch.equal(joined.features["a"], whole.features["a"])
    assert joined.present["a"].all()
    assert not joined.logits.requires_grad
    assert not joined.features["a"].requires_grad
