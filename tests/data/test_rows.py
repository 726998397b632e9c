from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from equipoise.data import rows as module
from equipoise.data.rows import MappedRows, read_rows, row_chunks, take_rows


@pytest.mark.parametrize("order", ["C", "F"])
def test_reads_what_numpy_reads(tmp_path: Path, order: str) -> None:
    array = np.random.default_rng(0).normal(size=(20, 3, 4)).astype(np.float32)
    np.save(tmp_path / "a.npy", np.asarray(array, order=order))
    mapped = MappedRows.open(tmp_path / "a.npy")
    chosen = np.array([5, 1, 19])
    assert mapped.shape == (20, 3, 4)
    assert mapped.dtype == np.float32
    np.testing.assert_array_equal(mapped[slice(None)], array)
    np.testing.assert_array_equal(mapped[chosen], array[chosen])
    view = mapped.take(chosen)
    assert len(view) == 3
    np.testing.assert_array_equal(view.read(np.array([2, 2])), array[[19, 19]])
    np.testing.assert_array_equal(view.read(slice(None), slice(1, 3)), array[chosen, 1:3])
    np.testing.assert_array_equal(view.take(slice(0, 1))[slice(None)], array[[5]])


def test_pickles_without_data(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((10, 1000)))
    mapped = MappedRows.open(tmp_path / "a.npy")
    data = pickle.dumps(mapped)
    assert len(data) < 2000
    np.testing.assert_array_equal(pickle.loads(data)[slice(0, 2)], np.zeros((2, 1000)))


def test_rows_of_every_container(tmp_path: Path) -> None:
    array = np.arange(12.0).reshape(6, 2)
    np.save(tmp_path / "a.npy", array)
    chosen = np.array([4, 0])
    for value in (array, pd.DataFrame(array), MappedRows.open(tmp_path / "a.npy")):
        np.testing.assert_array_equal(np.asarray(read_rows(value, chosen)), array[chosen])
        taken = take_rows(value, chosen)
        assert type(taken) is type(value)
        np.testing.assert_array_equal(np.asarray(read_rows(taken, slice(None))), array[chosen])
    assert take_rows(array, slice(0, 2)).base is None


def test_chunks_cover_everything_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 7)
    array = np.arange(30.0).reshape(10, 3)
    keep = np.arange(10) % 3 != 1
    np.testing.assert_array_equal(np.concatenate([rows for _, rows in row_chunks(array)]), array)
    np.testing.assert_array_equal(np.concatenate([rows for _, rows in row_chunks(array, keep)]), array[keep])
