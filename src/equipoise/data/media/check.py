"""From the names of media files to rows: every file is looked at before anything is trained."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from equipoise.config import ReadOptions, build
from equipoise.data.columns import as_text
from equipoise.data.media.base import Decoder, Header, failures
from equipoise.data.media.cache import DecodedCache
from equipoise.data.media.decoders import decoder_class
from equipoise.data.media.files import FileRows, in_threads
from equipoise.data.progress import with_rows
from equipoise.errors import ConfigError, DataError

T = TypeVar("T")

_NAMED = 5
"""How many damaged files a message names."""
_BLOCK = 2**20
GIGABYTE = 10**9


@dataclass(frozen=True)
class MediaOptions:
    """How media files are read, whatever they hold.

    Attributes:
        root: Folder that no path may leave, from which relative ones start; None for paths that the caller's code states.
        folder: Folder of the data set, whose own files are named in full; they need not be in ``root``.
        skip_damaged: Whether samples whose file is damaged count as absent.
        cache_gigabytes: Room for decoded samples on disk; 0 keeps none.
    """

    root: Path | None = None
    folder: Path | None = None
    skip_damaged: bool = False
    cache_gigabytes: float = 10.0

    @classmethod
    def of(cls, options: ReadOptions, folder: Path | None, stated: Path | None = None) -> MediaOptions:
        """Return the options for a data set in ``folder`` (None: in memory), whose root is ``stated`` if they state none.

        Raises:
            ConfigError: The options state a root that is no folder.
        """
        root = stated or folder if options.root is None else Path(options.root).expanduser()
        if options.root is not None and not os.path.isdir(str(root)):
            raise ConfigError(f"option: root = {options.root!r} is no folder, expected the one from which paths of files start")
        return cls(root, folder, options.skip_damaged, options.cache_gigabytes)


@dataclass(frozen=True)
class _File:
    """What was found out about a file: what it says, the hash of its content, when it was last changed; or why it is no good."""

    header: Header
    digest: bytes = bytes(16)
    changed: int = 0
    wrong: str = ""


def open_files(
    values: Any, kind: str, options: Mapping[str, Any], media: MediaOptions, place: str
) -> tuple[FileRows, tuple[str, ...]]:
    """Check files and make rows of them.

    Every file is opened, its header read and its content hashed. If all decoded samples fit in the cache, they are decoded at
    once and kept there, else none is kept. They are decoded too where damaged files are to be left out, so that none remains.

    Args:
        values: Paths of shape (samples,), empty or missing where a sample has no file; not all of them.
        kind: ``audio``, ``image`` or ``video``.
        options: Options of the decoder.
        media: How they are read.
        place: How messages call the modality.

    Returns:
        The rows, and notes for people. Samples whose file was left out have the name ``""``.

    Raises:
        DataError: Files are missing, damaged or outside of the folder.
        ConfigError: An option is not valid, or a package is missing.
    """
    cls = decoder_class(kind)
    assert cls is not None
    decoder = build(cls, options, f"{place}: options")
    names = np.array([resolved(name, media, place) for name in as_text(values).tolist()], dtype=object)
    paths = sorted({decoder.file(name) for name in names if name})
    found = with_bar(in_threads(lambda path: _look(path, decoder), paths), len(paths), f"checking {len(paths)} files")
    files = dict(zip(paths, found, strict=True))
    own = [_part(decoder, name, files) for name in names]
    wrong = {name: item.wrong for name, item in zip(names, own, strict=True) if item.wrong}
    headers = [item.header for name, item in zip(names, own, strict=True) if name and not item.wrong]
    if not headers:
        left_out(wrong, len(wrong), media, place)  # stops: no file is left
    decoder = decoder.completed(headers)
    size = len(names) * int(np.prod(decoder.shape)) * decoder.dtype.itemsize
    limit = int(media.cache_gigabytes * GIGABYTE)
    rows = FileRows(
        names=names,
        digests=np.frombuffer(b"".join(item.digest for item in own), np.uint8).reshape(len(own), -1),
        changed=np.array([item.changed for item in own], dtype=np.int64),
        decoder=decoder,
        cache=DecodedCache(limit) if size <= limit else None,
        place=place,
    )
    if media.skip_damaged or rows.cache is not None:
        usable = [row for row, name in enumerate(names) if name and name not in wrong]
        results = with_bar(in_threads(_tried(rows), usable), len(usable), f"decoding {len(usable)} samples")
        wrong |= {str(names[row]): reason for row, reason in zip(usable, results, strict=True) if reason}
    if not wrong:
        return rows, ()
    notes = left_out(wrong, len({name for name in names if name}), media, place)
    kept = np.array(["" if name in wrong else name for name in names], dtype=object)
    return replace(rows, names=kept), notes


def resolved(name: str, media: MediaOptions, place: str) -> str:
    """Return a path in full, ``""`` where there is none; symbolic links inside the folder may lead where they like.

    Raises:
        DataError: It leads out of the folder that no path may leave.
    """
    if not name or media.root is None:
        return os.path.abspath(os.path.expanduser(name)) if name else ""
    path = os.path.normpath(os.path.join(os.path.abspath(media.root), name))
    within = (os.path.abspath(folder) for folder in (media.root, media.folder) if folder is not None)
    if not any(os.path.commonpath([folder, path]) == folder for folder in within):
        raise DataError(f"{place}: the path {name!r} leads out of {media.root}; state the folder that holds all files by root")
    return path


def _look(path: Path, decoder: Decoder) -> _File:
    try:
        with failures():
            changed = os.stat(path).st_mtime_ns
            if path.is_file() and path.stat().st_size == 0:
                raise DataError("is empty")
            header = decoder.header(path)
            digest = hashlib.blake2b(digest_size=16)
            for content in decoder.contents(path):
                with content.open("rb") as file:
                    while block := file.read(_BLOCK):
                        digest.update(block)
    except DataError as error:
        return _File({}, wrong=str(error))
    return _File(header, digest.digest(), changed)


def _part(decoder: Decoder, name: str, files: Mapping[Path, _File]) -> _File:
    """What is known of a sample."""
    if not name:
        return _File({})
    file = files[decoder.file(name)]
    if file.wrong:
        return file
    try:
        return replace(file, header=decoder.part(name, file.header))
    except DataError as error:
        return replace(file, wrong=str(error))


def _tried(rows: FileRows) -> Callable[[int], str]:
    """A function that decodes a sample and says what is wrong with it, ``""`` if nothing is."""

    def attempt(row: int) -> str:
        try:
            rows.decoded(row)
        except DataError as error:
            return str(error.__cause__)
        return ""

    return attempt


def left_out(wrong: Mapping[str, str], total: int, media: MediaOptions, place: str) -> tuple[str, ...]:
    """Return a note that names and counts files that cannot be used; none if there are none.

    Args:
        wrong: The files, and why they cannot be used.
        total: Number of all files.
        media: Whether their samples may count as absent.
        place: How messages call the modality.

    Raises:
        DataError: They may not be left out, or no file is left.
    """
    if not wrong:
        return ()
    named = ", ".join(f"{name} ({reason})" for name, reason in list(wrong.items())[:_NAMED])
    more = f" and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else ""
    damage = f"{place}: {len(wrong)} of {total} files cannot be used: {named}{more}"
    if len(wrong) == total:
        raise DataError(damage)
    if not media.skip_damaged:
        raise DataError(f"{damage}; to treat their samples as absent, set skip_damaged")
    return (f"{damage}; they are left out",)


def with_bar(items: Iterable[T], total: int, words: str) -> Iterator[T]:
    """Yield the items, with a progress bar on the error stream if they take longer than a moment."""
    return (item for (item,) in with_rows(((item,) for item in items), total, words))
