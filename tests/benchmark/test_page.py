"""The page about a benchmark says what the summary says, is valid, fits a telephone, and stays small."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest

from equipoise.benchmark.leaderboard import LATEX, PAGE, RECORD, Record, read_record, write_leaderboard
from equipoise.benchmark.store import RESULTS, Store
from equipoise.benchmark.summary import summarize
from equipoise.errors import RunError
from equipoise.evaluation.significance import corrected_paired_test, holm
from equipoise.report.leaderboard import Origin
from equipoise.report.page import render_benchmark
from tests.benchmark.test_tables import SCORES, failed, row, rows
from tests.end_to_end.harness import call, done
from tests.report.conftest import SCRIPT, Page
from tests.report.test_browser import BROWSER, look

ORIGIN = Origin("Benchmark x", "equipoise benchmark x --methods 'joint,late'", left=3)
CURVE = [
    {"phase": phase, "loss": 1.0, "macro_f1": {"fused": 0.1 * place, "a": 0.05, "b": None}}
    for place, phase in enumerate(["train", "train", "more", "more", "more"])
]


@pytest.fixture(scope="module")
def summary() -> dict[str, Any]:
    """Three methods on two data sets, learning curves, and a run that failed."""
    return summarize([*({**item, "curve": CURVE} for item in rows()), failed()], region=0.01)


@pytest.fixture(scope="module")
def text(summary: dict[str, Any]) -> str:
    """The page."""
    return render_benchmark(summary, ORIGIN)


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    """The page, read."""
    return Page(text)


def ordered(summary: dict[str, Any], place: int = 0) -> list[dict[str, Any]]:
    """The lines of a table, best first."""
    table = summary["tables"][place]
    lines = {line["name"]: line for line in table["lines"]}
    return [lines[name] for name in table["best_first"]]


def numbers(page: Page, caption: str, column: int) -> list[float | None]:
    """The numbers behind a column; None for a dash."""
    return [None if value is None else float(value) for value in (line[column][1] for line in page.tables[caption][1:])]


def test_best_comes_first_and_is_tested_against(summary: dict[str, Any]) -> None:
    assert [line["name"] for line in ordered(summary)] == ["late", "joint", "unimodal"] == summary["best_first"]
    best, *others = ordered(summary)
    assert best["from_best"] is None
    tests = [corrected_paired_test(SCORES[line["name"]], SCORES["late"], 80, 20) for line in others]
    assert [line["from_best"]["difference"] for line in others] == pytest.approx([test.difference for test in tests])
    assert [line["from_best"]["p"] for line in others] == pytest.approx(holm([test.p for test in tests]))


def test_less_is_better_for_losses() -> None:
    changed = [
        {**item, "test": {name: {"nll": metrics["macro_f1"]} for name, metrics in item["test"].items()}} for item in rows()
    ]
    assert summarize(changed, metric="nll")["best_first"] == ["unimodal", "joint", "late"]


def test_the_overview_counts_and_marks(page: Page, summary: dict[str, Any]) -> None:
    assert "3 methods on 2 data sets: 12 runs finished, 1 failed, 3 are not done yet." in page.text
    ranks = dict(zip(summary["ranking"]["methods"], summary["ranking"]["ranks"], strict=True))
    shown = page.cells("macro-F1 by method and data set")
    assert [cells[0] for cells in shown] == summary["best_first"]
    assert [cells[3] for cells in shown] == [f"{ranks[name]:.2f}" for name in summary["best_first"]]
    marks = [cells[1].lstrip("0123456789.") for cells in shown]
    ties = ["°" if line["from_best"]["p"] > 0.05 else "" for line in ordered(summary)[1:]]
    assert marks == ["*", *ties]
    assert page.cells("Runs that failed") == [["x", "ogm", "0", "1", "the loss is no number"]]
    assert page.cells("Data sets")[0] == ["x", "70", "10", "20", "a, b", "2", "1", "3"]


def test_what_fails_alike_is_one_row() -> None:
    several = [{**failed(), "key": str(seed), "seed": seed} for seed in (1, 2)] + [{**failed(), "error": "other"}]
    shown = Page(render_benchmark(summarize(several), ORIGIN)).cells("Runs that failed")
    assert shown == [["x", "ogm", "0", "1, 2", "the loss is no number"], ["x", "ogm", "0", "1", "other"]]


def test_what_is_not_ranked_is_said() -> None:
    partly = [item for item in rows() if item["set"] == "x" or item["method"]["name"] != "late"]
    assert "Not ranked, as they did not run on every data set: late." in Page(render_benchmark(summarize(partly), ORIGIN)).text
    apart = [item for item in partly if item["set"] == "x" or item["method"]["name"] != "joint"]
    text = Page(render_benchmark(summarize(apart), ORIGIN)).text
    assert "There are no mean ranks" in text
    assert "Critical differences" not in text


def test_sets_of_different_tasks_name_their_metrics() -> None:
    errors = [
        {**item, "metric": "rmse", "test": {"fused": {"rmse": 1 - SCORES[item["method"]["name"]][0]}}} for item in rows(("x",))
    ]
    page = Page(render_benchmark(summarize([*errors, *rows(("y",))]), ORIGIN))
    heads = [head[0] for head in page.tables["main metric by method and data set"][0]]
    assert heads == ["method", "x, rmse", "y, macro-F1", "mean rank"]
    assert "x: rmse of the fused output" in page.tables
    assert "y: macro-F1 of the fused output" in page.tables


def test_scores_are_those_of_the_summary(page: Page, summary: dict[str, Any]) -> None:
    for place, name in enumerate("xy"):
        lines = ordered(summary, place)
        caption = f"{name}: macro-F1 of the fused output"
        means, spreads = zip(*(line["scores"]["fused"]["macro_f1"] for line in lines), strict=True)
        low, high = zip(*(line["intervals"]["fused"]["macro_f1"] for line in lines), strict=True)
        for column, expected in enumerate((means, spreads, low, high), start=1):
            assert numbers(page, caption, column) == pytest.approx(expected, rel=1e-5)
        assert numbers(page, caption, 5) == [
            None,
            *(pytest.approx(line["from_best"]["difference"], rel=1e-5) for line in lines[1:]),
        ]
        assert numbers(page, f"{caption}, drawn", 1) == pytest.approx(means, rel=1e-5)
        accuracy = [line["scores"]["fused"]["accuracy"][0] for line in lines]
        assert numbers(page, f"{name}: all metrics of the fused output, means", 1) == pytest.approx(accuracy, rel=1e-5)


def test_modalities_stand_against_the_same_alone(page: Page, summary: dict[str, Any]) -> None:
    lines = ordered(summary)
    alone = next(line for line in lines if line["name"] == "unimodal")["scores"]["a"]["macro_f1"][0]
    inside = {line["name"]: line["scores"]["a"]["macro_f1"][0] for line in lines if line["name"] != "unimodal"}
    caption = "x: a inside the model against alone"
    assert [cells[0] for cells in page.cells(caption)] == list(inside)
    assert numbers(page, caption, 1) == pytest.approx(list(inside.values()), rel=1e-5)
    assert numbers(page, caption, 4) == pytest.approx([alone] * 2, rel=1e-5)
    assert numbers(page, caption, 5) == pytest.approx([value - alone for value in inside.values()], rel=1e-5)


def test_cost_is_relative_to_the_reference() -> None:
    dear = [{**item, "backwards": 20.0 if item["method"]["name"] == "joint" else 45.0} for item in rows()]
    page = Page(render_benchmark(summarize(dear), ORIGIN))
    assert numbers(page, "x: macro-F1 against cost", 1) == [2.0, 1.0, 2.0]  # 10 + 2 * 45 against 10 + 2 * 20
    assert page.tables["x: macro-F1 against cost"][0][1][0] == "passes of a run, relative to joint"
    late = page.cells("x: cost of a run, mean")[0]
    assert late == ["late", "10", "10", "45", "2.00x", "100", "3.00", "1.50x", "1234", "512 MiB", "0"]


def test_without_known_passes_cost_is_time() -> None:
    old = [{key: value for key, value in item.items() if key not in ("passes", "forwards", "curve")} for item in rows()]
    page = Page(render_benchmark(summarize(old), ORIGIN))
    assert numbers(page, "x: macro-F1 against cost", 1) == [3.0, 2.0, 3.0]
    assert page.tables["x: macro-F1 against cost"][0][1][0] == "seconds of a run"
    assert not any("in training" in caption for caption in page.tables)


def test_learning_curves_are_those_of_the_first_run(page: Page) -> None:
    (cells, *_) = page.cells("x: macro-F1 on the validation part in training")
    assert cells == ["late", "5", "0.000", "0.100", "0.200", "0.300", "0.400", "0.050", "-"]
    assert "3 methods" in page.text


def test_every_run_is_listed(page: Page) -> None:
    listed = page.cells("Runs")
    assert len(listed) == 12
    assert listed[0] == ["x", "joint", "0", "0", "0.7000", "10", "2.00", "512 MiB", ""]
    assert [cells[-1] for cells in listed].count("inert") == 2


def test_the_command_and_the_environment_are_told(page: Page) -> None:
    assert ORIGIN.command in page.text
    assert "torch 2" in page.text
    assert "abc" in page.text


def test_pictures_say_what_they_are(page: Page) -> None:
    told = [given["aria-label"] for given in (*page.names("svg"), *page.names("div")) if given.get("role") == "img"]
    assert any("critical-difference diagram" in (words or "") for words in told)
    assert len(told) == sum(given.get("aria-hidden") is None for given in page.names("svg")) + 2
    links = [given["href"] for given in page.names("a")]
    known = {f"#{given['id']}" for _, given in page.elements if "id" in given}
    assert known.issuperset(link for link in links if link)


def test_nothing_comes_from_a_network(text: str) -> None:
    assert not re.search(r'(?:src|href)="(?!#|data:)', text)
    assert "url(" not in text


def test_names_are_escaped() -> None:
    named = [
        {**item, "method": {"name": item["method"]["name"], "x": SCRIPT if item["fold"] else "y"}} for item in rows((SCRIPT, "&"))
    ]
    told = [{**item, "versions": {SCRIPT: SCRIPT}, "test": {**item["test"], SCRIPT: item["test"]["a"]}} for item in named]
    text = render_benchmark(summarize([*told, {**failed(), "error": SCRIPT}]), Origin(SCRIPT, SCRIPT))
    assert "<script>alert" not in text
    assert SCRIPT in Page(text).text


def test_one_method_once_and_no_run_at_all() -> None:
    page = Page(render_benchmark(summarize([row("x", "joint", 0)]), ORIGIN))
    assert numbers(page, "x: macro-F1 of the fused output", 2) == [None]
    assert "Critical differences" not in page.text
    empty = Page(render_benchmark(summarize([failed()]), ORIGIN))
    assert "0 runs finished, 1 failed" in empty.text


def test_forty_methods_on_five_sets_are_a_small_page() -> None:
    outputs = ["fused", *"abcdef"]
    many = []
    for place, (data, method, fold) in enumerate((d, m, f) for d in "vwxyz" for m in range(40) for f in range(5)):
        value = 0.5 + 0.1 * math.sin(place)
        curve = [
            {"phase": "train", "loss": 1.0, "macro_f1": {name: value + math.cos(epoch) / 50 for name in outputs}}
            for epoch in range(100)
        ]
        scores = {name: dict.fromkeys(("accuracy", "macro_f1", "auroc", "nll"), value) for name in outputs}
        changes = {"method": {"name": "joint" if method == 0 else f"method_{method}"}, "passes": 10 + method, "test": scores}
        many.append({**row(data, "joint", 0), **changes, "fold": fold, "curve": curve})
    text = render_benchmark(summarize(many), ORIGIN)
    assert len(text.encode()) < 3e6
    assert len(Page(text).cells("v: macro-F1 of the fused output")) == 40


@pytest.mark.skipif(BROWSER is None, reason="needs Chromium or Chrome; none is installed")
def test_it_fits_a_telephone_and_sorts(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.report.test_browser.CAPTION", "Runs")
    seen, complaints = look(text, tmp_path, 375)
    assert complaints == ""
    assert seen["width"] <= 375
    assert seen["body"] <= 375
    assert all(right <= 375 for right in seen["boxes"])
    assert len(seen["up"]) == 12
    assert seen["up"] == sorted(seen["up"], key=float)
    assert seen["down"] == seen["up"][::-1]
    plain, _ = look(text, tmp_path, 1200, scripts=False)
    assert "up" not in plain
    assert plain["width"] <= 1200


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of results."""
    with Store(tmp_path / "results").writing() as store:
        for item in [*rows(), failed()]:
            store.add(item)
    return tmp_path / "results"


def test_all_files_are_written_and_written_again(folder: Path) -> None:
    keys = {item["key"]: f"set {item['set']}" for item in rows() if item["set"] == "y"}
    Record("Benchmark y", "equipoise benchmark y", 0.01, {**keys, "to come": "y"}).write(folder)
    summary = write_leaderboard(folder)
    assert [table["set"] for table in summary["tables"]] == ["set y"]
    page = (folder / PAGE).read_text()
    assert "1 are not done yet" in page
    assert "equipoise benchmark y" in page
    (folder / PAGE).unlink()
    assert f"report: {folder / PAGE}\n" in done("report", folder)
    assert (folder / PAGE).read_text() == page
    assert "equipoise benchmark y" in (folder / "leaderboard.md").read_text()
    assert "tabular" in (folder / LATEX).read_text()


def test_results_without_a_record_are_shown_whole(folder: Path, tmp_path: Path) -> None:
    done("report", folder, "--out", tmp_path / "p.html")
    page = Page((tmp_path / "p.html").read_text())
    assert "3 methods on 2 data sets: 12 runs finished, 1 failed." in page.text
    assert "Benchmark results" in page.text
    done("report", folder)
    assert "Benchmark results" in (folder / "leaderboard.md").read_text()
    assert "command:" not in (folder / "leaderboard.md").read_text()
    assert '"best_first"' in done("report", folder, "--format", "json")


def test_what_a_report_of_results_refuses(folder: Path, tmp_path: Path) -> None:
    assert "page of their own" in call("report", folder, folder / "other").error()
    assert "--data says nothing" in call("report", folder, "--data", "wisconsin").error()
    (folder / RECORD).write_text('{"title": 1}')
    assert f"{folder / RECORD}" in call("report", folder).error()
    with pytest.raises(RunError, match="not what equipoise benchmark writes"):
        read_record(folder)
    (tmp_path / RESULTS).write_text("no table")
    assert "expected a table of results" in call("report", tmp_path).error()
