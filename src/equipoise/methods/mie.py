"""Modal-aware interactive enhancement: turns that seek flat minima and spare the directions that other modalities use."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.batch import Batch, Outputs
from equipoise.functional.flatness import flat_projector, joint_energy
from equipoise.methods.base import Method, MethodCard, Update, alternate, hparam, register
from equipoise.methods.late import unimodal_losses
from equipoise.nn.fusion.late import EntropyGateFusion
from equipoise.training.context import Closure, Context


@register(
    "mie",
    card=MethodCard(
        title="Modal-aware Interactive Enhancement (MIE), with the equations of its successor IGM",
        summary="Modalities take turns with a sharpness-aware loss; the shared head moves less where the others have energy.",
        formula="L_m = (1-k) l(w) + k l(w + rho g/|g|);  G_head <- G_head V exp(-t (l-l_min)/(l_max-l_min)) V^T",
        authors="Jiang, Chi, Yang",
        venue="arXiv 2024, IJCAI 2025",
        arxiv="2407.04587",
        kind="update",
        forwards=2.0,
        backwards=2.0,
        extra="one optimizer step per modality; per epoch one eigendecomposition of features per modality",
        fusion="entropy_gate",
        order_matters=True,
        differs=(
            "Sharpness is measured: weights of the encoder and the head move by rho = 0.05 together and are put back (published "
            "code: rho is 1e-10, only the head is run again, and nothing is put back). Energy is that of samples (published: of "
            "batch means). The gradient is modified where modalities meet, in one shared head (published: in separate heads, "
            "each by the energy of the other's inputs). A turn is one batch, not 25 to 50 epochs; energy is that of the epoch "
            "before; for more than two modalities it is that of all others, each scaled to trace 1; no mixup; modalities are "
            "weighed by their entropy (published: equally): our choices. Under an adaptive optimizer the modified gradient is "
            "rescaled entry by entry."
        ),
    ),
)
@dataclass(kw_only=True)
class MIE(Method):
    """Alternate over modalities with a sharpness-aware loss, and modify the head's gradient by what the others use.

    In the turn of modality m only its encoder and the shared head train, with the gradient of
    ``(1 - kappa) loss(w) + kappa loss(w + rho g / |g|)``, ``g`` being the gradient at ``w`` of all that trains (not
    differentiated through). The head's weight gradient G, of shape (outputs, width), becomes ``G P_m``: ``P_m`` damps
    directions by their energy in the features that the other modalities had in the epoch before
    (:func:`~equipoise.functional.flatness.flat_projector`), the strongest by ``exp(-temperature)``. In the first epoch nothing
    is damped.
    """

    temperature: float = hparam(0.4, low=0.0, help="tau: how much a direction used by others is damped", search=(0.1, 4.0))
    kappa: float = hparam(0.3, low=0.0, high=1.0, help="share of the loss at the perturbed weights", search=(0.1, 0.9))
    rho: float = hparam(0.05, above=0.0, help="length of the perturbation", search=(0.01, 0.2), log=True)

    def setup(self, ctx: Context) -> None:
        weight = _head(ctx).weight
        nothing = torch.zeros(weight.shape[1], weight.shape[1], dtype=weight.dtype, device=ctx.runtime.device)
        self.state["energy"] = {name: nothing.clone() for name in ctx.modalities}
        self.state["projector"] = {name: flat_projector(nothing, self.temperature) for name in ctx.modalities}

    def on_epoch_start(self, ctx: Context) -> None:
        if ctx.epoch == 0 or len(ctx.modalities) == 1:
            return
        energy = self.state["energy"]
        for name in ctx.modalities:
            others = joint_energy([energy[other] for other in ctx.modalities if other != name])
            self.state["projector"][name] = flat_projector(others, self.temperature)
        self.state["energy"] = {name: torch.zeros_like(value) for name, value in energy.items()}

    def updates(self, ctx: Context, batch: Batch) -> Iterable[Update]:
        return alternate(ctx, batch)

    def losses(self, ctx: Context, update: Update, outputs: Outputs) -> dict[str, Tensor]:
        return unimodal_losses(ctx, update, outputs)

    def compute_gradients(self, ctx: Context, closure: Closure) -> tuple[Outputs, dict[str, Tensor]]:
        outputs, losses = ctx.backward(closure)
        plain = [(item, item.grad) for item in ctx.optimizer.parameters() if item.grad is not None]
        if self.kappa == 0 or not plain:
            return outputs, losses
        length = torch.stack([gradient.norm() for _, gradient in plain]).norm().clamp_min(1e-12)
        # Buffers too: running statistics of inputs shall be those at the weights that are kept.
        changed: list[Tensor] = [*(item for item, _ in plain), *ctx.model.buffers()]
        kept = [(item, item.detach().clone()) for item in changed]
        with torch.no_grad():
            for item, gradient in plain:
                item.add_(gradient * (self.rho / length))
                item.grad = None
        _, perturbed = ctx.backward(closure)
        with torch.no_grad():
            for place, value in kept:
                place.copy_(value)
            for item, gradient in plain:
                assert item.grad is not None
                item.grad.lerp_(gradient, 1 - self.kappa)
        for name, loss in perturbed.items():
            ctx.log(f"sharpness.{name}", loss - losses[name])
        return outputs, losses

    def modulate_gradients(self, ctx: Context, update: Update, outputs: Outputs) -> None:
        ((name, features),) = outputs.features.items()
        energy = self.state["energy"]
        used = features.detach().to(energy[name].dtype)
        energy[name] += ctx.runtime.sum(used.T @ used)  # rows of absent samples are zero
        gradient = _head(ctx).weight.grad
        if gradient is None:
            return
        modified = gradient @ self.state["projector"][name]
        ctx.log("damped", modified.norm() / gradient.norm().clamp_min(1e-12), neutral=1.0)
        gradient.copy_(modified)


def _head(ctx: Context) -> torch.nn.Linear:
    assert isinstance(ctx.model.fusion, EntropyGateFusion)
    return ctx.model.fusion.head
