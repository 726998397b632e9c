"""Small data in every layout, and two ways to call the command line: in this process, and as a user's own."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from equipoise.cli.main import main
from equipoise.files import append_line

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1", "COLUMNS": "120"}
QUICK = ("--epochs", "2", "--device", "cpu")
"""Options of a run that only has to exist."""

SAMPLES = 60
CLASSES = ("a", "b", "c")


@dataclass(frozen=True)
class Answer:
    """What a command said and how it ended."""

    code: int
    out: str
    err: str

    def error(self) -> str:
        """The one sentence of a command that refused its input."""
        assert self.code == 2, self
        assert "Traceback" not in self.err
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        assert lines[0].startswith("error: ")
        return lines[0].removeprefix("error: ")


def call(*words: object) -> Answer:
    """Run a command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main([str(word) for word in words])
        except SystemExit as stopped:  # --help and --version
            code = int(stopped.code or 0)
    return Answer(code, out.getvalue(), err.getvalue())


def done(*words: object) -> str:
    """Run a command that must succeed in this process; return what it printed."""
    answer = call(*words)
    assert answer.code == 0, answer.err
    assert answer.err == ""
    return answer.out


def start(*words: object, cwd: Path | None = None) -> subprocess.Popen[str]:
    """Start a command as a process of its own."""
    command = [sys.executable, "-m", "equipoise.cli.main", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, cwd=cwd)


def finish(process: subprocess.Popen[str]) -> Answer:
    """Wait for a process."""
    out, err = process.communicate(timeout=120)
    return Answer(process.returncode, out, err)


def summary(run: Path) -> dict[str, Any]:
    """The summary of a run."""
    found: dict[str, Any] = json.loads((run / "summary.json").read_text())
    return found


def log(run: Path) -> list[dict[str, Any]]:
    """The lines of a run's log."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def same_end(first: Path, second: Path) -> None:
    """Check that two runs ended in the same place, bit for bit."""
    for name in ("model.safetensors", "metrics.jsonl"):
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    keys = ("test", "phases", "samples", "updates", "inert", "method", "data")
    assert {key: summary(first)[key] for key in keys} == {key: summary(second)[key] for key in keys}


@contextlib.contextmanager
def interrupted_after(epochs: int, number: int = signal.SIGINT) -> Iterator[None]:
    """Let this process receive a signal when some epochs of a run are logged, as if somebody pressed Ctrl-C."""
    count = 0

    def press(path: Path, value: dict[str, Any]) -> None:
        nonlocal count
        append_line(path, value)
        count += 1
        if count == epochs:
            signal.raise_signal(number)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("equipoise.training.observers.append_line", press)
        yield


def labels(samples: int = SAMPLES) -> list[str]:
    """The label of each sample."""
    return [CLASSES[number % len(CLASSES)] for number in range(samples)]


def ids(samples: int = SAMPLES) -> list[str]:
    """The id of each sample."""
    return [f"p{number:02}" for number in range(samples)]


def columns(prefix: str, width: int, signal: float, seed: int, samples: int = SAMPLES) -> pd.DataFrame:
    """A table whose first columns say the class."""
    noise = np.random.default_rng(seed).normal(size=(samples, width))
    noise[:, : len(CLASSES)] += signal * np.eye(len(CLASSES))[np.arange(samples) % len(CLASSES)]
    return pd.DataFrame(noise, columns=[f"{prefix}{number}" for number in range(width)])


def pictures(samples: int = SAMPLES) -> np.ndarray:
    """Pictures of 6 x 6 pixels whose brightness says the class."""
    noise = np.random.default_rng(3).normal(size=(samples, 6, 6))
    return (noise + (np.arange(samples) % len(CLASSES))[:, None, None]).astype(np.float32)


def write_folder(path: Path) -> Path:
    """A folder: labels, a csv and a parquet table joined by id (a third of the samples lack the latter), and pictures."""
    path.mkdir(parents=True)
    pd.DataFrame({"patient": ids(), "label": labels()}).to_csv(path / "labels.csv", index=False)
    blood = columns("b", 4, 3.0, 1)
    blood.insert(0, "patient", ids())
    blood.iloc[::-1].to_csv(path / "blood.csv", index=False)
    genes = columns("g", 5, 2.0, 2)
    genes.insert(0, "patient", ids())
    genes.iloc[: 2 * SAMPLES // 3].to_parquet(path / "genes.parquet", index=False)
    np.save(path / "scan.npy", pictures())
    return path


def write_table(path: Path, **more: Any) -> Path:
    """One wide table whose column prefixes are the modalities."""
    parts = [columns("blood_", 4, 3.0, 1), columns("genes_", 5, 2.0, 2), pd.DataFrame({"label": labels(), **more})]
    pd.concat(parts, axis=1).to_csv(path, index=False)
    return path


def write_archive(path: Path) -> Path:
    """One npz file of arrays of different shapes."""
    np.savez(path, blood=columns("b", 4, 3.0, 1).to_numpy(), scan=pictures(), label=np.array(labels()))
    return path


def mapping() -> dict[str, Any]:
    """Data in memory: a table, an array and a tensor."""
    return {"blood": columns("b", 4, 3.0, 1), "scan": pictures(), "wave": torch.from_numpy(pictures().reshape(SAMPLES, 36))}
