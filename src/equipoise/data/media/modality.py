"""A modality whose samples are files: telling it from others, and its description."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from equipoise.data.description import Stated
from equipoise.data.media.base import IMAGES, file_kind, files_kind
from equipoise.data.media.check import MediaOptions, open_files
from equipoise.data.media.decoders import decoder_class
from equipoise.data.media.files import FileRows
from equipoise.data.schema import Modality
from equipoise.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


def kind_of_files(value: Any, own: Stated, expected: Modality | None) -> str:
    """Return the kind of a modality whose samples are files, ``""`` if they are none.

    Args:
        value: Its raw rows.
        own: What is stated about it.
        expected: What a trained run expects.
    """
    if not hasattr(value, "iloc") or value.shape[1] != 1:
        return ""
    column = value.iloc[:, 0]
    if expected is not None and expected.decode:
        return expected.kind
    if own.kind is not None:
        named = column.map(lambda item: isinstance(item, (str, os.PathLike))) | column.isna()
        return own.kind if decoder_class(own.kind) is not None and bool(named.all()) else ""
    return files_kind(column) or ""


def files_modality(
    name: str, table: pd.DataFrame, kind: str, own: Stated, expected: Modality | None, media: MediaOptions, place: str
) -> tuple[FileRows | NDArray[np.float32], Modality, NDArray[np.bool_]]:
    """Check the files of a modality.

    Args:
        name: Name of the modality.
        table: One column of paths.
        kind: What :func:`kind_of_files` says.
        own: What is stated about it.
        expected: What a trained run expects.
        media: How media files are read.
        place: How messages call it.

    Returns:
        Its rows, its description, and which samples have a file, of shape (samples,).

    Raises:
        DataError: Files cannot be used, or the run was not trained on files.
        ConfigError: An option of decoding is not valid, or a package is missing.
    """
    if expected is not None and not expected.decode:
        raise DataError(f"{place} holds names of files, but the model was trained on arrays of shape {expected.shape}")
    column = table.iloc[:, 0]
    observed = (column.notna() & (column != "")).to_numpy(dtype=bool)
    if not observed.any():
        if expected is None:
            raise DataError(f"{place}: no sample has a file")
        return np.zeros((len(table), *expected.shape), dtype=np.float32), expected, observed
    options = own.options if expected is None else expected.decode
    rows, notes = open_files(column, kind, options, media, place)
    for note in notes:
        tell(note)
    found = Modality(
        name=name,
        kind=kind,
        shape=rows.decoder.shape,
        columns=tuple(map(str, table.columns)),
        decode=rows.decoder.options(),
        notes=notes,
    )
    return rows, found, cast("NDArray[np.bool_]", rows.names != "")


def tell(note: str) -> None:
    """Say something about the data on the error stream, in the first process alone."""
    if os.environ.get("RANK", "0") == "0":
        print(note, file=sys.stderr)


def media_folders(folder: Path) -> dict[str, Path]:
    """Return the sub-folders that hold a file, or a folder of frames, per sample, by their names."""
    return {path.name: path for path in _visible(folder) if path.is_dir() and folder_samples(path)}


def folder_samples(folder: Path) -> list[Path]:
    """Return the samples in a folder, in the order of their names: media files, or folders of frames where there is no file."""
    entries = list(_visible(folder))
    return [path for path in entries if file_kind(path.name)] or [
        path for path in entries if path.is_dir() and any(item.suffix.lower() in IMAGES for item in path.iterdir())
    ]


def folder_kind(folder: Path) -> str:
    """Return the kind of the modality in a folder.

    Raises:
        DataError: It holds no media files, or files of several kinds.
    """
    kinds = {file_kind(path.name) or "video" for path in folder_samples(folder)}
    if not kinds:
        raise DataError(f"{folder} holds no media files, expected sound, pictures, or folders of pictures")
    if len(kinds) > 1:
        raise DataError(f"{folder} holds files of several kinds ({', '.join(sorted(kinds))}), expected one")
    return kinds.pop()


def _visible(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.iterdir()) if not path.name.startswith("."))
