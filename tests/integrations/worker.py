"""Trains by a Balancer and writes the weights: run alone, or by torchrun in several processes that share each batch."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
from torch import Tensor

from tests.contract.harness import toy_part
from tests.integrations.harness import Ours, described

METHODS = ("joint", "ogm", "agm", "mla", "mmpareto", "modality_dropout", "pmr")


def train(method: str) -> dict[str, Tensor]:
    """Train on this process's share of each batch."""
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    # Weights of the other processes are replaced by those of the first.
    ours = Ours(described(method), "sgd", part=toy_part(signal=1.0, missing=0.2), seed=rank)

    def step(inputs: dict[str, Tensor], target: Tensor, present: dict[str, Tensor], index: Tensor) -> None:
        rows = torch.arange(len(target)).tensor_split(world)[rank]
        share = [{name: value[rows] for name, value in values.items()} for values in (inputs, present)]
        ours.balancer.step(share[0], target[rows], present=share[1], index=index[rows])

    return ours.fit(step=step).state


if __name__ == "__main__":
    torch.set_num_threads(1)
    found = {method: train(method) for method in METHODS}
    torch.save(found, Path(sys.argv[1]) / f"{os.environ.get('RANK', '0')}.pt")
    torch.distributed.destroy_process_group()
