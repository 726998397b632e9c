"""``equipoise export``, and ``equipoise predict`` piece by piece."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from equipoise.inference import predictor as predictor_module
from tests.end_to_end.harness import QUICK, call, done, write_folder


def test_a_run_becomes_a_checked_file(finished: Path, study: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    said = done("export", run)
    assert f"the file against the run, data {study}" in said.replace("\n", "")
    assert "no genes" in said
    assert f"model written to {run / 'model.onnx'}, what goes in and comes out to {run / 'model.onnx.json'}" in said
    described = json.loads((run / "model.onnx.json").read_text())
    assert described["inputs"]["genes"]["columns"] == [f"g{number}" for number in range(5)]
    assert described["classes"] == ["a", "b", "c"]

    import onnxruntime

    session = onnxruntime.InferenceSession(run / "model.onnx", providers=["CPUExecutionProvider"])
    assert [item.name for item in session.get_inputs()][:3] == ["inputs_blood", "inputs_genes", "inputs_scan"]


def test_data_that_moved_are_made_up_and_others_are_taken(study: Path, tmp_path: Path) -> None:
    data, run = tmp_path / "here", tmp_path / "run"
    write_folder(data)
    done("fit", data, *QUICK, "--out", run)
    data.rename(tmp_path / "there")
    said = done("export", run, "--format", "torch", "--out", tmp_path / "m.pt2")
    assert "made-up data (those of the run are not at hand)" in said
    assert set(torch.export.load(tmp_path / "m.pt2").module().state_dict())
    assert f"data {study}" in done("export", run, "--format", "torch", "--data", study).replace("\n", "")


def test_what_cannot_be_exported_is_one_sentence(finished: Path, tmp_path: Path) -> None:
    assert call("export", finished, "--format", "pmml").error() == "format = 'pmml' is not valid, expected onnx or torch"
    wrong = call("export", finished, "--out", tmp_path / "model.bin").error()
    assert wrong == f"{tmp_path / 'model.bin'}: files of format onnx end in .onnx"
    assert "is not a run folder" in call("export", tmp_path).error()
    assert "does not exist" in call("export", finished, "--data", tmp_path / "absent").error()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["p.csv", "p.parquet"])
def test_predictions_in_pieces_are_those_of_the_whole(
    finished: Path, study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    said = done("predict", finished, study, "--out", tmp_path / name)
    assert "60 predictions written" in said
    assert "absent: genes in 20" in said
    read = pd.read_csv if name.endswith("csv") else pd.read_parquet
    whole = read(tmp_path / name)
    monkeypatch.setattr(predictor_module, "_NUMBERS", 45 * 7)
    assert done("predict", finished, study, "--out", tmp_path / name) == said
    pieces = read(tmp_path / name)
    assert len(pieces) == 60
    pd.testing.assert_frame_equal(pieces, whole, rtol=1e-5, atol=1e-7)
    assert np.array_equal(pieces["genes.present"], whole["genes.present"])
