"""Branches: a modality's encoder and its own head, in fusions that have one head per modality. Trained alone, or cross-fitted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from equipoise.batch import Batch, Outputs
from equipoise.data.loader import Part
from equipoise.functional.signals import HeldOut, grouped_folds, join, stratified_folds
from equipoise.methods.base import Method, Phase
from equipoise.nn.multimodal import MultimodalModel
from equipoise.nn.per_modality import PerModality
from equipoise.training.context import Context
from equipoise.training.selection import copy_state

FOLD = "fold "
"""How the names of the phases of :func:`cross_fit` begin."""


def branch(model: MultimodalModel, modality: str) -> nn.ModuleList:
    """Return the branch of a modality as one module."""
    heads = model.fusion.heads
    assert isinstance(heads, PerModality)
    return nn.ModuleList([model.encoders[modality], heads[modality]])


def branch_weights(model: MultimodalModel) -> dict[str, dict[str, Tensor]]:
    """Return copies of the weights and buffers of each branch."""
    return {name: copy_state(branch(model, name).state_dict()) for name in model.modalities}


def branch_phase(modalities: Sequence[str], **settings: Any) -> Phase:
    """Return a phase that trains the branches of some modalities.

    Args:
        modalities: The modalities.
        settings: Fields of the phase.
    """

    def parameters(model: MultimodalModel) -> list[nn.Parameter]:
        return [item for name in modalities for item in branch(model, name).parameters()]

    return Phase(parameters=parameters, **settings)


def held_out(ctx: Context, out_of_fold: Mapping[str, Tensor] | None = None) -> HeldOut:
    """Return on the CPU what the branches say about samples that trained none of them.

    Args:
        ctx: The run.
        out_of_fold: What was cross-fitted on the training part, which then comes before the validation part.
    """
    found = _said(ctx.part("validation"), ctx.outputs("validation").unimodal)
    return join(_said(ctx.part("train"), out_of_fold), found) if out_of_fold else found


def _said(part: Part, logits: Mapping[str, Tensor]) -> HeldOut:
    assert part.target is not None
    present = {name: part.present[name].cpu() for name in logits}
    return HeldOut({name: value.float().cpu() for name, value in logits.items()}, present, part.target.cpu())


def branch_gradients(ctx: Context, batch: Batch, outputs: Outputs) -> tuple[Tensor, Tensor]:
    """Return each branch's loss and the length of its gradient in the features, over all processes (0 where nobody has it).

    Gradients in the features instead of the weights of the last layer cost no second backward pass (our choice).

    Args:
        ctx: The run.
        batch: The batch.
        outputs: What the model said about it.

    Returns:
        Losses and lengths, each of shape (modalities,), on the CPU.
    """
    losses, squares = [], []
    for name in ctx.modalities:
        features = outputs.features[name].detach().float().requires_grad_()
        loss = ctx.task_loss(ctx.model.fusion.contributions({name: features}, batch.present)[name], batch, name)
        gradient = torch.autograd.grad(loss, features)[0] if loss.requires_grad else torch.zeros_like(features)
        losses.append(loss.detach())
        squares.append(gradient.square().sum())
    norms = ctx.runtime.sum(torch.stack(squares)).sqrt() / ctx.runtime.world
    return ctx.runtime.mean(torch.stack(losses)).cpu(), norms.cpu()


def cross_fit(ctx: Context, method: Method, folds: int, start: Mapping[str, Mapping[str, Tensor]]) -> Iterator[Phase]:
    """Train all branches once more without each fold of the training part in turn, keep what they say of it, and put them back.

    One phase per fold: the branches share nothing, so they train side by side. No fold selects an epoch; the method's updates
    leave a modality out once its epochs are over. Folds have equal shares of each class; where the data state groups, no group is
    in two folds.

    Args:
        ctx: The run.
        method: Its state says by ``epochs`` how long each branch trains, and gets ``out_of_fold``: logits of each modality for
            the training part, float32 of shape (samples, outputs). It also gets what a resume needs.
        folds: Number of folds.
        start: Where each branch starts, from :func:`branch_weights`.
    """
    target, group = ctx.part("train").target, ctx.part("train").group
    assert target is not None
    seed = ctx.options.seed
    fold_of = stratified_folds(target.cpu(), folds, seed) if group is None else grouped_folds(group, folds, seed)
    if "fold" not in method.state:
        method.state |= {"fold": 0, "alone": branch_weights(ctx.model), "out_of_fold": {}}
    for fold in range(folds):
        for name in ctx.modalities:
            branch(ctx.model, name).load_state_dict(start[name])
        rows, stop = (fold_of != fold).nonzero().squeeze(1), max(method.state["epochs"].values())
        yield branch_phase(ctx.modalities, name=f"{FOLD}{fold + 1}", monitor=None, rows=rows, stop=stop, reusable=True)
        if method.state["fold"] == fold:  # else the run was resumed later: this is in the state, and the model is another
            own, known = (fold_of == fold)[:, None].to(ctx.runtime.device), method.state["out_of_fold"]
            for name, said in ctx.outputs("train").unimodal.items():
                known[name] = torch.where(own, said.float(), known.get(name, 0.0))
            method.state["fold"] += 1
    for name, weights in method.state.pop("alone", {}).items():
        branch(ctx.model, name).load_state_dict(weights)
