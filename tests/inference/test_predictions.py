"""Predictions as a table, as files and as metrics."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from equipoise.errors import ConfigError, DataError, RunError
from equipoise.evaluation.metrics import classification_metrics
from equipoise.inference import predictions as module
from equipoise.inference import predictor as predictor_module
from equipoise.inference.predictions import Predictions, check_destination, write_predictions
from equipoise.run import fit


@pytest.fixture
def predictions() -> Predictions:
    return Predictions(
        ids=np.array(["s1", "s2", "s3", "s4"]),
        classes=("no", "yes, rather"),
        probabilities=np.array([[0.75, 0.25], [0.125, 0.875], [0.5, 0.5], [1.0, 0.0]], dtype=np.float32),
        unimodal={"audio": np.array([[0.5, 0.5], [0.25, 0.75], [np.nan, np.nan], [0.25, 0.75]], dtype=np.float32)},
        present={"audio": np.array([True, True, False, True]), "text": np.array([True, True, True, False])},
        target=np.array([0, 1, 1, -1]),
    )


COLUMNS = [
    "id",
    "prediction",
    "probability[no]",
    "probability[yes, rather]",
    "audio.present",
    "audio.probability[no]",
    "audio.probability[yes, rather]",
    "text.present",
]


def test_the_table(predictions: Predictions) -> None:
    frame = predictions.frame()
    assert list(frame) == COLUMNS
    assert frame["prediction"].tolist() == ["no", "yes, rather", "no", "no"]
    assert frame["id"].tolist() == ["s1", "s2", "s3", "s4"]
    assert frame["audio.present"].tolist() == [True, True, False, True]
    assert frame["audio.probability[no]"].isna().tolist() == [False, False, True, False]
    assert len(predictions) == 4


@pytest.mark.parametrize(("name", "read"), [("p.csv", pd.read_csv), ("p.CSV", pd.read_csv), ("p.parquet", pd.read_parquet)])
def test_a_file_holds_the_table(
    tmp_path: Path, predictions: Predictions, name: str, read: Callable[[Path], pd.DataFrame]
) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    path = tmp_path / "results" / name
    predictions.write(path)
    predictions.write(path)
    frame = read(path)
    assert list(frame) == COLUMNS
    pd.testing.assert_frame_equal(frame, predictions.frame(), check_dtype=False)
    assert [item.name for item in path.parent.iterdir()] == [name]


def test_absent_modalities_are_empty_cells(tmp_path: Path, predictions: Predictions) -> None:
    predictions.write(tmp_path / "p.csv")
    assert (tmp_path / "p.csv").read_text().splitlines()[3] == "s3,no,0.5,0.5,False,,,True"


def test_an_unknown_suffix_is_said(tmp_path: Path, predictions: Predictions) -> None:
    with pytest.raises(ConfigError, match=r"p\.xlsx: unknown kind of file '\.xlsx', expected \.csv or \.parquet"):
        predictions.write(tmp_path / "p.xlsx")
    with pytest.raises(ConfigError, match="unknown kind of file ''"):
        predictions.write(tmp_path / "p")


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda _name: None)
    check_destination(Path("p.csv"))
    with pytest.raises(ConfigError, match=r"pip install 'equipoise\[parquet\]'"):
        check_destination(Path("p.parquet"))


def test_an_unwritable_place_is_said(tmp_path: Path, predictions: Predictions) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="expected a folder"):
        predictions.write(tmp_path / "file" / "p.csv")


def test_metrics_are_over_labelled_samples_that_have_the_modality(predictions: Predictions) -> None:
    assert predictions.target is not None
    values = predictions.metrics()
    assert list(values) == ["fused", "audio"]
    assert values["fused"] == classification_metrics(predictions.probabilities[:3], predictions.target[:3]) | {"samples": 3}
    audio = predictions.unimodal["audio"]
    assert values["audio"] == classification_metrics(audio[:2], predictions.target[:2]) | {"samples": 2}


def test_a_modality_without_labelled_samples_has_no_metrics(predictions: Predictions) -> None:
    absent = dataclasses.replace(predictions, present={"audio": np.zeros(4, dtype=bool)})
    values = absent.metrics()["audio"]
    assert values.pop("samples") == 0
    assert set(values.values()) == {None}


@pytest.mark.parametrize("target", [None, np.full(4, -1)])
def test_without_labels_there_are_no_metrics(predictions: Predictions, target: Any) -> None:
    with pytest.raises(DataError, match="no known label"):
        dataclasses.replace(predictions, target=target).metrics()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ids": np.array(["a"])}, "probabilities has shape"),
        ({"target": np.zeros(3, dtype=np.int64)}, "target has shape"),
        ({"present": {"audio": np.ones(3, dtype=bool)}}, "present 'audio' has shape"),
        ({"unimodal": {"audio": np.zeros((4, 3))}}, "unimodal 'audio' has shape"),
        ({"present": {}}, "no presence is given for audio"),
    ],
)
def test_what_does_not_fit_is_said(predictions: Predictions, change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(predictions, **change)


@pytest.mark.parametrize("name", ["p.csv", "p.parquet"])
def test_pieces_make_the_file_that_the_whole_makes(
    tmp_path: Path, predictions: Predictions, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    predictions.write(tmp_path / "whole" / name)
    read = pd.read_csv if name.endswith("csv") else pd.read_parquet
    # Nothing but an absent modality in a piece: its column must keep its type.
    pieces = [_rows(predictions, slice(2, 3)), _rows(predictions, slice(0, 1)), _rows(predictions, slice(1, 4))]
    for at_once in (1, 2, 1 << 16):
        monkeypatch.setattr(module, "_AT_ONCE", at_once)
        write_predictions(tmp_path / name, iter(pieces))
        expected = predictions.frame().iloc[[2, 0, 1, 2, 3]].reset_index(drop=True)
        pd.testing.assert_frame_equal(read(tmp_path / name), expected, check_dtype=False)


def test_what_fails_half_way_leaves_the_file_that_was_there(tmp_path: Path, predictions: Predictions) -> None:
    def broken() -> Iterator[Predictions]:
        yield predictions
        raise DataError("the disk with the data is gone")

    predictions.write(tmp_path / "p.csv")
    before = (tmp_path / "p.csv").read_bytes()
    with pytest.raises(DataError, match="is gone"):
        write_predictions(tmp_path / "p.csv", broken())
    assert (tmp_path / "p.csv").read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["p.csv"]


def _rows(whole: Predictions, rows: slice) -> Predictions:
    assert whole.target is not None
    return dataclasses.replace(
        whole,
        ids=whole.ids[rows],
        probabilities=whole.probabilities[rows],
        unimodal={name: value[rows] for name, value in whole.unimodal.items()},
        present={name: value[rows] for name, value in whole.present.items()},
        target=whole.target[rows],
    )


def test_a_run_predicts_the_same_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    run = fit("wisconsin", fusion="logit", epochs=1, progress=False, device="cpu")
    whole = run.predict("wisconsin")
    monkeypatch.setattr(predictor_module, "_NUMBERS", 30 * 100)
    pieces = list(run.predictor.stream("wisconsin"))
    assert [len(piece) for piece in pieces] == [100, 100, 100, 100, 100, 69]
    joined = Predictions.concatenate(pieces)
    pd.testing.assert_frame_equal(joined.frame(), whole.frame(), rtol=1e-6)
    assert set(joined.weights) == set(joined.present)
    assert joined.target is not None
    assert np.array_equal(joined.target, whole.target)
