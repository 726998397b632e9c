from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from equipoise.batch import Batch
from equipoise.data import loader
from equipoise.data.loader import Loader, MemoryPart, StreamPart, make_part
from equipoise.data.preprocessing import Preprocessing
from equipoise.data.sources import open_dataset


def parts(folder: Path, workers: int) -> tuple[MemoryPart, StreamPart]:
    """The same samples in memory and streamed from a file."""
    random = np.random.default_rng(0)
    np.save(folder / "scan.npy", random.normal(size=(60, 4, 4)))
    lines = [f"s{number},{number % 3},{value}" for number, value in enumerate(random.normal(size=60))]
    (folder / "labels.csv").write_text("\n".join(["id,label,unused", *lines]) + "\n")
    (folder / "blood.csv").write_text("\n".join(["id,a", *(f"s{number},{number / 7}" for number in range(10, 60))]) + "\n")
    dataset = open_dataset(folder)
    preprocessing = Preprocessing.fit(dataset)
    memory, stream = (make_part(dataset, preprocessing, torch.device("cpu"), kind, workers) for kind in ("memory", "stream"))
    assert isinstance(memory, MemoryPart)
    assert isinstance(stream, StreamPart)
    return memory, stream


def assert_equal(first: Iterator[Batch], second: Iterator[Batch]) -> None:
    for mine, theirs in zip(first, second, strict=True):
        assert torch.equal(mine.index, theirs.index)
        assert mine.target is not None
        assert theirs.target is not None
        assert torch.equal(mine.target, theirs.target)
        for name, value in mine.inputs.items():
            assert torch.equal(value, theirs.inputs[name])
            assert torch.equal(mine.present[name], theirs.present[name])


@pytest.mark.parametrize("workers", [0, 2])
def test_every_pass_gives_the_batches_of_memory(tmp_path: Path, workers: int) -> None:
    memory, stream = (Loader(part, 16, seed=3) for part in parts(tmp_path, workers))
    for epoch in range(2):
        assert_equal(stream.epoch(epoch), memory.epoch(epoch))
    assert_equal(stream.ordered(), memory.ordered())
    assert_equal(stream.epoch(2, skip=2), memory.epoch(2, skip=2))


def test_a_pass_inside_a_pass_and_one_left_early(tmp_path: Path) -> None:
    memory, stream = (Loader(part, 16) for part in parts(tmp_path, 1))
    outer, wanted = stream.epoch(0), memory.epoch(0)
    assert_equal(iter([next(outer)]), iter([next(wanted)]))
    assert_equal(stream.ordered(), memory.ordered())  # while the outer pass is under way
    assert_equal(outer, wanted)
    next(left := stream.epoch(1))
    left.close()
    assert_equal(stream.epoch(2), memory.epoch(2))


def test_a_worker_prepares_where_the_main_process_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not loader._room((2, 3)).is_shared()
    monkeypatch.setattr(loader, "get_worker_info", object)
    room = loader._room((2, 3))
    assert room.is_shared()
    assert (room.shape, room.dtype) == ((2, 3), torch.float32)
    assert room.is_contiguous()
