"""Models as files: what they give is what the run gives, whatever they are made of and whatever is missing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from equipoise.data.preprocessing import Preprocessing
from equipoise.data.sources import open_dataset
from equipoise.errors import ConfigError, RunError
from equipoise.inference import export as module
from equipoise.inference.export import SUFFIXES, TOLERANCE, check_format, export
from equipoise.inference.exported import ExportedModel
from equipoise.inference.predictor import Predictor
from equipoise.inference.trial import trials
from equipoise.nn.fusion import FUSIONS
from equipoise.run import Run, fit

SAMPLES = 24
UNLIKE = ("attention", "boosted", "budget", "cosine", "entropy_gate", "gated")
"""Fusions of operators that others have not, which are tried in the format that takes longer to write."""
QUICK: dict[str, Any] = {"epochs": 1, "feature_size": 8, "device": "cpu", "progress": False}


def numbers(*shape: int, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=(SAMPLES, *shape))


def blood() -> pd.DataFrame:
    """Numbers of very different sizes, a category, gaps, and a column that is the same for all."""
    table = pd.DataFrame(numbers(4) * [1, 10, 1, 1e-3] + [0, 0, 2e9, 0], columns=["a", "b", "time", "d"])
    table["kind"] = np.array(["x", "y", None, "z"], dtype=object)[np.arange(SAMPLES) % 4]
    table["same"] = 5.0
    table.loc[3, ["a", "kind"]] = None
    return table


def everything() -> dict[str, Any]:
    """One modality of each kind."""
    steps = numbers(6, 3, seed=1)
    steps[::2, 4:] = np.nan
    return {
        "blood": blood(),
        "a picture": np.random.default_rng(2).integers(0, 256, (SAMPLES, 7, 6, 3), dtype=np.uint8),
        "steps": steps,
        "words": [f"{'good' if row % 2 else 'bad'} word number {row % 5}" for row in range(SAMPLES)],
    }


KINDS = {"blood": {}, "a picture": {}, "steps": {"kind": "sequence"}, "words": {"kind": "text"}}


def plain(target: Any = None, **options: Any) -> Run:
    """A run on two small tables."""
    labels = np.arange(SAMPLES) % 3 if target is None else target
    return fit({"one": numbers(3), "two": numbers(2, seed=1)}, target=labels, **QUICK, **options)


def largest(run: Run, path: Path, format: str) -> float:
    return max(check.difference for check in export(run.predictor, path, format))


def test_an_onnx_file_gives_what_the_run_gives_to_whoever_follows_its_description(tmp_path: Path) -> None:
    import onnxruntime

    data = everything()
    run = fit(data, target=np.arange(SAMPLES) % 2, modalities=KINDS, encoder={"words": "embedding_bag"}, **QUICK)
    samples = run.predictor.read(data)
    path = tmp_path / "model.onnx"
    checks = export(run.predictor, path, "onnx", samples)
    assert {"samples of the data", "samples of the data, no a picture", "samples of the data, values missing"} <= {
        check.samples for check in checks
    }
    described = json.loads((tmp_path / "model.onnx.json").read_text())
    assert described["largest_difference_from_run"] == max(check.difference for check in checks) < TOLERANCE
    told = described["inputs"]
    assert told["words"]["preparation"]["tokens"] > 0
    table = data["blood"][told["blood"]["columns"]].copy()
    for column, names in told["blood"]["categories"].items():
        table[column] = [np.nan if value is None or value != value else float(names.index(value)) for value in table[column]]
    raw = {
        "blood": table.to_numpy(np.float64),
        "a picture": data["a picture"],
        "steps": data["steps"],
        "words": run.predictor.preprocessing.transform(samples)["words"],
    }
    absent = {"blood": [1], "a picture": [1, 2], "steps": [2, 3], "words": [4]}
    given: dict[str, NDArray[Any]] = {}
    here = {}
    for name, item in told.items():
        here[name] = ~np.isin(np.arange(SAMPLES), absent[name])
        given[item["name"]] = raw[name].astype(item["dtype"])
        given[item["present"]] = here[name]
    expected = run.predictor.predict(replace(samples, present=here))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for rows in (slice(0, 1), slice(1, 2), slice(1, 8), slice(None)):
        said = session.run(list(described["outputs"]), {name: value[rows] for name, value in given.items()})
        for found, wanted in zip(said, [expected.probabilities, *expected.unimodal.values()], strict=True):
            np.testing.assert_allclose(found, wanted[rows], atol=TOLERANCE, rtol=0)


def test_a_torch_file_takes_longer_sequences_and_knows_which_samples_have_no_value(tmp_path: Path) -> None:
    long = np.concatenate([numbers(6, 3), numbers(4, 3, seed=5)], axis=1)
    long[:, 8:] = np.nan
    data = {"steps": long[:, :6], "one": numbers(3)}
    run = fit(data, target=np.arange(SAMPLES) % 2, modalities={"steps": {"kind": "sequence"}, "one": {}}, **QUICK)
    export(run.predictor, tmp_path / "m.pt2", "torch")
    loaded = torch.export.load(tmp_path / "m.pt2").module()
    every = torch.ones(SAMPLES, dtype=torch.bool)
    data = {"steps": long, "one": np.where(np.arange(SAMPLES)[:, None] == 2, np.nan, numbers(3))}
    inputs = {name: torch.from_numpy(value) for name, value in data.items()}
    said = loaded(inputs=inputs, present={"steps": every, "one": every})
    expected = run.predict(data)
    assert np.isnan(expected.unimodal["one"][2]).all()
    for name, wanted in {"fused": expected.probabilities, **expected.unimodal}.items():
        np.testing.assert_allclose(said[name].detach().numpy(), wanted, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("fusion", FUSIONS.names())
def test_every_fusion(tmp_path: Path, fusion: str) -> None:
    format = "onnx" if fusion in UNLIKE else "torch"
    assert largest(plain(fusion=fusion), tmp_path / f"model{SUFFIXES[format]}", format) < TOLERANCE


@pytest.mark.parametrize("method", ["aug", "mmlora"])
def test_methods_that_change_the_model(tmp_path: Path, method: str) -> None:
    assert largest(plain(method=method), tmp_path / "model.pt2", "torch") < TOLERANCE


@pytest.mark.parametrize(("kind", "encoder", "shape"), [("video", "cnn", (2, 8, 8, 3)), ("image", "resnet", (8, 8))])
def test_encoders_of_media(tmp_path: Path, kind: str, encoder: str, shape: tuple[int, ...]) -> None:
    run = fit(
        {"film": numbers(*shape).astype(np.float32), "one": numbers(3)},
        target=np.arange(SAMPLES) % 2,
        modalities={"film": {"kind": kind}, "one": {}},
        encoder={"film": encoder},
        **QUICK,
    )
    assert largest(run, tmp_path / "model.pt2", "torch") < TOLERANCE


@pytest.mark.parametrize("task", ["regression", "multilabel"])
def test_other_tasks(tmp_path: Path, task: str) -> None:
    target = 1e6 + 1e5 * numbers(2, seed=3) if task == "regression" else (numbers(2, seed=3) > 0).astype(int)
    run = plain(target, task=task)
    assert run.predictor.task.name == task
    assert largest(run, tmp_path / "model.onnx", "onnx") < TOLERANCE


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        ("image", (5, 4)),
        ("image", (5, 4, 2)),
        ("image", (2, 5, 4)),
        ("video", (3, 5, 4, 2)),
        ("audio", (2, 9)),
        ("array", (3, 2, 2)),
    ],
)
def test_each_layout_of_numbers_is_prepared_as_in_training(kind: str, shape: tuple[int, ...]) -> None:
    values = (100 + 20 * numbers(*shape) * np.arange(1, 1 + shape[-1])).astype(np.float32)
    values[1, 0] = np.nan
    data = open_dataset({"one": values, "label": np.arange(SAMPLES) % 2}, options_of(kind))
    preprocessing = Preprocessing.fit(data)
    inside = ExportedModel(predictor_of(data, preprocessing)).inside["one"]
    found = inside(torch.from_numpy(values)).numpy()
    np.testing.assert_allclose(found, preprocessing.transform(data)["one"], atol=1e-6)


def options_of(kind: str) -> Any:
    from equipoise.config import ReadOptions

    return ReadOptions(target="label", modalities={"one": {"kind": kind}})


def predictor_of(data: Any, preprocessing: Preprocessing) -> Predictor:
    """An untrained model of one modality."""
    from equipoise.nn.fusion.linear import ConcatFusion
    from equipoise.nn.multimodal import MultimodalModel
    from equipoise.tasks import Classification

    task = Classification(2)
    model = MultimodalModel({"one": nn.Flatten()}, ConcatFusion({"one": 1}, task))
    return Predictor(model, preprocessing, data.schema, task, torch.device("cpu"))


class ByLength(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.linear(inputs).reshape(len(inputs), 4)


class ByValue(ByLength):
    def forward(self, inputs: Tensor) -> Tensor:
        return self.linear(inputs) if inputs.sum() > 0 else self.linear(-inputs)


@pytest.mark.parametrize(("encoder", "words"), [(ByLength, r"takes the number of samples of a batch as fixed"), (ByValue, "")])
def test_an_encoder_that_is_no_graph_is_named(tmp_path: Path, encoder: type[nn.Module], words: str) -> None:
    run = plain(encoders={"one": encoder()})
    with pytest.raises(ConfigError, match=rf"encoder of modality 'one' \({encoder.__name__}\) is no graph.*{words}") as caught:
        export(run.predictor, tmp_path / "model.pt2", "torch")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_models_of_the_sample_graph_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"modality 'one': its encoder compares samples .* by the sample graph"):
        export(plain(encoder="gcn").predictor, tmp_path / "model.pt2", "torch")
    assert not list(tmp_path.iterdir())


def test_a_file_that_differs_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = plain()
    monkeypatch.setattr(module, "TOLERANCE", 1e-12)
    with pytest.raises(RunError, match=r"on made-up samples the exported model differs .* expected at most 1e-12; nothing was"):
        export(run.predictor, tmp_path / "model.pt2", "torch")
    assert not list(tmp_path.iterdir())


def test_differences_are_seen() -> None:
    probabilities = np.array([[0.25, 0.75], [np.nan, np.nan]])
    assert module._difference(probabilities + 0.1, probabilities) == pytest.approx(0.1)
    assert module._difference(np.nan_to_num(probabilities), probabilities) == float("inf")
    assert module._difference(np.array([[1e6 + 1]]), np.array([[1e6]])) == pytest.approx(1e-6)


def test_a_missing_package_and_a_wrong_name_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ImportError(name)

    with pytest.raises(ConfigError, match="format = 'tflite' is not valid, expected onnx or torch"):
        check_format(Path("model.onnx"), "tflite")
    with pytest.raises(ConfigError, match=r"model\.pt: files of format torch end in \.pt2"):
        check_format(Path("model.pt"), "torch")
    monkeypatch.setattr(module, "import_module", absent)
    with pytest.raises(ConfigError, match=r"pip install 'equipoise\[onnx\]'"):
        check_format(Path("model.onnx"), "onnx")


def test_made_up_samples_have_gaps_and_unknown_categories() -> None:
    data = everything()
    dataset = open_dataset({**data, "label": np.arange(SAMPLES) % 2}, replace(options_of("array"), modalities=KINDS))
    made = dict(trials(None, dataset.schema, Preprocessing.fit(dataset)))
    assert "unknown" in set(made["made-up samples"].inputs["blood"]["kind"])
    assert made["made-up samples, values missing"].inputs["blood"].isna().to_numpy().any()
    assert np.isnan(made["made-up samples"].inputs["steps"]).any()
    assert not made["made-up samples, no steps"].present["steps"].any()
    assert len(made["made-up samples, one alone"]) == 1
