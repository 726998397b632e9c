"""What happens when what a command says cannot be written, or when it needs more memory than there is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from tests.end_to_end.harness import ENVIRONMENT, call


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device that is always full is one of Linux")
@pytest.mark.parametrize("words", [["data", "list"], ["data", "describe", "wisconsin"], ["methods", "--markdown"]])
def test_a_full_disk_behind_the_output(words: list[str]) -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "equipoise.cli.main", *words]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
    assert (done.returncode, done.stderr) == (2, "error: the output cannot be written: the disk is full\n")


def test_too_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> NoReturn:
        raise MemoryError("Unable to allocate 8.88 PiB for an array")

    monkeypatch.setattr("equipoise.run.prepare", full)
    found = call("fit", "wisconsin", "--out", tmp_path / "run").error()
    assert found == "there is not enough memory: Unable to allocate 8.88 PiB for an array"
    assert not (tmp_path / "run").exists()
