"""Checkpoints: whole or refused, and never code."""

from __future__ import annotations

import os
import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from equipoise.errors import RunError
from equipoise.training.checkpoint import (
    FORMAT,
    load_checkpoint,
    random_states,
    restore_random_states,
    save_checkpoint,
)


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "checkpoint.pt"
    payload: dict[str, Any] = {"model": {"w": torch.randn(3)}, "position": [1, 2, 3], "none": None, "text": "a", "number": 0.5}
    save_checkpoint(path, payload)
    found = load_checkpoint(path)
    assert found.pop("format") == FORMAT
    assert torch.equal(found.pop("model")["w"], payload.pop("model")["w"])
    assert found == payload
    save_checkpoint(path, {"number": 2})
    assert load_checkpoint(path)["number"] == 2
    assert os.listdir(path.parent) == ["checkpoint.pt"]


def test_a_failed_write_leaves_the_last_one(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"number": 1})
    with pytest.raises(Exception, match=r"pickle|local"):
        save_checkpoint(path, {"number": lambda: None})
    assert load_checkpoint(path)["number"] == 1
    assert os.listdir(tmp_path) == ["checkpoint.pt"]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path: Path, share: float) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"model": {"w": torch.randn(100)}})
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(RunError, match=r"checkpoint\.pt: the checkpoint is damaged or not a checkpoint"):
        load_checkpoint(path)


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    torch.save({"format": FORMAT + 1, "model": {}}, path)
    with pytest.raises(RunError, match=f"format {FORMAT + 1} is not known to this version, expected {FORMAT}"):
        load_checkpoint(path)
    torch.save([1, 2], path)
    with pytest.raises(RunError, match="format 'list' is not known"):
        load_checkpoint(path)
    with pytest.raises(RunError, match="there is no checkpoint"):
        load_checkpoint(tmp_path / "other.pt")


class Code:
    """Runs a command when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {self.path}",)


def test_code_in_a_checkpoint_does_not_run(tmp_path: Path) -> None:
    path, trace = tmp_path / "checkpoint.pt", tmp_path / "ran"
    with path.open("wb") as file:
        pickle.dump({"format": FORMAT, "code": Code(trace)}, file)
    with pytest.raises(RunError, match="damaged or not a checkpoint"):
        load_checkpoint(path)
    torch.save({"format": FORMAT, "code": Code(trace)}, path)
    with pytest.raises(RunError, match="damaged or not a checkpoint"):
        load_checkpoint(path)
    assert not trace.exists()


def test_random_states_of_all_generators_come_back(tmp_path: Path) -> None:
    def draw() -> list[float]:
        return [random.random(), random.gauss(0, 1), float(np.random.rand()), float(np.random.randn()), float(torch.rand(1))]  # noqa: NPY002

    draw()  # leaves half a pair of normal numbers in the generators
    save_checkpoint(tmp_path / "states.pt", random_states())
    expected = [draw() for _ in range(3)]
    draw()
    restore_random_states(load_checkpoint(tmp_path / "states.pt"))
    assert [draw() for _ in range(3)] == expected
