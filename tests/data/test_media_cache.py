"""Decoded samples that are kept on disk."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest

from equipoise.config import ReadOptions
from equipoise.data.media.cache import DecodedCache, default_folder
from equipoise.data.media.image import ImageDecoder
from equipoise.data.preprocessing import Preprocessing
from equipoise.data.sources import open_dataset

FLOATS = np.dtype(np.float32)


def key(number: int) -> str:
    return f"{number:032x}"


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def array(number: int) -> np.ndarray:
    return np.full((10, 10), number, dtype=np.float32)


def test_keeps_arrays(tmp_path: Path) -> None:
    cache = DecodedCache(10**6, tmp_path)
    assert cache.get(key(1), (10, 10), FLOATS) is None
    cache.put(key(1), array(1))
    found = cache.get(key(1), (10, 10), FLOATS)
    assert found is not None
    np.testing.assert_array_equal(found, array(1))
    assert cache.get(key(1), (10, 9), FLOATS) is None


def test_what_is_damaged_counts_as_not_there(tmp_path: Path) -> None:
    cache = DecodedCache(10**6, tmp_path)
    cache.put(key(1), array(1))
    (path,) = files(tmp_path)
    whole = path.read_bytes()
    for damaged in (whole[:-1], bytes([whole[0] ^ 1]) + whole[1:], bytes(len(whole)), b""):
        path.write_bytes(damaged)
        assert cache.get(key(1), (10, 10), FLOATS) is None


def test_bounded_by_what_was_not_used_for_longest(tmp_path: Path) -> None:
    limit = 100 * 404
    cache = DecodedCache(limit, tmp_path)
    for number in range(100):
        cache.put(key(number), array(number))
        os.utime(cache._path(key(number)), ns=(0, number))
    cache.get(key(0), (10, 10), FLOATS)  # used just now
    for number in range(100, 110):
        cache.put(key(number), array(number))
        assert sum(path.stat().st_size for path in files(tmp_path)) <= 1.05 * limit
    there = [number for number in range(110) if cache.get(key(number), (10, 10), FLOATS) is not None]
    assert there[0] == 0
    assert 1 not in there
    assert there[-10:] == list(range(100, 110))
    assert 85 < len(there) <= 105


def fill(folder: Path, start: int) -> None:
    cache = DecodedCache(200 * 404, folder)
    for number in range(start, start + 300):
        cache.put(key(number), array(number))
        found = cache.get(key(number), (10, 10), FLOATS)
        if found is not None:  # the other process may have removed it
            np.testing.assert_array_equal(found, array(number))


def test_several_processes_use_one_folder(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=fill, args=(tmp_path, start)) for start in (0, 150)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert sum(path.stat().st_size for path in files(tmp_path)) <= 1.1 * 200 * 404
    assert [path for path in files(tmp_path) if path.name.startswith(".")] == []


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = DecodedCache(10**6, tmp_path / "file")
    cache.put(key(1), array(1))
    assert cache.get(key(1), (10, 10), FLOATS) is None


def test_where_the_folder_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EQUIPOISE_CACHE", str(tmp_path))
    assert default_folder() == tmp_path
    monkeypatch.delenv("EQUIPOISE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert default_folder() == Path("/caches/equipoise/decoded")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert default_folder() == Path("/home/somebody/.cache/equipoise/decoded")


def test_every_file_is_decoded_once(media: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    decoded: list[str] = []
    decode = ImageDecoder.decode

    def counted(self: ImageDecoder, name: str) -> np.ndarray:
        decoded.append(name)
        return decode(self, name)

    monkeypatch.setattr(ImageDecoder, "decode", counted)
    data = open_dataset(media / "manifest.csv")
    first = Preprocessing.fit(data).transform(data)
    assert len(decoded) == len(set(decoded)) == 21
    again = open_dataset(media / "manifest.csv")
    second = Preprocessing.fit(again).transform(again)
    assert len(decoded) == 21
    np.testing.assert_array_equal(first["picture"], second["picture"])
    assert len(files(cache)) == 42
    # other options, other arrays
    options = {name: {"columns": [name]} for name in ("sound", "picture")}
    options["picture"]["options"] = {"size": 8}  # type: ignore[assignment]
    open_dataset(media / "manifest.csv", ReadOptions(modalities=options))
    assert len(decoded) == 42
    # other content under the same name
    (media / "picture" / "c0.png").write_bytes((media / "picture" / "c3.png").read_bytes())
    data = open_dataset(media / "manifest.csv")
    np.testing.assert_array_equal(*data.inputs["picture"][np.array([0, 3])])


def test_without_a_cache_nothing_is_written(media: Path, cache: Path) -> None:
    Preprocessing.fit(open_dataset(media / "manifest.csv", ReadOptions(cache_gigabytes=0)))
    assert files(cache) == []
    # neither is what does not fit
    Preprocessing.fit(open_dataset(media / "manifest.csv", ReadOptions(cache_gigabytes=1e-6)))
    assert files(cache) == []
