"""One npz file with arrays of any shape, aligned row by row."""

from __future__ import annotations

from pathlib import Path

from equipoise.config import ReadOptions
from equipoise.data.dataset import Dataset
from equipoise.data.description import describe_source
from equipoise.data.files import read_archive
from equipoise.data.readers import READERS, Source
from equipoise.data.readers.memory import APPLICABLE, from_arrays
from equipoise.data.schema import Schema


@READERS.register("archive")
class ArchiveReader:
    """An npz file: one array per modality, and arrays of one value per sample for target, split, groups and ids."""

    @staticmethod
    def matches(source: Source) -> bool:
        """Return whether the source is an npz file."""
        return isinstance(source, Path) and source.suffix == ".npz"

    @staticmethod
    def read(source: Path, options: ReadOptions, labelled: bool = True, schema: Schema | None = None) -> Dataset:
        """Read an npz file; see :class:`~equipoise.data.readers.Reader`."""
        stated = describe_source(source, options, APPLICABLE)
        arrays = read_archive(source)
        return from_arrays(
            arrays, stated, format="archive", name=source.stem, place=str(source), labelled=labelled, schema=schema
        )
