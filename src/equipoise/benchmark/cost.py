"""What a run cost, in units that do not depend on the machine, and in seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from equipoise.nn.multimodal import MultimodalModel, feature_width
from equipoise.run import Run


def cost(run: Run) -> dict[str, float]:
    """Return what a run cost.

    Returns:
        ``passes`` over the training samples (epochs of all phases), ``forwards`` and ``backwards`` in passes of joint training
        over them, optimizer ``updates`` and ``seconds``. Passes of encoders are counted sample by sample, whichever part a method
        looked at, but for the loop's own look at the validation part after each epoch; an encoder counts by its
        :func:`share_of_work`. So joint training has as many forward and backward passes as passes.
    """
    module, counts = run.predictor.module, run.summary["encoded"]
    encoders = dict(module.encoders.items()) if isinstance(module, MultimodalModel) else {}
    shares = share_of_work(encoders, run.config["shapes"]) or dict.fromkeys(counts, 1 / len(counts))
    equivalents = {
        way: sum(shares[name] * found[way] / found["samples"] for name, found in counts.items() if found["samples"])
        for way in ("forward", "backward")
    }
    return {
        "passes": len(run.log),
        "forwards": round(equivalents["forward"], 6),
        "backwards": round(equivalents["backward"], 6),
        "updates": run.summary["updates"],
        "seconds": run.summary["seconds"],
    }


def share_of_work(encoders: Mapping[str, nn.Module], shapes: Mapping[str, Sequence[int]]) -> dict[str, float]:
    """Return which share of a forward pass of all encoders each one is.

    ``operations_m / sum of operations`` with the operations of the matrix products and convolutions for one sample.

    Args:
        encoders: The encoders by modality.
        shapes: Shape of one sample of each.

    Returns:
        Shares that add up to 1; nothing where no encoder has such an operation.

    Example:
        >>> share_of_work({"a": nn.Linear(9, 4), "b": nn.Linear(3, 4)}, {"a": [9], "b": [3]})
        {'a': 0.75, 'b': 0.25}
    """
    found = {}
    for name, encoder in encoders.items():
        with FlopCounterMode(display=False) as counter:
            feature_width(encoder, tuple(shapes[name]), name)
        found[name] = counter.get_total_flops()
    total = sum(found.values())
    return {name: value / total for name, value in found.items()} if total else {}
