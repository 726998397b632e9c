"""Preparing one table: imputation, selection, standardisation and one-hot codes, fitted on training rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from equipoise.config import PreprocessingOptions
from equipoise.data.columns import few
from equipoise.data.named_rows import NamedRows
from equipoise.data.rows import CHUNK, MappedRows, Rows
from equipoise.data.schema import Modality
from equipoise.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

MOST_CATEGORIES = 1000


@dataclass(frozen=True, eq=False)
class TablePreparation:
    """What is done to the columns of one table.

    Attributes:
        columns: Raw columns, in order.
        numeric: Those numeric columns that are kept, in order.
        fill: Value for missing entries of each kept numeric column, float64 of shape (kept,).
        mean: What is subtracted from each.
        scale: What each is divided by.
        clip: Largest absolute value after that; None for no limit.
        categories: Per kept categorical column the categories of the training part, in the order of their outputs.
            A missing or unknown category is all zeros.
        constant: Columns that were dropped because they have one value in the training part.
        unselected: Columns that were dropped because others vary more.
    """

    columns: tuple[str, ...]
    numeric: tuple[str, ...]
    fill: NDArray[np.float64]
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    clip: float | None
    categories: dict[str, tuple[str, ...]]
    constant: tuple[str, ...]
    unselected: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one prepared sample."""
        return (len(self.numeric) + sum(map(len, self.categories.values())),)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Name of each prepared column."""
        return (*self.numeric, *(f"{column}={name}" for column, names in self.categories.items() for name in names))

    @classmethod
    def fit(cls, modality: Modality, value: Rows, present: NDArray[np.bool_], options: PreprocessingOptions) -> TablePreparation:
        """Fit on those training rows that are present.

        Args:
            modality: Description of the table.
            value: Training rows.
            present: Which of them have the modality, of shape (samples,).
            options: What to do.

        Raises:
            DataError: Every column is constant, or a categorical column has too many categories.
        """
        names = np.array([name for name in modality.columns if name not in modality.categorical], dtype=object)
        statistics = [_statistics(block, options) for block in _column_blocks(value, names, modality.columns, present)]
        fill, mean, deviation, variance, constant = (
            np.concatenate([part[i] for part in statistics]) if statistics else np.zeros(0) for i in range(5)
        )
        varies = constant == 0
        selected = varies.copy()
        if options.top_variance is not None and varies.sum() > options.top_variance:
            order = np.argsort(-np.where(varies, variance, -1.0), kind="stable")
            selected[order[options.top_variance :]] = False
        categories, single = _categories(modality, value, present)
        if not selected.any() and not categories:
            raise DataError(f"modality {modality.name!r}: every column is constant in the training part: {few(modality.columns)}")
        standard = options.standardize
        return cls(
            columns=modality.columns,
            numeric=tuple(names[selected]),
            fill=fill[selected],
            mean=mean[selected] if standard else np.zeros(int(selected.sum())),
            scale=deviation[selected] if standard else np.ones(int(selected.sum())),
            clip=options.clip if standard else None,
            categories=categories,
            constant=(*names[~varies], *single),
            unselected=tuple(names[varies & ~selected]),
        )

    def transform(self, raw: pd.DataFrame | NDArray[Any]) -> NDArray[np.float32]:
        """Prepare raw rows.

        Args:
            raw: Rows with the raw columns, of shape (samples, raw columns).

        Returns:
            Prepared rows of shape (samples, prepared columns).
        """
        import pandas as pd

        numbers = _numbers(raw, self.numeric, self.columns)
        missing = np.isnan(numbers)
        if missing.any():
            numbers = np.where(missing, self.fill, numbers)
        numbers = (numbers - self.mean) / self.scale
        if self.clip is not None:
            numbers = np.clip(numbers, -self.clip, self.clip)
        prepared = np.zeros((len(raw), *self.shape), dtype=np.float32)
        prepared[:, : len(self.numeric)] = numbers
        first = len(self.numeric)
        for column, names in self.categories.items():
            codes = pd.Index(np.array(names, dtype=object)).get_indexer(cast("pd.DataFrame", raw)[column].to_numpy(dtype=object))
            rows = np.flatnonzero(codes >= 0)
            prepared[rows, first + codes[rows]] = 1.0
            first += len(names)
        return prepared

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON data; floats keep all their digits."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in values.items()}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> TablePreparation:
        """Rebuild from :meth:`to_json`'s data."""
        return cls(
            columns=tuple(value["columns"]),
            numeric=tuple(value["numeric"]),
            fill=np.array(value["fill"], dtype=np.float64),
            mean=np.array(value["mean"], dtype=np.float64),
            scale=np.array(value["scale"], dtype=np.float64),
            clip=value["clip"],
            categories={column: tuple(names) for column, names in value["categories"].items()},
            constant=tuple(value["constant"]),
            unselected=tuple(value["unselected"]),
        )


def _numbers(raw: pd.DataFrame | NDArray[Any], names: tuple[str, ...], columns: tuple[str, ...]) -> NDArray[np.float64]:
    """The named numeric columns as float64 of shape (samples, named)."""
    if isinstance(raw, np.ndarray):
        if names == columns:
            return raw.astype(np.float64)
        where = {name: position for position, name in enumerate(columns)}
        return raw[:, [where[name] for name in names]].astype(np.float64)
    return raw[list(names)].to_numpy(dtype=np.float64)


def _column_blocks(
    value: Rows, names: NDArray[Any], columns: tuple[str, ...], present: NDArray[np.bool_]
) -> Iterator[NDArray[np.float64]]:
    """Numeric columns of the present rows, as many at a time as fit in memory."""
    step = max(1, 4 * CHUNK // max(1, len(value)))
    rows = np.flatnonzero(present)
    if isinstance(value, NamedRows):
        yield from (block.astype(np.float64) for block in value.column_blocks(rows, step))
        return
    for start in range(0, len(names), step):
        part = slice(start, start + step)
        if isinstance(value, MappedRows):
            yield value.read(rows, part).astype(np.float64)
        elif isinstance(value, np.ndarray):
            yield value[rows, part].astype(np.float64)
        else:
            yield _numbers(cast("pd.DataFrame", value)[list(names[part])], tuple(names[part]), columns)[rows]


def _statistics(block: NDArray[np.float64], options: PreprocessingOptions) -> tuple[NDArray[np.float64], ...]:
    """Per column: the fill value, mean and deviation after filling, raw variance, and whether it is constant."""
    missing = np.isnan(block)
    observed = (~missing).sum(axis=0)
    gaps = bool(missing.any())
    if options.impute == "zero":
        fill = np.zeros(block.shape[1])
    elif options.impute == "mean":
        fill = np.nansum(block, axis=0) / np.maximum(observed, 1)
    elif not gaps:
        fill = np.median(block, axis=0)
    else:
        # only columns with any value have a median; the others are constant and dropped
        fill = np.zeros(block.shape[1])
        fill[observed > 0] = np.nanmedian(block[:, observed > 0], axis=0)
    raw_mean = np.nansum(block, axis=0) / np.maximum(observed, 1)
    variance = np.nansum((block - raw_mean) ** 2, axis=0) / np.maximum(observed, 1)
    filled = np.where(missing, fill, block) if gaps else block
    constant = filled.min(axis=0) == filled.max(axis=0)
    deviation = filled.std(axis=0)
    return fill, filled.mean(axis=0), np.where(deviation > 0, deviation, 1.0), variance, constant.astype(np.float64)


def _categories(modality: Modality, value: Rows, present: NDArray[np.bool_]) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """Categories of each categorical column, and the columns that have one value only."""
    kept: dict[str, tuple[str, ...]] = {}
    single = []
    for column in modality.categorical:
        series = cast("pd.DataFrame", value)[column][present]
        names = sorted(str(name) for name in series.dropna().unique())
        if len(names) > MOST_CATEGORIES:
            raise DataError(
                f"modality {modality.name!r}: column {column!r} has {len(names)} different words in the training part, "
                f"expected at most {MOST_CATEGORIES} categories; make it a modality of its own with kind: text, or leave it out"
            )
        if len(names) + int(series.isna().any()) < 2:
            single.append(column)
        else:
            kept[column] = tuple(names)
    return kept, single
