"""Two processes give the weights of one, for every method, with AdamW and weight decay, with missing modalities."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from equipoise.methods.base import METHODS
from tests.contract.harness import assert_close
from tests.distributed.worker import SETTINGS, run

ROOT = Path(__file__).parents[2]


def launch(folder: Path) -> list[dict[str, Any]]:
    """Train everything in two processes by one launch; return what each found."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]), "OMP_NUM_THREADS": "1"}
    environment.pop("WORLD_SIZE", None)
    done = subprocess.run(
        [*command, "-m", "tests.distributed.worker", str(folder)],
        capture_output=True,
        text=True,
        timeout=300,
        env=environment,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


def test_two_processes_give_the_weights_of_one_and_agree_bit_for_bit(tmp_path: Path) -> None:
    first, second = launch(tmp_path)
    wrong = []
    for name in METHODS.names():
        for setting in SETTINGS:
            alone, both, other = run(name, setting), first[f"{name} {setting}"], second[f"{name} {setting}"]
            assert both["world"] == other["world"] == 2
            assert all(torch.equal(value, other["last"][key]) for key, value in both["last"].items())
            assert [line["validation"] for line in both["lines"]] == [line["validation"] for line in other["lines"]]
            assert name != "joint" or both["passes"] == other["passes"] == alone.passes
            try:
                assert len(both["lines"]) == len(alone.lines)
                assert_close(both["last"], alone.last, rtol=1e-6, atol=1e-8)
                for mine, theirs in zip(alone.lines, both["lines"], strict=True):
                    assert theirs["losses"] == pytest.approx(mine["losses"], rel=1e-6, abs=1e-8)
                    assert theirs["validation"]["fused"]["loss"] == pytest.approx(mine["validation"]["fused"]["loss"], rel=1e-6)
            except AssertionError as error:
                wrong.append(f"{name} in setting {setting}: {str(error)[:300]}")
    assert not wrong, "\n".join(wrong)
