"""Tables say what the numbers say."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest

from equipoise.benchmark.summary import summarize
from equipoise.benchmark.tables import LEADERBOARD, MARKDOWN, Table, failures, leaderboard, tables, write_tables

SCORES = {"joint": [0.70, 0.74], "late": [0.75, 0.78], "unimodal": [0.60, 0.60]}


def row(data: str, name: str, fold: int, encoder: Any = None, **more: Any) -> dict[str, Any]:
    score = SCORES[name][fold]
    return {
        "key": f"{data}{name}{fold}{encoder}",
        "set": data,
        "method": {"name": name},
        "options": {"encoder": encoder},
        "fold": fold,
        "seed": 0,
        "seconds": 2.0 if name == "joint" else 3.0,
        "passes": 10,
        "forwards": 10.0,
        "backwards": 20.0,
        "updates": 100,
        "parameters": 1234,
        "peak_memory": 512 * 2**20,
        "trials": 0,
        "inert": name == "late" and fold == 1,
        "samples": {"train": 70, "validation": 10, "test": 20},
        "test": {output: {"accuracy": score + 0.1, "macro_f1": score} for output in ("fused", "a", "b")},
        "curve": [{"phase": "train", "loss": 1.0, "macro_f1": {"fused": 0.5}}],
        "commit": "abc",
        "versions": {"torch": "2"},
        "hardware": {"device": "cpu"},
        **more,
    }


def rows(sets: tuple[str, ...] = ("x", "y")) -> list[dict[str, Any]]:
    return [row(data, name, fold) for data in sets for fold in range(2) for name in SCORES]


def failed() -> dict[str, Any]:
    return {"key": "f", "set": "x", "method": {"name": "ogm"}, "fold": 0, "seed": 1, "error": "the loss is no number"}


def test_plain_data_hold_everything() -> None:
    found = summarize([*rows(), failed()], region=0.01)
    assert (found["runs"], [table["set"] for table in found["tables"]]) == (12, ["x", "y"])
    table = found["tables"][0]
    assert (table["folds"], table["seeds"], table["modalities"], table["encoder"]) == (2, 1, ["a", "b"], "")
    assert [line["name"] for line in table["lines"]] == ["joint", "late", "unimodal"]
    late = table["lines"][1]
    low, high = late["intervals"]["fused"]["macro_f1"]
    assert (low + high) / 2 == pytest.approx(0.765)
    assert late["cost"] == {
        "passes": 10, "forwards": 10.0, "backwards": 20.0, "updates": 100, "seconds": 3.0, "parameters": 1234,
        "peak_memory": 512 * 2**20, "trials": 0,
    }  # fmt: skip
    assert late["curve"][0]["macro_f1"] == {"fused": 0.5}
    ranking = found["ranking"]
    assert (ranking["methods"], ranking["ranks"], ranking["sets"]) == (["joint", "late", "unimodal"], [2.0, 1.0, 3.0], ["x", "y"])
    assert ranking["bayesian"][0] == {"first": "joint", "second": "late", **ranking["bayesian"][0]}
    assert ranking["bayesian"][0]["worse"] > 0.7
    assert found["failed"] == [{"set": "x", "method": "ogm", "fold": 0, "seed": 1, "error": "the loss is no number"}]
    assert found["environment"] == {"commit": ["abc"], "versions": [{"torch": "2"}], "hardware": [{"device": "cpu"}]}


def test_ranks_need_methods_that_ran_everywhere() -> None:
    assert summarize(rows(("x",)))["ranking"] is None
    partly = [item for item in rows() if item["set"] == "x" or item["method"]["name"] != "late"]
    assert summarize(partly)["ranking"]["methods"] == ["joint", "unimodal"]


def test_encoders_have_tables_of_their_own_and_data_count_once() -> None:
    encoders = ("mlp", {"name": "mlp", "hidden": 16})
    both = [row(data, name, fold, encoder) for data in "xy" for encoder in encoders for fold in range(2) for name in SCORES]
    found = summarize(both)
    assert [(table["set"], table["encoder"]) for table in found["tables"]][:2] == [("x", "mlp"), ("x", "mlp hidden=16")]
    assert found["ranking"]["sets"] == ["x", "y"]
    assert all(line["runs"] == 2 for table in found["tables"] for line in table["lines"])


def test_tables_show_what_is_known() -> None:
    found = tables(summarize(rows()))
    assert len(found) == 2 * 3 + 1
    scores, modalities, cost = found[:3]
    assert list(scores.rows[1])[:3] == ["late (inert in 1)", "86.5 ± 2.1", "76.5 ± 2.1"]
    assert scores.columns[4:6] == ["against b alone", "against joint"] or scores.columns[4:6] == [
        "against a alone",
        "against joint",
    ]
    assert modalities.rows[0] == ["joint", "72.0 ± 2.8", "72.0 ± 2.8"]
    assert cost.rows[1] == ["late", "10", "10", "20", "3.0", "1.50x", "1234", "512 MiB", "0"]
    assert [list(cells)[:2] for cells in found[-1].rows] == [["late", "1.00"], ["joint", "2.00"], ["unimodal", "3.00"]]
    assert "Nemenyi" in found[-1].note


def test_the_leaderboard_holds_all_numbers_in_full() -> None:
    lines = list(csv.DictReader(io.StringIO(leaderboard(summarize(rows())))))
    assert len(lines) == 6
    assert (lines[1]["set"], lines[1]["method"]) == ("x", "late")
    assert float(lines[1]["fused.macro_f1"]) == pytest.approx(0.765)
    assert float(lines[1]["against joint.difference"]) == pytest.approx(0.045)
    assert lines[0]["against joint.difference"] == ""
    assert float(lines[1]["peak_memory"]) == 512 * 2**20


def test_files_say_where_numbers_come_from(tmp_path: Path) -> None:
    write_tables(summarize([*rows(), failed()]), tmp_path, "Benchmark x", ["command: `equipoise benchmark`"])
    text = (tmp_path / MARKDOWN).read_text()
    assert text.startswith("# Benchmark x\n")
    for words in (
        "| late (inert in 1) | 86.5 ± 2.1 |",
        "- command: `equipoise",
        "- commit: abc",
        "- failed: ogm on x, fold 0, seed 1",
    ):
        assert words in text
    assert (tmp_path / LEADERBOARD).read_text() == leaderboard(summarize([*rows(), failed()]))


def test_names_cannot_break_a_table() -> None:
    assert "| a\\|b | 1 |" in Table("title", ["name", "x"], [["a|b", "1"]]).markdown()


def test_a_suite_in_which_all_failed_has_no_tables(tmp_path: Path) -> None:
    summary = summarize([failed()])
    assert tables(summary) == []
    write_tables(summary, tmp_path, "Benchmark x", [])
    assert "failed: ogm" in (tmp_path / MARKDOWN).read_text()


def test_what_fails_alike_is_said_once() -> None:
    several = [{**failed(), "key": str(seed), "seed": seed} for seed in (1, 2, 3)] + [{**failed(), "key": "o", "error": "other"}]
    assert failures(summarize([*rows(), *several])) == [
        "failed: ogm on x, 3 runs, the first with fold 0, seed 1: the loss is no number",
        "failed: ogm on x, fold 0, seed 1: other",
    ]


def test_a_single_run_has_no_spread_interval_or_test() -> None:
    summary = summarize([item for item in rows() if item["fold"] == 0])
    scores, modalities, _ = tables(summary)[:3]
    assert list(scores.columns) == ["method", "accuracy", "macro-F1", "runs"]
    assert scores.rows[0] == ["joint", "80.0", "70.0", "1"]
    assert modalities.rows[0] == ["joint", "70.0", "70.0"]
    assert scores.note == "One run of each method (1 fold and 1 seed): no spread, interval or test is known."
    first = next(csv.DictReader(io.StringIO(leaderboard(summary))))
    assert (first["fused.macro_f1"], first["fused.macro_f1.std"], first["fused.macro_f1.low"]) == ("0.7", "", "")


def test_a_method_that_is_missing_somewhere_is_said_to_be() -> None:
    partly = [item for item in rows() if not (item["method"]["name"] == "late" and (item["set"] == "y" or item["fold"] == 1))]
    summary = summarize(partly)
    assert summary["ranking"]["left_out"] == ["late"]
    found = tables(summary)
    assert "Not ranked, as not run on every data set: late." in found[-1].note
    assert "Methods have 1 to 2 runs: not all means are over the same folds and seeds." in found[0].note
    assert "runs:" not in found[3].note
    assert found[0].rows[1][:4] == ["late", "85.0", "75.0", ""]


def test_small_chances_are_no_zeros_and_intervals_may_be_negative() -> None:
    changed = [
        {**item, "test": {"fused": {"macro_f1": 0.001 * item["fold"] + 0.5 * (item["method"]["name"] == "late")}}}
        for item in rows()
    ]
    joint, late, _ = tables(summarize(changed))[0].rows
    assert joint[2] == "-0.7\N{EN DASH}0.8"
    assert late[3] == "+50.0 p<0.001"


def test_sets_of_different_tasks_have_metrics_of_their_own() -> None:
    """One set whose models are judged by the error, of which less is better, and one by macro-F1."""
    errors = [
        {**item, "metric": "rmse", "test": {name: {"rmse": 1 - metrics["macro_f1"]} for name, metrics in item["test"].items()}}
        for item in rows(("x",))
    ]
    summary = summarize([*errors, *rows(("y",))], region=0.01)
    assert summary["metric"] is None
    assert [table["metric"] for table in summary["tables"]] == ["rmse", "macro_f1"]
    assert [table["best_first"] for table in summary["tables"]] == [["late", "joint", "unimodal"]] * 2
    assert summary["ranking"]["ranks"] == [2.0, 1.0, 3.0]
    assert summary["ranking"]["bayesian"][0]["worse"] > 0.7
    found = tables(summary)
    assert "rmse" in found[0].columns
    assert "macro-F1" in found[3].columns
    assert found[1].rows[0][1:] == ["28.0 ± 2.8", "28.0 ± 2.8"]
