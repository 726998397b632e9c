"""Readers: one file per layout in which data arrive. To read another layout, add a file here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from equipoise.config import ReadOptions
from equipoise.data.dataset import Dataset
from equipoise.data.schema import Schema
from equipoise.registry import Registry

Source: TypeAlias = Path | Mapping[str, Any]
"""A file, a folder, or arrays and tables in memory by name."""


class Reader(Protocol):
    """Reads one layout of data."""

    @staticmethod
    def matches(source: Source) -> bool:
        """Return whether this reader understands ``source``, from its name or the names of its files alone."""

    @staticmethod
    def read(source: Any, options: ReadOptions, labelled: bool = True, schema: Schema | None = None) -> Dataset:
        """Read ``source``.

        Args:
            source: A source that :meth:`matches`.
            options: What the user states about the data.
            labelled: Whether every sample must have a known label.
            schema: The schema of a trained run to read the data to; None to infer one.

        Returns:
            The data set, through :func:`equipoise.data.assemble.assemble`.

        Raises:
            DataError: The data cannot be read or are not what they should be.
        """


READERS: Registry[type[Reader]] = Registry("reader", package="equipoise.data.readers")
