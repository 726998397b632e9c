"""MI-balance: mutual information says who teaches whom, which branch needs weight, and how much each counts in the fusion."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from equipoise.batch import Batch, Outputs
from equipoise.errors import ConfigError
from equipoise.functional import weighting
from equipoise.functional.distillation import distillation_loss
from equipoise.functional.signals import Measured, loss_weights, measure
from equipoise.functional.transfer import choose_teacher, f1_error, label_only_information
from equipoise.methods.base import Method, MethodCard, Phase, Update, hparam, register
from equipoise.methods.late import unimodal_losses
from equipoise.methods.unimodal import branch
from equipoise.nn.fusion.information import KINDS, InformationFusion
from equipoise.nn.multimodal import MultimodalModel
from equipoise.training.context import Closure, Context

_ALONE, _DISTIL, _JOINT = "alone ", "distil ", "train"


@register(
    "mi_balance",
    card=MethodCard(
        title="Balanced multimodal learning via mutual information",
        summary="Strong modalities teach weak ones where mutual information makes that plausible; then all are trained together "
        "with weights from performance and dependence.",
        formula="L = w_F loss(z, y) + u/M sum_m w_m loss(z_m, y);  w = M softmax(need * support / T);  z ~ sum_m J_m log p_m",
        authors="Xie, Sanguinetti",
        venue="arXiv 2025",
        arxiv="2511.00987",
        kind="phase",
        extra="one unimodal training per modality and one more per student; information on the validation part every few epochs",
        fusion="information",
        neutral={"stage_a": False, "weighting": "equal", "unimodal": 0.0, "uniform_fusion": True},
        differs=(
            "The body of the paper is not public. Known from its abstract and introduction: distillation from strong to weak "
            "modalities where mutual information makes it plausible, then losses of all branches and of the fusion weighted by "
            "macro-F1 and by dependence, and fusion emphasis by information. Every formula, estimator, schedule and value here "
            "is our choice, and no number of the paper is claimed. Any encoder will do; the graph is not part of the method."
        ),
    ),
)
@dataclass(kw_only=True)
class MIBalance(Method):
    """Distillation gated by mutual information (stage A), then weighted joint training (stage B). The formulas are our choice.

    With ``F_m`` the macro-F1 of a branch, ``J_m = I(H_m; Y)`` and ``I_mn = I(H_m; H_n)``, all on the validation part, by
    nearest neighbours on the logits, in nats and with what chance finds taken off (:mod:`equipoise.functional.transfer`):

    Stage A: each branch is trained alone. A modality learns from the candidate t with ``F_t >= F_s + delta`` of largest
    ``I_ts - J_s``, if that exceeds twice its noise; ``delta = max(margin, standard error of F_s)``. It starts anew with
    ``L_s = mean_i [(1 - alpha) loss_i(z_s, y) + alpha T^2 KL_i(z_t || z_s)]`` (the first term at full weight where the sample
    lacks t; the teacher is the frozen branch) and is put back if its macro-F1 fell by more than ``delta``.

    Stage B, with ``rho_mn = I_mn / (I_mn + H(Y))``: ``L = w_F loss(z, y) + unimodal / M sum_m w_m loss(z_m, y)``,
    ``w = M softmax(s / weight_temperature)``, ``s_m = (1 - F_m / max F) * rbar_m / max rbar``, ``w_F = 1 + eta (1 - rbar)``,
    averaged over time and renewed every ``period`` epochs after ``warm_up`` epochs with all weights 1. The fusion weighs
    modalities by ``J_m ^ sharpness``, ``J_m`` being at least ``floor H(Y)``. Measuring is work for the processor, on 1000 samples
    at most: for three modalities 0.02 s at 60 validation samples, 1 s at 1000.
    """

    kept_for_prediction: ClassVar[tuple[str, ...]] = ()

    stage_a: bool = hparam(True, help="train branches alone and let strong ones teach weak ones first (off: an ablation)")
    gate: str = hparam(
        "mutual_information",
        choices=("mutual_information", "f1_only", "off"),
        help="who is taught: where information makes it plausible, whoever is behind, or nobody",
        search=("mutual_information", "f1_only", "off"),
    )
    margin: float = hparam(0.02, low=0.0, help="least macro-F1 by which a teacher is ahead of its student")
    alpha: float = hparam(0.5, low=0.0, high=1.0, help="weight of the teacher against the labels", search=(0.1, 0.7))
    temperature: float = hparam(2.0, above=0.0, help="temperature of the distillation", search=(1.0, 4.0), log=True)
    neighbours: int = hparam(5, low=1, help="neighbours of the estimates of information, fewer for small classes")
    permutations: int = hparam(20, low=8, help="permutations that show what chance finds; a quarter of them in stage B")
    fusion: str | None = hparam(
        None, choices=KINDS, help="average of log-probabilities or an MLP (none: as the fusion says, logit)", search=KINDS
    )
    uniform_fusion: bool = hparam(False, help="do not weigh modalities in the fusion by information (ablation)")
    floor: float = hparam(0.05, above=0.0, help="least information that counts in the fusion, as a share of the class entropy")
    sharpness: float = hparam(1.0, low=0.0, help="power of the information in the fusion weights", search=(0.5, 4.0))
    weighting: str = hparam(
        "information",
        choices=("information", "equal", "uncertainty", "gradnorm"),
        help="how losses are weighed: by need and support, not at all, learned (Kendall), or by GradNorm",
    )
    unimodal: float = hparam(1.0, low=0.0, help="weight of the branches' own losses", search=(0.3, 3.0), log=True)
    weight_temperature: float = hparam(0.25, above=0.0, help="the smaller, the sharper the weights", search=(0.1, 1.0), log=True)
    support: str = hparam(
        "shared", choices=("shared", "either"), help="by what a modality shares with others, or also by what it tells alone"
    )
    eta: float = hparam(0.5, low=0.0, help="extra weight of the fused loss where modalities share nothing", search=(0.0, 1.0))
    period: int = hparam(10, low=1, help="epochs between measurements")
    warm_up: int = hparam(10, low=0, help="epochs of stage B before weights leave 1")
    memory: float = hparam(0.7, low=0.0, below=1.0, help="how much of a measured value is kept at the next measurement")
    calibrate: bool = hparam(False, help="also bring the gradients of the branches' losses to one length")
    joint_rate: float = hparam(0.5, above=0.0, help="factor of the learning rate in stage B after stage A", search=(0.1, 1.0))

    def setup(self, ctx: Context) -> None:
        count = len(ctx.modalities)
        if self.fusion is not None:
            _fusion(ctx.model).use(self.fusion, ctx.options.seed)
        if self.weighting == "uncertainty":
            ctx.model.extras["log_variances"] = nn.ParameterList([nn.Parameter(torch.zeros(count + 1))])
        self.state |= {"weights": torch.ones(count), "fused": 1.0, "norms": torch.zeros(count), "gradnorm": None}

    @property
    def _measures(self) -> bool:
        return self.weighting == "information" or not self.uniform_fusion

    def phases(self, ctx: Context) -> Iterator[Phase]:
        if self.stage_a:
            start = {name: _weights_of(ctx.model, name) for name in ctx.modalities}
            for name in ctx.modalities:
                yield Phase(name=_ALONE + name, parameters=lambda model, name=name: branch(model, name), monitor=name)  # type: ignore[misc]
            if "teachers" not in self.state:
                self._choose_teachers(ctx)
            for name in list(self.state["teachers"]):
                if name not in self.state["judged"]:
                    # Not on resume inside the phase: what was saved then holds the weights from before it.
                    self.state["before"].setdefault(name, _weights_of(ctx.model, name))
                    _put(ctx.model, name, start[name])
                yield Phase(name=_DISTIL + name, parameters=lambda model, name=name: branch(model, name), monitor=name)  # type: ignore[misc]
                if name not in self.state["judged"]:
                    self._judge(ctx, name)
            if "signals" not in self.state and self._measures:
                self._take_over(ctx, self._measure(ctx, self.permutations).signals())
            self.state["soft"] = {}
        yield Phase(name=_JOINT, learning_rate=self.joint_rate if self.stage_a else 1.0)

    def _validation(self, ctx: Context) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
        """Return the branches' logits on the validation part, which sample has which modality, and the classes."""
        part, logits = ctx.part("validation"), ctx.outputs("validation").unimodal
        assert part.target is not None
        have = {name: part.present[name].cpu() for name in ctx.modalities}
        for name, rows in have.items():
            if not bool(rows.any()):
                raise ConfigError(f"method mi_balance: no validation sample has modality {name!r}, so nothing can be said of it")
        return {name: value.float().cpu() for name, value in logits.items()}, have, part.target.cpu()

    def _measure(self, ctx: Context, permutations: int) -> Measured:
        # One process speaks for all: a last digit that differs must not lead to another decision.
        return ctx.runtime.share(measure(*self._validation(ctx), self.neighbours, permutations))

    def _choose_teachers(self, ctx: Context) -> None:
        """Decide who learns from whom, say why, and keep what the teachers say about the training part."""
        found, (logits, have, target) = self._measure(ctx, self.permutations), self._validation(ctx)
        teachers, margins = {}, {}
        for name in ctx.modalities:
            error = f1_error(logits[name][have[name]], target[have[name]])
            margins[name] = ctx.runtime.share(max(self.margin, error))
            choice = choose_teacher(name, found.f1, found.told, found.shared, margins[name], self.gate)
            if choice.teacher is None:
                ctx.note(f"{name} (macro-F1 {found.f1[name]:.3f}) has no teacher: none is ahead by {margins[name]:.3f}")
                continue
            one, other = sorted((name, choice.teacher))
            both = have[one] & have[other]
            label_only = label_only_information(
                logits[one][both], logits[other][both], target[both], self.neighbours, self.permutations
            )
            ctx.note(
                f"{name} (macro-F1 {found.f1[name]:.3f}) {'learns' if choice.accepted else 'does not learn'} from "
                f"{choice.teacher} ({found.f1[choice.teacher]:.3f}): they share {found.shared[one, other].value:.3f} nats, "
                f"{label_only:.3f} of them by the class alone; {name} tells {found.told[name].value:.3f} of the class; "
                f"gap {choice.gap:.3f}, noise {choice.noise:.3f}, gate {self.gate}"
            )
            if choice.accepted:
                teachers[name] = choice.teacher
        fewest = min(item.neighbours for item in [*found.told.values(), *found.shared.values()])
        if fewest < self.neighbours:
            how = f"{fewest} instead of {self.neighbours} neighbours" if fewest else "the bounded joint-softmax estimator"
            ctx.note(f"few validation samples of a class, or many classes: information was in part estimated with {how}")
        said = ctx.outputs("train").unimodal if teachers else {}
        soft = {name: said[name].float() for name in sorted(set(teachers.values()))}
        self.state |= {"soft": soft, "f1": found.f1, "margins": margins, "before": {}, "judged": {}, "teachers": teachers}

    def _judge(self, ctx: Context, name: str) -> None:
        """Keep a student, or put back the branch it was before it was taught."""
        logits, have, target = self._validation(ctx)
        metrics = ctx.task.metrics(logits[name][None, have[name]], target[have[name]])[0]
        now, alone = ctx.runtime.share(metrics["macro_f1"]), self.state["f1"][name]
        kept = now >= alone - self.state["margins"][name]
        before = self.state["before"].pop(name)
        if not kept:
            _put(ctx.model, name, before)
        verdict, teacher = "keeps" if kept else "is put back and forgets", self.state["teachers"][name]
        ctx.note(f"{name} {verdict} what it learned from {teacher}: macro-F1 {now:.3f}, {alone:.3f} alone")
        self.state["judged"][name] = kept

    def updates(self, ctx: Context, batch: Batch) -> Iterable[Update]:
        yield Update(batch, only=None if ctx.phase.name == _JOINT else (ctx.phase.name.split(" ", 1)[1],))

    def losses(self, ctx: Context, update: Update, outputs: Outputs) -> dict[str, Tensor]:
        if ctx.phase.name.startswith(_ALONE):
            return unimodal_losses(ctx, update, outputs)
        batch = update.batch
        if ctx.phase.name.startswith(_DISTIL):
            (name,) = outputs.unimodal
            teacher = self.state["teachers"][name]
            logits = outputs.unimodal[name]
            taught = self.alpha * batch.present[teacher].to(torch.float32)
            soft = self.state["soft"][teacher].to(logits.device)[batch.index]
            lessons = distillation_loss(logits.float(), soft, self.temperature)
            own = ctx.sample_mean((1 - taught) * ctx.task.losses(logits, batch.labels), batch, name)
            return {name: own, f"{name} from {teacher}": ctx.sample_mean(taught * lessons, batch, name)}
        losses = {"fused": ctx.task_loss(outputs.logits, batch) * self.state["fused"]}
        if self.unimodal == 0:
            return losses
        own_losses = unimodal_losses(ctx, update, outputs, self.unimodal / len(ctx.modalities))
        if self.weighting == "uncertainty":
            return self._uncertain(ctx, batch, losses | own_losses)
        weights = zip(own_losses.items(), self._weights(), strict=True)
        return losses | {name: value * weight for (name, value), weight in weights}

    def _weights(self) -> list[float]:
        # A handful of numbers, kept on the CPU; a resume brings them back on the device of the run.
        weights: Tensor = self.state["weights"].cpu()
        found: list[float] = (weights * weighting.calibration(self.state["norms"].cpu()) if self.calibrate else weights).tolist()
        return found

    def _uncertain(self, ctx: Context, batch: Batch, losses: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weigh losses by learned uncertainties; that of a modality that no sample of the batch has rests."""
        whole = batch.whole or batch
        terms = weighting.uncertainty_loss(torch.stack(list(losses.values())), _log_variances(ctx.model))
        return {
            name: term
            for name, term in zip(losses, terms, strict=True)
            if name == "fused" or name in whole.complete or ctx.runtime.sum(whole.present[name].sum()) > 0
        }

    def on_epoch_start(self, ctx: Context) -> None:
        if ctx.phase.name != _JOINT:
            return
        since = ctx.epoch - self.warm_up
        if since >= 0 and since % self.period == 0 and self._measures:
            new = self._measure(ctx, self.permutations // 4).signals()
            old = self.state.get("signals", new)
            self._take_over(ctx, {key: self.memory * old[key] + (1 - self.memory) * value for key, value in new.items()})
            if self.weighting == "information":
                self.state["weights"], self.state["fused"] = loss_weights(
                    self.state["signals"], ctx.modalities, self.weight_temperature, self.eta, relevance=self.support == "either"
                )
        self._log(ctx)

    def _take_over(self, ctx: Context, signals: dict[str, float]) -> None:
        self.state["signals"] = signals
        if not self.uniform_fusion:
            told = torch.tensor([max(signals[f"J.{name}"], self.floor * signals["entropy"]) for name in ctx.modalities])
            gates = weighting.gates(told**self.sharpness, signals["entropy"], 0.0).tolist()
            _fusion(ctx.model).set_weights(dict(zip(ctx.modalities, gates, strict=True)))

    def _log(self, ctx: Context) -> None:
        weights = dict(zip(ctx.modalities, self._weights(), strict=True)) | {"fused": self.state["fused"]}
        if self.weighting == "uncertainty":
            weights = dict(zip(("fused", *ctx.modalities), (-_log_variances(ctx.model)).exp().tolist(), strict=True))
        if self.weighting != "equal" or self.calibrate:
            for name, weight in weights.items():
                ctx.log(f"weight.{name}", weight)
        if not self.uniform_fusion:
            for name, weight in zip(ctx.modalities, _fusion(ctx.model).weights.tolist(), strict=True):
                ctx.log(f"emphasis.{name}", weight)
        for key, value in self.state.get("signals", {}).items():
            ctx.log(key, value)

    def after_update(self, ctx: Context, update: Update, outputs: Outputs, closure: Closure) -> None:
        """Renew the lengths of gradients, and GradNorm's weights, after the warm-up."""
        if ctx.phase.name != _JOINT or ctx.epoch < self.warm_up or not (self.calibrate or self.weighting == "gradnorm"):
            return
        losses, norms = _branch_gradients(ctx, update.batch, outputs)
        old, have = self.state["norms"].cpu(), norms > 0
        mixed = torch.where(old > 0, self.memory * old + (1 - self.memory) * norms, norms)
        self.state["norms"] = torch.where(have, mixed, old)
        if self.weighting == "gradnorm" and bool(have.all()):
            initial = self.state["gradnorm"] = losses if self.state["gradnorm"] is None else self.state["gradnorm"].cpu()
            weights = self.state["weights"].cpu().clone().requires_grad_()
            (slope,) = torch.autograd.grad(weighting.gradnorm_loss(weights, norms, losses, initial), weights)
            self.state["weights"] = weighting.gradnorm_renormalise(weights - 0.025 * slope)


def _branch_gradients(ctx: Context, batch: Batch, outputs: Outputs) -> tuple[Tensor, Tensor]:
    """Return each branch's loss and the length of its gradient in the features, over all processes (0 where nobody has it).

    Gradients in the features instead of the weights of the last layer cost no second backward pass (our choice).
    """
    losses, squares = [], []
    for name in ctx.modalities:
        features = outputs.features[name].detach().float().requires_grad_()
        loss = ctx.task_loss(_fusion(ctx.model).contributions({name: features}, batch.present)[name], batch, name)
        gradient = torch.autograd.grad(loss, features)[0] if loss.requires_grad else torch.zeros_like(features)
        losses.append(loss.detach())
        squares.append(gradient.square().sum())
    norms = ctx.runtime.sum(torch.stack(squares)).sqrt() / ctx.runtime.world
    return ctx.runtime.mean(torch.stack(losses)).cpu(), norms.cpu()


def _fusion(model: MultimodalModel) -> InformationFusion:
    assert isinstance(model.fusion, InformationFusion)
    return model.fusion


def _log_variances(model: MultimodalModel) -> Tensor:
    parameter: Tensor = next(model.extras["log_variances"].parameters())
    return parameter


def _weights_of(model: MultimodalModel, modality: str) -> dict[str, dict[str, Tensor]]:
    """Return copies of the weights and buffers of a branch."""
    parts = {"encoder": model.encoders[modality], "head": _fusion(model).heads[modality]}
    return {key: {name: value.detach().clone() for name, value in part.state_dict().items()} for key, part in parts.items()}


def _put(model: MultimodalModel, modality: str, weights: dict[str, dict[str, Tensor]]) -> None:
    model.encoders[modality].load_state_dict(weights["encoder"])
    _fusion(model).heads[modality].load_state_dict(weights["head"])
