"""The Python face: ``fit``, ``load`` and ``resume`` with everything that options can change about a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import equipoise
from equipoise.errors import ConfigError, DataError, RunError
from tests.end_to_end.harness import CLASSES, SAMPLES, columns, labels, log, mapping, pictures, same_end, summary, write_folder

QUICK: dict[str, Any] = {"epochs": 2, "device": "cpu", "progress": False}


def train(data: Any = None, **options: Any) -> equipoise.Run:
    """A short run on data in memory."""
    if data is None:
        data, options = mapping(), {"target": labels(), **options}
    return equipoise.fit(data, **{**QUICK, **options})


def test_kinds_of_data_in_memory() -> None:
    """A DataFrame, an array and a tensor of the same numbers give the same model."""
    table = columns("", 5, 2.0, 2)
    runs = [
        train({"a": value, "b": pictures()}, target=labels())
        for value in (table, table.to_numpy(), torch.tensor(table.to_numpy()))
    ]
    assert runs[0].metrics == runs[1].metrics == runs[2].metrics


@pytest.mark.parametrize("target", [labels(), np.array(labels()), pd.Series(labels()), torch.arange(SAMPLES) % 3])
def test_kinds_of_labels(target: Any) -> None:
    run = train({"a": columns("", 5, 2.0, 2).to_numpy()}, target=target)
    assert run.predictor.schema.classes == (("0", "1", "2") if isinstance(target, Tensor) else CLASSES)
    assert run.metrics["fused"]["samples"] == 12


def test_missing_modalities_are_marked_by_a_mask_or_by_nothing_but_nan() -> None:
    values = columns("", 5, 2.0, 2).to_numpy()
    mask = np.arange(SAMPLES) % 4 > 0
    hidden = np.where(mask[:, None], values, np.nan)
    given = train({"a": values, "a_present": mask, "b": pictures()}, target=labels())
    found = train({"a": hidden, "b": pictures()}, target=labels())
    assert given.metrics["a"]["samples"] == found.metrics["a"]["samples"] < 12
    assert given.metrics == found.metrics


class Pool(nn.Module):
    """An encoder as a user writes one: it knows nothing of this library."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 7)

    def forward(self, picture: Tensor) -> Tensor:
        features: Tensor = self.linear(picture.mean(-1).flatten(1))
        return features.relu()


def test_encoders_of_your_own(tmp_path: Path) -> None:
    encoder = Pool()
    before = encoder.linear.weight.detach().clone()
    run = train(encoders={"scan": encoder}, out=tmp_path / "run")
    assert not torch.equal(encoder.linear.weight, before)
    assert run.config["encoders"]["scan"]["name"] == "own"
    assert run.config["encoders"]["scan"]["class"].endswith("Pool")
    loaded = equipoise.load(tmp_path / "run", encoders={"scan": Pool()})
    np.testing.assert_array_equal(loaded.predict(mapping()).probabilities, run.predict(mapping()).probabilities)
    with pytest.raises(ConfigError, match=r"modality 'scan' was trained with an encoder of your own \(.*Pool\); pass it"):
        equipoise.load(tmp_path / "run")
    with pytest.raises(RunError, match="the weights do not fit"):
        equipoise.load(tmp_path / "run", encoders={"scan": nn.Sequential(nn.Flatten(), nn.Linear(36, 7))})


@pytest.mark.parametrize(
    ("encoders", "sentence"),
    [
        ({"scann": Pool()}, "encoders: unknown modality 'scann', did you mean 'scan'"),
        ({"scan": Pool}, "encoders: expected a module for modality 'scan', found type"),
        (Pool(), "encoders: expected a mapping from modalities to modules, found Pool"),
        ({"blood": Pool()}, r"encoder of modality 'blood' cannot take samples of shape \(4,\)"),
        ({"scan": nn.Identity()}, r"must give features of shape \(batch, width\), found \(2, 1, 6, 6\) for 2 samples"),
    ],
)
def test_encoders_that_do_not_fit(tmp_path: Path, encoders: Mapping[str, nn.Module], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        train(encoders=encoders, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_encoder_is_stated_or_passed() -> None:
    for stated in ("cnn", {"name": "cnn"}, {"width": 8}):
        with pytest.raises(
            ConfigError, match=r"encoder of modality 'scan': .* was stated and a module passed, expected one of the"
        ):
            train(encoders={"scan": Pool()}, encoder={"scan": stated})
    train(encoders={"scan": Pool()}, encoder={"name": "mlp", "scan": {"frozen": True}})


def test_what_a_notebook_shows_is_one_line(tmp_path: Path) -> None:
    run = train(method="ogm", out=tmp_path / "run")
    reached = run.metrics["fused"]["macro_f1"]
    assert repr(run) == f"<Run of ogm on data: macro_f1 {reached:.3f} on the test part, in {tmp_path / 'run'}>"
    assert repr(equipoise.load(tmp_path / "run")) == repr(run)
    words = f"<Predictions of {SAMPLES} samples, outputs fused, blood, scan, wave; frame() makes a table of them>"
    assert repr(run.predict(mapping())) == words


def test_random_generators_are_left_alone(tmp_path: Path) -> None:
    """What is drawn after a fit goes on from what was drawn before; else all that follows fits of one seed would be alike."""
    torch.manual_seed(11)
    numbers = np.random.get_state()[1].tolist()  # type: ignore[index] # noqa: NPY002 - the global generator is the point
    train(method="modality_dropout", out=tmp_path / "run")
    found = torch.rand(3)
    torch.manual_seed(11)
    assert torch.equal(found, torch.rand(3))
    assert np.random.get_state()[1].tolist() == numbers  # type: ignore[index] # noqa: NPY002


def test_streaming_equals_memory_bit_for_bit(tmp_path: Path) -> None:
    data = write_folder(tmp_path / "study")
    options = {"method": "ogm", "epochs": 1, "batch_size": 8}
    train(str(data), loader="memory", **options, out=tmp_path / "memory")
    for workers in (0, 2):
        run = tmp_path / f"stream_{workers}"
        train(str(data), loader="stream", workers=workers, **options, out=run)
        same_end(run, tmp_path / "memory")


def test_class_weights_help_the_rare_class() -> None:
    target = ["rare" if number % 10 == 0 else "common" for number in range(200)]
    noise = np.random.default_rng(0).normal(size=(200, 3)) + (np.arange(200) % 10 == 0)[:, None]
    recall = {}
    for weights in ("none", "balanced"):
        run = train({"a": noise}, target=target, class_weights=weights, epochs=15)
        recall[weights] = run.metrics["fused"]["balanced_accuracy"]
    assert recall["balanced"] > recall["none"]


def test_folds_cover_every_sample_once() -> None:
    runs = [train(folds=3, fold=fold, epochs=1) for fold in range(3)]
    assert sorted(row for run in runs for row in run.config["split"]["test"]) == list(range(SAMPLES))
    assert len({run.config["data"]["split_hash"] for run in runs}) == 3
    assert [run.config["data"]["split"] for run in runs] == ["repeat_0_fold_0", "repeat_0_fold_1", "repeat_0_fold_2"]


def test_no_group_is_on_two_sides() -> None:
    group = np.array([f"g{number // 3}" for number in range(SAMPLES)])
    run = train({**mapping(), "speaker": group}, target=labels(), group="speaker")
    parts = [set(group[run.config["split"][part]]) for part in ("train", "validation", "test")]
    assert all(parts)
    assert sum(map(len, parts)) == len(set(group))


def test_a_given_split_is_used_as_it_is() -> None:
    split = np.array(["train"] * 36 + ["val"] * 12 + ["test"] * 12)
    run = train({**mapping(), "split": split}, target=labels())
    assert run.config["data"]["split"] == "given"
    assert run.config["split"]["test"] == list(range(48, 60))


@pytest.mark.parametrize(
    "options",
    [
        {"precision": "bfloat16"},
        {"optimizer": "sgd", "learning_rate": 0.05, "schedule": "step", "step_epochs": 5},
        {"accumulate": 3, "clip_norm": 1.0},
        {"fusion": "attention", "method": "modality_dropout"},
        {"top_variance": 2, "impute": "mean", "clip": None},
        {"monitor": "loss", "patience": 3},
    ],
    ids=str,
)
def test_options_that_change_training_let_it_learn(options: dict[str, Any]) -> None:
    plain, run = train(epochs=15), train(epochs=15, **options)
    assert run.metrics["fused"]["accuracy"] > 0.6
    assert run.metrics != plain.metrics
    assert all(run.config["options"][name] == value for name, value in options.items() if name not in ("method", "fusion"))


def test_parts_of_a_batch_give_the_gradient_of_the_whole() -> None:
    whole, parts = train(epochs=3), train(epochs=3, accumulate=4)
    for name, values in whole.metrics.items():
        assert parts.metrics[name] == pytest.approx(values, rel=1e-3, abs=1e-4)


def test_evaluation_of_parts_and_coalitions() -> None:
    run = train()
    found = run.evaluate(mapping(), target=labels(), coalitions=[("scan", "blood")])
    assert {name: found[name] for name in run.metrics} == run.metrics
    assert found["[scan+blood]"]["samples"] == 12
    sizes = [
        run.evaluate(mapping(), target=labels(), part=part)["fused"]["samples"] for part in ("train", "validation", "test", "all")
    ]
    assert sizes == [42, 6, 12, 60]
    with pytest.raises(DataError, match="no column is called label"):
        run.evaluate(mapping())


def test_a_run_without_a_folder_is_kept_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = train()
    assert run.folder is None
    assert list(tmp_path.iterdir()) == []


def test_selection_takes_the_best_epoch_of_the_validation_part(tmp_path: Path) -> None:
    train(epochs=12, monitor="loss", patience=None, out=tmp_path / "run")
    losses = [line["validation"]["fused"]["loss"] for line in log(tmp_path / "run")]
    assert summary(tmp_path / "run")["phases"]["train"]["selected_epoch"] == 1 + int(np.argmin(losses))


def test_a_method_that_changes_nothing_says_so() -> None:
    assert train(method={"name": "ogm", "alpha": 0.0, "noise": False}).summary["inert"] is True
    assert train(method="ogm").summary["inert"] is False


def test_unknown_options_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="unknown option 'epoch', did you mean 'epochs'"):
        train(epoch=3)
    with pytest.raises(DataError, match="cannot open 'list' as data"):
        train([1, 2])


@pytest.mark.parametrize("method", ["joint", "reconboost"])
def test_a_run_in_memory_is_saved_as_if_it_had_had_a_folder(method: str, tmp_path: Path) -> None:
    run = train(method=method, out=tmp_path / "first")
    for number, given in enumerate((run, equipoise.load(run.folder))):
        saved = given.save(tmp_path / str(number))
        for file in run.folder.iterdir():
            assert (saved.folder / file.name).read_bytes() == file.read_bytes()
    with pytest.raises(RunError, match="already holds a run"):
        run.save(run.folder)
