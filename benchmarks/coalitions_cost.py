"""All coalitions of six modalities from one pass through the encoders, against one plain evaluation and 63 full passes."""

from __future__ import annotations

import argparse
import time
from functools import partial

import torch
from common import DATA, Table, interleave, ratio, report, verdict
from torch import Tensor

import equipoise
from equipoise.batch import Outputs
from equipoise.data.loader import Loader, Part
from equipoise.evaluation.coalitions import Coalition, all_coalitions
from equipoise.inference.predictor import Predictor

ONE, ALL, PASSES = "one evaluation", "all coalitions", "63 full passes"
FUSIONS = ("concat", "sum", "logit", "gated", "film", "attention")
REPORT, REPORT_ALL = "evaluate", "evaluate, all coalitions"


def accuracy(logits: Tensor, target: Tensor) -> list[float]:
    """Return the accuracy of each row of logits of shape (..., samples, classes)."""
    found: list[float] = (logits.max(-1).indices == target).double().mean(-1).view(-1).tolist()
    return found


def target_of(part: Part) -> Tensor:
    """Return the labels of a part, which has them."""
    assert part.target is not None
    return part.target


def evaluate_once(predictor: Predictor, part: Part) -> list[float]:
    """Encode and fuse all samples once; accuracy of the fused output and of each modality's own."""
    outputs = predictor.outputs(part)
    return accuracy(torch.stack([outputs.logits, *outputs.unimodal.values()]), target_of(part))


def evaluate_coalitions(predictor: Predictor, part: Part, coalitions: list[Coalition]) -> list[float]:
    """Do the same and add the accuracy of every coalition."""
    outputs = predictor.outputs(part)
    own = accuracy(torch.stack([outputs.logits, *outputs.unimodal.values()]), target_of(part))
    return own + accuracy(predictor.coalition_logits(part, outputs, coalitions), target_of(part))


@torch.no_grad()
def full_passes(predictor: Predictor, part: Part, coalitions: list[Coalition]) -> Tensor:
    """Return the logits of every coalition by a pass of its own through its encoders and the fusion."""
    predictor.module.eval()

    def logits(chosen: Coalition) -> Tensor:
        return Outputs.concatenate(predictor.module(batch, only=chosen) for batch in Loader(part, 1024).ordered()).logits

    return torch.stack([logits(chosen) for chosen in coalitions])


def measure(fusion: str, rounds: int) -> list[str]:
    """Measure one fusion; return its line."""
    source = DATA / "mfeat" / "mfeat.npz"
    options = {"encoder": "mlp", "fusion": fusion, "epochs": 3, "split": "none", "threads": 1, "device": "cpu", "progress": False}
    run = equipoise.fit(source, target="label", **options)
    predictor = run.predictor
    dataset = predictor.read(source, labelled=True)
    part = predictor.part(dataset)
    coalitions = all_coalitions(predictor.schema.names)
    separate = full_passes(predictor, part, coalitions)
    joined = predictor.coalition_logits(part, predictor.outputs(part), coalitions)
    error = float((joined - separate).abs().max() / separate.abs().max())
    variants = {
        ONE: lambda: partial(evaluate_once, predictor, part),
        ALL: lambda: partial(evaluate_coalitions, predictor, part, coalitions),
        PASSES: lambda: lambda: accuracy(full_passes(predictor, part, coalitions), target_of(part)),
        REPORT: lambda: partial(predictor.evaluate, dataset),
        REPORT_ALL: lambda: partial(predictor.evaluate, dataset, coalitions="all"),
    }
    seconds = interleave(variants, rounds, f"fusion {fusion}", time.process_time)
    cost = ratio(seconds, ALL, ONE)
    middle = {name: 1e3 * sorted(values)[rounds // 2] for name, values in seconds.items()}
    return [
        fusion,
        f"{middle[ONE]:.1f}",
        f"{middle[ALL]:.1f}",
        f"{middle[PASSES]:.0f}",
        cost.text(".2f"),
        verdict(cost.median, at_most=1.5),
        f"{ratio(seconds, PASSES, ALL).median:.0f}",
        f"{error:.0e} {verdict(error, at_most=1e-6)}",
        f"{middle[REPORT]:.0f} / {middle[REPORT_ALL]:.0f}",
    ]


NOTES = [
    "mfeat, all 2000 samples, six modalities, MLP encoders (64 hidden, 64 features), a model of three epochs. CPU milliseconds "
    "of one thread, medians; variants run in turn, a ratio is that of one round.",
    "One evaluation: `Predictor.outputs` (encode, fuse, unimodal logits) and the accuracy of the fused and the six unimodal "
    "outputs. All coalitions: the same, then the logits of all 63 coalitions from the features at hand and their accuracies.",
    "63 full passes: each coalition through its own encoders and the fusion, and the accuracies. Largest difference of logits is "
    "relative to the largest logit.",
    "`evaluate` (last column) prepares the raw data and lets scikit-learn compute seven metrics of 7 outputs, or of 70: "
    "there the metrics, not the model, take the time.",
    "concat, sum and logit are additive: one matrix product answers all coalitions. The other fusions run once per coalition, "
    "and their cost is that of the fusion itself.",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="rounds per fusion")
    parser.add_argument("--fusions", nargs="+", choices=FUSIONS, default=FUSIONS, help="fusions (default: all)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    columns = [
        "fusion",
        ONE,
        ALL,
        PASSES,
        "all / one [quartiles]",
        "target",
        "x faster than passes",
        "difference",
        "evaluate: one / all",
    ]
    table = Table("All 63 coalitions of six modalities (ms)", columns)
    table.rows += [measure(fusion, arguments.rounds) for fusion in arguments.fusions]
    report("coalitions_cost", "Cost of all coalitions", [table], NOTES)


if __name__ == "__main__":
    main()
