"""Checkpoints: everything a run needs to go on as if it had never stopped, in one file that cannot run code."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from equipoise.errors import RunError
from equipoise.files import write_atomic

FORMAT = 2


def save_checkpoint(path: Path, payload: dict[str, Any]) -> None:
    """Write a checkpoint; the previous one stays until the new one is whole.

    Raises:
        RunError: The file cannot be written.
    """
    write_atomic(path, lambda temporary: torch.save({"format": FORMAT, **payload}, temporary))


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint.

    Raises:
        RunError: There is none, it is damaged, or it comes from a newer version.
    """
    if not path.is_file():
        raise RunError(f"{path}: there is no checkpoint to resume from")
    try:
        payload: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen kinds for a damaged file
        raise RunError(f"{path}: the checkpoint is damaged or not a checkpoint ({type(error).__name__})") from error
    if not isinstance(payload, dict) or payload.get("format") != FORMAT:
        found = payload.get("format") if isinstance(payload, dict) else type(payload).__name__
        raise RunError(f"{path}: checkpoint format {found!r} is not known to this version, expected {FORMAT}")
    return payload


def random_states() -> dict[str, Any]:
    """Return the states of all random generators of this process."""
    kind, keys, place, has_gauss, gauss = np.random.get_state(legacy=True)  # noqa: NPY002 - the state that users' own code may use
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [str(kind), torch.from_numpy(np.asarray(keys).astype(np.int64)), int(place), int(has_gauss), float(gauss)],
        "python": random.getstate(),
    }


def restore_random_states(states: dict[str, Any]) -> None:
    """Set the states of all random generators of this process."""
    torch.set_rng_state(states["torch"])
    if states["cuda"] and len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])
    kind, keys, place, has_gauss, gauss = states["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), place, has_gauss, gauss))  # noqa: NPY002 - as above
    version, numbers, gauss_next = states["python"]
    random.setstate((version, tuple(numbers), gauss_next))


@contextmanager
def random_states_kept() -> Iterator[None]:
    """Leave the random generators of this process as they were: training seeds them, and what comes after it is the caller's."""
    states = random_states()
    try:
        yield
    finally:
        restore_random_states(states)
