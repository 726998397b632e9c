"""The whole diagnosis: a modality that starves by construction, plain data, and input that cannot be diagnosed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import equipoise
from equipoise.diagnosis.diagnose import diagnose_data
from equipoise.errors import ConfigError, DataError, RunError
from equipoise.run import Run
from tests.diagnosis.conftest import QUICK, arrays


def starving() -> tuple[dict[str, NDArray[Any]], NDArray[np.int64]]:
    """One modality shows the class in one number, another in the product of three signs, which takes long to learn."""
    rng = np.random.default_rng(0)
    target = rng.integers(0, 2, 1500)
    sign = 2.0 * target - 1
    easy = np.column_stack([3 * sign, np.zeros((1500, 3))]) + rng.standard_normal((1500, 4))
    signs = rng.choice([-1.0, 1.0], (1500, 3))
    signs[:, 2] = sign * signs[:, 0] * signs[:, 1]
    hard = np.column_stack([signs + 0.3 * rng.standard_normal((1500, 3)), rng.standard_normal((1500, 10))])
    return {"easy": easy.astype(np.float32), "hard": hard.astype(np.float32)}, target


def test_joint_training_starves_what_a_balanced_method_holds() -> None:
    data, target = starving()
    options = {"target": target, "encoder": "mlp", "epochs": 30, "batch_size": 64, **QUICK}
    alone = equipoise.fit(data, method="unimodal", **options)
    found = {
        method: equipoise.diagnose(equipoise.fit(data, method=method, **options), data, target=target, alone=alone)
        for method in ("joint", "joint_unimodal")
    }
    assert found["joint"].verdict.headline == "starved: hard"
    assert found["joint_unimodal"].verdict.headline == "balanced"
    easy, hard = found["joint"].capacity
    assert (easy.state, hard.state) == ("held", "starved")
    assert hard.encoder_gap.low > 0.2
    assert [item.state for item in found["joint_unimodal"].capacity] == ["held", "held"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folders of a joint run and of its modalities alone."""
    folder = tmp_path_factory.mktemp("runs")
    for method in ("joint", "unimodal"):
        equipoise.fit("wisconsin", method=method, epochs=3, out=folder / method, **QUICK)
    return folder / "joint", folder / "unimodal"


def test_a_diagnosis_is_plain_data(runs: tuple[Path, Path]) -> None:
    found = equipoise.diagnose(runs[0], alone=runs[1])
    value = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert value["verdict"]["headline"] == found.verdict.headline
    assert value["run"]["method"]["name"] == "joint"
    assert value["data"]["classes"] == ["benign", "malignant"]
    assert set(value["outputs"]) == {"fused", *value["data"]["modalities"]}
    assert value["dynamics"]["epochs"] == [1, 2, 3]
    assert len(value["samples"]["samples"]) == 50
    metrics = equipoise.load(runs[0]).metrics
    assert {name: item["metrics"] for name, item in value["outputs"].items()} == {
        name: {key: number for key, number in item.items() if key != "samples"} for name, item in metrics.items()
    }


def test_numbers_do_not_depend_on_whether_the_run_was_stored(runs: tuple[Path, Path]) -> None:
    stored = equipoise.diagnose(runs[0], alone=runs[1]).to_json()
    trained = equipoise.diagnose(equipoise.fit("wisconsin", epochs=3, **QUICK), progress=False).to_json()
    keys = ("capacity", "coalitions", "information", "calibration", "decision", "robustness", "samples", "generalisation")
    for key in (*keys, "dynamics"):
        assert stored[key] == trained[key], key


def test_a_run_without_its_log_says_so(runs: tuple[Path, Path], tmp_path: Path) -> None:
    copied = Path(shutil.copytree(runs[0], tmp_path / "run"))
    (copied / "metrics.jsonl").unlink()
    found = equipoise.diagnose(copied, alone=runs[1]).to_json()
    assert "the run kept no log" in found["notes"][-1]
    assert found["dynamics"] is None


def test_data_are_diagnosed_by_training_joint() -> None:
    data, target = arrays(120, 2)
    dataset = equipoise.fit(data, target=target, epochs=1, **QUICK).predictor.read(data, target=target, labelled=True)
    found = diagnose_data(dataset, epochs=2, **QUICK)
    assert found.run["method"]["name"] == "joint"
    assert found.run["folder"] is None
    assert found.dynamics is not None
    assert found.dynamics.epochs == (1, 2)
    with pytest.raises(ConfigError, match="leave out the method"):
        diagnose_data(dataset, method="ogm")


@pytest.mark.parametrize("method", ["joint", "unimodal", "joint_unimodal"])
def test_one_modality(method: str) -> None:
    data, target = arrays(120, 1)
    found = equipoise.diagnose(
        equipoise.fit(data, method=method, target=target, epochs=2, **QUICK), data, target=target, progress=False
    )
    masked = found.coalitions["mask"]
    assert masked.deviation.value == 0
    assert masked.interactions == ()
    assert found.information.pairs == ()
    assert found.samples.decided == {"m0": 1.0}
    assert masked.shapley["m0"].value == pytest.approx(masked.scores[0].score.value - 1 / 3)


def test_a_modality_that_no_test_sample_has_is_left_out() -> None:
    data, target = arrays(150, 3)
    split = np.array(["train"] * 80 + ["validation"] * 20 + ["test"] * 50)
    data["m2"][split == "test"] = np.nan
    run = equipoise.fit({**data, "split": split}, target=target, epochs=2, **QUICK)
    found = equipoise.diagnose(run, {**data, "split": split}, target=target, progress=False)
    assert [item.modality for item in found.capacity] == ["m0", "m1"]
    assert set(found.calibration) == {"fused", "m0", "m1"}
    assert found.coalitions["mask"].shapley["m2"].value == pytest.approx(0)
    assert any("no test sample has m2" in note for note in found.notes)
    json.dumps(found.to_json(), allow_nan=False)


def test_a_model_without_heads_is_diagnosed_by_its_contributions(runs: tuple[Path, Path]) -> None:
    assert any("no auxiliary heads" in note for note in equipoise.diagnose(runs[0], alone=runs[1]).notes)
    with_heads = equipoise.fit("wisconsin", method="joint_unimodal", epochs=3, **QUICK)
    assert not any("heads" in note for note in equipoise.diagnose(with_heads, alone=runs[1]).notes)


def test_one_class_in_the_test_part_is_refused() -> None:
    data, target = arrays(150, 2)
    split = np.array(["train"] * 80 + ["validation"] * 20 + ["test"] * 50)
    target[split == "test"] = 1
    run = equipoise.fit({**data, "split": split}, target=target, epochs=1, **QUICK)
    with pytest.raises(DataError, match=r"one class only \('1'\), a diagnosis needs at least two"):
        equipoise.diagnose(run, {**data, "split": split}, target=target, alone=run_alone(data, split, target))


def run_alone(data: dict[str, NDArray[Any]], split: NDArray[np.str_], target: NDArray[np.int64]) -> Run:
    """Each modality alone."""
    return equipoise.fit({**data, "split": split}, method="unimodal", target=target, epochs=1, **QUICK)


def test_data_in_memory_must_be_passed_again_and_be_the_same(runs: tuple[Path, Path]) -> None:
    data, target = arrays(120, 2)
    run = equipoise.fit(data, target=target, epochs=1, **QUICK)
    with pytest.raises(DataError, match="in memory; pass them again"):
        equipoise.diagnose(run)
    data["m0"][0] += 1
    with pytest.raises(DataError, match="not the data that the run was trained on"):
        equipoise.diagnose(run, data, target=target)


def test_what_is_alone_must_be_alone_and_on_the_same_split(runs: tuple[Path, Path]) -> None:
    with pytest.raises(ConfigError, match="found a run of the method 'joint', expected one of 'unimodal'"):
        equipoise.diagnose(runs[0], alone=runs[0])
    other = equipoise.fit("wisconsin", method="unimodal", epochs=1, split_seed=5, **QUICK)
    with pytest.raises(ConfigError, match="another split"):
        equipoise.diagnose(runs[0], alone=other)
    with pytest.raises(RunError, match="not a run folder"):
        equipoise.diagnose(runs[0], alone=runs[0].parent)


def test_an_encoder_of_your_own_cannot_be_trained_again() -> None:
    from torch import nn

    data, target = arrays(120, 2, missing=0.0)
    run = equipoise.fit(data, target=target, epochs=1, encoders={"m0": nn.Linear(4, 64)}, **QUICK)
    with pytest.raises(ConfigError, match="encoder of your own"):
        equipoise.diagnose(run, data, target=target)
    alone = equipoise.fit(data, target=target, method="unimodal", epochs=1, encoders={"m0": nn.Linear(4, 64)}, **QUICK)
    assert len(equipoise.diagnose(run, data, target=target, alone=alone).capacity) == 2


def test_intervals_are_over_groups_where_the_data_state_them() -> None:
    data, target = arrays(missing=0.0)
    patients = np.arange(len(target)) // 8
    found = {}
    for name, groups in (("grouped", patients), ("one", np.where(patients < 20, patients, 99))):
        split = np.where(np.arange(len(target)) < 120, "train", np.where(np.arange(len(target)) < 160, "validation", "test"))
        source = {**data, "patient": groups.astype(str), "split": split}
        run = equipoise.fit(source, target=target, group="patient", epochs=2, **QUICK)
        found[name] = equipoise.diagnose(run, source, target=target, group="patient", progress=False)
    assert any("the test part has 10 groups" in note for note in found["grouped"].notes)
    assert any("the test part is one group" in note for note in found["one"].notes)
    pairs = [(found[name].capacity[0].inside.low, found[name].capacity[0].inside.high) for name in found]
    assert found["grouped"].capacity[0].inside.value == found["one"].capacity[0].inside.value
    assert pairs[0] != pairs[1]
