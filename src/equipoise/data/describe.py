"""What a data set consists of, for people: facts, and the ``dataset.yaml`` that states what was inferred."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from equipoise.data.columns import as_text
from equipoise.data.dataset import Dataset
from equipoise.data.media.files import FileRows
from equipoise.data.rows import LazyRows, row_chunks
from equipoise.data.schema import CLASSES, Modality
from equipoise.data.sequences import real_steps
from equipoise.data.text import join_text

if TYPE_CHECKING:
    import pandas as pd

# How dataset.yaml says where a modality is, by reader; tables are stated by prefix or columns.
_SOURCE_KEYS = {
    "folder": "file",
    "archive": "key",
    "memory": "key",
    "omics": "key",
    "hugging_face": "key",
    "parquet_parts": "key",
}


def facts(dataset: Dataset) -> dict[str, Any]:
    """Return the facts about a data set that ``inspect`` shows, as plain JSON data.

    Args:
        dataset: The data.

    Returns:
        ``name``, ``format``, ``samples``, ``target``, ``task``, ``classes`` (samples of each class or with each label),
        ``values`` (``mean``, ``deviation``, ``least`` and ``most`` of each number), ``unlabelled``, ``split`` (samples of each
        part), ``groups``, ``notes`` (which lists, classes and files were used), and ``modalities``: of each its kind, shape,
        columns, categorical columns, how many samples have it, its missing values in those, and its constant columns; of text
        also its ``words``: how many different ones (of two letters or digits at least), and how many the shortest, the median and
        the longest sample has; of sequences in the same way their ``steps``; of media ``files`` what they say about themselves,
        and how they are ``decoded``.

    Example:
        >>> from equipoise.data.sources import open_dataset
        >>> found = facts(open_dataset({"a": np.array([[0.0, 5.0], [np.nan, 5.0]])}, target=["x", "y"]))
        >>> found["classes"], found["modalities"]["a"]["missing_values"], found["modalities"]["a"]["constant_columns"]
        ({'x': 1, 'y': 1}, 1, ['0', '1'])
    """
    schema = dataset.schema
    return {
        "name": schema.name,
        "format": schema.format,
        "samples": len(dataset),
        "target": schema.target,
        "task": schema.task,
        "classes": _class_counts(dataset),
        "values": _value_facts(dataset),
        "unlabelled": len(dataset) - int(dataset.labelled.sum()),
        "split": {} if dataset.split is None else _counts(dataset.split),
        "groups": 0 if dataset.group is None else len(np.unique(dataset.group)),
        "notes": list(schema.notes),
        "modalities": {modality.name: _modality_facts(dataset, modality) for modality in schema.modalities},
    }


def describe_yaml(dataset: Dataset) -> str:
    """Return the ``dataset.yaml`` that states what was inferred about a data set, for its owner to correct.

    Args:
        dataset: The data.

    Returns:
        YAML text; put beside the data, it makes them read as they were.

    Example:
        >>> from equipoise.data.sources import open_dataset
        >>> print(describe_yaml(open_dataset({"a": np.eye(2)}, target=["x", "y"])))
        name: data
        target: target
        task: classification
        classes: [x, y]
        modalities:
          a: {key: a, kind: tabular}
        <BLANKLINE>
    """
    import yaml

    schema = dataset.schema
    head: dict[str, Any] = {
        key: list(value) if isinstance(value, tuple) else value
        for key in ("name", "layout", "root", "id", "target", "split", "group")
        if (value := getattr(schema, key))
    }
    lines = [_flow({key: value}) for key, value in head.items()]
    if schema.target:
        lines.append(f"task: {schema.task}\n")
    if schema.task in CLASSES and schema.classes and schema.target:
        lines.append("classes: " + yaml.safe_dump(list(schema.classes), default_flow_style=True, width=10**9, allow_unicode=True))
    lines.append("modalities:\n")
    lines += ["  " + _flow({modality.name: _stated(modality, schema.format)}) for modality in schema.modalities]
    return "".join(lines)


def _flow(value: dict[str, Any]) -> str:
    """One line of YAML whose values are in flow style."""
    import yaml

    text: str = yaml.safe_dump(value, default_flow_style=True, width=10**9, allow_unicode=True, sort_keys=False)
    return text.strip()[1:-1] + "\n"


def _stated(modality: Modality, layout: str) -> dict[str, Any]:
    stated: dict[str, Any] = {}
    if layout == "layout":  # which says where everything is
        pass
    elif layout in _SOURCE_KEYS and modality.source:
        stated[_SOURCE_KEYS[layout]] = modality.source
    elif modality.source:
        stated["prefix"] = modality.source
    else:
        stated["columns"] = list(modality.table_columns)
    stated["kind"] = modality.kind
    if modality.window:
        stated["window"] = modality.window
    if modality.order:
        stated["order"] = modality.order
    if modality.decode:
        stated["options"] = dict(modality.decode)
    if modality.path_column:
        stated["options"] = {"channels": list(modality.columns)}
    if modality.categorical:
        stated["categorical"] = list(modality.categorical)
    return stated


def _class_counts(dataset: Dataset) -> dict[str, int]:
    schema, labelled = dataset.schema, dataset.labelled
    if schema.task == "regression":
        return {}
    if dataset.target is None:
        return dict.fromkeys(schema.classes, 0)
    target = dataset.target[labelled]
    counts = np.bincount(target, minlength=len(schema.classes)) if schema.task in CLASSES else target.sum(0)
    return {name: int(count) for name, count in zip(schema.classes, counts, strict=True)}


def _value_facts(dataset: Dataset) -> dict[str, dict[str, float]]:
    if dataset.schema.task != "regression" or dataset.target is None or not dataset.labelled.any():
        return {}
    target = dataset.target[dataset.labelled]
    rows = np.stack([target.mean(0), target.std(0), target.min(0), target.max(0)], 1).tolist()
    names = ("mean", "deviation", "least", "most")
    return {name: dict(zip(names, row, strict=True)) for name, row in zip(dataset.schema.classes, rows, strict=True)}


def _counts(words: NDArray[np.str_]) -> dict[str, int]:
    names, counts = np.unique(words, return_counts=True)
    return {str(name): int(count) for name, count in zip(names, counts, strict=True)}


def _modality_facts(dataset: Dataset, modality: Modality) -> dict[str, Any]:
    value, present = dataset.inputs[modality.name], dataset.present[modality.name]
    own: dict[str, Any] = {"notes": list(modality.notes)} if modality.notes else {}
    constant: list[str] = []
    if isinstance(value, FileRows):
        missing = 0
        own["files"] = {**value.found(), "decoded": value.decoder.words}
    elif hasattr(value, "iloc"):
        missing, constant = _table_facts(cast("pd.DataFrame", value)[present])
    else:
        missing, same = _array_facts(value, present, steps=modality.kind == "sequence")
        constant = [column for column, fixed in zip(modality.columns, same, strict=False) if fixed]
    if modality.kind == "text":
        own["words"] = _words(cast("pd.DataFrame", value)[present])
    if modality.kind == "sequence":
        steps = [real_steps(rows).sum(axis=1) for _, rows in row_chunks(cast("NDArray[Any]", value), present)]
        own["steps"] = _spread(np.concatenate(steps))
    return {
        "kind": modality.kind,
        "shape": list(modality.shape),
        "columns": list(modality.columns),
        "categorical": list(modality.categorical),
        "source": modality.source,
        "present": int(present.sum()),
        "missing_values": missing,
        "constant_columns": constant,
        **own,
    }


def _spread(counts: NDArray[np.int64]) -> dict[str, int]:
    ends = (counts.min(), np.median(counts), counts.max()) if len(counts) else (0, 0, 0)
    return dict(zip(("shortest", "median", "longest"), map(int, ends), strict=True))


def _words(table: pd.DataFrame) -> dict[str, int]:
    import pandas as pd

    words = pd.Series(join_text(table), dtype=object).str.lower().str.findall(r"\b\w\w+\b")
    counts = words.map(len)
    return {"different": words.explode().nunique(), **_spread(counts.to_numpy())}


def _table_facts(table: pd.DataFrame) -> tuple[int, list[str]]:
    categories = [str(name) for name in table.columns if table[name].dtype == object]
    numbers = table.drop(columns=categories)
    same = (numbers.max() == numbers.min()) | numbers.isna().all()
    constant = [str(name) for name in numbers.columns[same.to_numpy()]]
    constant += [name for name in categories if len(np.unique(as_text(table[name]))) < 2]
    return int(table.isna().to_numpy().sum()), [str(name) for name in table.columns if str(name) in constant]


def _array_facts(value: NDArray[Any] | LazyRows, present: NDArray[np.bool_], steps: bool) -> tuple[int, NDArray[np.bool_]]:
    """The number of missing values, and which numbers of a sample (of a time step in all of them) are always the same, flat."""
    missing = 0
    low: Any = np.inf
    high: Any = -np.inf
    for _, rows in row_chunks(value, present):
        if steps:
            rows = rows[real_steps(rows)]
        if len(rows) == 0:
            continue
        flat = rows.reshape(len(rows), -1)
        missing += int(np.isnan(flat).sum()) if flat.dtype.kind == "f" else 0
        low, high = np.fmin(low, np.fmin.reduce(flat, axis=0)), np.fmax(high, np.fmax.reduce(flat, axis=0))
    return missing, np.atleast_1d(low >= high)
