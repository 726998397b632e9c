"""What every test relies on: the same random numbers each time, one CPU thread, and the real data where they are."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).parents[1]

torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a GPU where there is none."""
    if torch.cuda.is_available():
        return
    skip = pytest.mark.skip(reason="needs a CUDA device")
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(autouse=True, scope="session")
def decoded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep decoded media files out of the cache of whoever runs the tests."""
    folder = tmp_path_factory.mktemp("decoded")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EQUIPOISE_CACHE", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def seed() -> int:
    """Seed every source of random numbers; the seed is returned for tests that want it."""
    value = 0
    random.seed(value)
    np.random.seed(value)  # noqa: NPY002 - libraries under test may draw from the global generator
    torch.manual_seed(value)
    return value


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets: ``EQUIPOISE_DATA``, or ``shared/data`` beside the repository."""
    folder = Path(os.environ.get("EQUIPOISE_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"the real data sets are not in {folder}; set EQUIPOISE_DATA to their folder")
    return folder
