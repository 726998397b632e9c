"""A modality whose samples are files: telling it from others, and its description."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from equipoise.data.description import Stated
from equipoise.data.media.base import IMAGES, file_kind, files_kind
from equipoise.data.media.check import MediaOptions, open_files
from equipoise.data.media.decoders import decoder_class
from equipoise.data.media.files import FileRows
from equipoise.data.recording_files import SUFFIXES as RECORDINGS
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
        return own.kind if decoder_class(own.kind) is not None and names_files(value) else ""
    return files_kind(column) or ""


def names_files(value: Any) -> bool:
    """Return whether raw rows are one column of text or paths; what is missing is passed over."""
    if not hasattr(value, "iloc") or value.shape[1] != 1:
        return False
    column = value.iloc[:, 0]
    return bool((column.map(lambda item: isinstance(item, (str, os.PathLike))) | column.isna()).all())


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


def sample_folders(folder: Path) -> dict[str, Path]:
    """Return the sub-folders that hold a file, or a folder of frames, per sample, by their names."""
    paths = (path for path in sorted(folder.iterdir()) if not path.name.startswith("."))
    return {path.name: path for path in paths if path.is_dir() and folder_samples(path)}


def folder_samples(folder: Path, kind: str | None = None) -> list[Path]:
    """Return the samples in a folder, in the order of their names.

    Args:
        folder: The folder.
        kind: Of which kind they are: ``sequence`` for recordings. Otherwise they are media files, or folders of frames where
            there is no file, or recordings where there is none of these.
    """
    with os.scandir(folder) as found:
        entries = sorted((item for item in found if not item.name.startswith(".")), key=lambda item: item.name)
    recordings = [Path(item) for item in entries if os.path.splitext(item.name)[1].lower() in RECORDINGS and item.is_file()]
    if kind == "sequence":
        return recordings
    media = [Path(item) for item in entries if file_kind(item.name)]
    folders = [item for item in entries if item.is_dir()]
    # one that holds no picture is damaged, not absent, where others do
    return media or ([Path(item) for item in folders] if any(map(_has_pictures, folders)) else recordings)


def folder_kind(folder: Path) -> str:
    """Return the kind of the modality in a folder.

    Raises:
        DataError: It holds no samples, or files of several kinds.
    """
    kinds = {"video" if path.is_dir() else file_kind(path.name) or "sequence" for path in folder_samples(folder)}
    if not kinds:
        raise DataError(
            f"{folder} holds no samples, expected sound, pictures, folders of pictures, "
            f"or sequences in files ending in {', '.join(RECORDINGS)}"
        )
    if len(kinds) > 1:
        raise DataError(f"{folder} holds files of several kinds ({', '.join(sorted(kinds))}), expected one")
    return kinds.pop()


def _has_pictures(folder: os.DirEntry[str]) -> bool:
    return any(os.path.splitext(name)[1].lower() in IMAGES for name in os.listdir(folder))
