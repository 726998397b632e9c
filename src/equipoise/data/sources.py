"""Opening data: a path, the name of an embedded set, or arrays in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from equipoise.config import ReadOptions
from equipoise.data.dataset import Dataset
from equipoise.data.schema import Schema
from equipoise.errors import DataError, suggest


def open_dataset(
    source: str | Path | Mapping[str, Any],
    options: ReadOptions | None = None,
    *,
    target: Any = None,
    labelled: bool = True,
    schema: Schema | None = None,
) -> Dataset:
    """Open a data set.

    Args:
        source: A folder or file, the name of an embedded set (write ``./name`` for a folder called like one), or a
            mapping from names to arrays, DataFrames or tensors with one row per sample.
        options: What is stated about the data; the rest comes from ``dataset.yaml`` or is inferred.
        target: Labels of shape (samples,), or labels or numbers of shape (samples, outputs), for data in memory.
        labelled: Whether every sample must have a known label; false for prediction.
        schema: The schema of a trained run: the data are read to it, and what does not fit is an error.

    Returns:
        The checked data set.

    Raises:
        DataError: The source does not exist or something about the data is wrong; the message says where.

    Example:
        >>> import numpy as np
        >>> data = open_dataset({"a": np.eye(4), "b": np.ones((4, 2, 3))}, target=["x", "y", "x", "y"])
        >>> data.schema.names, data.schema.classes, data.target.tolist()
        (('a', 'b'), ('x', 'y'), [0, 1, 0, 1])
    """
    from equipoise.data.builtin import BUILTIN
    from equipoise.data.layouts.read import layout_of, read_layout
    from equipoise.data.readers import READERS

    options = options or ReadOptions()
    name = None
    if isinstance(source, str) and source in BUILTIN:
        name, source = source, BUILTIN[source]()
    elif not isinstance(source, (Mapping, Path)):
        if not isinstance(source, str):
            raise DataError(f"cannot open {type(source).__name__!r} as data, expected a path, a name or a mapping of arrays")
        source = Path(source).expanduser()
    names = target_names(target, source)
    if names is not None:
        options, target = replace(options, target=names), None
    if target is not None:
        source, options = _with_target(source, options, target)
    if isinstance(source, Path) and not source.exists():
        bare = source.name if str(source) == source.name else ""
        hint = f"; embedded sets: {suggest(bare, BUILTIN)}" if bare and not source.suffix else ""
        raise DataError(f"{source} does not exist{hint}")
    layout = layout_of(source, options, schema)
    if layout is not None and isinstance(source, Path):
        return read_layout(source, layout, options, labelled, schema)
    for reader in map(READERS.get, READERS.names()):
        if reader.matches(source):
            dataset = reader.read(source, options, labelled, schema)
            return dataset if name is None else replace(dataset, schema=replace(dataset.schema, name=name))
    raise DataError(f"{source} is no data that can be read, expected a folder or a csv, tsv, parquet, npz, h5ad or h5mu file")


def target_names(target: Any, source: object) -> str | tuple[str, ...] | None:
    """Return the target if it is the name of a column, or a list of names; None if it holds the labels themselves.

    For data in memory a list of text is one of names if they are different keys of the data.

    Example:
        >>> target_names(["x", "y"], "table.csv"), target_names(["x", "y"], {"a": [[1], [2]]})
        (('x', 'y'), None)
    """
    if isinstance(target, str):
        return target
    words = isinstance(target, (list, tuple)) and bool(target) and all(isinstance(item, str) for item in target)
    if not words or (isinstance(source, Mapping) and (len(set(target)) < len(target) or not set(target) <= source.keys())):
        return None  # labels may be called like modalities, but then they repeat
    return tuple(target)


def _with_target(source: Path | Mapping[str, Any], options: ReadOptions, target: Any) -> tuple[Mapping[str, Any], ReadOptions]:
    if not isinstance(source, Mapping):
        raise DataError(f"{source}: target is given as an array, which is for data in memory; expected the name of a column")
    name = options.target if isinstance(options.target, str) else "target"
    if name in source:
        raise DataError(f"data: target is given twice, as an array and as the key {name!r}")
    return {**source, name: target}, replace(options, target=name)
