"""What a run cost, in units that do not depend on the machine, and in seconds."""

from __future__ import annotations

from equipoise.methods.base import make_method
from equipoise.run import Run


def cost(run: Run) -> dict[str, float]:
    """Return what a run cost.

    Returns:
        ``passes`` over the training samples (epochs of all phases), ``forwards`` and ``backwards`` in passes of joint training
        over the training samples (the method's card times the passes: an upper bound where a phase trains a part of the model),
        optimizer ``updates`` and ``seconds``.
    """
    card, passes = make_method(run.summary["method"]).card, len(run.log)
    return {
        "passes": passes,
        "forwards": card.forwards * passes,
        "backwards": card.backwards * passes,
        "updates": run.summary["updates"],
        "seconds": run.summary["seconds"],
    }
