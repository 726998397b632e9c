"""Each part of the three systems switched off or replaced in turn, on one real data set."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import replace
from statistics import mean, stdev
from typing import Any

from common import ROOT, Table, report
from real_sets import SETS, run_all

from equipoise.evaluation.significance import corrected_paired_test

ROWS = ROOT / "runs" / "ablations"
GRAPH = {"encoder": "gcn"}

Variant = tuple[str, str, Mapping[str, Any]]
"""What is changed, the method as a word, and options of the run."""

SYSTEMS: dict[str, list[Variant]] = {
    "aug": [
        ("as published", "aug", {}),
        ("one classifier per modality (late fusion by the same recipe)", "aug:max_heads=1", {}),
        ("no discount of solved samples (lambda 0)", "aug:residual=0", {}),
        ("added classifiers do not train (as the published code)", "aug:freeze_new_heads=true", {}),
        ("one joint update instead of alternating ones", "aug:update=joint", {}),
        ("dead zone off (tau 0)", "aug:tau=0", {}),
        ("assignment every epoch", "aug:period=1", {}),
        ("at most 3 classifiers", "aug:max_heads=3", {}),
        ("fusion weights learned on validation", "aug:fusion_weights=validation", {}),
        ("the same, one classifier per modality", "aug:fusion_weights=validation:max_heads=1", {}),
    ],
    "iibalance": [
        ("default", "iibalance", {}),
        ("uniform prior", "iibalance:uniform_prior=true", {}),
        ("no gate (prior only)", "iibalance:gate=false", {}),
        ("neither prior nor gate", "iibalance:uniform_prior=true:gate=false", {}),
        ("no alignment", "iibalance:alignment=0", {}),
        ("alignment always on", "iibalance:switch=always", {}),
        ("switch per sample", "iibalance:switch=sample", {}),
        ("constant strength", "iibalance:strength=constant", {}),
        ("inverse strength", "iibalance:strength=inverse", {}),
        ("no losses on weighted branches", "iibalance:branch=0", {}),
        ("budget from labels", "iibalance:budget_kind=grounded", {}),
        ("budget without temperature scaling", "iibalance:calibrate=false", {}),
        ("prior twice as sharp", "iibalance:budget_temperature=0.125", {}),
        ("prior four times as flat", "iibalance:budget_temperature=1", {}),
        ("both losses throughout", "iibalance:schedule=sum", {}),
        ("two phases", "iibalance:schedule=phases", {}),
    ],
    "mi_balance": [
        ("default", "mi_balance", {}),
        ("no stage A", "mi_balance:stage_a=false", {}),
        ("stage A without distillation", "mi_balance:gate=off", {}),
        ("distillation wherever a teacher is ahead", "mi_balance:gate=f1_only", {}),
        ("equal loss weights", "mi_balance:weighting=equal", {}),
        ("loss weights by uncertainty (Kendall)", "mi_balance:weighting=uncertainty", {}),
        ("loss weights by GradNorm", "mi_balance:weighting=gradnorm", {}),
        ("gradients brought to one length", "mi_balance:calibrate=true", {}),
        ("support by shared or own information", "mi_balance:support=either", {}),
        ("fusion without information weights", "mi_balance:uniform_fusion=true", {}),
        ("fusion by an MLP on gated features", "mi_balance:fusion=concat", {}),
        ("fusion weights by information as it is (power 1)", "mi_balance:sharpness=1", {}),
        ("signals of the validation part alone", "mi_balance:cross_fit=0", {}),
        ("neither stage A nor weights nor information", "mi_balance:stage_a=false:weighting=equal:uniform_fusion=true", {}),
    ],
    "graph": [
        ("joint, MLP", "joint", {}),
        ("joint, graph fused across modalities", "joint", GRAPH),
        ("joint, graph of each modality", "joint", GRAPH | {"graph": {"source": "own"}}),
        ("unimodal, fused graph", "unimodal", GRAPH),
        ("unimodal, own graph", "unimodal", GRAPH | {"graph": {"source": "own"}}),
        ("mi_balance, MLP", "mi_balance", {}),
        ("mi_balance, fused graph", "mi_balance", GRAPH),
        ("mi_balance, fused graph with validation and test features", "mi_balance", GRAPH | {"graph": {"nodes": "all"}}),
        ("mi_balance, own graph", "mi_balance", GRAPH | {"graph": {"source": "own"}}),
        ("mi_balance, fused graph, self-loop 0.5", "mi_balance", GRAPH | {"graph": {"self_loop": 0.5}}),
        ("mi_balance, fused graph, self-loop 4", "mi_balance", GRAPH | {"graph": {"self_loop": 4.0}}),
        ("aug with learned weights, fused graph", "aug:fusion_weights=validation", GRAPH),
        ("iibalance, fused graph", "iibalance", GRAPH),
    ],
}

MAIN = ["aug", "iibalance", "mi_balance"]

NOTES = [
    "Percent, mean ± standard deviation over splits and seeds on the test folds; library defaults but for what "
    "is named. 'NAME F1': macro-F1 of that modality's own output inside the model.",
    "'against the first line': difference of the fused macro-F1 in points, with the 95 % interval of the paired test corrected "
    "for overlapping training sets (Nadeau and Bengio 2003), not adjusted for the number of lines. Nothing was chosen by this "
    "table: it says what each part does, not which setting to use.",
    "mi_balance: variants of stage B's weights equal the default to the last digit where the selected epoch lies in its warm-up, "
    "in which all weights are 1; on tcga_brca it does, since stage A has trained the branches already.",
    "With a graph a modality's neighbours were chosen by all modalities (unless 'own'), so its own output is no longer what it "
    "knows alone.",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", choices=list(SETS), default="tcga_brca_cnv_mrna_rppa", help="data set")
    parser.add_argument(
        "--systems", nargs="+", choices=list(SYSTEMS), default=MAIN, help="systems (default: those without a graph)"
    )
    parser.add_argument("--seeds", type=int, default=3, help="seeds per fold")
    parser.add_argument("--processes", type=int, default=2, help="runs at a time, one thread each")
    arguments = parser.parse_args()
    item = replace(SETS[arguments.set], seeds=arguments.seeds)
    data = item.open()
    names = data[0].schema.names
    tables = []
    for options, methods in by_options(arguments.systems):  # together, so that variants on a fold share what they have in common
        run_all(item, data, methods, ROWS / arguments.set, options, arguments.processes)
    for system in arguments.systems:
        heads = ["variant", "accuracy", "macro-F1", "ECE", *(f"{name} F1" for name in names)]
        table = Table(f"{system} on {arguments.set}", [*heads, "against the first line"])
        first: list[dict[str, Any]] = []
        for words, method, options in SYSTEMS[system]:
            rows = run_all(item, data, [method], ROWS / arguments.set, options, arguments.processes)
            first = first or rows
            table.rows.append([words, *cells(rows, names), against(rows, first)])
        tables.append(table)
    notes = [f"{len(data) if len(data) > 1 else 5} splits, {arguments.seeds} seeds.", *NOTES]
    name = "ablations" if arguments.systems == MAIN else f"ablations_{'_'.join(arguments.systems)}"
    report(name, "What each part of the three systems does", tables, notes)


def by_options(systems: list[str]) -> list[tuple[dict[str, Any], list[str]]]:
    """Return the methods of all variants that have the same options of the run."""
    found: dict[str, tuple[dict[str, Any], list[str]]] = {}
    for system in systems:
        for _, method, options in SYSTEMS[system]:
            methods = found.setdefault(json.dumps(options), (options, []))[1]
            methods += [method] if method not in methods else []
    return list(found.values())


def cells(rows: list[dict[str, Any]], modalities: tuple[str, ...] | list[str]) -> list[str]:
    """Return means and spreads of the fused output and of each modality."""
    wanted = [("fused", "accuracy"), ("fused", "macro_f1"), ("fused", "ece"), *((name, "macro_f1") for name in modalities)]
    found = []
    for output, metric in wanted:
        values = [100 * row["test"][output][metric] for row in rows if row["test"].get(output, {}).get(metric) is not None]
        found.append(f"{mean(values):.1f} ± {stdev(values):.1f}" if len(values) > 1 else "")
    return found


def against(rows: list[dict[str, Any]], first: list[dict[str, Any]]) -> str:
    """Return the paired difference of the fused macro-F1 to the first variant."""
    if rows is first or len(rows) != len(first):
        return ""
    scores = [[row["test"]["fused"]["macro_f1"] for row in group] for group in (rows, first)]
    samples = rows[0]["samples"]
    test = corrected_paired_test(*scores, samples["train"] + samples["validation"], samples["test"])
    return f"{100 * test.difference:+.1f} [{100 * test.low:+.1f}, {100 * test.high:+.1f}]"


if __name__ == "__main__":
    main()
