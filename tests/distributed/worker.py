"""Trains every registered method in a few settings and writes what came out: run alone, or by torchrun in several processes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from equipoise.data.loader import MemoryPart
from equipoise.methods.base import METHODS
from equipoise.tasks import Classification
from tests.contract.harness import CLASSES, NAMES, Trained, brisk, toy_part, train_toy

# Samples do not divide evenly into batches, nor batches into processes.
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {"train": {"samples": 71}},
    # So few samples have a modality that a process often has a batch without it.
    "scarce": {
        "train": {"samples": 71, "missing": 0.8},
        "class_weights": [0.5, 1.0, 2.5],
        "batch_size": 11,
        "epochs": 2,
        "clip_norm": 1.0,
    },
    # Shares of one batch of unequal size, cut into as many parts as the smaller one has samples.
    "parts": {"train": {"samples": 23, "missing": 0.3}, "class_weights": [0.5, 1.0, 2.5], "batch_size": 5, "accumulate": 8},
    "momentum": {"train": {"samples": 37, "missing": 0.3}, "optimizer": "sgd", "batch_size": 13},
}


def run(name: str, setting: str) -> Trained:
    """Train one method in one setting, in double precision: rounding, which Adam amplifies, cannot hide a mistake."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        return _run(name, setting)
    finally:
        torch.set_default_dtype(before)


def _double(part: MemoryPart) -> MemoryPart:
    return MemoryPart({name: value.double() for name, value in part.inputs.items()}, part.present, part.target)


def _run(name: str, setting: str) -> Trained:
    options = {"optimizer": "adamw", "weight_decay": 0.1, "learning_rate": 2e-3, **SETTINGS[setting]}
    weights = options.pop("class_weights", None)
    part = options.pop("train")
    return train_toy(
        name,
        brisk(name),
        train=_double(toy_part(signal=1.0, names=NAMES[:3], **part)),
        validation=_double(toy_part(41, 1, signal=1.0, missing=0.2)),
        task=Classification(CLASSES, weights),
        checkpoint_seconds=1e9,
        **options,
    )


def results() -> dict[str, Any]:
    """Train every method in every setting."""
    found = {}
    for name in METHODS.names():
        for setting in SETTINGS:
            trained = run(name, setting)
            found[f"{name} {setting}"] = {"world": trained.ctx.runtime.world, "last": trained.last, "lines": trained.lines}
            found[f"{name} {setting}"]["passes"] = trained.passes
    return found


def main() -> None:
    """Write the results of this process to the folder that the command line names."""
    torch.set_num_threads(1)
    found = results()
    torch.save(found, Path(sys.argv[1]) / f"{dist.get_rank()}.pt")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
