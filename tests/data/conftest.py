"""Small data sets that the tests of reading share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from equipoise.data.dataset import Dataset
from equipoise.data.sources import open_dataset


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of 12 samples: a csv table with a categorical column, a parquet table that lacks two samples, and an npy image."""
    rng = np.random.default_rng(0)
    path = tmp_path / "study"
    path.mkdir()
    ids = [f"p{number:02}" for number in range(12)]
    pd.DataFrame({"patient": ids, "stage": ["x", "y", "z"] * 4, "label": ["b", "a"] * 6, "site": ["s"] * 12}).to_csv(
        path / "labels.csv", index=False
    )
    blood = pd.DataFrame({"patient": ids, "age": rng.normal(size=12), "sex": ["f", "m", "f"] * 4, "score": range(12)})
    blood.iloc[::-1].to_csv(path / "blood.csv", index=False)
    genes = pd.DataFrame(rng.normal(size=(12, 3)), columns=["g1", "g2", "g3"])
    genes.insert(0, "patient", ids)
    genes.iloc[:10].sample(frac=1, random_state=1).to_parquet(path / "genes.parquet", index=False)
    np.save(path / "scan.npy", rng.normal(size=(12, 5, 6)).astype(np.float32))
    return path


@pytest.fixture
def edit() -> Callable[..., None]:
    """Change one cell of a csv file as text: ``edit(path, row, column, value)``."""

    def change(path: Path, row: int, column: str, value: str) -> None:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        table.loc[row, column] = value
        table.to_csv(path, index=False)

    return change


@pytest.fixture
def make() -> Callable[..., Dataset]:
    """Make a data set in memory of given labels and further columns."""

    def build(labels: list[Any], **columns: Any) -> Dataset:
        rng = np.random.default_rng(1)
        return open_dataset(
            {"a": rng.normal(size=(len(labels), 3)), "b": rng.normal(size=(len(labels), 2)), "label": labels, **columns}
        )

    return build
