"""Shapley values of six modalities from one pass through the encoders, against 63 passes of the whole model."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from common import DATA, Table, interleave, ratio, report, verdict
from torch import Tensor

import equipoise
from equipoise.data.loader import Loader, Part
from equipoise.functional.bootstrap import balanced_mean
from equipoise.functional.coalitions import members_of_all, shapley_values
from equipoise.inference.predictor import Predictor
from equipoise.nn.multimodal import MultimodalModel

ONE, FULL, NEEDED = "one pass", "63 full passes", "63 passes of members"
CASES: dict[str, tuple[int, dict[str, Any]]] = {
    "MLP encoders, concat, 2000 samples": (2000, {"encoder": "mlp", "fusion": "concat"}),
    "MLP encoders, gated, 2000 samples": (2000, {"encoder": "mlp", "fusion": "gated"}),
    "pix by a CNN, concat, 200 samples": (200, {"encoder": {"name": "mlp", "pix": {"name": "cnn"}}, "fusion": "concat"}),
    "pix by a CNN, gated, 200 samples": (200, {"encoder": {"name": "mlp", "pix": {"name": "cnn"}}, "fusion": "gated"}),
}


def data(samples: int) -> tuple[dict[str, Any], Any]:
    """Return six views of some written digits, one of them as pictures, and the digits."""
    stored = dict(np.load(DATA / "mfeat" / "mfeat.npz"))
    arrays = {name: value.astype(np.float32) for name, value in stored.items() if name not in ("label", "split")}
    arrays["pix"] = arrays["pix"].reshape(-1, 1, 16, 15)
    rows = np.random.default_rng(0).permutation(len(stored["label"]))[:samples]
    return {name: value[rows] for name, value in arrays.items()}, stored["label"][rows]


def contributions(logits: Tensor, part: Part) -> Tensor:
    """Return the Shapley values of the balanced accuracy, from logits of shape (63, samples, classes)."""
    assert part.target is not None
    scores = balanced_mean((logits.argmax(2) == part.target).double(), part.target)
    return shapley_values(torch.cat([scores.new_tensor([1 / logits.shape[2]]), scores]))


@torch.no_grad()
def one_pass(predictor: Predictor, part: Part) -> tuple[Tensor, Tensor]:
    """Encode once and fuse the features of every coalition; return its logits and the Shapley values."""
    model = _model(predictor)
    logits = model.fusion.coalitions(predictor.outputs(part).features, {}, members_of_all(len(model.modalities)))
    return logits, contributions(logits, part)


@torch.no_grad()
def passes(predictor: Predictor, part: Part, all_encoders: bool) -> tuple[Tensor, Tensor]:
    """Return the same, the encoders (all of them, or those of the members) running again for each coalition."""
    model = _model(predictor).eval()
    found = []
    for row in members_of_all(len(model.modalities)).tolist():
        chosen = [name for name, member in zip(model.modalities, row, strict=True) if member]
        logits = []
        for batch in Loader(part, 1024).ordered():
            features = model.encode(batch.inputs, only=None if all_encoders else chosen)
            logits.append(model.fuse({name: features[name] for name in chosen}))
        found.append(torch.cat(logits))
    every = torch.stack(found)
    return every, contributions(every, part)


def _model(predictor: Predictor) -> MultimodalModel:
    assert isinstance(predictor.module, MultimodalModel)
    return predictor.module


def measure(name: str, rounds: int) -> list[str]:
    """Measure one case; return its line."""
    samples, model = CASES[name]
    arrays, target = data(samples)
    options = {"epochs": 2, "threads": 1, "device": "cpu", "progress": False, **model}
    predictor = equipoise.fit(arrays, target=target, **options).predictor
    part = predictor.part(predictor.read(arrays, labelled=True, target=target))
    runs: dict[str, Callable[[], tuple[Tensor, Tensor]]] = {
        ONE: partial(one_pass, predictor, part),
        FULL: partial(passes, predictor, part, True),
        NEEDED: partial(passes, predictor, part, False),
    }
    (logits, found), (separate, expected) = runs[ONE](), runs[FULL]()
    error = max(float((logits - separate).abs().max() / separate.abs().max()), float((found - expected).abs().max()))
    seconds = interleave({key: lambda run=run: run for key, run in runs.items()}, rounds, name, time.process_time)
    middle = {key: 1e3 * sorted(values)[rounds // 2] for key, values in seconds.items()}
    faster = ratio(seconds, FULL, ONE)
    return [
        name,
        *(f"{middle[key]:.0f}" for key in runs),
        faster.text(".0f"),
        verdict(faster.median, at_least=20),
        f"{ratio(seconds, NEEDED, ONE).median:.0f}",
        f"{error:.0e} {verdict(error, at_most=1e-6)}",
    ]


NOTES = [
    "mfeat, six modalities, a model of two epochs; the pictures of `pix` are 16 x 15. CPU milliseconds of one thread, "
    "medians; variants run in turn, a ratio is that of one round.",
    "One pass: every encoder runs once, the fusion answers all 63 coalitions from the features, and Shapley values of the "
    "balanced accuracy are taken (guessing for nobody). 63 full passes: the whole model runs for each coalition, as a tool must "
    "that sees it from outside. 63 passes of members: only the encoders of a coalition run.",
    "concat answers all coalitions by one matrix product. gated runs once per coalition, so that with small encoders its own "
    "cost is what is left.",
    "Difference: the largest of logits, relative to the largest logit, and of Shapley values.",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds per case")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    columns = ["model", ONE, FULL, NEEDED, "full / one [quartiles]", "target", "members / one", "difference"]
    table = Table("All 63 coalitions and Shapley values (ms)", columns, [measure(name, arguments.rounds) for name in CASES])
    report("shapley_cost", "Cost of Shapley values", [table], NOTES)


if __name__ == "__main__":
    main()
