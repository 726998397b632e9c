"""The fingerprint of a data set: equal data have equal ones, and a changed value changes it."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd

from equipoise.data.dataset import Dataset
from equipoise.data.rows import LazyRows, row_chunks
from equipoise.data.schema import TASKS


def fingerprint(dataset: Dataset) -> str:
    """Return a hash of ids, labels, presence and every value, 16 hexadecimal digits.

    Example:
        >>> from equipoise.data.sources import open_dataset
        >>> first, second = ({"a": np.eye(4) * k, "b": np.ones((4, 2))} for k in (1, 2))
        >>> labels = ["x", "y", "x", "y"]
        >>> fingerprint(open_dataset(first, target=labels)) == fingerprint(open_dataset(second, target=labels))
        False
    """
    digest = hashlib.blake2b(digest_size=8)
    digest.update("\n".join(dataset.ids.tolist()).encode())
    digest.update(repr((dataset.schema.names, dataset.schema.classes)).encode())
    if dataset.schema.task != TASKS[0]:
        digest.update(dataset.schema.task.encode())
    if dataset.target is not None:
        digest.update(dataset.target.tobytes())
    for name, value in dataset.inputs.items():
        digest.update(dataset.present[name].tobytes())
        if isinstance(value, pd.DataFrame):
            digest.update(repr(list(value.columns)).encode())
            digest.update(pd.util.hash_pandas_object(value, index=False).to_numpy().tobytes())
        elif isinstance(value, LazyRows):
            for part in value.content():
                digest.update(part)
        else:
            for _, chunk in row_chunks(value):
                digest.update(np.ascontiguousarray(chunk).tobytes())
    return digest.hexdigest()
