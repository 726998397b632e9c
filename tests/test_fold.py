"""Runs that share a fold are the runs that they would be alone."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import equipoise
from equipoise.config import PreprocessingOptions, SplitOptions
from equipoise.data.builtin import BUILTIN
from equipoise.data.loader import MemoryPart, StreamPart
from equipoise.data.prepare_hashing import HashedText
from equipoise.data.prepare_table import TablePreparation
from equipoise.data.prepare_text import TextPreparation
from equipoise.data.sources import open_dataset
from equipoise.errors import ConfigError, DataError
from equipoise.fold import Fold
from equipoise.run import Run, fit

QUICK: dict[str, Any] = {"epochs": 2, "device": "cpu", "progress": False}


def same(first: Run, second: Run) -> bool:
    weights = [run.predictor.module.state_dict() for run in (first, second)]
    return first.metrics == second.metrics and all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_sharing_changes_nothing() -> None:
    dataset = open_dataset("wisconsin")
    fold = Fold.of(dataset, SplitOptions(folds=3, fold=1))
    for method in ("ogm", "modality_dropout", "unimodal", "ogm"):  # what one run does to the shared samples, the next would see
        shared, alone = (fit(data, method=method, folds=3, fold=1, **QUICK) for data in (fold, dataset))
        assert same(shared, alone)
        assert shared.config == alone.config
        assert [line["validation"] for line in shared.log] == [line["validation"] for line in alone.log]


def test_a_part_is_prepared_once() -> None:
    fold = Fold.of(open_dataset("wisconsin"))
    device = torch.device("cpu")
    assert fold.part("train", device, "auto", 0) is fold.part("train", device, "auto", 0)
    assert fold.part("train", device, "auto", 0) is not fold.part("validation", device, "auto", 0)


def test_options_that_contradict_the_fold_are_refused() -> None:
    fold = Fold.of(open_dataset("wisconsin"), SplitOptions(folds=3), PreprocessingOptions(clip=5.0))
    for options in ({"folds": 2, "clip": 5.0}, {"folds": 3}):
        with pytest.raises(ConfigError, match="the fold was made with other options"):
            fit(fold, **options, **QUICK)
    fit(fold, folds=3, clip=5.0, **QUICK)


def test_without_test_the_validation_part_is_measured() -> None:
    fold = Fold.of(open_dataset("wisconsin"))
    run = fit(fold.without_test(), **QUICK)
    assert run.summary["samples"]["test"] == run.summary["samples"]["validation"] == len(fold.data.validation)
    best = max(line["validation"]["fused"]["macro_f1"] for line in run.log)
    assert run.metrics["fused"]["macro_f1"] == pytest.approx(best, abs=1e-6)


def test_a_graph_over_all_samples_counts_those_of_validation_once() -> None:
    fold = Fold.of(open_dataset("wisconsin"))
    run = fit(fold.without_test(), encoder="gcn", graph={"nodes": "all"}, **QUICK)
    assert run.predictor.graph is not None
    assert len(run.predictor.graph) == len(fold.data.train) + len(fold.data.validation)


def test_the_log_of_a_run_is_there_when_it_is_loaded(tmp_path: Path) -> None:
    run = fit(BUILTIN["wisconsin"](), out=tmp_path / "run", target=None, **QUICK)
    assert len(run.log) == 2
    assert list(equipoise.load(tmp_path / "run").log) == list(run.log)


def test_a_fold_for_training_keeps_no_sample_for_a_test() -> None:
    dataset = open_dataset("wisconsin")
    fold = Fold.for_training(dataset, SplitOptions(validation_fraction=0.25, split_seed=3))
    assert len(fold.data.train) + len(fold.data.validation) == len(dataset)
    assert len(fold.data.validation) == pytest.approx(0.25 * len(dataset), abs=2)
    assert np.bincount(fold.data.validation.target).min() > 0.2 * np.bincount(dataset.target).min()
    run = fit(fold, validation_fraction=0.25, split_seed=3, encoder="gcn", graph={"nodes": "all"}, **QUICK)
    assert (run.metrics, run.summary["samples"]["test"]) == ({}, 0)
    assert run.evaluate("wisconsin", part="auto")["fused"]["samples"] == len(dataset)
    with pytest.raises(DataError, match="trained without a test part"):
        equipoise.diagnose(run, dataset, progress=False)


def count_preparations(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count what is fitted and prepared, by the class of the preparation."""
    counts: Counter[str] = Counter()
    for cls in (TextPreparation, HashedText, TablePreparation):

        def fitted(*words: Any, name: str = cls.__name__, fit: Any = cls.fit) -> Any:
            counts[f"{name}.fit"] += 1
            return fit(*words)

        def transformed(self: Any, raw: Any, name: str = cls.__name__, transform: Any = cls.transform) -> Any:
            counts[name] += 1
            return transform(self, raw)

        monkeypatch.setattr(cls, "fit", fitted)
        monkeypatch.setattr(cls, "transform", transformed)
    return counts


def test_each_modality_is_prepared_once_per_form(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["very itchy dress", "lovely soft dress", "torn at once", "soft and so lovely", "itchy and torn"]
    source = {"review": [f"{words[row % 5]} again {row}" for row in range(60)], "facts": np.arange(120.0).reshape(60, 2) % 7}
    dataset = open_dataset(source, target=[0, 1] * 30)
    bag = {"review": {"name": "embedding_bag", "buckets": 64}}
    alone = fit(dataset, encoder=bag, **QUICK)

    counts = count_preparations(monkeypatch)
    fold = Fold.of(dataset)
    runs = [fit(fold, method=method, encoder=bag, **QUICK) for method in ("joint", "late", "ogm")]
    assert same(runs[0], alone)
    parts = 3  # train, validation and test
    once = {"TextPreparation.fit": 1, "TablePreparation.fit": 1, "TablePreparation": parts}
    assert counts == {**once, "HashedText.fit": 1, "HashedText": parts}
    fit(fold, **QUICK)  # another form of the text; the table stays
    assert counts == {**once, "HashedText.fit": 1, "HashedText": parts, "TextPreparation": parts}
    assert same(fit(fold, encoder=bag, **QUICK), alone)
    assert counts["TablePreparation"] == parts
    assert counts["HashedText.fit"] == 1
    assert {len(kept.part) for kept in fold._shared.parts.values()} == {len(fold.data.train), len(fold.data.validation)}


def test_samples_of_the_test_part_stay_out_of_reach_of_what_chooses() -> None:
    fold = Fold.of(open_dataset("wisconsin"))
    fit(fold, **QUICK)
    chooses = fold.without_test()
    known = [kept.dataset for shared in (chooses._shared, chooses._tested) for kept in shared.parts.values()]
    assert known
    assert all(dataset is not fold.test for dataset in known)
    device = torch.device("cpu")
    assert chooses.part("test", device, "auto", 0) is chooses.part("validation", device, "auto", 2)


def test_a_part_is_streamed_where_that_is_asked_for() -> None:
    fold, device = Fold.of(open_dataset("wisconsin")), torch.device("cpu")
    memory, stream = (fold.part("train", device, loader, 0) for loader in ("memory", "stream"))
    assert isinstance(memory, MemoryPart)
    assert isinstance(stream, StreamPart)
    assert fold.part("train", device, "stream", 0) is stream
    assert fold.part("train", device, "stream", 1) is not stream
    assert fold.part("train", device, "auto", 1) is memory
