"""``equipoise budgets`` as a user meets it, and what it measures against what is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from equipoise.benchmark.budgets import measure_budgets
from equipoise.data.builtin.gaussian import default_bits, gaussian, information
from equipoise.data.sources import open_dataset
from tests.end_to_end.harness import QUICK, call, done, summary, write_folder


def test_printed_saved_and_used_by_iibalance(tmp_path: Path) -> None:
    study, saved = write_folder(tmp_path / "study"), tmp_path / "b.json"
    out = done("budgets", study, "--out", saved, *QUICK)
    found = json.loads(saved.read_text())
    assert list(found["modalities"]) == ["blood", "genes", "scan"]
    assert found["label_entropy"] == pytest.approx(np.log(3), abs=0.1)
    for name, values in found["modalities"].items():
        (line,) = [line for line in out.splitlines() if line.strip().startswith(name)]
        words = line.split()
        assert words[1] == f"{values['entropy']:.3f}"
        assert words[2] == f"{values['low']:.2f}-{values['high']:.2f}"
        assert ("anchor" in words) == (name == found["anchor"])
        assert 0 <= values["low"] <= values["high"]
    assert sum(values["prior"] for values in found["modalities"].values()) == pytest.approx(1)
    assert found["anchor"] == max(found["modalities"], key=lambda name: found["modalities"][name]["entropy"])
    assert found["split_hash"] in out

    run = tmp_path / "run"
    done("fit", study, "--method", "iibalance", "--method.budgets", saved, "--out", run, *QUICK)
    assert list(summary(run)["phases"]) == ["train"]
    entropy = found["modalities"][found["anchor"]]["entropy"]
    assert f"{found['anchor']} {entropy:.3f} nats" in summary(run)["notes"][0]
    words = ("fit", study, "--method", "iibalance", "--method.budgets", saved, "--split-seed", "3", "--out", tmp_path / "other")
    assert f"were measured on split '{found['split_hash']}'" in call(*words, *QUICK).error()
    assert not (tmp_path / "other").exists(), "a refused run left its folder behind"


def test_a_modality_that_no_validation_sample_has_is_refused(tmp_path: Path) -> None:
    study = write_folder(tmp_path / "study")
    import pandas as pd

    labels = pd.read_csv(study / "labels.csv")
    part = ["test"] * 10 + ["train"] * 32 + ["validation"] * 18  # the last third has no genes
    labels.assign(split=part).to_csv(study / "labels.csv", index=False)
    assert "no validation sample has modality 'genes', so it has no budget" in call("budgets", study, *QUICK).error()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--method.budgets", "x"), "method: found options"),
        (("--epochs", "0"), "epochs = 0 is out of range"),
        (("--epohcs", "1"), "unknown option '--epohcs'"),
    ],
)
def test_mistakes(words: tuple[str, ...], sentence: str) -> None:
    assert sentence in call("budgets", "wisconsin", *words).error()


def test_a_configuration_for_another_method_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("method: ogm\nepochs: 1\n")
    assert "leave out the method" in call("budgets", "wisconsin", "--config", tmp_path / "c.yaml").error()


@pytest.mark.slow
def test_budgets_recover_the_known_information() -> None:
    """Within 0.06 nats of the truth (of 2.08 that the labels hold), measured on 1500 validation samples."""
    bits = default_bits(3)
    arrays = gaussian(samples=5000, modalities=3, bits=bits, seed=4)
    dataset = open_dataset({name: value for name, value in arrays.items() if name != "label"}, target=arrays["label"])
    found = measure_budgets(
        dataset,
        progress=False,
        test_fraction=0.1,
        validation_fraction=1 / 3,
        epochs=40,
        patience=5,
        batch_size=128,
        encoder={"name": "mlp", "hidden": 32},
        device="cpu",
    )
    for name, values in found["modalities"].items():
        truth = information(bits, [name])
        assert values["entropy"] == pytest.approx(truth, abs=0.06), name
        assert values["low"] - 0.03 < truth < values["high"] + 0.03
        assert values["entropy"] == pytest.approx(values["grounded"], abs=1e-4)
        assert values["samples"] == 1500
    assert found["anchor"] == found["anchor_uncalibrated"] == "strong"
