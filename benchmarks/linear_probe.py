"""How much of a modality's weakness inside joint training is the encoder: a new linear classifier on frozen features."""

from __future__ import annotations

import argparse
import statistics
from typing import Any

import numpy as np
from common import Table, report
from rich.console import Console
from rich.progress import track
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import equipoise
from equipoise.data.dataset import Dataset
from equipoise.run import Run

FOLDS, REPEATS = 5, 3
METHODS = ("unimodal", "joint", "joint_unimodal")


def probe(run: Run, data: Dataset, modality: str) -> float:
    """Return the test macro-F1 of a logistic regression on the features of a frozen encoder."""
    parts = {name: data.subset(np.array(run.config["split"][name])) for name in ("train", "test")}
    features = {name: run.predictor.outputs(run.predictor.part(part)).features[modality].numpy() for name, part in parts.items()}
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    classifier.fit(features["train"], parts["train"].target)
    return float(f1_score(parts["test"].target, classifier.predict(features["test"]), average="macro"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--splits", type=int, default=FOLDS * REPEATS, help="splits to run (default: all)")
    arguments = parser.parse_args()
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for fold in track(range(arguments.splits), "splits", console=Console(stderr=True)):
        for method in METHODS:
            options: dict[str, Any] = {"encoder": "mlp", "folds": FOLDS, "repeats": REPEATS, "fold": fold, "threads": 1}
            run = equipoise.fit("digits", method=method, progress=False, **options)
            data = run.predictor.read("digits", labelled=True)
            for name in data.schema.names:
                own = run.metrics[name]["macro_f1"]
                assert own is not None
                found.setdefault(name, {}).setdefault(method, []).append((own, probe(run, data, name)))
    heads = [f"{method}: {words}" for method in METHODS for words in ("own output", "new classifier")]
    table = Table("Macro-F1 on the test part", ["modality", *heads])
    for name, methods in found.items():
        cells = [f"{statistics.mean(pair[place] for pair in methods[method]):.3f}" for method in METHODS for place in (0, 1)]
        table.rows.append([name, *cells])
    notes = [
        f"digits cut into four quadrants, MLP encoders, library defaults, means over {arguments.splits} splits "
        f"({FOLDS} folds repeated {REPEATS} times). `unimodal` is each modality alone.",
        "Own output: the modality's part of the fused prediction (joint), its auxiliary head, or its own model. New classifier: "
        "logistic regression (C = 0.1, standardised features) on the frozen encoder, fitted on the training part.",
    ]
    report("linear_probe", "Is it the head or the encoder?", [table], notes)


if __name__ == "__main__":
    main()
