"""What a decoder is, and which files are of which kind."""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from equipoise.errors import ConfigError, DataError, EquipoiseError

IMAGES = (".png", ".jpg", ".jpeg", ".webp")
SUFFIXES = {"audio": (".wav", ".flac", ".ogg"), "image": IMAGES}
"""By which the names of media files are recognised where nothing is stated; a video is a folder of images."""

Header: TypeAlias = Mapping[str, Any]
"""What a file says about itself: numbers and words by their names for people."""


@dataclass(frozen=True, kw_only=True)
class Decoder(ABC):
    """Turns files of one kind into arrays of one shape. Its fields are its options; None is filled in from the files."""

    kind: ClassVar[str]

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Shape of every decoded sample."""

    @property
    @abstractmethod
    def dtype(self) -> np.dtype[Any]:
        """Type of the numbers."""

    @property
    @abstractmethod
    def words(self) -> str:
        """What is done to each file, for people."""

    @abstractmethod
    def header(self, path: Path) -> Header:
        """Return what a file says about itself, without decoding it.

        Raises:
            DataError: It cannot be used; the message does not name it.
        """

    @abstractmethod
    def completed(self, headers: Sequence[Header]) -> Self:
        """Return the decoder with options that were not stated filled in from the headers of the samples."""

    @abstractmethod
    def decode(self, name: str) -> NDArray[Any]:
        """Return a sample as an array of :attr:`shape`.

        Args:
            name: Path of the file, with the part of it that is meant where the kind has parts.
        """

    def file(self, name: str) -> Path:
        """Return the file (or folder) in which a sample is."""
        return Path(name)

    def contents(self, path: Path) -> list[Path]:
        """Return the files whose bytes decide what :meth:`decode` gives."""
        return [path]

    def part(self, name: str, header: Header) -> Header:
        """Return the header of the part of a file that is meant.

        Raises:
            DataError: There is no such part.
        """
        return header

    def options(self) -> dict[str, Any]:
        """Return the options as plain data, as the schema keeps them."""
        return asdict(self)


def file_kind(name: str) -> str | None:
    """Return of which kind a file is by its name.

    Example:
        >>> file_kind("a/B.WAV"), file_kind("all.flac#0:8000"), file_kind("notes.txt")
        ('audio', 'audio', None)
    """
    suffix = os.path.splitext(re.sub(r"#\d+:\d+$", "", name))[1].lower()
    return next((kind for kind, suffixes in SUFFIXES.items() if suffix in suffixes), None)


def files_kind(values: Iterable[Any]) -> str | None:
    """Return of which kind all files of a column are by their names, None if any value is no name of a media file.

    Args:
        values: Text or paths; what is missing (None, NaN, ``""``) is passed over.

    Example:
        >>> files_kind(["a.png", None, "b.JPG"]), files_kind(["a.png", "b.wav"]), files_kind([1.5])
        ('image', None, None)
    """
    kind = None
    for value in values:
        if value is None or value == "" or value != value:
            continue
        found = file_kind(os.fspath(value)) if isinstance(value, (str, os.PathLike)) else None
        if found is None or kind not in (None, found):
            return None
        kind = found
    return kind


@contextmanager
def library(package: str, extra: str) -> Iterator[None]:
    """Turn a missing optional package into one sentence.

    Raises:
        ConfigError: The package is not installed.
    """
    try:
        yield
    except ImportError as error:
        raise ConfigError(
            f"files of {extra} need {package} ({error.name or 'it'} is missing); install it by: pip install 'equipoise[{extra}]'"
        ) from None


@contextmanager
def failures() -> Iterator[None]:
    """Turn what a decoder raises on a file into the reason why the file cannot be used.

    Raises:
        DataError: With the reason alone; whoever catches it names the file.
    """
    try:
        yield
    except EquipoiseError:
        raise
    except FileNotFoundError:
        raise DataError("does not exist") from None
    except IsADirectoryError:
        raise DataError("is a folder") from None
    except NotADirectoryError:
        raise DataError("is no folder of frames") from None
    except PermissionError:
        raise DataError("permission denied") from None
    except Exception as error:  # decoders raise errors of many unrelated classes on damaged files
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise DataError(f"damaged: {reason}") from None
