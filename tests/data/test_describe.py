from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from equipoise.config import ReadOptions
from equipoise.data.dataset import Dataset
from equipoise.data.describe import describe_yaml, facts
from equipoise.data.export import export
from equipoise.data.rows import read_rows
from equipoise.data.sources import open_dataset
from equipoise.errors import DataError


def assert_equal(first: Dataset, second: Dataset) -> None:
    """Assert that two data sets hold the same samples, wherever they come from."""
    assert first.ids.tolist() == second.ids.tolist()
    for name in ("target", "split", "group"):
        one, other = getattr(first, name), getattr(second, name)
        assert (one is None) == (other is None), name
        assert one is None or one.tolist() == other.tolist()
    assert first.schema.classes == second.schema.classes
    assert first.schema.names == second.schema.names
    for a, b in zip(first.schema.modalities, second.schema.modalities, strict=True):
        assert (a.kind, a.shape, a.columns, a.categorical, a.present) == (b.kind, b.shape, b.columns, b.categorical, b.present)
        assert first.present[a.name].tolist() == second.present[a.name].tolist()
        rows = np.flatnonzero(first.present[a.name])
        one, other = read_rows(first.inputs[a.name], rows), read_rows(second.inputs[a.name], rows)
        if isinstance(one, pd.DataFrame):
            pd.testing.assert_frame_equal(one, other)
        else:
            np.testing.assert_array_equal(one, other)


@pytest.fixture
def rich() -> Dataset:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"id": rng.normal(size=8), "c": ["p", None, "q", "q"] * 2, "n: [x]": range(8)})
    table.loc[5] = None
    counts = rng.integers(0, 9, (8, 3, 3)).astype(np.uint8)
    values = {"table": table, "counts": counts, "floats": rng.normal(size=(8, 2, 5, 5, 1)), "flat": rng.normal(size=(8, 2))}
    more = {"counts_present": [True] * 7 + [False], "fold": ["train"] * 5 + ["val"] + ["test"] * 2, "who": list("aabbccdd")}
    return open_dataset({**values, **more}, ReadOptions(split="fold", group="who"), target=["no", "01", "a, b", "null"] * 2)


def test_export_reads_back_equal(rich: Dataset, folder: Path, tmp_path: Path) -> None:
    for number, data in enumerate((rich, open_dataset(folder), open_dataset("gaussian"), open_dataset("digits"))):
        written = export(data, tmp_path / f"out{number}")
        assert_equal(open_dataset(written), data)
        again = export(open_dataset(written), tmp_path / f"again{number}")
        assert_equal(open_dataset(again), data)


def test_export_as_csv(rich: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("equipoise.data.export.find_spec", lambda name: None)
    assert_equal(open_dataset(export(rich, tmp_path / "out")), rich)
    assert (tmp_path / "out" / "table.csv").exists()


def test_export_of_unlabelled_samples(tmp_path: Path) -> None:
    data = open_dataset({"a": np.eye(3), "y": ["u", "", "v"]}, labelled=False)
    again = open_dataset(export(data, tmp_path / "out"), labelled=False)
    assert again.target is not None
    assert again.target.tolist() == [0, -1, 1]


def test_export_overwrites_nothing(rich: Dataset, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="study exists, expected a new or empty folder"):
        export(rich, folder)
    data = open_dataset({"labels": np.eye(3)}, target=[0, 1, 0])
    with pytest.raises(DataError, match=r"modality 'labels' would overwrite labels\.csv"):
        export(data, tmp_path / "out")


def test_description_reads_back_equal(folder: Path, tmp_path: Path) -> None:
    data = open_dataset(folder, ReadOptions(target="stage"))
    (folder / "dataset.yaml").write_text(describe_yaml(data))
    assert_equal(open_dataset(folder), data)
    frame = pd.DataFrame(np.eye(4), columns=["a_1", "a_2", "b_1", "b_2"]).assign(label=list("uvuv"), split=["train", "test"] * 2)
    frame.to_csv(tmp_path / "wide.csv", index=False)
    wide = open_dataset(tmp_path / "wide.csv", ReadOptions(modalities={"x": {"prefix": "a"}, "y": ["b_2", "b_1"]}))
    text = describe_yaml(wide)
    assert "  x: {prefix: a, kind: tabular}\n  y: {columns: [b_2, b_1], kind: tabular}\n" in text
    (tmp_path / "wide.dataset.yaml").write_text(text)
    assert_equal(open_dataset(tmp_path / "wide.csv"), wide)
    np.savez(tmp_path / "set.npz", a=np.eye(4), b=np.ones((4, 2, 2)), y=[1, 0, 1, 0])
    archive = open_dataset(tmp_path / "set.npz", ReadOptions(modalities={"q": {"key": "b", "kind": "array"}}))
    (tmp_path / "set.dataset.yaml").write_text(describe_yaml(archive))
    assert_equal(open_dataset(tmp_path / "set.npz"), archive)


def test_facts(rich: Dataset, folder: Path) -> None:
    found = facts(rich)
    json.dumps(found)
    assert found["samples"] == 8
    assert found["classes"] == {"01": 2, "a, b": 2, "no": 2, "null": 2}
    assert found["split"] == {"test": 2, "train": 5, "validation": 1}
    assert found["groups"] == 4
    table = found["modalities"]["table"]
    assert (table["kind"], table["shape"], table["categorical"], table["present"], table["missing_values"]) == (
        "tabular",
        [3],
        ["c"],
        7,
        1,
    )
    assert found["modalities"]["counts"]["present"] == 7
    blood = pd.read_csv(folder / "blood.csv").assign(score=1, sex="f")
    blood.to_csv(folder / "blood.csv", index=False)
    modalities = facts(open_dataset(folder))["modalities"]
    assert modalities["blood"]["constant_columns"] == ["sex", "score"]
    assert modalities["scan"]["missing_values"] == 0
