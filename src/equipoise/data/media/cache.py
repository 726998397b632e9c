"""Decoded samples on disk, by the content they were decoded from, so that no run decodes what another one has."""

from __future__ import annotations

import os
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ENVIRONMENT = "EQUIPOISE_CACHE"
"""Environment variable that names the folder of the cache."""
_ROOM = 0.9
"""Share of the limit that is left after a clean-up."""
_UNCHECKED = 0.05
"""Share of the limit that a process writes before it looks at the size of all files again."""
_CHECK = 4
"""Bytes of the checksum that ends each file."""


class DecodedCache:
    """Arrays by key in a folder of bounded size; those that were not used for longest leave first.

    Several processes may use a folder at once: a file is put there whole, under a name that follows from its content, and a
    file that is missing or damaged counts as not there. The limit may be passed by what each process writes between
    two looks at the folder, a twentieth of it. If the folder cannot be written, nothing is kept and nothing fails.

    Args:
        limit: Most bytes to keep.
        folder: Where; by default what ``EQUIPOISE_CACHE`` names, or ``equipoise`` in the user's folder of caches.

    Example:
        >>> cache = DecodedCache(10**6, Path(tempfile.mkdtemp()))
        >>> cache.put("0a1b", np.arange(3))
        >>> cache.get("0a1b", (3,), np.dtype(np.int64)), cache.get("ffff", (3,), np.dtype(np.int64))
        (array([0, 1, 2]), None)
    """

    def __init__(self, limit: int, folder: Path | None = None) -> None:
        self.limit = limit
        self.folder = folder or default_folder()
        self._written: float = limit  # the first write looks at what is there

    def get(self, key: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any] | None:
        """Return the array of a key, None if it is not there.

        Args:
            key: Hexadecimal digits.
            shape: Its shape.
            dtype: Its type.
        """
        path = self._path(key)
        try:
            data = path.read_bytes()
            os.utime(path)  # what was used last leaves last
        except OSError:
            return None
        values = memoryview(data)[:-_CHECK]
        size = int(np.prod(shape)) * dtype.itemsize
        if len(values) != size or zlib.crc32(values).to_bytes(_CHECK, "little") != data[-_CHECK:]:
            return None
        return np.frombuffer(values, dtype).reshape(shape)

    def put(self, key: str, value: NDArray[Any]) -> None:
        """Keep an array under a key; nothing happens where that is not possible."""
        data = np.ascontiguousarray(value).tobytes()
        path = self._path(key)
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, new = tempfile.mkstemp(dir=path.parent, prefix=".")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data + zlib.crc32(data).to_bytes(_CHECK, "little"))
                os.replace(new, path)
            except OSError:
                os.unlink(new)
                raise
            self._written += len(data) + _CHECK
            if self._written > _UNCHECKED * self.limit:
                self._written = 0.0
                self._clean()

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / key[2:]

    def _clean(self) -> None:
        """Delete the files that were not used for longest if all of them take more than the limit."""
        files = sorted(self._files(), key=lambda item: item[0])
        excess = sum(size for _, size, _ in files) - self.limit
        if excess <= 0:
            return
        excess += int((1 - _ROOM) * self.limit)
        for _, size, path in files:
            if excess <= 0:
                break
            with suppress(OSError):  # another process was faster
                os.unlink(path)
            excess -= size

    def _files(self) -> Iterator[tuple[int, int, str]]:
        """Time of last use, size and path of every file, those that a killed writer left among them."""
        for folder in os.scandir(self.folder):
            if folder.is_dir():
                for item in os.scandir(folder):
                    with suppress(OSError):
                        found = item.stat()
                        yield found.st_mtime_ns, found.st_size, item.path


def default_folder() -> Path:
    """Return the folder of the cache where none is given."""
    named = os.environ.get(ENVIRONMENT)
    if named:
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "equipoise" / "decoded"
