"""Phases that runs on one fold have in common, kept by content so that each is trained once."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from equipoise.training.selection import copy_state

LIMIT = 256 * 2**20
"""Bytes of tensors that are kept at most; what was used longest ago goes first."""


@dataclass(frozen=True, eq=False)
class TrainedPhase:
    """A phase as it ended.

    Attributes:
        payload: What a checkpoint at its end would hold, on the CPU.
        lines: Its lines of the log.
        seconds: What it took to train.
    """

    payload: dict[str, Any]
    lines: list[dict[str, Any]]
    seconds: float


class PhaseMemory:
    """Trained phases by the digest of all they followed from.

    Example:
        >>> memory = PhaseMemory(limit=8)
        >>> for name in ("first", "second"):
        ...     memory.keep(name, TrainedPhase({"model": torch.zeros(2)}, [], 1.0))
        >>> memory.find("first") is None, memory.find("second").seconds
        (True, 1.0)
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._kept: OrderedDict[str, TrainedPhase] = OrderedDict()
        self._sizes: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, key: str) -> TrainedPhase | None:
        """Return a copy of a phase, or None if it is not kept."""
        if key not in self._kept:
            return None
        self._kept.move_to_end(key)
        found = self._kept[key]
        return TrainedPhase(copy_state(found.payload), copy_state(found.lines), found.seconds)

    def keep(self, key: str, phase: TrainedPhase) -> None:
        """Keep a copy of a phase; others make room for it."""
        phase = TrainedPhase(copy_state(phase.payload, torch.device("cpu")), copy_state(phase.lines), phase.seconds)
        self._kept[key] = phase
        tensors = [value for value in _leaves(phase.payload) if isinstance(value, Tensor)]
        self._sizes[key] = sum(value.numel() * value.element_size() for value in tensors)
        while self._kept and sum(self._sizes.values()) > self._limit:
            oldest, _ = self._kept.popitem(last=False)
            del self._sizes[oldest]


def digest(value: Any) -> str:
    """Return a hash of nested dictionaries and lists of tensors, numbers and text: equal where all of them are, bit for bit.

    Example:
        >>> one, two = ({"weight": torch.ones(2), "step": step} for step in (1, 2))
        >>> digest(one) == digest(dict(one)), digest(one) == digest(two)
        (True, False)
    """
    found = hashlib.sha256()
    for leaf in _leaves(value):
        if isinstance(leaf, Tensor):
            plain = leaf.detach().cpu().contiguous()
            found.update(f"{plain.dtype} {tuple(plain.shape)}".encode())
            found.update(plain.reshape(-1).view(torch.uint8).numpy().data)
        else:
            found.update(json.dumps(leaf, default=str).encode())
    return found.hexdigest()


def _leaves(value: Any) -> Iterator[Any]:
    """Yield what is in nested containers, and between it what tells where it stands."""
    if isinstance(value, dict):
        yield len(value)
        for key in value:
            yield str(key)
            yield from _leaves(value[key])
    elif isinstance(value, (list, tuple)):
        yield len(value)
        for item in value:
            yield from _leaves(item)
    else:
        yield value
