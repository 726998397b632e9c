"""``torchrun`` with two processes writes one run, equal to that of one process up to rounding."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.harness import ENVIRONMENT, done, log, summary

OPTIONS = ("--method", "ogm", "--epochs", "3", "--batch-size", "16", "--device", "cpu")


def test_two_processes_write_one_run(study: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    words = ["-m", "equipoise.cli.main", "fit", str(study), *OPTIONS, "--out", str(tmp_path / "two")]
    answer = subprocess.run([*command, *words], capture_output=True, text=True, env=ENVIRONMENT, timeout=120, check=False)
    assert answer.returncode == 0, answer.stderr[-3000:]
    assert answer.stdout.count("ogm on study") == 1
    assert answer.stderr == ""
    done("fit", study, *OPTIONS, "--out", tmp_path / "one")
    one, two = tmp_path / "one", tmp_path / "two"
    assert sorted(path.name for path in one.iterdir()) == sorted(path.name for path in two.iterdir())
    assert summary(two)["hardware"]["processes"] == 2
    assert summary(two)["updates"] == summary(one)["updates"]
    for mine, theirs in zip(log(one), log(two), strict=True):
        assert theirs["losses"] == pytest.approx(mine["losses"], rel=1e-4)
        assert theirs["coefficients"] == pytest.approx(mine["coefficients"], rel=1e-4)
    for name, values in summary(one)["test"].items():
        assert summary(two)["test"][name] == pytest.approx(values, rel=1e-3, abs=1e-4)
