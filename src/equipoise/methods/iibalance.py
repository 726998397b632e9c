"""IIBalance: each modality is brought to what its own information allows, not to what the others reach."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from equipoise.batch import Batch, Outputs
from equipoise.data.schema import CLASSES
from equipoise.errors import ConfigError
from equipoise.files import read_json
from equipoise.functional.budgets import PRIOR_TEMPERATURE, alignment_strength, anchor, budget, label_entropy, measure, prior
from equipoise.functional.prototypes import below_budget, move_prototypes, prototype_losses, sample_switch
from equipoise.methods.base import Method, MethodCard, Phase, Update, hparam, register
from equipoise.methods.late import unimodal_losses
from equipoise.nn.fusion.budget import BudgetFusion
from equipoise.nn.multimodal import MultimodalModel
from equipoise.seeding import forked
from equipoise.training.branches import branch_phase
from equipoise.training.context import Closure, Context
from equipoise.training.selection import copy_state

_PROBE = "probe "
_KEYS = ("entropy", "grounded", "raw", "loss")
"""What a file of budgets must say of each modality."""


@register(
    "iibalance",
    card=MethodCard(
        title="Intrinsic information budgets (IIBalance)",
        summary="Measures what each modality can tell by itself, pulls weak ones towards the best only while they are below "
        "that, and weighs them by budget and by uncertainty.",
        formula="B_m = H(Y) - H_m;  beta = softmax(B);  L = (1-eta)(sum CE_m + sum_m (beta_a - beta_m) s_m PRA_m) + eta L_fused",
        authors="Xiong, Li, Tang, Li, Kong, Hu",
        venue="ICME 2026",
        arxiv="2603.17347",
        kind="phase",
        tasks=CLASSES,
        extra="one unimodal training per modality beforehand, one validation pass per epoch",
        fusion="budget",
        differs=(
            "An implementation of the published design: order of operations, losses and what enters them are published; the "
            "budget's units and constant, temperatures, the switch rule, all weights, rates, widths, the epoch of the probes and "
            "the schedule are our choice. Budgets are measured on the validation part, never on test; the prototypes of a batch "
            "serve from the next one on."
        ),
    ),
)
@dataclass(kw_only=True)
class IIBalance(Method):
    """Budgets first, then alignment (stage I) cross-faded into uncertainty-aware fusion (stage II).

    Probes: each branch is trained alone, to its least validation loss; ``B_m = H(Y) - mean entropy`` of its temperature-scaled
    predictions on the validation part, with ``H(Y)`` of its labels, so that a modality that tells nothing has none;
    ``beta = softmax(B / budget_temperature)``; the anchor has the largest budget. Then the branches start anew.
    Stage I: unimodal losses, and for each weak modality the contrast of its features with the anchor's class prototypes, of
    strength ``beta_anchor - beta_m``, switched on while it resolves less than its budget. Stage II: the losses of
    :class:`~equipoise.nn.fusion.budget.BudgetFusion` on the fused and the weighted branch logits. The weight of stage II rises
    linearly over the first half of the epochs; the unimodal losses keep at least ``floor``.
    """

    kept_for_prediction: ClassVar[tuple[str, ...]] = ("budgets",)

    budgets: str | None = hparam(None, help="JSON file of budgets measured before on the same split (none: measure them)")
    budget_kind: str = hparam("entropy", choices=("entropy", "grounded"), help="by entropy, or by the loss on true labels")
    budget_temperature: float = hparam(
        PRIOR_TEMPERATURE, above=0.0, help="temperature of the prior, in nats", search=(0.1, 1.0), log=True
    )
    calibrate: bool = hparam(True, help="temperature-scale the probes before their entropy is taken")
    uniform_prior: bool = hparam(False, help="give all modalities the same prior in the fusion (ablation)")
    gate: bool = hparam(True, help="gate the prior by each sample's uncertainty")
    switch: str = hparam(
        "modality", choices=("modality", "sample", "always", "off"), help="when a weak modality is aligned: below its budget"
    )
    slack: float = hparam(0.05, low=0.0, below=1.0, help="how far below its budget counts as reached")
    strength: str = hparam("gap", choices=("gap", "constant", "inverse"), help="how the budgets set the strength of alignment")
    alignment: float = hparam(1.0, low=0.0, help="weight of the alignment loss", search=(0.1, 2.0), log=True)
    temperature: float = hparam(0.1, above=0.0, help="temperature of the prototype contrast")
    memory: float = hparam(0.99, low=0.0, high=1.0, help="how much of a prototype is kept per update")
    branch: float = hparam(1.0, low=0.0, help="weight of the losses on weighted branches")
    floor: float = hparam(0.1, low=0.0, high=1.0, help="least weight of the unimodal losses")
    schedule: str = hparam(
        "crossfade", choices=("crossfade", "sum", "phases"), help="stage I into II, both at once, or one after the other"
    )
    warm_start: bool = hparam(False, help="go on from the probes instead of starting anew")

    def needs(self) -> set[str]:
        return {"validation", "phases"}

    def setup(self, ctx: Context) -> None:
        fusion = _fusion(ctx.model)
        fusion.gated = self.gate
        if len(set(fusion.sizes.values())) > 1:
            width = max(fusion.sizes.values())
            for number, name in enumerate(fusion.names):
                with forked(ctx.options.seed, "project", name):
                    ctx.model.extras[f"project_{number}"] = nn.Linear(fusion.sizes[name], width, bias=False)
        self.state["prototypes"] = torch.zeros(ctx.task.outputs, max(fusion.sizes.values()))
        self.state["seen"] = torch.zeros(ctx.task.outputs, dtype=torch.bool)
        self.state["active"] = dict.fromkeys(ctx.modalities, True)
        self.state["gate"] = self.gate  # the log of a probe, which others may use again, shows the fused output as well

    def phases(self, ctx: Context) -> Iterator[Phase]:
        part = ctx.part("validation")
        for name in ctx.modalities:
            if not bool(part.present[name].any()):
                raise ConfigError(f"method iibalance: no validation sample has modality {name!r}, so it has no budget")
        start = copy_state(ctx.model.state_dict())
        if self.budgets is None:
            for name in ctx.modalities:
                # Budgets are about the cross-entropy, whatever metric selects the epoch of the run.
                yield branch_phase([name], name=_PROBE + name, monitor=name, metric="loss", reusable=True)
        if "budgets" not in self.state:
            self.state["budgets"] = self._measure(ctx) if self.budgets is None else _read_budgets(Path(self.budgets), ctx)
            self._explain(ctx)
        if not self.warm_start:
            ctx.model.load_state_dict(start)
        if not self.uniform_prior:
            _fusion(ctx.model).prior.copy_(self._prior(ctx))
        if self.schedule == "phases":
            yield Phase(name="align", monitor=None)
            yield Phase(name="fuse", parameters=lambda model: model.shared_parameters())
        else:
            yield Phase()

    def _measure(self, ctx: Context) -> dict[str, dict[str, float]]:
        """Return the budgets of the probes on the validation part."""
        part, logits = ctx.part("validation"), ctx.outputs("validation").unimodal
        target = part.target
        assert target is not None
        known, found = label_entropy(target), {}
        for name in ctx.modalities:
            have = part.present[name].to(target.device)
            found[name] = measure(logits[name][have].float(), target[have], known, self.calibrate)
        return found

    def _values(self, ctx: Context, key: str) -> Tensor:
        return torch.tensor([self.state["budgets"][name][key] for name in ctx.modalities])

    def _prior(self, ctx: Context) -> Tensor:
        return prior(self._values(ctx, self.budget_kind), self.budget_temperature)

    def _anchor(self, ctx: Context) -> int:
        return anchor(self._values(ctx, self.budget_kind), self._values(ctx, "loss"))

    def _explain(self, ctx: Context) -> None:
        shares = self._prior(ctx).tolist()
        words = ", ".join(
            f"{name} {self.state['budgets'][name][self.budget_kind]:.3f} nats (prior {share:.2f})"
            for name, share in zip(ctx.modalities, shares, strict=True)
        )
        ctx.note(f"information budgets: {words}; anchor {ctx.modalities[self._anchor(ctx)]}")
        losses = self._values(ctx, "loss")
        by_entropy, by_loss = (anchor(self._values(ctx, kind), losses) for kind in ("entropy", "grounded"))
        if by_entropy != by_loss:
            ctx.note(
                f"entropy names {ctx.modalities[by_entropy]} the strongest modality, the true labels {ctx.modalities[by_loss]}: "
                "a modality may be confidently wrong"
            )

    def updates(self, ctx: Context, batch: Batch) -> Iterable[Update]:
        yield Update(batch, only=(ctx.phase.name.removeprefix(_PROBE),) if ctx.phase.name.startswith(_PROBE) else None)

    def losses(self, ctx: Context, update: Update, outputs: Outputs) -> dict[str, Tensor]:
        batch = update.batch
        if ctx.phase.name.startswith(_PROBE):
            return unimodal_losses(ctx, update, outputs)
        first, second, align = self._stage_weights(ctx)
        # What has no weight is left out: a gradient of zero would still decay.
        losses = unimodal_losses(ctx, update, outputs, first) if first > 0 else {}
        if second > 0:
            fusion = _fusion(ctx.model)
            present = {name: mask for name, mask in batch.present.items() if name not in batch.complete}
            weighted = fusion.weighted(outputs.features, present, outputs.unimodal)
            losses["fused"] = ctx.task_loss(fusion.classify(weighted), batch) * second
            for name, value in weighted.items() if self.branch > 0 else ():
                losses[f"{name} branch"] = ctx.task_loss(fusion.branches[name](value), batch, name) * (second * self.branch)
        if align * self.alignment > 0 and self.switch != "off":
            losses |= self._alignment(ctx, batch, outputs, align)
        return losses

    def _stage_weights(self, ctx: Context) -> tuple[float, float, float]:
        """Return the weights of the unimodal losses, of stage II and of alignment in this epoch."""
        if self.schedule == "sum":
            return 1.0, 1.0, min(1.0, (ctx.epoch + 1) / max(1.0, 0.2 * ctx.epochs))
        if self.schedule == "phases":
            faded = 0.0 if ctx.phase.name == "align" else 1.0
        else:
            faded = min(1.0, ctx.epoch / (0.5 * ctx.epochs))
        return max(1.0 - faded, self.floor), faded, 1.0 - faded

    def _alignment(self, ctx: Context, batch: Batch, outputs: Outputs, weight: float) -> dict[str, Tensor]:
        chosen, strengths = self._plan(ctx)
        prototypes, seen = (self.state[key].to(batch.labels.device) for key in ("prototypes", "seen"))
        names = [
            name
            for name, strength in zip(ctx.modalities, strengths, strict=True)
            if strength > 0 and (self.switch != "modality" or self.state["active"][name])
        ]

        def distances(group: Sequence[str]) -> Tensor:
            vectors = self._vectors(ctx, group, outputs)
            every = prototype_losses(vectors, prototypes, seen, batch.labels.repeat(len(group)), self.temperature)
            return every.view(len(group), -1)

        best, losses = ctx.modalities[chosen], dict[str, Tensor]()
        budgets = {name: values[self.budget_kind] for name, values in self.state["budgets"].items()}
        # In one call where every sample has them all; else one by one, as what no sample has must get no gradient.
        for group in [names] if names and batch.complete.issuperset(names) else [[name] for name in names]:
            values = distances(group)
            if self.switch == "sample":
                reach = (-distances([best])[0].detach()).exp()
                short = [
                    sample_switch((-row).exp(), reach, budgets[name], budgets[best])
                    for name, row in zip(group, values, strict=True)
                ]
                values = values * torch.stack(short)
            factors = values.new_tensor([weight * self.alignment * strengths[ctx.modalities.index(name)] for name in group])
            means = ctx.sample_mean(values, batch, group[0]) * factors
            losses |= {f"{name} alignment": mean for name, mean in zip(group, means, strict=True)}
        return losses

    def _plan(self, ctx: Context) -> tuple[int, tuple[float, ...]]:
        """Return the number of the anchor and how strongly each modality is aligned to it."""
        values, losses = (
            tuple(self.state["budgets"][name][key] for name in ctx.modalities) for key in (self.budget_kind, "loss")
        )
        return _plan(values, losses, self.budget_temperature, self.strength)

    def _vectors(self, ctx: Context, names: Sequence[str], outputs: Outputs) -> Tensor:
        """Return the features of some modalities one after the other, in one width and of length 1, of shape (., width)."""
        parts = []
        for name in names:
            key = f"project_{ctx.modalities.index(name)}"
            features = outputs.features[name].float()  # features of a half-precision pass are also used outside of it
            parts.append(ctx.model.extras[key](features) if key in ctx.model.extras else features)
        return normalize(torch.cat(parts), dim=1)

    @torch.no_grad()
    def after_update(self, ctx: Context, update: Update, outputs: Outputs, closure: Closure) -> None:
        """Move the anchor's prototypes towards this batch, the same in all processes."""
        if ctx.phase.name.startswith(_PROBE) or self.switch == "off":
            return
        batch, name = update.batch, ctx.modalities[self._plan(ctx)[0]]
        vectors = self._vectors(ctx, [name], outputs)
        prototypes, seen = (self.state[key].to(vectors.device) for key in ("prototypes", "seen"))
        member = batch.labels[:, None] == torch.arange(len(prototypes), device=vectors.device)
        member = (member & batch.present[name][:, None]).to(prototypes.dtype)
        total = ctx.runtime.sum(torch.cat([member.T @ vectors.to(prototypes.dtype), member.sum(0)[:, None]], 1))
        moved = move_prototypes(prototypes, seen, total[:, :-1], total[:, -1], self.memory)
        self.state["prototypes"], self.state["seen"] = moved

    def on_epoch_end(self, ctx: Context) -> None:
        if ctx.phase.name.startswith(_PROBE):
            return
        part, logits = ctx.part("validation"), ctx.outputs("validation").unimodal
        assert part.target is not None
        known = label_entropy(part.target)
        every = ((logits[name], part.present[name].to(logits[name].device)) for name in ctx.modalities)
        now = torch.stack([budget(values[have].float(), known) for values, have in every])
        below = below_budget(now.cpu(), self._values(ctx, "raw"), self.slack).tolist()
        self.state["active"] = dict(zip(ctx.modalities, below, strict=True))
        for name, value in zip(ctx.modalities, now.tolist(), strict=True):
            ctx.log(f"resolved.{name}", value)
            if name != ctx.modalities[self._anchor(ctx)]:
                ctx.log(f"below_budget.{name}", float(self.state["active"][name]))


def _read_budgets(path: Path, ctx: Context) -> dict[str, dict[str, float]]:
    """Read what ``equipoise budgets`` wrote."""
    stored = read_json(path, "a file of information budgets", ConfigError)
    if stored.get("split_hash") != ctx.split:
        raise ConfigError(
            f"{path}: the budgets were measured on split {stored.get('split_hash')!r}, this run has {ctx.split!r}; "
            "measure them on the same split"
        )
    entries = stored.get("modalities")
    entries = entries if isinstance(entries, dict) else {}
    found = {}
    for name in ctx.modalities:
        if name not in entries:
            raise ConfigError(f"{path}: no budget of modality {name!r}; it has: {', '.join(entries) or 'none'}")
        values = entries[name] if isinstance(entries[name], dict) else {}
        for key in _KEYS:
            if not isinstance(values.get(key), (int, float)):
                raise ConfigError(f"{path}: modality {name!r}: {key} is {values.get(key)!r}, expected a number")
        found[name] = {key: float(values[key]) for key in _KEYS}
    return found


@lru_cache(maxsize=8)
def _plan(budgets: tuple[float, ...], losses: tuple[float, ...], temperature: float, kind: str) -> tuple[int, tuple[float, ...]]:
    values = torch.tensor(budgets)
    chosen = anchor(values, torch.tensor(losses))
    return chosen, tuple(alignment_strength(prior(values, temperature), chosen, kind).tolist())


def _fusion(model: MultimodalModel) -> BudgetFusion:
    assert isinstance(model.fusion, BudgetFusion)
    return model.fusion
