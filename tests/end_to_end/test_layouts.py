"""From each layout of data to predictions and numbers, by the commands a user types."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

import equipoise
from tests.end_to_end.harness import (
    CLASSES,
    QUICK,
    SAMPLES,
    call,
    done,
    labels,
    mapping,
    summary,
    write_archive,
    write_folder,
    write_table,
)

LAYOUTS: dict[str, tuple[Callable[[Path], Path], tuple[str, ...]]] = {
    "study": (write_folder, ("blood", "genes", "scan")),
    "wide.csv": (write_table, ("blood", "genes")),
    "arrays.npz": (write_archive, ("blood", "scan")),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_each_layout(tmp_path: Path, name: str) -> None:
    write, modalities = LAYOUTS[name]
    data, run = write(tmp_path / name), tmp_path / "run"
    out = done("fit", data, *QUICK, "--out", run)
    assert f"joint on {Path(name).stem}: test part, 12 samples" in out
    assert str(run) in out
    assert list(summary(run)["test"]) == ["fused", *modalities]
    assert summary(run)["test"]["fused"]["samples"] == 12

    done("evaluate", run, data, "--part", "test", "--coalitions", "all", "--out", tmp_path / "metrics.json")
    found = json.loads((tmp_path / "metrics.json").read_text())
    assert found["samples"] == "the test part, 12 samples"
    assert {key: found["metrics"][key] for key in ("fused", *modalities)} == summary(run)["test"]
    assert len(found["metrics"]) == 1 + len(modalities) + 2 ** len(modalities) - 1
    everything = f"[{'+'.join(modalities)}]"
    assert found["metrics"][everything] == pytest.approx(found["metrics"]["fused"])

    for suffix in (".csv", ".parquet"):
        words = done("predict", run, data, "--out", tmp_path / f"predictions{suffix}")
        assert words.startswith(f"{SAMPLES} predictions written to {tmp_path / f'predictions{suffix}'}")
    table = pd.read_csv(tmp_path / "predictions.csv", dtype={"id": "str"})
    pd.testing.assert_frame_equal(table, pd.read_parquet(tmp_path / "predictions.parquet"))
    assert len(table) == SAMPLES
    assert table["prediction"].isin(CLASSES).all()
    assert table[[f"probability[{name}]" for name in CLASSES]].sum(axis=1).to_numpy() == pytest.approx(1.0)
    for modality in modalities:
        absent = ~table[f"{modality}.present"]
        assert (table[f"{modality}.probability[a]"].isna() == absent).all()
        assert absent.sum() == (SAMPLES // 3 if modality == "genes" and name == "study" else 0)


def test_every_sample_is_counted_once(tmp_path: Path) -> None:
    """The accuracy of the whole set is the share of rows of the predictions that are right, in any size of batch."""
    data, run = write_folder(tmp_path / "study"), tmp_path / "run"
    done("fit", data, *QUICK, "--batch-size", "7", "--out", run)
    done("predict", run, data, "--out", tmp_path / "p.csv")
    done("evaluate", run, data, "--part", "all", "--out", tmp_path / "m.json")
    table = pd.read_csv(tmp_path / "p.csv")
    found = json.loads((tmp_path / "m.json").read_text())["metrics"]
    assert found["fused"]["accuracy"] == pytest.approx((table["prediction"] == labels()).mean())
    assert {name: found[name]["samples"] for name in found} == {"fused": 60, "blood": 60, "genes": 40, "scan": 60}
    for part, count in (("train", 42), ("validation", 6), ("test", 12)):
        done("evaluate", run, data, "--part", part, "--out", tmp_path / "m.json")
        assert json.loads((tmp_path / "m.json").read_text())["samples"] == f"the {part} part, {count} samples"


def test_other_data_are_evaluated_whole(tmp_path: Path, finished: Path) -> None:
    other = write_folder(tmp_path / "other")
    table = pd.read_csv(other / "blood.csv")
    table.assign(b0=table["b0"] + 0.1).to_csv(other / "blood.csv", index=False)
    assert "all 60 samples" in done("evaluate", finished, other)


def test_prediction_needs_no_labels_and_not_all_modalities(tmp_path: Path, study: Path, finished: Path) -> None:
    other = write_folder(tmp_path / "other")
    (other / "labels.csv").unlink()
    (other / "scan.npy").unlink()
    words = done("predict", finished, other, "--out", tmp_path / "p.csv")
    assert "absent: genes in 20, scan in 60" in words
    table = pd.read_csv(tmp_path / "p.csv")
    assert sorted(table["id"]) == sorted(pd.read_csv(study / "labels.csv")["patient"])
    assert not table["scan.present"].any()
    assert table["scan.probability[a]"].isna().all()
    assert table["probability[a]"].notna().all()


def test_a_modality_that_is_not_there_is_one_left_out(tmp_path: Path, study: Path, finished: Path) -> None:
    """Data without pictures are judged as the coalition of the other modalities is on data that have them."""
    other = write_folder(tmp_path / "other")
    (other / "scan.npy").unlink()
    done("evaluate", finished, other, "--out", tmp_path / "other.json")
    done("evaluate", finished, study, "--part", "all", "--coalitions", "blood+genes", "--out", tmp_path / "study.json")
    without, whole = (json.loads((tmp_path / name).read_text())["metrics"] for name in ("other.json", "study.json"))
    assert without["fused"] == pytest.approx(whole["[blood+genes]"], abs=1e-6)
    assert without["fused"]["nll"] != pytest.approx(whole["fused"]["nll"], abs=1e-3)
    assert without["scan"]["samples"] == 0
    assert without["scan"]["accuracy"] is None


def test_data_in_memory(tmp_path: Path) -> None:
    run = equipoise.fit(mapping(), target=labels(), epochs=2, out=tmp_path / "run", progress=False)
    assert list(run.metrics) == ["fused", "blood", "scan", "wave"]
    loaded = equipoise.load(tmp_path / "run")
    assert loaded.evaluate(mapping(), target=labels()) == run.metrics
    assert len(loaded.predict({"blood": mapping()["blood"]})) == SAMPLES
    assert call("fit", "--resume", tmp_path / "run").code == 0  # it is finished, so nothing is trained


@pytest.mark.parametrize("name", ["wisconsin", "digits", "gaussian"])
def test_embedded_sets(tmp_path: Path, name: str) -> None:
    done("fit", name, "--epochs", "1", "--encoder", "mlp", "--device", "cpu", "--out", tmp_path / "run")
    before = summary(tmp_path / "run")["test"]
    done("evaluate", tmp_path / "run", name, "--out", tmp_path / "m.json")
    assert json.loads((tmp_path / "m.json").read_text())["metrics"] == before


def test_an_exported_set_gives_the_same_numbers(tmp_path: Path) -> None:
    """Writing an embedded set as files and describing it changes nothing but the names of its samples."""
    out = done("data", "export", "wisconsin", tmp_path / "files")
    assert out.strip() == f"written to {tmp_path / 'files'}"
    assert "modalities:" in done("data", "describe", tmp_path / "files")
    for data, run in (("wisconsin", "first"), (tmp_path / "files", "second")):
        done("fit", data, *QUICK, "--out", tmp_path / run)
    assert summary(tmp_path / "first")["test"] == summary(tmp_path / "second")["test"]
