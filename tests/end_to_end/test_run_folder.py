"""What a finished run leaves behind, and that opening it gives back the same model and runs no code."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

import equipoise
from tests.end_to_end.harness import QUICK, done, finish, log, start, summary


def test_what_is_in_the_folder(finished: Path) -> None:
    assert sorted(path.name for path in finished.iterdir()) == [
        "config.json",
        "metrics.jsonl",
        "model.safetensors",
        "preprocessing.json",
        "split.json",
        "summary.json",
    ]
    config = json.loads((finished / "config.json").read_text())
    assert config["equipoise"] == equipoise.__version__
    assert config["options"]["method"] == {"name": "ogm", "alpha": 0.3, "noise": True, "start": 0, "stop": None}
    assert config["options"]["epochs"] == 2
    assert [item["name"] for item in config["schema"]["modalities"]] == ["blood", "genes", "scan"]
    assert config["schema"]["classes"] == ["a", "b", "c"]
    assert config["encoders"] == {"blood": {"name": "mlp"}, "genes": {"name": "mlp"}, "scan": {"name": "cnn"}}
    split = json.loads((finished / "split.json").read_text())
    rows = split["train"] + split["validation"] + split["test"]
    assert sorted(rows) == list(range(60))
    assert config["data"]["split_hash"] == split["hash"] == summary(finished)["data"]["split_hash"]


def test_the_log_says_what_happened_in_each_epoch(finished: Path) -> None:
    lines = log(finished)
    assert [(line["phase"], line["epoch"]) for line in lines] == [("train", 1), ("train", 2)]
    for line in lines:
        assert line["losses"]["fused"] > 0
        assert set(line["validation"]) == {"fused", "blood", "genes", "scan"}
        assert all(0 <= values["macro_f1"] <= 1 and values["loss"] > 0 for values in line["validation"].values())
        assert set(line["coefficients"]) == {"coefficient.blood", "coefficient.genes", "coefficient.scan"}
        assert 0 < min(line["coefficients"].values()) < 1  # somebody was slowed
    assert any(line["best"] for line in lines)


def test_the_summary_says_what_came_out(finished: Path) -> None:
    found = summary(finished)
    assert found["samples"] == {"train": 42, "validation": 6, "test": 12}
    for values in found["test"].values():
        assert set(values) == {"accuracy", "balanced_accuracy", "macro_f1", "auroc", "nll", "brier", "ece", "samples"}
    assert found["test"]["genes"]["samples"] < found["test"]["fused"]["samples"] == 12
    assert found["inert"] is False
    assert found["updates"] == 2
    assert found["hardware"]["processes"] == 1
    assert found["seconds"] > 0
    assert found["method"]["name"] == "ogm"


def test_no_file_can_run_code(finished: Path) -> None:
    """JSON and safetensors are all there is; neither format knows code."""
    for path in finished.iterdir():
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                assert file.keys()
        else:
            for line in path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]:
                json.loads(line)


@pytest.mark.skipif(os.name != "posix", reason="permissions are those of Unix")
def test_files_have_the_permissions_of_any_new_file(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "new").touch()
    assert {path.stat().st_mode for path in finished.iterdir()} == {(tmp_path / "new").stat().st_mode}


@pytest.mark.parametrize("method", ["joint", "unimodal", "late", "mla"])
def test_predictions_after_loading_equal_those_before(study: Path, tmp_path: Path, method: str) -> None:
    run = equipoise.fit(str(study), method=method, epochs=2, out=tmp_path / "run", progress=False)
    before, after = run.predict(str(study)), equipoise.load(tmp_path / "run").predict(str(study))
    np.testing.assert_array_equal(before.probabilities, after.probabilities)
    for name, values in before.unimodal.items():
        np.testing.assert_array_equal(values, after.unimodal[name])
    assert run.evaluate(str(study), coalitions="all") == equipoise.load(tmp_path / "run").evaluate(str(study), coalitions="all")


def test_predictions_of_another_process_are_the_same(study: Path, finished: Path, tmp_path: Path) -> None:
    done("predict", finished, study, "--out", tmp_path / "here.csv")
    answer = finish(start("predict", finished, study, "--out", tmp_path / "there.csv"))
    assert (answer.code, answer.err) == (0, "")
    assert (tmp_path / "here.csv").read_bytes() == (tmp_path / "there.csv").read_bytes()


def test_the_same_command_gives_the_same_run(study: Path, finished: Path, tmp_path: Path) -> None:
    done("fit", study, "--method", "ogm", *QUICK, "--out", tmp_path / "again")
    for path in finished.iterdir():
        if path.name != "summary.json":
            assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name
    first, second = summary(finished), summary(tmp_path / "again")
    assert {**first, "seconds": 0} == {**second, "seconds": 0}
