"""Joining rows by sample id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from equipoise.data.columns import few
from equipoise.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


def positions(own: NDArray[np.str_], ids: NDArray[np.str_], place: str, samples: str) -> NDArray[np.int64]:
    """Return where each sample is among the rows of a modality.

    Args:
        own: Ids of the modality's rows, all different, of shape (rows,).
        ids: Ids of the samples, of shape (samples,).
        place: How messages call the modality's file.
        samples: How messages call the file that defines the samples.

    Returns:
        Row numbers of shape (samples,), -1 where the modality lacks the sample.

    Raises:
        DataError: The modality has rows of samples that do not exist.

    Example:
        >>> positions(np.array(["b", "a"]), np.array(["a", "b", "c"]), "x.csv", "labels.csv").tolist()
        [1, 0, -1]
    """
    import pandas as pd

    strange = own[~np.isin(own, ids)]
    if len(strange):
        raise DataError(
            f"{place}: {len(strange)} of its {len(own)} ids are not among the {len(ids)} samples of {samples}: {few(strange)}; "
            f"samples are called {few(ids)}"
        )
    return np.asarray(pd.Index(own.astype(object)).get_indexer(pd.Index(ids.astype(object))), dtype=np.int64)


def align_table(table: pd.DataFrame, rows: NDArray[np.int64]) -> pd.DataFrame:
    """Return the rows of a table in the order of the samples, missing values where ``rows`` is -1."""
    import pandas as pd

    if np.array_equal(rows, np.arange(len(table))):
        return table
    aligned = table.set_axis(pd.RangeIndex(len(table))).reindex(rows)
    return aligned.reset_index(drop=True)


def align_array(array: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[Any]:
    """Return the rows of an array in the order of the samples, NaN (zeros in whole numbers) where ``rows`` is -1."""
    if np.array_equal(rows, np.arange(len(array))):
        return array
    aligned = array[rows]
    if (rows < 0).any():
        aligned[rows < 0] = np.nan if array.dtype.kind == "f" else cast("Any", array.dtype.type())
    return aligned
