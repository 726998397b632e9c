"""What every coalition of modalities makes of a whole part of the data, from one pass of each encoder."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from equipoise.batch import Batch, Outputs
from equipoise.functional.coalitions import members_of_all
from equipoise.training.context import Context


def coalition_values(ctx: Context, part: str, judge: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Return a value of each sample's prediction by each non-empty coalition, in evaluation mode and without gradients.

    A modality that is not in the coalition, or that the sample lacks, is absent for the fusion.

    Args:
        ctx: The run.
        part: ``train`` or ``validation``.
        judge: Turns logits of shape (coalitions, batch, outputs) and targets of shape (batch,) into values of shape
            (coalitions, batch).

    Returns:
        Values of shape (samples, coalitions); coalitions as :func:`~equipoise.functional.coalitions.members_of_all` lists them.
    """
    members = members_of_all(len(ctx.modalities)).to(ctx.runtime.device)

    def predict(batch: Batch) -> Outputs:
        absent = {name: batch.present[name] for name in ctx.modalities if name not in batch.complete}
        logits = ctx.model.fusion.coalitions(ctx.model(batch).features, absent, members)
        values = judge(logits.float(), batch.labels).T
        return Outputs({}, {}, lambda: values, dict)

    # The values of a batch travel in the place of its logits, so that logits of many coalitions are never kept.
    return ctx.outputs(part, predict).logits
