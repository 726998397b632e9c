"""MI-balance: mutual information says who teaches whom, which branch needs weight, and how much each counts in the fusion."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from equipoise.batch import Batch, Outputs
from equipoise.data.schema import CLASSES
from equipoise.errors import ConfigError
from equipoise.functional import weighting
from equipoise.functional.distillation import distillation_loss
from equipoise.functional.signals import HeldOut, Measured, choose_teachers, f1_scores, loss_weights, measure
from equipoise.functional.stacking import best_of
from equipoise.functional.transfer import f1_error
from equipoise.methods.base import Method, MethodCard, Phase, Update, hparam, register
from equipoise.methods.late import Term, task_losses, unimodal_losses
from equipoise.nn.fusion.information import KINDS, InformationFusion
from equipoise.nn.multimodal import MultimodalModel
from equipoise.training.branches import FOLD, branch, branch_gradients, branch_phase, branch_weights, cross_fit, held_out
from equipoise.training.context import Closure, Context
from equipoise.training.selection import copy_state

_ALONE, _DISTIL, _JOINT = "alone ", "distil ", "train"
_FOLDS = 5
_POWERS = (0.5, 1.0, 2.0, 4.0, 8.0)
ENOUGH = 200
"""From so many validation samples on they suffice for the signals."""


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
        tasks=CLASSES,
        extra="one unimodal training per modality, five more where the validation part is small, and one more per student; "
        "information on the validation part every few epochs",
        fusion="information",
        neutral={"stage_a": False, "weighting": "equal", "unimodal": 0.0, "uniform_fusion": True},
        differs=(
            "The body of the paper is not public. Known from its abstract and introduction: distillation from strong to weak "
            "modalities where mutual information makes it plausible, then losses of all branches and of the fusion weighted by "
            "macro-F1 and by dependence, and fusion emphasis by information. Every formula, estimator, schedule and value here "
            "is our choice, and no number of the paper is claimed. With encoder gcn it is on a graph of samples."
        ),
    ),
)
@dataclass(kw_only=True)
class MIBalance(Method):
    """Distillation gated by mutual information (stage A), then weighted joint training (stage B). The formulas are our choice.

    With ``F_m`` the macro-F1 of a branch, ``J_m = I(H_m; Y)`` and ``I_mn = I(H_m; H_n)``, all on samples that trained none
    of it, by nearest neighbours on the logits, in nats and with what chance finds taken off
    (:mod:`equipoise.functional.transfer`). Such samples are the validation part and, where it is small, the training part as
    well, each fold by branches trained without it for as many epochs as the real ones:

    Stage A: each branch is trained alone. A modality learns from the candidate t with ``F_t >= F_s + delta`` of largest
    ``I_ts - J_s``, if that exceeds twice its noise; ``delta = max(margin, standard error of F_s)``. It starts anew with
    ``L_s = mean_i [(1 - alpha) loss_i(z_s, y) + alpha T^2 KL_i(z_t || z_s)]`` (the first term at full weight where the sample
    lacks t; the teacher is the frozen branch, or the branches that were trained without the sample) and is put back if its
    macro-F1 on the validation part fell by more than ``delta``.

    Stage B, with ``rho_mn = I_mn / (I_mn + H(Y))``: ``L = w_F loss(z, y) + unimodal / M sum_m w_m loss(z_m, y)``,
    ``w = M softmax(s / weight_temperature)``, ``s_m = (1 - F_m / max F) * rbar_m / max rbar``, ``w_F = 1 + eta (1 - rbar)``,
    averaged over time and renewed every ``period`` epochs after ``warm_up`` epochs with all weights 1, on the validation part
    alone; where signals were cross-fitted, what they say of information stays and only ``F_m``, which moves with training, is
    renewed, for a small validation part would let the fusion weights jump. The fusion weighs modalities by
    ``J_m ^ sharpness``, ``J_m`` being at least ``floor H(Y)`` and the power (1/2 to 8) that of least loss on held-out samples.
    Measuring is work for the processor, on 1000 samples at most: for three modalities 0.02 s at 60 validation samples, 1 s at
    1000.
    """

    kept_for_prediction: ClassVar[tuple[str, ...]] = ()

    stage_a: bool = hparam(True, help="train branches alone and let strong ones teach weak ones first (off: an ablation)")
    gate: str = hparam(
        "mutual_information",
        choices=("mutual_information", "f1_only", "off"),
        help="who is taught: where information makes it plausible, whoever is behind, or nobody",
        search=("mutual_information", "f1_only", "off"),
    )
    cross_fit: int | None = hparam(
        None, low=0, help="folds of the training part that are held out as well (none: 5 below 200 validation samples, or 0)"
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
    sharpness: float | None = hparam(
        None,
        low=0.0,
        help="power of the information in the fusion weights (none: the best on held-out samples)",
        search=(0.5, 4.0),
    )
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

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.cross_fit == 1:
            raise ConfigError(
                "method mi_balance: cross_fit = 1 leaves nothing to train on, expected 0 for none or at least 2 folds"
            )

    def needs(self) -> set[str]:
        return {"train", "validation", "index", "phases"} if self.stage_a else {"validation"}

    def setup(self, ctx: Context) -> None:
        count = len(ctx.modalities)
        if self.fusion is not None:
            _fusion(ctx.model).use(self.fusion, ctx.options.seed)
        if self.weighting == "uncertainty":
            ctx.model.extras["log_variances"] = nn.ParameterList([nn.Parameter(torch.zeros(count + 1))])
        self.state |= {"weights": torch.ones(count), "fused": 1.0, "norms": torch.zeros(count), "gradnorm": None, "epochs": {}}

    @property
    def _measures(self) -> bool:
        return self.weighting == "information" or not self.uniform_fusion

    def phases(self, ctx: Context) -> Iterator[Phase]:
        for name in ctx.modalities if self.stage_a or self._measures else ():
            if not bool(ctx.part("validation").present[name].any()):
                raise ConfigError(f"method mi_balance: no validation sample has modality {name!r}, so nothing can be said of it")
        if self.stage_a:
            yield from self._stage_a(ctx)
        yield Phase(name=_JOINT, learning_rate=self.joint_rate if self.stage_a else 1.0)

    def _stage_a(self, ctx: Context) -> Iterator[Phase]:
        folds, start = self._folds(ctx), branch_weights(ctx.model)
        for name in ctx.modalities:
            yield branch_phase([name], name=_ALONE + name, monitor=name, reusable=True)
        if folds:
            yield from cross_fit(ctx, self, folds, start)
        if "teachers" not in self.state:
            self._choose_teachers(ctx, folds)
        for name in list(self.state["teachers"]):
            if name not in self.state["judged"]:
                # Not on resume inside the phase: what was saved then holds the weights from before it.
                self.state["before"].setdefault(name, copy_state(branch(ctx.model, name).state_dict()))
                branch(ctx.model, name).load_state_dict(start[name])
            yield branch_phase([name], name=_DISTIL + name, monitor=name)
            if name not in self.state["judged"]:
                self._judge(ctx, name)
        if "signals" not in self.state and self._measures:
            self._take_over(ctx, self.state["cross_fitted"] or self._measure(ctx, self.permutations).signals())
        self.state["soft"] = {}

    def _folds(self, ctx: Context) -> int:
        """Return into how many folds the training part is cut; 0 where nothing is measured or the validation part suffices."""
        train, held_out = ctx.part("train"), len(ctx.part("validation"))
        units, words = (len(train), "samples") if train.group is None else (len(train.group.unique()), "groups")
        folds = self.cross_fit
        if folds is None:
            folds = min(_FOLDS, units) if held_out < ENOUGH and units > 1 else 0
        if folds > units:
            raise ConfigError(
                f"method mi_balance: cross_fit = {folds} needs as many training {words}, found {units}; 0 does without"
            )
        return folds if self._measures or self.gate != "off" else 0

    def _measure(self, ctx: Context, permutations: int) -> Measured:
        # One process speaks for all: a last digit that differs must not lead to another decision.
        return ctx.runtime.share(measure(*held_out(ctx, self.state.get("out_of_fold")), self.neighbours, permutations))

    def _choose_teachers(self, ctx: Context, folds: int) -> None:
        """Decide who learns from whom, say why, and keep what the teachers say about the training part."""
        found, said = self._measure(ctx, self.permutations), held_out(ctx, self.state.get("out_of_fold"))
        if folds:
            count = len(said.target)
            ctx.note(
                f"macro-F1 and information are of {count} samples: the validation part and {folds} folds of the training part"
            )
        settings = (self.margin, self.gate, self.neighbours, self.permutations)
        teachers, notes = ctx.runtime.share(choose_teachers(said, found, *settings))
        for text in notes:
            ctx.note(text)
        lessons = self.state.pop("out_of_fold", None) or (ctx.outputs("train").unimodal if teachers else {})
        self.state |= {
            "soft": {name: lessons[name].float() for name in sorted(set(teachers.values()))},
            "f1": ctx.runtime.share(f1_scores(*held_out(ctx))),
            "cross_fitted": found.signals() if folds else {},
            "sharpness": self._sharpness(ctx, found.signals(), said),
            "before": {},
            "judged": {},
            "teachers": teachers,
        }

    def _sharpness(self, ctx: Context, signals: Mapping[str, float], said: HeldOut) -> float:
        """Return the power of the information in the fusion weights: as stated, or what predicts held-out samples best."""
        if self.sharpness is not None or self.uniform_fusion:
            return self.sharpness or 0.0
        told = self._told(ctx, signals)
        candidates = torch.stack([told**power for power in _POWERS])
        logits = torch.stack([said.logits[name].log_softmax(1) for name in ctx.modalities])
        have = torch.stack([said.present[name].to(logits.dtype) for name in ctx.modalities])
        return ctx.runtime.share(_POWERS[best_of(candidates, logits, have, lambda values: ctx.task.losses(values, said.target))])

    def _told(self, ctx: Context, signals: Mapping[str, float]) -> Tensor:
        """Return what each branch tells about the class, in nats, at least the floor."""
        return torch.tensor([max(signals[f"J.{name}"], self.floor * signals["entropy"]) for name in ctx.modalities])

    def _judge(self, ctx: Context, name: str) -> None:
        """Keep a student, or put back the branch it was before it was taught: by the validation part, which trained neither."""
        logits, have, target = held_out(ctx)
        error = f1_error(logits[name][have[name]], target[have[name]])
        now, margin = ctx.runtime.share((f1_scores(logits, have, target)[name], max(self.margin, error)))
        alone, before = self.state["f1"][name], self.state["before"].pop(name)
        self.state["judged"][name] = kept = now >= alone - margin
        if not kept:
            branch(ctx.model, name).load_state_dict(before)
        verdict, teacher = "keeps" if kept else "is put back and forgets", self.state["teachers"][name]
        ctx.note(f"{name} {verdict} what it learned from {teacher}: macro-F1 {now:.3f} in validation, {alone:.3f} alone")

    def updates(self, ctx: Context, batch: Batch) -> Iterable[Update]:
        if ctx.phase.name.startswith(FOLD):  # each branch for as many epochs as its own training selected
            yield Update(batch, only=tuple(name for name, epochs in self.state["epochs"].items() if ctx.epoch < epochs))
        else:
            yield Update(batch, only=None if ctx.phase.name == _JOINT else (ctx.phase.name.split(" ", 1)[1],))

    def losses(self, ctx: Context, update: Update, outputs: Outputs) -> dict[str, Tensor]:
        if ctx.phase.name.startswith((_ALONE, FOLD)):
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
        terms = {"fused": Term(outputs.logits, None, self.state["fused"])}
        if self.unimodal > 0:
            share = self.unimodal / len(ctx.modalities)
            weights = dict(zip(ctx.modalities, self._weights(), strict=True))
            terms |= {name: Term(logits, name, share * weights[name]) for name, logits in outputs.unimodal.items()}
        losses = task_losses(ctx, batch, terms)
        return self._uncertain(ctx, batch, losses) if self.weighting == "uncertainty" and self.unimodal > 0 else losses

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
            if self.state.get("cross_fitted"):
                new = {f"F.{name}": value for name, value in ctx.runtime.share(f1_scores(*held_out(ctx))).items()}
            else:
                new = self._measure(ctx, self.permutations // 4).signals()
            old = self.state.get("signals", new)
            self._take_over(ctx, old | {key: self.memory * old[key] + (1 - self.memory) * value for key, value in new.items()})
            if self.weighting == "information":
                self.state["weights"], self.state["fused"] = loss_weights(
                    self.state["signals"], ctx.modalities, self.weight_temperature, self.eta, relevance=self.support == "either"
                )
        self._log(ctx)

    def on_epoch_end(self, ctx: Context) -> None:
        if ctx.phase.name.startswith(_ALONE):  # the loop puts the state of the selected epoch back, and this with it
            self.state["epochs"][ctx.phase.name.removeprefix(_ALONE)] = ctx.epoch + 1

    def _take_over(self, ctx: Context, signals: dict[str, float]) -> None:
        self.state["signals"] = signals
        if not self.uniform_fusion:
            if "sharpness" not in self.state:  # without stage A
                self.state["sharpness"] = self._sharpness(ctx, signals, held_out(ctx))
            gates = weighting.gates(self._told(ctx, signals) ** self.state["sharpness"], signals["entropy"], 0.0).tolist()
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
            if "sharpness" in self.state:
                ctx.log("sharpness", self.state["sharpness"])
        for key, value in self.state.get("signals", {}).items():
            ctx.log(key, value)

    def after_update(self, ctx: Context, update: Update, outputs: Outputs, closure: Closure) -> None:
        """Renew the lengths of gradients, and GradNorm's weights, after the warm-up."""
        if ctx.phase.name != _JOINT or ctx.epoch < self.warm_up or not (self.calibrate or self.weighting == "gradnorm"):
            return
        losses, norms = branch_gradients(ctx, update.batch, outputs)
        old, have = self.state["norms"].cpu(), norms > 0
        mixed = torch.where(old > 0, self.memory * old + (1 - self.memory) * norms, norms)
        self.state["norms"] = torch.where(have, mixed, old)
        if self.weighting == "gradnorm" and bool(have.all()):
            initial = self.state["gradnorm"] = losses if self.state["gradnorm"] is None else self.state["gradnorm"].cpu()
            self.state["weights"] = weighting.gradnorm_step(self.state["weights"].cpu(), norms, losses, initial)


def _fusion(model: MultimodalModel) -> InformationFusion:
    assert isinstance(model.fusion, InformationFusion)
    return model.fusion


def _log_variances(model: MultimodalModel) -> Tensor:
    parameter: Tensor = next(model.extras["log_variances"].parameters())
    return parameter
