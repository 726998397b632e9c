"""Diagnosis, page and terminal for each task, on data of known truth: one modality tells, one is noise, one starves."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console

import equipoise
from equipoise.cli.diagnose import print_diagnosis
from equipoise.diagnosis.diagnose import Diagnosis, diagnose_data
from equipoise.diagnosis.spread import WHOLE, spreads
from equipoise.errors import DataError
from equipoise.report.page import render
from tests.diagnosis.conftest import QUICK
from tests.report.conftest import Page

SAMPLES = 1500
TARGETS: dict[str, dict[str, Any]] = {
    "classification": {},
    "ordinal": {"task": "ordinal"},
    "multilabel": {"task": "multilabel"},
    "regression": {"task": "regression"},
}


def hidden_in_products(sign: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float64]:
    """Three signs whose product is a sign: they show it completely, and take long to learn."""
    signs = random.choice([-1.0, 1.0], (len(sign), 3))
    signs[:, 2] = sign * signs[:, 0] * signs[:, 1]
    return signs + 0.3 * random.standard_normal((len(sign), 3))


def starving(task: str) -> tuple[dict[str, NDArray[Any]], NDArray[Any]]:
    """``easy`` shows the target at once, ``hard`` in products that take long to learn, ``noise`` not at all."""
    random = np.random.default_rng(0)
    signs = random.choice([-1.0, 1.0], (SAMPLES, 2 if task == "multilabel" else 1))
    easy = np.hstack([3 * signs, np.zeros((SAMPLES, 3))])
    easy += random.standard_normal(easy.shape)
    hard = np.hstack([*(hidden_in_products(sign, random) for sign in signs.T), random.standard_normal((SAMPLES, 6))])
    noise = random.standard_normal((SAMPLES, 4))
    data = {name: values.astype(np.float32) for name, values in (("easy", easy), ("hard", hard), ("noise", noise))}
    code = (signs[:, 0] > 0).astype(int)
    target: dict[str, NDArray[Any]] = {
        "classification": code,
        "ordinal": code,
        "multilabel": (signs > 0).astype(int),
        "regression": 20 + 5 * signs[:, 0] + 0.5 * random.standard_normal(SAMPLES),
    }
    return data, target[task]


@pytest.fixture(scope="module", params=TARGETS)
def found(request: pytest.FixtureRequest) -> Diagnosis:
    """The diagnosis of joint training on such data."""
    data, target = starving(request.param)
    options = {**TARGETS[request.param], "target": target, "encoder": "mlp", "epochs": 20, "batch_size": 64, **QUICK}
    run = equipoise.fit(data, **options)
    return equipoise.diagnose(run, data, target=target, progress=False)


@pytest.fixture(scope="module")
def page(found: Diagnosis) -> Page:
    """Its page."""
    return Page(render([found.to_json()]))


def test_the_truth_is_found(found: Diagnosis) -> None:
    assert found.verdict.headline.startswith("starved: hard")
    assert "uninformative: noise" in found.verdict.headline
    assert {item.modality: item.state for item in found.capacity if item.modality != "noise"} == {
        "easy": "held",
        "hard": "starved",
    }
    easy, hard, noise = found.capacity
    chance = found.terms["chance"]
    assert easy.alone.value > chance + 0.4
    assert hard.alone_probe.value > chance + 0.25
    assert noise.alone.low <= chance + 0.02
    assert found.samples.decided["easy"] > 0.8


def test_contributions_add_up(found: Diagnosis) -> None:
    masked = found.coalitions["mask"]
    total = sum(item.value for item in masked.shapley.values())
    full = masked.scores[-1]
    assert full.modalities == ("easy", "hard", "noise")
    assert full.score.value == pytest.approx(found.generalisation["fused"].score.value)
    assert full.loss == pytest.approx(found.generalisation["fused"].loss, rel=1e-5)
    assert total == pytest.approx(full.score.value - found.terms["chance"], abs=1e-6)
    main = found.terms["main"]
    assert set(masked.also) == {main, "loss"}
    assert full.main == pytest.approx(found.outputs["fused"].metrics[main])
    score = {item.modalities: item.score.value for item in masked.scores}
    assert masked.removal["easy"].value == pytest.approx(full.score.value - score["hard", "noise"])
    assert masked.shapley["easy"].low > masked.shapley["noise"].high
    for sample in found.samples.samples:
        assert sample.contributions[sample.decided] == max(sample.contributions.values())


def test_the_hardest_samples_are_those_of_largest_loss(found: Diagnosis, page: Page) -> None:
    hardest = found.samples.hardest
    rows = page.cells("Samples of largest loss")
    assert [row[:3] for row in rows] == [[item.id, item.label, item.predicted] for item in hardest]
    if found.outputs["fused"].confusion:  # two classes
        sure = [item.confidence or 0.0 for item in hardest]
        true = [p if item.label == item.predicted else 1 - p for p, item in zip(sure, hardest, strict=True)]
        assert true == sorted(true)
    elif found.residuals:
        errors = [item.error or 0.0 for item in hardest]
        assert errors == sorted(errors, reverse=True)
        (one,) = found.outputs["fused"].classes
        assert errors[0] > one["rmse"] / found.data["ranges"]["train"][one["class"]]["deviation"]


def test_it_is_plain_data(found: Diagnosis) -> None:
    value = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert value["terms"]["task"] == found.run["options"]["task"] or found.run["options"]["task"] is None
    (one,) = spreads([value, {**value, "run": {**value["run"], "folder": "again"}}])
    terms = found.terms
    assert one.values[WHOLE][terms["key"]].deviation == 0
    assert set(one.values[WHOLE]) == {terms["key"], terms["main"], "deviation"}


def test_the_page_tells_it_in_the_words_of_the_task(found: Diagnosis, page: Page) -> None:
    terms = found.terms
    assert f"Scores are {terms['scores']} on the test part" in page.text
    assert terms["targets"] in page.text
    assert found.verdict.text in page.text
    cells = page.values("Alone and inside the model, by own output", 1)
    assert cells == [item.alone.value for item in found.capacity]
    assert ("Calibration" in page.text) == bool(found.calibration)
    assert ("Confusion matrices" in page.text) == bool(found.outputs["fused"].confusion)
    assert all(given["role"] == "img" and given["aria-label"] for given in page.names("svg"))
    assert "None" not in page.text
    assert "nan" not in page.text.split()


def test_the_terminal_tells_it(found: Diagnosis) -> None:
    out = io.StringIO()
    print_diagnosis(found, Console(file=out, width=120))
    lines = out.getvalue().splitlines()
    assert f"{found.terms['targets']}; scores are {found.terms['scores']}, intervals 95 %" in lines[0]
    for item in found.capacity:
        rows = [line.split() for line in lines if line.split()[:1] == [item.modality]]
        assert len(rows) == 4  # capacity, contributions, information, decision
        assert rows[0][1] == f"{item.alone.value:.3f}"
    assert "nan" not in out.getvalue().split()
    assert "None" not in out.getvalue().split()


def test_what_has_no_meaning_is_left_out_and_said(found: Diagnosis) -> None:
    task = found.terms["task"]
    said = [note for note in found.notes if "confusion matri" in note]
    assert len(said) == (task in ("multilabel", "regression"))
    assert bool(found.residuals) == (found.information.label_entropy is None) == (not found.calibration) == (task == "regression")
    if task == "regression":
        assert found.data["ranges"]["test"].keys() == set(found.data["classes"])
        assert "iibalance" not in found.verdict.text
    else:
        assert sum(found.data["of_class"]["test"].values()) > 0


def test_labels_have_a_table_of_each() -> None:
    data, target = starving("multilabel")
    run = equipoise.fit(data, target=target, task="multilabel", epochs=2, **QUICK)
    found = equipoise.diagnose(run, data, target=target, progress=False)
    page = Page(render([found.to_json()]))
    rows = page.cells("Labels: the fused output, and each modality's own")
    assert [row[0] for row in rows] == list(run.predictor.schema.classes)
    for row, item in zip(rows, found.outputs["fused"].classes, strict=True):
        assert row[1:5] == [str(item["support"]), *(f"{item[key]:.3f}" for key in ("precision", "recall", "f1"))]
    heads = [text for text, _ in page.tables["Samples of most disagreement"][0]]
    assert heads[:5] == ["sample", "true", "predicted", "outcome", "confidence"]


def test_several_numbers_have_residuals_of_each() -> None:
    random = np.random.default_rng(0)
    hidden = random.standard_normal((200, 2))
    data = {"a": hidden + 0.3 * random.standard_normal((200, 2)), "b": random.standard_normal((200, 3))}
    data["b"][::7] = np.nan
    target = hidden * [10, 1] + [100, 0]
    run = equipoise.fit(data, target=target, task="regression", epochs=5, **QUICK)
    found = equipoise.diagnose(run, data, target=target, progress=False)
    names = run.predictor.schema.classes
    assert [(item.number, item.output) for item in found.residuals] == [
        (name, out) for name in names for out in ("fused", "a", "b")
    ]
    rows = {(item["class"], name): item for name, output in found.outputs.items() for item in output.classes}
    for item in found.residuals:
        assert list(item.true) == sorted(item.true)
        residuals = np.array(item.predicted) - np.array(item.true)  # fewer samples than are drawn: all are there
        assert item.mean == pytest.approx(residuals.mean())
        assert item.quantiles == pytest.approx(np.quantile(residuals, [0.05, 0.5, 0.95]))
        assert np.abs(residuals).mean() == pytest.approx(rows[item.number, item.output]["mae"])
        parts = np.array_split(np.abs(residuals), 10)
        assert item.error == pytest.approx([part.mean() for part in parts])
    page = Page(render([found.to_json()]))
    for name in names:
        assert f"Predicted against true {name}: b" in page.tables
        assert len(page.cells(f"Mean absolute error of {name} by tenth of its targets")) == 10
    heads = [text for text, _ in page.tables["Samples of most disagreement"][0]]
    assert heads[:5] == ["sample", "true", "predicted", "error", "decided by"]
    assert found.outputs["b"].samples == found.data["present"]["test"]["b"]


def test_data_of_numbers_are_diagnosed_by_training_joint() -> None:
    data, target = starving("regression")
    few = {name: values[:200] for name, values in data.items()}
    run = equipoise.fit(few, target=target[:200], task="regression", epochs=1, **QUICK)
    dataset = run.predictor.read(few, target=target[:200], labelled=True)
    assert diagnose_data(dataset, epochs=1, **QUICK).terms["score"] == "R²"


@pytest.mark.parametrize(
    ("task", "target", "sentence"),
    [
        ("multilabel", np.tile([[1, 0]], (40, 1)), "the test part has no label that some samples have and others have not"),
        ("regression", np.full(40, 2.5), "the test part has samples with equal targets only, a diagnosis needs different ones"),
    ],
)
def test_a_test_part_that_cannot_judge_is_refused(task: str, target: NDArray[Any], sentence: str) -> None:
    random = np.random.default_rng(0)
    data = {name: random.standard_normal((120, 3)).astype(np.float32) for name in "ab"}
    split = np.array(["train"] * 60 + ["validation"] * 20 + ["test"] * 40)
    shape = (80, 2) if task == "multilabel" else 80
    before = random.integers(0, 2, shape) if task == "multilabel" else random.standard_normal(shape)
    whole = np.concatenate([before, target])
    table = {**data, "split": split}
    run = equipoise.fit(table, target=whole, task=task, epochs=1, **QUICK)
    with pytest.raises(DataError, match=sentence):
        equipoise.diagnose(run, table, target=whole, progress=False)


@pytest.mark.parametrize("task", ["multilabel", "regression"])
def test_a_modality_of_one_test_sample_has_no_score_and_is_no_finding(task: str) -> None:
    random = np.random.default_rng(0)
    data = {name: random.standard_normal((120, 3)) for name in "ab"}
    data["b"][5:-1] = np.nan
    table = {**data, "split": np.array(["train"] * 80 + ["validation"] * 15 + ["test"] * 25)}
    target = (random.random((120, 2)) < 0.4).astype(int) if task == "multilabel" else random.standard_normal(120)
    run = equipoise.fit(table, target=target, task=task, epochs=1, **QUICK)
    found = equipoise.diagnose(run, table, target=target, progress=False)
    rare = found.capacity[1]
    assert (rare.modality, rare.samples, rare.state) == ("b", 1, "unclear")
    assert found.to_json()["capacity"][1]["alone"] == {"value": None, "low": None, "high": None}
    assert all("b" not in finding.modalities for finding in found.verdict.findings)
    assert "b: score that its encoder lost against training alone is not defined" in found.verdict.text
    out = io.StringIO()
    print_diagnosis(found, Console(file=out, width=120))
    assert "nan" not in out.getvalue()
    assert [row[1] for row in Page(render([found.to_json()])).cells("Alone and inside the model, by own output")][1] == "-"
