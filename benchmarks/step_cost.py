"""What one training update costs under a method, beside plain joint training of the same model."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from common import Setup, Table, interleave, ratio, report, verdict
from torch.utils._python_dispatch import TorchDispatchMode

from equipoise.config import TrainingOptions
from equipoise.data.loader import MemoryPart
from equipoise.methods.base import Phase, make_method
from equipoise.nn.fusion.boosted import BoostedFusion
from equipoise.nn.multimodal import MultimodalModel, build_model
from equipoise.tasks import Classification
from equipoise.training.branches import branch_phase
from equipoise.training.context import Context
from equipoise.training.loop import Loop
from equipoise.training.optimizers import PhaseOptimizer
from equipoise.training.runtime import Runtime

EPOCHS, MIDDLE = 40, 10
"""Epochs of the phase, and the one that is timed: both stages of iibalance are on in it."""


@dataclass(frozen=True)
class Case:
    """A model and data of a certain size.

    Attributes:
        title: What it stands for.
        shapes: Shape of a sample per modality.
        encoder: Which encoder all modalities have.
        width: Width of the features.
        classes: Number of classes.
        batch_size: Samples per update.
        updates: Updates per timed run.
    """

    title: str
    shapes: Mapping[str, tuple[int, ...]]
    encoder: Mapping[str, Any]
    width: int
    classes: int
    batch_size: int
    updates: int

    def part(self) -> MemoryPart:
        """Return random samples."""
        random, samples = torch.Generator().manual_seed(0), self.batch_size * self.updates
        inputs = {name: torch.randn(samples, *shape, generator=random) for name, shape in self.shapes.items()}
        target = torch.randint(0, self.classes, (samples,), generator=random)
        return MemoryPart(inputs, {name: torch.ones(samples, dtype=torch.bool) for name in inputs}, target)

    def model(self, fusion: str) -> MultimodalModel:
        """Return a model with a fusion."""
        encoders = dict.fromkeys(self.shapes, self.encoder)
        return build_model(self.shapes, encoders, {"name": fusion}, self.width, Classification(self.classes), 0)


CASES = {
    "brca": Case(
        "MLPs of the size of tcga_brca", {"cnv": (515,), "mrna": (260,), "rppa": (164,)}, {"name": "mlp"}, 64, 5, 64, 60
    ),
    "large": Case(
        "MLPs of 1000 - 512 - 512", dict.fromkeys(("a", "b", "c"), (1000,)), {"name": "mlp", "hidden": 512}, 512, 10, 128, 20
    ),
    "images": Case(
        "small ResNets on two 64x64 images", {"colour": (3, 64, 64), "depth": (1, 64, 64)}, {"name": "cnn"}, 64, 10, 32, 2
    ),
}


@dataclass(frozen=True)
class Variant:
    """A method in the middle of its run.

    Attributes:
        method: Its name and hyper-parameters.
        fusion: The fusion of the model.
        classifiers: Classifiers of the first modality, where the fusion has them.
        state: What the method remembers from before.
        branches: Train the branch of each modality in turn, as the phases of modalities alone do, instead of the main phase.
    """

    method: str
    fusion: str = "concat"
    classifiers: int = 1
    state: Callable[[Case], dict[str, Any]] = lambda _: {}
    options: Mapping[str, Any] = field(default_factory=dict)
    branches: bool = False


def _budgets(case: Case) -> dict[str, Any]:
    """Budgets of which the first is the largest: all others are aligned to it."""
    values = {name: 1.0 if number == 0 else 0.3 + 0.1 * number for number, name in enumerate(case.shapes)}
    return {"budgets": {name: {"entropy": value, "grounded": value, "raw": value, "loss": 1.0} for name, value in values.items()}}


def _weights(case: Case) -> dict[str, Any]:
    count = len(case.shapes)
    return {"weights": torch.linspace(0.5, 1.5, count), "fused": 1.2}


CONCAT, BOOSTED, BUDGET, INFORMATION = "joint, concat", "joint, boosted", "joint, budget", "joint, information"
VARIANTS = {
    CONCAT: Variant("joint"),
    "joint_unimodal": Variant("joint_unimodal"),
    BOOSTED: Variant("joint", "boosted", 11),
    "aug, ten added classifiers": Variant("aug", "boosted", 11),
    "aug, the same in one step": Variant("aug", "boosted", 11, options={"update": "joint"}),
    BUDGET: Variant("joint", "budget"),
    "iibalance, stages I and II": Variant("iibalance", "budget", state=_budgets),
    "iibalance, probes of all modalities": Variant("iibalance", "budget", branches=True),
    INFORMATION: Variant("joint", "information"),
    "mi_balance, stage B": Variant("mi_balance", "information", state=_weights, options={"stage_a": False}),
    "mi_balance, branches alone": Variant("mi_balance", "information", branches=True),
}
COMPARED: Sequence[tuple[str, str, float | None]] = [
    ("joint_unimodal", CONCAT, None),
    ("aug, ten added classifiers", BOOSTED, 1.25),
    ("aug, ten added classifiers", CONCAT, None),
    ("aug, the same in one step", BOOSTED, None),
    ("iibalance, stages I and II", BUDGET, 1.15),
    ("iibalance, stages I and II", CONCAT, None),
    ("iibalance, probes of all modalities", BUDGET, None),
    ("mi_balance, stage B", INFORMATION, 1.15),
    ("mi_balance, stage B", CONCAT, None),
    ("mi_balance, branches alone", INFORMATION, None),
]


def updates(case: Case, part: MemoryPart, variant: Variant) -> Callable[[], None]:
    """Return what trains one epoch, without what happens between epochs."""
    method = make_method({"name": variant.method, **variant.options})
    options = TrainingOptions(epochs=EPOCHS, batch_size=case.batch_size, schedule="constant", device="cpu")
    ctx = Context(case.model(variant.fusion), Runtime("cpu"), options, part, part)
    method.setup(ctx)
    if isinstance(ctx.model.fusion, BoostedFusion):
        ctx.model.fusion.resize(ctx.modalities[0], variant.classifiers, 0)
    prefix = {"iibalance": "probe ", "mi_balance": "alone "}
    phases = (
        [branch_phase([name], name=prefix[variant.method] + name) for name in ctx.modalities] if variant.branches else [Phase()]
    )
    ctx.epochs, ctx.stage, ctx.phase = EPOCHS, ("train", 0), phases[0]
    method.on_epoch_start(ctx)
    method.state |= variant.state(case)
    loop = Loop(ctx, method)
    optimizers = []
    for phase in phases:
        loop._freezer.train_only(phase.parameters(ctx.model))
        optimizers.append(PhaseOptimizer(ctx.model, phase, options))

    def run() -> None:
        for ctx.phase, ctx.optimizer in zip(phases, optimizers, strict=True):
            ctx.epoch = MIDDLE
            loop._freezer.train_only(ctx.phase.parameters(ctx.model))
            ctx.model.train()
            for number, batch in enumerate(ctx.train_loader().epoch(0)):
                loop._train_batch(number, batch)

    return run


class Counter(TorchDispatchMode):
    """Counts tensor operations, those of the backward pass included."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


def operations(run: Callable[[], None], case: Case) -> float:
    """Return the tensor operations of an update."""
    with Counter() as counter:
        run()
    found: float = counter.count / case.updates
    return found


def measure(case: Case, rounds: int) -> Table:
    """Measure one case."""
    part = case.part()
    runs = {name: updates(case, part, variant) for name, variant in VARIANTS.items()}

    def same(run: Callable[[], None]) -> Callable[[], object]:
        return run

    variants: dict[str, Setup] = {name: partial(same, run) for name, run in runs.items()}
    seconds = interleave(variants, rounds, case.title, time.process_time)
    title = f"{case.title}: {rounds} rounds of {case.updates} updates of {case.batch_size} samples"
    counts = {name: f"{operations(run, case):.0f}" for name, run in runs.items()}
    columns = [
        "method",
        "ms per update",
        "operations",
        "compared with",
        "its ms",
        "its operations",
        "ratio [quartiles]",
        "target",
    ]
    table = Table(title, columns)
    for name, base, limit in COMPARED:
        found = ratio(seconds, name, base)
        own, other = (1e3 * sorted(seconds[key])[rounds // 2] / case.updates for key in (name, base))
        wanted = "" if limit is None else verdict(found.median, at_most=limit)
        table.rows.append([name, f"{own:.3f}", counts[name], base, f"{other:.3f}", counts[base], found.text(), wanted])
    return table


NOTES = [
    "Times are CPU seconds of one thread; variants run in turn, a ratio is that of one round, the table shows medians. "
    "'operations' are calls of tensor operations per update, forward and backward, the optimizer's not counted.",
    "An update is what the loop does with a batch: forward, losses, backward, step, and what a method does in between. Nothing "
    "between epochs is in it (validation, copies of weights, measurements of budgets and information).",
    "'joint, F' trains the same model with fusion F: 'joint, boosted' has the ten added classifiers as well. Methods of a fusion "
    "of their own are compared with it and with 'joint, concat', the usual baseline.",
    "aug: eleven classifiers for the first modality, of 256 hidden units each; 'the same in one step' shows how much of the cost "
    "are the separate steps for each modality rather than the losses of old, new and all classifiers.",
    "iibalance adds to joint: a loss on each branch, a classifier and a loss on each weighted branch, the contrast of all but "
    "one modality with prototypes, and the move of the prototypes. On tiny models each of these small operations costs "
    "about as much as one of an encoder, so the ratio follows the number of operations; on larger models it falls.",
    "'probes of all modalities' and 'branches alone' are one update of each modality's branch, as in the phases before; with "
    "cross-fitting mi_balance has five more such phases, of all branches at once.",
    "mi_balance, stage B, takes the fused and the branches' logits from one pass through the heads. Losses of all branches in "
    "one stacked call were tried: 3 to 5 % slower for joint_unimodal and 5 to 20 % for aug on this processor, hence not used.",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--rounds", type=int, nargs=3, default=(40, 20, 10), metavar=("BRCA", "LARGE", "IMAGES"), help="rounds; 0 leaves out"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    tables = [measure(case, rounds) for case, rounds in zip(CASES.values(), arguments.rounds, strict=True) if rounds]
    report("step_cost", "Cost of a training update", tables, NOTES)


if __name__ == "__main__":
    main()
