"""What the sample graph costs: time before training, time of an epoch, and memory, each run in a process of its own."""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from common import Table, report, verdict
from numpy.typing import NDArray

from equipoise.methods.base import METHODS, Method, MethodCard
from equipoise.training.context import Context

FEATURES, CLASSES, EPOCHS = 100, 5, 2
SIZES = ((500, "mlp"), (500, "dense"), (5000, "mlp"), (5000, "dense"), (5000, "sparse"), (20_000, "sparse"))
LIMIT = 4.0  # GiB for 20 000 samples


@dataclass(kw_only=True)
class Clock(Method):
    """Joint training that looks at the clock."""

    name: ClassVar[str] = "clock"
    card: ClassVar[MethodCard] = MethodCard(title="Clock", summary="Looks at the clock.", formula="-", kind="baseline")
    times: ClassVar[list[float]] = []

    def on_epoch_start(self, ctx: Context) -> None:
        self.times.append(time.process_time())

    on_epoch_end = on_epoch_start


def data(samples: int) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.int64]]:
    """Return three modalities of 100 features whose means say the class, the first one loudest."""
    random = np.random.default_rng(0)
    target = random.integers(0, CLASSES, samples)
    inputs = {}
    for number in range(3):
        means = random.normal(size=(CLASSES, FEATURES)) * 0.2 / (1 + number)
        inputs[f"m{number}"] = (random.normal(size=(samples, FEATURES)) + means[target]).astype(np.float32)
    return inputs, target


def measure(samples: int, form: str) -> dict[str, float]:
    """Train with ``samples`` training samples in this process, on a graph of this form or with plain encoders (``mlp``)."""
    import torch

    import equipoise

    torch.set_num_threads(1)
    METHODS.register("clock")(Clock)
    # Validation and test part are an eighth of the training part each.
    inputs, target = data(samples * 10 // 8)
    options: dict[str, Any] = {"encoder": "mlp"} if form == "mlp" else {"encoder": "gcn", "graph": {"form": form}}
    options |= {"epochs": EPOCHS, "device": "cpu", "progress": False}
    split = np.repeat(["train", "validation", "test"], [samples, samples // 8, len(target) - samples - samples // 8])
    equipoise.fit({"m": inputs["m0"][:100]}, target=target[:100], epochs=1, progress=False)  # imports and start-up
    start = time.process_time()
    run = equipoise.fit({**inputs, "split": split}, target=target, method="clock", **options)
    first, *rest = Clock.times
    return {
        "before": first - start,
        "epoch": statistics.mean([after - before for before, after in zip([first, *rest][::2], rest[::2], strict=True)]),
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "accuracy": float(run.metrics["fused"]["accuracy"] or 0.0),
    }


def line(samples: int, form: str) -> list[str]:
    """Measure in a process of its own; return a line of the table."""
    words = [sys.executable, __file__, "--one", str(samples), form]
    found = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    target = verdict(found["peak"], at_most=LIMIT) if form == "sparse" and samples == 20_000 else ""
    encoder = "mlp" if form == "mlp" else f"gcn, {form}"
    numbers = [f"{found['before']:.1f}", f"{found['epoch']:.2f}", f"{found['peak']:.2f}", target, f"{found['accuracy']:.3f}"]
    return [f"{samples}", encoder, *numbers]


NOTES = [
    "Three modalities of 100 features, five classes, joint training, batches of 64, one thread. Training samples are the nodes; "
    "validation and test samples, an eighth as many each, are attached.",
    "CPU seconds. Before training: reading, preparing and, for gcn, the graph with the validation part attached to it; mlp shows "
    "what is not the graph. Epoch: the batches of one of two epochs, validation not counted, mean.",
    "Memory is the largest resident size of the process, with torch and all data in it. Dense: the fusion over all pairs of "
    "samples; sparse: over nearest neighbours alone, which `form: auto` takes above 5000 nodes.",
    "Accuracy on the test part after two epochs only shows that something was learned.",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", nargs=2, metavar=("SAMPLES", "FORM"), help="measure one line and print it as JSON")
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(int(arguments.one[0]), arguments.one[1])))
        return
    columns = ["training samples", "encoder", "before training (s)", "epoch (s)", "memory (GiB)", "target", "accuracy"]
    table = Table("Cost of the sample graph", columns, [line(*size) for size in SIZES])
    report("graph_cost", "Cost of the sample graph", [table], NOTES)


if __name__ == "__main__":
    main()
