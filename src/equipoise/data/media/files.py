"""Rows that are files: decoded when they are read."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from equipoise.data.media.base import Decoder, failures
from equipoise.data.media.cache import DecodedCache
from equipoise.data.rows import LazyRows
from equipoise.errors import DataError

T = TypeVar("T")
R = TypeVar("R")

_FEW = 5
"""Up to this many different values of a property are listed with their counts."""
_BLOCK = 4096
"""Items that wait for a thread at once."""


@dataclass(frozen=True, eq=False)
class FileRows(LazyRows):
    """Samples that are files, in memory only while they are used.

    Attributes:
        names: Path of each sample's file (or part of a file), strings as objects of shape (samples,); ``""`` where there is none.
        digests: Hash of the content of each file, uint8 of shape (samples, 16).
        changed: When each file was last changed as it was checked, nanoseconds, int64 of shape (samples,).
        decoder: How they are decoded.
        cache: Where decoded samples are kept; None keeps none.
        place: How messages call the rows.
    """

    names: NDArray[np.object_]
    digests: NDArray[np.uint8]
    changed: NDArray[np.int64]
    decoder: Decoder
    cache: DecodedCache | None
    place: str

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.names), *self.decoder.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.decoder.dtype

    def take(self, rows: NDArray[np.int64] | slice) -> FileRows:
        return replace(self, names=self.names[rows], digests=self.digests[rows], changed=self.changed[rows])

    def read(self, rows: NDArray[np.int64] | slice) -> NDArray[Any]:
        """Decode samples; zeros where there is no file.

        Raises:
            DataError: A file is gone, was changed since it was checked, or cannot be decoded.
        """
        chosen = np.arange(len(self))[rows]
        decoded = np.zeros((len(chosen), *self.decoder.shape), dtype=self.dtype)
        known = np.flatnonzero(self.names[chosen] != "")

        def fill(position: int) -> None:
            decoded[position] = self.decoded(int(chosen[position]))

        for _ in in_threads(fill, known.tolist()):
            pass
        return decoded

    def content(self) -> Iterator[bytes]:
        """Yield the options of decoding, and per sample the hash of its file and which part of it is meant."""
        yield self._options.encode()
        for row in range(len(self)):
            yield self._key(row).encode()

    def decoded(self, row: int) -> NDArray[Any]:
        """Return one sample, from the cache where it is there.

        Raises:
            DataError: As for :meth:`read`.
        """
        name = str(self.names[row])
        if self.cache is not None:
            kept = self.cache.get(self._key(row), self.decoder.shape, self.dtype)
            if kept is not None:
                return kept
        try:
            with failures():
                if os.stat(self.decoder.file(name)).st_mtime_ns != self.changed[row]:
                    raise DataError("was changed since it was checked")
                value = self.decoder.decode(name)
        except DataError as error:
            hint = "skip_damaged = true finds such files before training and leaves them out"
            raise DataError(f"{self.place}: {name} cannot be used: {error} ({hint})") from error
        if self.cache is not None:
            self.cache.put(self._key(row), value)
        return value

    def found(self) -> dict[str, str]:
        """Return what the files say about themselves: per property its values, and how many samples have each."""
        files = {str(name): self.decoder.file(str(name)) for name in self.names if name}
        paths = sorted(set(files.values()))
        whole = dict(zip(paths, in_threads(self.decoder.header, paths), strict=True))
        headers = [self.decoder.part(name, whole[path]) for name, path in files.items()]
        return {key: _spread([header[key] for header in headers]) for key in (headers[0] if headers else ())}

    @cached_property
    def _options(self) -> str:
        return json.dumps([self.decoder.kind, self.decoder.options()], sort_keys=True)

    def _key(self, row: int) -> str:
        name = str(self.names[row])
        if not name:
            return ""
        part = name.removeprefix(str(self.decoder.file(name)))
        digest = hashlib.blake2b(self.digests[row].tobytes(), digest_size=16)
        digest.update(f"{part} {self._options}".encode())
        return digest.hexdigest()


def _spread(values: Sequence[Any]) -> str:
    counts = Counter(values)
    if len(counts) <= _FEW:
        return ", ".join(f"{_short(value)} ({count} sample{'s' * (count > 1)})" for value, count in counts.most_common())
    if all(isinstance(value, (int, float)) for value in values):
        return f"{_short(min(values))} to {_short(max(values))} (median {_short(float(np.median(values)))})"
    return f"{len(counts)} different ones"


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def in_threads(work: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
    """Yield what ``work`` gives for each item, in order, computed by as many threads as there are processors.

    Decoders compute outside of Python's lock. In a worker process, of which there are several, the work is done one by one.
    """
    if len(items) < 2 or multiprocessing.parent_process() is not None:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for start in range(0, len(items), _BLOCK):
            yield from pool.map(work, items[start : start + _BLOCK])
