"""What every method must do with every task: learn what is easy, or say on its card that it is not for it."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from equipoise.data.loader import MemoryPart
from equipoise.data.schema import CLASSES, TASKS
from equipoise.errors import ConfigError
from equipoise.methods.base import make_method
from equipoise.run import fit
from equipoise.tasks import make_task
from equipoise.training.selection import validate
from tests.contract.harness import brisk, train_toy

KINDS = 3


def easy_part(kind: str, samples: int = 60, seed: int = 0, *, missing: float = 0.0) -> MemoryPart:
    """Two hidden numbers, which both modalities show with some noise and which set the target."""
    random = torch.Generator().manual_seed(seed)
    hidden = torch.randn(samples, 2, generator=random)
    inputs, present = {}, {}
    for number, name in enumerate(("alpha", "beta")):
        width = 4 - number
        noise = torch.randn(samples, width, generator=random) * 0.3 * (1 + number)
        inputs[name] = torch.nn.functional.pad(2 * hidden, (0, width - 2)) + noise
        present[name] = torch.rand(samples, generator=random) >= missing
    present["alpha"] |= ~present["beta"]
    for name, mask in present.items():
        inputs[name][~mask] = math.nan
    target = {
        "regression": 100 + 50 * hidden.double(),
        "multilabel": (hidden > 0).float(),
    }.get(kind, (hidden[:, 0] > -0.5).long() + (hidden[:, 0] > 0.5).long())
    return MemoryPart(inputs, present, target)


@pytest.mark.parametrize("kind", [task for task in TASKS if task != "classification"])
def test_beats_a_constant_prediction_or_refuses(name: str, kind: str) -> None:
    card = make_method({"name": name}).card
    if kind not in card.tasks:
        data = {"a": torch.randn(30, 2), "b": torch.randn(30, 2)}
        target = torch.rand(30, 2) if kind == "regression" else torch.arange(60).view(2, 30).T % 2
        with pytest.raises(ConfigError, match=f"^method .* is for .*, the task of the data is {kind}; methods for it: .*joint"):
            fit(data, target=target, task=kind, method=name, progress=False)
        return
    train, validation = easy_part(kind, missing=0.1), easy_part(kind, 40, 1, missing=0.1)
    assert train.target is not None
    task = make_task(kind, KINDS if kind in CLASSES else 2, train.target)
    settings: dict[str, Any] = {"train": train, "validation": validation, "task": task, "epochs": 9, "learning_rate": 2e-2}
    run = train_toy(name, brisk(name), **settings)
    assert all(math.isfinite(value) for line in run.lines for value in line["losses"].values())
    found = validate(run.ctx, run.predictor)
    assert set(found) == {"fused", "alpha", "beta"}
    assert validation.target is not None
    (constant,) = task.metrics(torch.zeros(1, 40, task.outputs), validation.target)
    assert found["fused"]["loss"] < 0.9 * constant["loss"]
    assert found["fused"][task.main_metric] > 0.4
