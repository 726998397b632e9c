"""An encoder of one's own by import path, as a user of the shell would use it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.end_to_end.harness import ENVIRONMENT, call, write_folder

NET = """
from pathlib import Path
from torch import nn

Path(__file__).with_suffix(".seen").touch()

class Pool(nn.Module):
    def __init__(self, shape, feature_size, *, width=8):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(shape[1], width), nn.ReLU(), nn.Linear(width, feature_size))

    def forward(self, picture):
        return self.layers(picture.mean(-1).flatten(1))
"""


def shell(folder: Path, *words: object) -> str:
    """Run a command that must succeed, where the code of the user can be imported."""
    command = [sys.executable, "-m", "equipoise.cli.main", *map(str, words)]
    path = os.pathsep.join((ENVIRONMENT["PYTHONPATH"], str(folder / "code")))
    done = subprocess.run(
        command, capture_output=True, text=True, env={**ENVIRONMENT, "PYTHONPATH": path}, cwd=folder, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_encoder_by_import_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "code" / "a_nets").mkdir(parents=True)
    (tmp_path / "code" / "a_nets" / "pool.py").write_text(NET)
    seen = tmp_path / "code" / "a_nets" / "pool.seen"
    data, run = write_folder(tmp_path / "study"), tmp_path / "run"
    (tmp_path / "fit.yaml").write_text("encoder: {scan: {name: a_nets.pool.Pool, width: 4}}\nepochs: 2\ndevice: cpu\n")

    shell(tmp_path, "fit", data, "--config", "fit.yaml", "--encoder.scan.learning_rate", "1e-2", "--out", run)
    config = json.loads((run / "config.json").read_text())
    assert config["encoders"]["scan"] == {"name": "a_nets.pool.Pool", "width": 4, "learning_rate": "1e-2"}
    seen.unlink()

    monkeypatch.syspath_prepend(str(tmp_path / "code"))
    out = ("--out", tmp_path / "p.csv")
    commands = (
        ("predict", run, data, *out),
        ("evaluate", run, data),
        ("diagnose", run),
        ("report", run),
        ("fit", "--resume", run),
    )
    for words in commands:
        sentence = call(*words).error()
        assert "would be imported: a_nets.pool.Pool" in sentence
        assert "--allow-imports" in sentence
    assert not seen.exists(), "the folder of a run got code imported"
    assert "a_nets.pool.Pol cannot be imported" in call("fit", data, "--encoder.scan", "a_nets.pool.Pol", "--out", "x").error()

    shell(tmp_path, "predict", run, data, *out, "--allow-imports")
    assert len(pd.read_csv(tmp_path / "p.csv")) == 60
    assert seen.exists()
