"""Raw, aligned samples of all modalities in memory (or memory-mapped), before any preprocessing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from equipoise.data.rows import Rows, take_rows
from equipoise.data.schema import Schema

Target: TypeAlias = NDArray[np.int64] | NDArray[np.float32] | NDArray[np.float64]
"""Class codes of shape (samples,), or labels or numbers of shape (samples, outputs)."""


def known(target: NDArray[np.integer] | NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return which samples have a known target, of shape (samples,).

    Example:
        >>> known(np.array([1, -1])).tolist(), known(np.array([[0.0, np.nan], [1.0, 0.0]])).tolist()
        ([True, False], [False, True])
    """
    found: NDArray[np.bool_] = ~np.isnan(target).any(axis=1) if target.ndim > 1 else target >= 0
    return found


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Samples of several modalities, row by row: row ``i`` of everything is the same sample.

    Attributes:
        schema: What the data consist of.
        ids: Sample ids, strings of shape (samples,).
        inputs: Per modality the raw rows: a DataFrame (kinds ``tabular`` and ``text``), an array of shape (samples, *shape), or
            :class:`~equipoise.data.rows.MappedRows` where the array stays on disk. Rows of absent samples hold a
            placeholder that nothing may read.
        present: Per modality which samples have it, booleans of shape (samples,).
        target: Class codes, int64 of shape (samples,), -1 where the label is unknown; labels (0 or 1, float32) or numbers
            (float64) of shape (samples, outputs), NaN where one is unknown; None without a target.
        split: ``train``, ``validation`` or ``test`` per sample where the data state a split, else None.
        group: Group of each sample (strings) where the data state one, else None.
    """

    schema: Schema
    ids: NDArray[np.str_]
    inputs: Mapping[str, Rows]
    present: Mapping[str, NDArray[np.bool_]]
    target: Target | None = None
    split: NDArray[np.str_] | None = None
    group: NDArray[np.str_] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """Which samples have a known target, of shape (samples,); of several outputs all must be known."""
        return np.zeros(len(self), dtype=bool) if self.target is None else known(self.target)

    def subset(self, rows: NDArray[np.int64]) -> Dataset:
        """Return the samples ``rows`` as a data set of its own that holds no other sample.

        Args:
            rows: Row numbers, of shape (chosen,).

        Returns:
            A data set with copies of these rows (a view by row number for arrays that stay on disk).
        """
        return replace(
            self,
            schema=replace(
                self.schema,
                samples=len(rows),
                modalities=tuple(
                    replace(modality, present=int(self.present[modality.name][rows].sum())) for modality in self.schema.modalities
                ),
            ),
            ids=self.ids[rows],
            inputs={name: take_rows(value, rows) for name, value in self.inputs.items()},
            present={name: mask[rows] for name, mask in self.present.items()},
            target=None if self.target is None else self.target[rows],
            split=None if self.split is None else self.split[rows],
            group=None if self.group is None else self.group[rows],
        )
