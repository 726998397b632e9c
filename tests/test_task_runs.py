"""Whole runs for labels, numbers and classes in an order: trained, stored, resumed, evaluated, compared, refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from equipoise.benchmark.suite import Suite
from equipoise.benchmark.summary import summarize
from equipoise.benchmark.tables import tables
from equipoise.benchmark.worker import Worker
from equipoise.config import ReadOptions
from equipoise.data.sources import open_dataset
from equipoise.diagnosis.diagnose import diagnose, diagnose_data
from equipoise.errors import ConfigError
from equipoise.run import fit, load, resume
from equipoise.training.loop import Interrupted, Loop
from tests.end_to_end.harness import done

SAMPLES = 120


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table whose targets of all kinds follow from what its two modalities show."""
    random = np.random.default_rng(0)
    hidden = random.normal(size=(SAMPLES, 3))
    columns = {f"blood_{k}": hidden[:, k] + 0.3 * random.normal(size=SAMPLES) for k in range(3)}
    columns |= {f"gene_{k}": hidden[:, k] + 0.6 * random.normal(size=SAMPLES) for k in range(2)}
    columns |= {"age": 50 + 10 * hidden[:, 0], "weight": 70 + 5 * hidden[:, 1], "grade": np.digitize(hidden[:, 0], [-0.7, 0.7])}
    columns |= {f"has_{name}": (hidden[:, k] > 0).astype(int) for k, name in enumerate(("a", "b"))}
    path = tmp_path_factory.mktemp("tasks") / "patients.csv"
    frame = pd.DataFrame(columns)
    frame.insert(0, "id", [f"p{row}" for row in range(SAMPLES)])
    frame.to_csv(path, index=False)
    return path


MODALITIES = {"blood": {"prefix": "blood_"}, "gene": {"prefix": "gene_"}}
TASKS: dict[str, dict[str, Any]] = {
    "regression": {"target": "age", "task": "regression"},
    "several": {"target": ["age", "weight"], "task": "regression"},
    "multilabel": {"target": "has_*"},
    "ordinal": {"target": "grade", "task": "ordinal"},
}
QUICK = {"epochs": 12, "learning_rate": 1e-2, "progress": False, "modalities": MODALITIES}


@pytest.mark.parametrize("kind", TASKS)
def test_a_run_of_every_task_is_stored_and_loaded(kind: str, table: Path, tmp_path: Path) -> None:
    run = fit(table, out=tmp_path / "run", **TASKS[kind], **QUICK)
    main = run.summary["metric"]
    assert run.summary["test"]["fused"][main] > 0.6
    assert run.config["options"]["monitor"] == "auto"
    again = load(tmp_path / "run")
    assert again.evaluate(table) == run.metrics
    whole = again.evaluate(table, coalitions="all", part="all")
    assert whole["[blood+gene]"] == pytest.approx(whole["fused"], rel=1e-5)
    before, after = (item.predict(table).frame() for item in (run, again))
    pd.testing.assert_frame_equal(before, after)
    again.predict(table).write(tmp_path / "predictions.csv")
    assert list(pd.read_csv(tmp_path / "predictions.csv").columns) == list(before.columns)


def test_what_predictions_say(table: Path) -> None:
    numbers = fit(table, **TASKS["regression"], **QUICK).predict(table)
    frame, truth = numbers.frame(), pd.read_csv(table)
    assert list(frame.columns) == ["id", "prediction", "blood.present", "blood.prediction", "gene.present", "gene.prediction"]
    assert np.corrcoef(frame["prediction"], truth["age"])[0, 1] > 0.8
    assert abs(frame["prediction"].mean() - truth["age"].mean()) < 3, "in the units of the target"
    with pytest.raises(ConfigError, match="predictions of numbers have no labels"):
        _ = numbers.labels
    labels = fit(table, **TASKS["multilabel"], **QUICK).predict(table)
    has = labels.probabilities >= 0.5
    names = np.array(["has_a", "has_b"])
    assert labels.labels.tolist() == [", ".join(names[row]) for row in has]
    assert [name for name in labels.frame().columns if name.startswith("prob")] == ["probability[has_a]", "probability[has_b]"]
    both = fit(table, **TASKS["several"], **QUICK).predict(table).frame()
    assert {"prediction[age]", "prediction[weight]", "gene.prediction[age]", "gene.prediction[weight]"} <= set(both.columns)


@pytest.mark.parametrize("kind", ["several", "multilabel"])
def test_a_resumed_run_ends_as_one_that_never_stopped(
    kind: str, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = fit(table, out=tmp_path / "straight", checkpoint_seconds=0, **TASKS[kind], **QUICK)
    judge = Loop._judge

    def stopped(self: Loop, *arguments: Any) -> None:
        judge(self, *arguments)
        if self.ctx.epoch == 5:
            raise Interrupted("stopped")

    monkeypatch.setattr(Loop, "_judge", stopped)
    with pytest.raises(Interrupted):
        fit(table, out=tmp_path / "cut", checkpoint_seconds=0, **TASKS[kind], **QUICK)
    monkeypatch.setattr(Loop, "_judge", judge)
    finished = resume(tmp_path / "cut", progress=False)
    assert finished.metrics == straight.metrics
    assert [line["losses"] for line in finished.log] == [line["losses"] for line in straight.log]


def test_methods_are_compared_by_the_metric_of_the_task(table: Path) -> None:
    data = {"patients": {"source": str(table), **TASKS["several"], "modalities": MODALITIES}}
    suite = Suite.from_mapping({"data": data, "methods": ["joint", "ogm", "unimodal"], "folds": 2, "epochs": 4})
    planned = suite.plan()
    worker = Worker(lambda name: planned.sources[name].open())
    summary = summarize([worker.do(job) for job in planned.jobs])
    assert summary["metric"] == "r2"
    assert not summary["failed"]
    assert set(summary["tables"][0]["lines"][0]["curve"][0]) == {"phase", "loss", "r2"}
    scores = tables(summary)[0]
    assert scores.columns[1] == "R²"
    assert "accuracy" not in scores.columns


def test_a_suite_has_one_metric_and_methods_that_can(table: Path) -> None:
    one = {"source": str(table), **TASKS["regression"], "modalities": MODALITIES}
    other = {"source": str(table), "target": "grade", "modalities": MODALITIES}
    suite = Suite.from_mapping({"data": {"numbers": one, "classes": other}, "methods": ["joint"]})
    with pytest.raises(ConfigError, match=r"one metric, found data of several .numbers: regression .r2., classes: cl"):
        suite.plan()
    names = {job.method["name"] for job in Suite.from_mapping({"data": {"numbers": one}, "methods": "all"}).plan().jobs}
    assert "joint" in names
    assert "pmr" not in names
    with pytest.raises(ConfigError, match="method pmr is for classification or ordinal, the task of the data is regression"):
        Suite.from_mapping({"data": {"numbers": one}, "methods": ["joint", "pmr"]}).plan()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({**TASKS["regression"], "monitor": "macro_f1"}, "monitor = 'macro_f1' is no metric of regression"),
        ({**TASKS["multilabel"], "monitor": "accuracy"}, "monitor = 'accuracy' is no metric of multilabel"),
        ({**TASKS["regression"], "class_weights": "balanced"}, "class_weights = 'balanced' is for classes and labels"),
        ({**TASKS["multilabel"], "method": "joint+pmr"}, "method joint.pmr is for classification or ordinal"),
        ({"target": "age", "task": "regresion"}, "task = 'regresion' is not valid, did you mean 'regression'"),
    ],
)
def test_what_does_not_fit_the_task_is_refused_before_training(
    options: dict[str, Any], sentence: str, table: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        fit(table, out=tmp_path / "run", **QUICK, **options)
    assert not (tmp_path / "run").exists()


def test_a_diagnosis_is_for_every_task(table: Path) -> None:
    run = fit(table, **TASKS["several"], **{**QUICK, "epochs": 1})
    assert diagnose(run, table, progress=False).terms["targets"] == "2 numbers"
    dataset = open_dataset(table, ReadOptions(modalities=MODALITIES, **TASKS["multilabel"]))
    assert diagnose_data(dataset, epochs=1, progress=False).terms["targets"] == "2 labels"


def test_commands(table: Path, tmp_path: Path) -> None:
    run, words = str(tmp_path / "run"), ["--target", "[age, weight]", "--task", "regression"]
    words += ["--modalities", "{blood: {prefix: blood_}, gene: {prefix: gene_}}"]
    shown = done("data", "describe", table, *words)
    assert "task: regression of age, weight" in shown
    assert "target: [age, weight]" in shown
    fitted = done("fit", table, *words, "--epochs", "2", "--out", run)
    assert "task: regression" in fitted
    assert "R²" in fitted
    evaluated = done("evaluate", run, table)
    assert "RMSE" in evaluated
    assert "ECE" not in evaluated
    assert "tasks    classification, ordinal" in done("methods", "pmr")
