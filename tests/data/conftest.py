"""Small data sets that the tests of reading share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
from PIL import Image

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


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own for decoded media files."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("EQUIPOISE_CACHE", str(folder))
    return folder


@pytest.fixture
def media(tmp_path: Path) -> Path:
    """A folder of 24 sounds and pictures of three classes that both tell apart, and ``manifest.csv``; some samples lack one."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "clips"
    for name in ("audio", "picture"):
        (folder / name).mkdir(parents=True)
    rows = []
    for number in range(24):
        kind, rate = number % 3, (8000, 16000)[number % 2]
        time = np.arange(rate // 4) / rate
        tone = 0.3 * np.sin(2 * np.pi * 400 * (kind + 1) * time) + 0.02 * rng.normal(size=len(time))
        picture = rng.integers(0, 60, (12, 15, 3), dtype=np.uint8)
        picture[:, 5 * kind : 5 * kind + 4] += 150
        sound, image = f"audio/c{number}.wav", f"picture/c{number}.png"
        if number % 8 != 1:
            soundfile.write(folder / sound, tone, rate)
        if number % 8 != 2:
            Image.fromarray(picture).save(folder / image)
        rows.append(
            (f"c{number}", sound if number % 8 != 1 else "", image if number % 8 != 2 else "", ["low", "middle", "high"][kind])
        )
    pd.DataFrame(rows, columns=["id", "sound", "picture", "label"]).to_csv(folder / "manifest.csv", index=False)
    return folder
