"""Runs that several tests look into, trained once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import equipoise
from equipoise.diagnosis.material import Material, gather
from equipoise.run import Run

QUICK: dict[str, Any] = {"device": "cpu", "progress": False, "threads": 1}


def arrays(samples: int = 240, modalities: int = 3, missing: float = 0.3) -> tuple[dict[str, NDArray[Any]], NDArray[np.int64]]:
    """Modalities that tell less and less about one of three classes, each missing from some samples."""
    rng = np.random.default_rng(0)
    target = rng.integers(0, 3, samples)
    found: dict[str, NDArray[Any]] = {}
    for number in range(modalities):
        values = rng.standard_normal((samples, 4)) + np.eye(4)[target] * 4 / (number + 1)
        absent = rng.random(samples) < missing * (number > 0)
        found[f"m{number}"] = np.where(absent[:, None], np.nan, values).astype(np.float32)
    return found, target


@pytest.fixture(scope="session", params=["concat", "gated"])
def fused_run(request: pytest.FixtureRequest) -> Run:
    """A run with missing modalities, whose fusion is a sum of parts or is not."""
    data, target = arrays()
    return equipoise.fit(data, target=target, fusion=request.param, encoder="mlp", epochs=5, **QUICK)


@pytest.fixture(scope="session")
def material(fused_run: Run) -> Material:
    """What that run says."""
    data, target = arrays()
    return gather(fused_run, fused_run.predictor.read(data, labelled=True, target=target))
