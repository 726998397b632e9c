"""MI-balance: who is taught and by what, what is put back, which weights follow, and what each switch switches off."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from equipoise.data.loader import MemoryPart
from equipoise.errors import ConfigError
from equipoise.functional import signals
from equipoise.functional.signals import loss_weights, measure, stratified_folds
from equipoise.functional.transfer import Choice
from equipoise.functional.weighting import calibration
from equipoise.methods.base import Phase, Update
from equipoise.methods.mi_balance import MIBalance
from equipoise.training.checkpoint import load_checkpoint, save_checkpoint
from equipoise.training.loop import Loop
from tests.contract.harness import (
    CLASSES,
    NAMES,
    Recorder,
    Trained,
    assert_close,
    assert_same,
    differs,
    prepare,
    toy_part,
    train_toy,
    weights,
)
from tests.methods.helpers import make_context, step

STRONG, WEAK, LAST = NAMES[:3]
QUICK: dict[str, Any] = {"permutations": 8, "warm_up": 1, "period": 1, "cross_fit": 0}


NOTHING_MEASURED = {"gate": "off", "weighting": "equal", "uniform_fusion": True}


def latent_part(samples: int, seed: int, noise: dict[str, float], missing: float = 0.0) -> MemoryPart:
    """Modalities that read one latent variable, which holds more than the class, through different noise."""
    random = torch.Generator().manual_seed(seed)
    target = torch.arange(samples) % CLASSES
    latent = 2.0 * torch.eye(CLASSES, 5)[target] + torch.randn(samples, 5, generator=random)
    inputs = {
        name: latent * (size < 100) + min(size, 3.0) * torch.randn(samples, 5, generator=random) for name, size in noise.items()
    }
    present = {name: torch.rand(samples, generator=random) >= missing for name in noise}
    present[next(iter(noise))][:] = True
    for name, mask in present.items():
        inputs[name][~mask] = 0.0
    return MemoryPart(inputs, present, target)


def latent_run(options: dict[str, Any] | None = None, missing: float = 0.0, **settings: Any) -> Trained:
    noise = {STRONG: 0.2, WEAK: 1.0, LAST: 1000.0}
    parts = {"train": latent_part(150, 0, noise, missing), "validation": latent_part(200, 1, noise, missing)}
    return train_toy("mi_balance", {**QUICK, **(options or {})}, **{"epochs": 6, "batch_size": 50, **parts, **settings})


def force(monkeypatch: pytest.MonkeyPatch, **teachers: str) -> None:
    """Let given teachers teach given students, whatever was measured."""

    def choice(student: str, *_: Any) -> Choice:
        teacher = teachers.get(student)
        return Choice(teacher, 1.0, 0.1, accepted=teacher is not None)

    monkeypatch.setattr(signals, "choose_teacher", choice)


def branch_of(state: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if f"of_{name}." in key}


def phases_of(run: Trained) -> list[str]:
    return [phase.name for phase, _ in run.phases]


def start_of(run: Trained, name: str) -> dict[str, Tensor]:
    return next(state for phase, state in run.phases if phase.name == name)


def test_strong_teaches_weak_never_the_other_way_and_every_decision_is_noted() -> None:
    run = latent_run()
    alone = [f"alone {name}" for name in (STRONG, WEAK, LAST)]
    students = [name.removeprefix("distil ") for name in phases_of(run) if name.startswith("distil ")]
    assert phases_of(run) == [*alone, *(f"distil {name}" for name in students), "train"]
    assert WEAK in students
    assert STRONG not in students
    assert run.method.state["teachers"][WEAK] == STRONG
    for name in (STRONG, WEAK, LAST):
        (note,) = [text for text in run.ctx.notes if text.startswith(f"{name} (macro-F1 ")]
        if name == STRONG:
            assert "has no teacher: none is ahead by" in note
        else:
            for word in ("learn", "they share", "by the class alone", "of the class; gap", "noise", "gate mutual_information"):
                assert word in note
    for name in students:
        (verdict,) = [text for text in run.ctx.notes if text.startswith((f"{name} keeps", f"{name} is put back"))]
        assert "alone" in verdict


@pytest.mark.parametrize("gate", ["off", "f1_only"])
def test_gates(gate: str) -> None:
    run = latent_run({"gate": gate})
    taught = {name for name in phases_of(run) if name.startswith("distil ")}
    assert taught == (set() if gate == "off" else {f"distil {WEAK}", f"distil {LAST}"})
    assert any(f"gate {gate}" in text for text in run.ctx.notes)


def test_students_start_anew_and_learn_from_the_frozen_teacher_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The teacher is the branch as it was alone, also where it is a student itself and was taught before."""
    part = toy_part(signal=2.0, missing=0.3)
    alone = train_toy("mi_balance", {"gate": "off", **QUICK}, train=part)
    force(monkeypatch, **{STRONG: WEAK, WEAK: STRONG})
    saved: list[Path] = []

    def save(payload: dict[str, Any]) -> None:
        saved.append(tmp_path / f"{len(saved)}.pt")
        save_checkpoint(saved[-1], payload)

    method, ctx = prepare("mi_balance", {"alpha": 0.7, **QUICK}, train=part, checkpoint_seconds=0.0)
    begin = weights(ctx.model)
    recorder = Recorder(ctx.model)
    Loop(ctx, method, [recorder], save).fit()
    names = [phase.name for phase, _ in recorder.phases]
    assert names[3:5] == [f"distil {STRONG}", f"distil {WEAK}"]
    first, second = recorder.phases[3][1], recorder.phases[4][1]
    for state, student in ((first, STRONG), (second, WEAK)):
        assert_same(branch_of(state, student), branch_of(begin, student))
    # At the start of the first distillation the other branch is the one of its phase alone.
    payload = next(item for item in map(load_checkpoint, saved) if item["position"][0] == 4)
    ctx.model.load_state_dict(first)
    said = ctx.outputs("train").unimodal
    torch.testing.assert_close(payload["method"]["soft"][WEAK], said[WEAK])
    assert set(payload["method"]["soft"]) == {STRONG, WEAK}
    ctx.model.load_state_dict(start_of(alone, "train"))
    torch.testing.assert_close(payload["method"]["soft"][STRONG], ctx.outputs("train").unimodal[STRONG])
    assert method.state["soft"] == {}


def test_distillation_equals_a_naive_loop() -> None:
    part = toy_part(20, signal=1.0, missing=0.4)
    method, ctx = prepare("mi_balance", {"alpha": 0.3, "temperature": 3.0}, train=part)
    method.setup(ctx)
    ctx.phase = Phase(name=f"distil {WEAK}")
    random = torch.Generator().manual_seed(0)
    soft = torch.randn(20, CLASSES, generator=random)
    method.state |= {"teachers": {WEAK: STRONG}, "soft": {STRONG: soft}}
    rows = torch.tensor([3, 17, 4, 5, 11, 0, 8, 12])
    (batch,) = part.batches([rows], [len(rows)])
    (update,) = method.updates(ctx, batch)
    assert update.only == (WEAK,)
    outputs = ctx.model(batch, only=update.only)
    losses = method.losses(ctx, update, outputs)
    said = outputs.unimodal[WEAK].detach()
    total, count = 0.0, 0
    for place, row in enumerate(rows.tolist()):
        if not part.present[WEAK][row]:
            continue
        count += 1
        logits, label = said[place], int(part.target[row])  # type: ignore[index]
        own = -float(logits.log_softmax(0)[label])
        if part.present[STRONG][row]:
            p, q = (soft[row] / 3).softmax(0), (logits / 3).softmax(0)
            total += 0.7 * own + 0.3 * 9 * float((p * (p / q).log()).sum())
        else:
            total += own
    assert float(torch.stack(list(losses.values())).sum().detach()) == pytest.approx(total / count, rel=1e-5)
    assert not part.present[STRONG][rows].all()
    assert set(losses) == {WEAK, f"{WEAK} from {STRONG}"}


def test_a_student_that_got_worse_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Taught by noise and by nothing else, the strong branch must not survive."""
    alone = latent_run({"gate": "off"})
    force(monkeypatch, **{STRONG: LAST})
    run = latent_run({"alpha": 1.0})
    assert run.method.state["judged"] == {STRONG: False}
    assert_same(branch_of(start_of(run, "train"), STRONG), branch_of(start_of(alone, "train"), STRONG))
    assert any(text.startswith(f"{STRONG} is put back") for text in run.ctx.notes)
    assert run.method.state["before"] == {}


def test_a_run_resumed_inside_a_distillation_still_puts_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    force(monkeypatch, **{STRONG: LAST})

    def save(payload: dict[str, Any]) -> None:
        if payload["position"] == [3, 0, 1]:
            save_checkpoint(tmp_path / "middle.pt", payload)

    settings: dict[str, Any] = {"options": {"alpha": 1.0}, "epochs": 3, "checkpoint_seconds": 0.0}
    straight = latent_run(save=save, **settings)
    resumed = latent_run(resume=load_checkpoint(tmp_path / "middle.pt"), **settings)
    assert straight.method.state["judged"] == {STRONG: False}
    assert_same(start_of(resumed, "train"), start_of(straight, "train"))
    assert_same(resumed.method.state_dict(), straight.method.state_dict())
    assert resumed.ctx.notes == straight.ctx.notes


def test_a_student_that_did_not_get_worse_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = latent_run({"gate": "off"})
    force(monkeypatch, **{WEAK: STRONG})
    run = latent_run()
    assert run.method.state["judged"] == {WEAK: True}
    assert differs(branch_of(start_of(run, "train"), WEAK), branch_of(start_of(alone, "train"), WEAK))
    assert_same(branch_of(start_of(run, "train"), STRONG), branch_of(start_of(alone, "train"), STRONG))


def joint_lines(run: Trained) -> list[dict[str, float]]:
    return [line["coefficients"] for line in run.lines if line["phase"] == "train"]


def test_weights_leave_one_after_the_warm_up_and_junk_gets_little() -> None:
    run = latent_run({"warm_up": 2, "period": 2})
    lines = joint_lines(run)
    for line in lines[:2]:
        assert [line[f"weight.{name}"] for name in ("fused", *NAMES[:3])] == [1.0] * 4
    for line in lines[2:]:
        assert line[f"weight.{WEAK}"] > 1.0 > line[f"weight.{LAST}"]
        assert sum(line[f"weight.{name}"] for name in NAMES[:3]) == pytest.approx(3.0)
        assert 1.0 < line["weight.fused"] < 1.5
    assert lines[2] == lines[3] != lines[4]  # renewed every second epoch
    assert lines[0] == lines[1]
    for line in lines:
        assert line[f"emphasis.{LAST}"] < 0.06
        assert line[f"emphasis.{STRONG}"] > line[f"emphasis.{WEAK}"] > line[f"emphasis.{LAST}"]
        assert {f"F.{STRONG}", f"J.{WEAK}", f"rho.{STRONG} & {WEAK}", "noise", "entropy"} <= set(line)


def test_signals_are_averaged_over_time(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    plain = MIBalance._measure

    def watched(self: MIBalance, ctx: Any, permutations: int) -> Any:
        found = plain(self, ctx, permutations)
        seen.append((permutations, found.signals()))
        return found

    monkeypatch.setattr(MIBalance, "_measure", watched)
    run = latent_run({"memory": 0.6, "gate": "off", "permutations": 12}, epochs=3)
    assert [number for number, _ in seen] == [12, 12, 3, 3]  # teachers, start of stage B, its second and third epoch
    expected = seen[1][1]
    for line, (_, new) in zip(joint_lines(run)[1:], seen[2:], strict=True):
        expected = {key: 0.6 * expected[key] + 0.4 * value for key, value in new.items()}
        assert {key: line[key] for key in expected} == pytest.approx(expected)


@pytest.mark.parametrize("support", ["shared", "either"])
def test_weights_are_those_of_the_signals(support: str) -> None:
    run = latent_run({"warm_up": 0, "support": support, "weight_temperature": 0.8, "eta": 0.9})
    state = run.method.state
    found = [loss_weights(state["signals"], NAMES[:3], 0.8, 0.9, relevance=value) for value in (True, False)]
    expected, other = found if support == "either" else reversed(found)
    assert torch.equal(state["weights"], expected[0])
    assert state["fused"] == expected[1]
    assert not torch.equal(state["weights"], other[0])


def test_joint_loss_equals_the_formula() -> None:
    part = toy_part(30, signal=1.0, missing=0.3)
    method, ctx = prepare("mi_balance", {"unimodal": 0.6}, train=part)
    method.setup(ctx)
    ctx.phase = Phase()
    method.state |= {"weights": torch.tensor([0.5, 2.0, 0.5]), "fused": 1.3}
    (batch,) = part.batches([torch.arange(30)], [30])
    with torch.no_grad():
        outputs = ctx.model(batch)
        found = method.losses(ctx, Update(batch), outputs)
    for name, weight in zip(NAMES, (0.5, 2.0, 0.5), strict=False):
        expected = weight * 0.6 / 3 * float(ctx.task_loss(outputs.unimodal[name], batch, name))
        assert float(found[name]) == pytest.approx(expected)
    assert float(found["fused"]) == pytest.approx(1.3 * float(ctx.task_loss(outputs.logits, batch)))


def test_each_part_can_be_switched_off() -> None:
    assert phases_of(latent_run({"stage_a": False})) == ["train"]
    uniform = latent_run({"uniform_fusion": True})
    assert uniform.state["fusion.weights"].tolist() == pytest.approx([1 / 3] * 3)
    assert not any(key.startswith("emphasis") for line in joint_lines(uniform) for key in line)
    equal = latent_run({"weighting": "equal"})
    assert equal.method.state["weights"].tolist() == [1.0] * 3
    assert equal.method.state["fused"] == 1.0
    assert not any(key.startswith("weight") for line in joint_lines(equal) for key in line)
    none = latent_run({"weighting": "equal", "uniform_fusion": True, "gate": "off"})
    assert "signals" not in none.method.state  # nothing is measured that nothing needs
    sharp = latent_run({"sharpness": 3.0})
    assert joint_lines(sharp)[0][f"emphasis.{STRONG}"] > joint_lines(latent_run({"sharpness": 1.0}))[0][f"emphasis.{STRONG}"]


def test_rate_of_stage_b() -> None:
    for options, factor in (({"joint_rate": 0.3}, 0.3), ({"joint_rate": 0.3, "stage_a": False}, 1.0)):
        run = latent_run(options, epochs=2)
        rates = [line["learning_rate"] for line in run.lines if line["phase"] == "train"]
        assert rates == pytest.approx([1e-2 * factor] * 2)


def one_step(options: dict[str, Any]) -> tuple[MIBalance, Any, Any]:
    part = toy_part(30, signal=2.0, missing=0.2)
    method, ctx = prepare("mi_balance", {"warm_up": 0, **options}, train=part)
    ctx = make_context(ctx.model, method, part, part, learning_rate=1e-2)
    assert isinstance(method, MIBalance)
    (batch,) = part.batches([torch.arange(30)], [30])
    return method, ctx, batch


def test_uncertainty_learns_its_weights_and_lets_the_absent_rest() -> None:
    method, ctx, batch = one_step({"weighting": "uncertainty"})
    variances = ctx.model.extras["log_variances"][0]
    assert variances.shape == (4,)
    with torch.no_grad():
        variances.copy_(torch.tensor([0.5, -1.0, 0.0, 2.0]))
        outputs = ctx.model(batch)
        found = method.losses(ctx, Update(batch), outputs)
    plain = float(ctx.task_loss(outputs.unimodal[STRONG], batch, STRONG)) / 3
    assert float(found[STRONG]) == pytest.approx(math.exp(1.0) * plain - 0.5)
    before = variances.detach().clone()
    nobody = batch.masked({LAST: torch.zeros(30, dtype=torch.bool)})
    step(ctx, method, Update(nobody))
    moved = (variances.detach() != before).tolist()
    assert moved == [True, True, True, False]


def test_gradnorm_moves_weights_after_the_warm_up_and_keeps_their_sum() -> None:
    method, ctx, batch = one_step({"weighting": "gradnorm", "warm_up": 1})
    step(ctx, method, Update(batch))
    assert method.state["weights"].tolist() == [1.0] * 3
    ctx.epoch = 1
    for _ in range(3):
        step(ctx, method, Update(batch))
    found = method.state["weights"]
    assert float(found.sum()) == pytest.approx(3.0)
    assert len(set(found.tolist())) == 3
    # The branch of the largest gradient is damped.
    assert int(found.argmin()) == int(method.state["norms"].argmax())


def test_calibration_brings_gradients_to_one_length() -> None:
    method, ctx, batch = one_step({"calibrate": True})
    outputs = ctx.model(batch)
    step(ctx, method, Update(batch))
    expected = []
    for name in NAMES[:3]:
        features = outputs.features[name].detach().requires_grad_()
        loss = torch.nn.functional.cross_entropy(
            ctx.model.fusion.heads[name](features)[batch.present[name]], _labels(batch, name)
        )
        expected.append(float(torch.autograd.grad(loss, features)[0].norm()))
    torch.testing.assert_close(method.state["norms"], torch.tensor(expected))
    assert method._weights() == pytest.approx(calibration(torch.tensor(expected)).tolist())
    old = method.state["norms"]
    step(ctx, method, Update(batch.masked({LAST: torch.zeros(30, dtype=torch.bool)})))
    assert method.state["norms"][2] == old[2]
    assert (method.state["norms"][:2] != old[:2]).all()


def _labels(batch: Any, name: str) -> Tensor:
    labels: Tensor = batch.labels[batch.present[name]]
    return labels


OPTIONS = [
    {"weighting": "uncertainty"},
    {"weighting": "gradnorm"},
    {"calibrate": True},
    {"fusion": "concat"},
    {"gate": "f1_only", "support": "either"},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_every_option_learns_resumes_and_is_loaded(options: dict[str, Any], tmp_path: Path) -> None:
    saved: list[tuple[tuple[int, int, int], Path]] = []

    def save(payload: dict[str, Any]) -> None:
        saved.append((payload["position"], tmp_path / f"{len(saved)}.pt"))
        save_checkpoint(saved[-1][1], payload)

    settings: dict[str, Any] = {"epochs": 4, "missing": 0.2, "optimizer": "adamw", "checkpoint_seconds": 0.0}
    straight = latent_run(options, save=save, **settings)
    assert straight.lines[-1]["validation"]["fused"]["accuracy"] > 0.7
    last = len(straight.phases) - 1
    middle = [path for place, path in saved if place[2] and place[1] == 1]
    for path in (middle[0], middle[-1], next(path for place, path in saved if place[0] == last and place[1] == 3)):
        resumed = latent_run(options, resume=load_checkpoint(path), **settings)
        assert_same(resumed.state, straight.state)
        assert_same(resumed.method.state_dict(), straight.method.state_dict())
        assert resumed.ctx.notes == straight.ctx.notes
    method, ctx = prepare("mi_balance", straight.method.hyperparameters(), train=latent_part(5, 0, {STRONG: 1, WEAK: 1, LAST: 1}))
    method.setup(ctx)
    method.load_state_dict(ctx, {})  # what a loaded run has
    ctx.model.load_state_dict(straight.ctx.model.state_dict())
    part = latent_part(40, 5, {STRONG: 0.2, WEAK: 1.0, LAST: 1000.0}, 0.3)
    (batch,) = part.batches([torch.arange(40)], [40])
    ctx.model.eval()
    straight.predictor.eval()
    assert torch.equal(method.predictor(ctx)(batch).logits, straight.predictor(batch).logits)


@pytest.mark.parametrize("options", [item for item in OPTIONS if item.get("fusion") != "concat"])  # whose dropout draws by place
def test_parts_of_a_batch_give_the_gradient_of_the_batch(options: dict[str, Any]) -> None:
    settings: dict[str, Any] = {"epochs": 2, "missing": 0.3, "optimizer": "sgd", "gate": "off"}
    gate = settings.pop("gate")
    whole, parts = (latent_run({**options, "gate": gate}, accumulate=count, **settings) for count in (1, 3))
    assert_close(whole.last, parts.last)


def test_one_modality_has_no_teacher_and_weight_one() -> None:
    run = train_toy("mi_balance", QUICK, train=toy_part(50, names=NAMES[:1]))
    assert phases_of(run) == [f"alone {STRONG}", "train"]
    assert joint_lines(run)[-1][f"weight.{STRONG}"] == 1.0
    assert joint_lines(run)[-1]["weight.fused"] == 1.0


def test_classes_of_one_validation_sample_do_not_stop_the_run() -> None:
    validation = toy_part(30, 1)
    assert validation.target is not None
    rare = validation.target == 2
    rare[2] = False  # one sample of this class stays
    validation.target[rare] = 0
    run = train_toy("mi_balance", QUICK, train=toy_part(), validation=validation)
    assert all(math.isfinite(value) for line in run.lines for value in line["losses"].values())
    validation.target[:] = 0
    validation.target[:2] = torch.tensor([1, 2])
    alone = train_toy("mi_balance", QUICK, train=toy_part(), validation=validation)
    assert any("joint-softmax" in text for text in alone.ctx.notes)
    few = train_toy("mi_balance", QUICK, train=toy_part(), validation=toy_part(15, 1))
    assert any("4 instead of 5 neighbours" in text for text in few.ctx.notes)


def test_a_modality_that_validation_lacks_is_refused_in_one_sentence() -> None:
    validation = toy_part(30, 1, never=[WEAK])
    with pytest.raises(ConfigError, match=f"^method mi_balance: no validation sample has modality '{WEAK}', so"):
        train_toy("mi_balance", QUICK, train=toy_part(), validation=validation)


def test_measuring_leaves_the_model_alone() -> None:
    part = toy_part(30)
    method, ctx = prepare("mi_balance", QUICK, train=part, encoder={"dropout": 0.5})
    method.setup(ctx)
    assert isinstance(method, MIBalance)
    before = weights(ctx.model)
    ctx.model.train()
    first, second = (method._measure(ctx, 8) for _ in range(2))
    assert first == second
    assert_same(before, weights(ctx.model))
    assert ctx.model.training


FOLDED: dict[str, Any] = {**QUICK, "cross_fit": 3}


def folded_run(**settings: Any) -> Trained:
    noise = {STRONG: 0.2, WEAK: 1.0, LAST: 1000.0}
    parts = {"train": latent_part(90, 0, noise, 0.2), "validation": latent_part(40, 1, noise, 0.2)}
    return train_toy("mi_balance", FOLDED, **{"epochs": 5, "batch_size": 30, "weight_decay": 0.1, **parts, **settings})


def fold_phases(run: Trained) -> list[str]:
    return [name for name in phases_of(run) if name.startswith("fold ")]


@pytest.mark.parametrize(
    ("options", "samples", "folds"),
    [({}, 199, 5), ({}, 200, 0), ({"cross_fit": 2}, 200, 2), ({"cross_fit": 0}, 40, 0), (NOTHING_MEASURED, 40, 0)],
)
def test_a_small_validation_part_is_helped_by_folds(options: dict[str, Any], samples: int, folds: int) -> None:
    settings = {key: value for key, value in QUICK.items() if key != "cross_fit"}
    run = train_toy("mi_balance", {**settings, **options}, epochs=1, train=toy_part(30), validation=toy_part(samples, 1))
    assert fold_phases(run) == [f"fold {number + 1}" for number in range(folds)]
    assert any(f"{samples + 30} samples: the validation part and {folds} folds" in text for text in run.ctx.notes) == (folds > 0)


def test_cross_fitted_signals_are_those_of_branches_that_never_saw_the_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rebuilt from the weights after each fold, and no weight there depends on the fold."""
    measured = []

    def watched(*arguments: Any) -> Any:
        measured.append((arguments, measure(*arguments)))
        return measured[-1][1]

    monkeypatch.setattr("equipoise.methods.mi_balance.measure", watched)
    run = folded_run()
    (logits, have, target), found = measured[0][0][:3], measured[0][1]
    train_part, validation = run.ctx.part("train"), run.ctx.part("validation")
    assert isinstance(train_part, MemoryPart)
    assert train_part.target is not None
    assert validation.target is not None
    fold_of = stratified_folds(train_part.target, 3, 0)
    assert torch.equal(target, torch.cat([train_part.target, validation.target]))
    for fold in range(3):
        end = [state for line, state in zip(run.lines, run.epochs, strict=True) if line["phase"] == f"fold {fold + 1}"][-1]
        run.ctx.model.load_state_dict(end)
        said = run.ctx.outputs("train").unimodal
        for name in NAMES[:3]:
            rows = (fold_of == fold).nonzero().squeeze(1)
            torch.testing.assert_close(logits[name][rows], said[name][rows])
            assert torch.equal(have[name][:90], train_part.present[name])
    run.ctx.model.load_state_dict(start_of(run, next(name for name in phases_of(run) if name not in before_students(run))))
    for name, said in run.ctx.outputs("validation").unimodal.items():
        torch.testing.assert_close(logits[name][90:], said)  # the branches themselves are back
    assert run.method.state["cross_fitted"] == found.signals()
    # What the fold holds changes nothing in its phase.
    other = latent_part(90, 0, {STRONG: 0.2, WEAK: 1.0, LAST: 1000.0}, 0.2)
    for value in other.inputs.values():
        value[fold_of == 1] += 5.0
    changed = folded_run(train=other)
    starts = {line["phase"]: state for line, state in zip(changed.lines, changed.epochs, strict=True)}
    ends = {line["phase"]: state for line, state in zip(run.lines, run.epochs, strict=True)}
    for name in NAMES[:3]:
        if changed.method.state["epochs"][name] == run.method.state["epochs"][name]:
            assert_same(branch_of(starts["fold 2"], name), branch_of(ends["fold 2"], name))
            assert differs(branch_of(starts["fold 1"], name), branch_of(ends["fold 1"], name))
    assert any(changed.method.state["epochs"][name] == run.method.state["epochs"][name] for name in NAMES[:3])


def before_students(run: Trained) -> set[str]:
    return {name for name in phases_of(run) if name.startswith(("alone ", "fold "))}


def test_folds_train_each_branch_for_the_epochs_of_its_own_training() -> None:
    run = folded_run(patience=1)
    epochs = {}
    for name in NAMES[:3]:
        kept = [line["epoch"] for line in run.lines if line["phase"] == f"alone {name}" and line["best"]]
        epochs[name] = kept[-1]
    assert run.method.state["epochs"] == epochs
    assert len(set(epochs.values())) > 1, "equal epochs would prove nothing"
    for fold in fold_phases(run):
        states = [state for line, state in zip(run.lines, run.epochs, strict=True) if line["phase"] == fold]
        assert len(states) == max(epochs.values())
        begin = start_of(run, fold)
        for name in NAMES[:3]:
            moved = [differs(branch_of(one, name), branch_of(two, name)) for one, two in pairwise([begin, *states])]
            assert moved == [number < epochs[name] for number in range(len(states))]


def test_teachers_teach_out_of_fold(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    force(monkeypatch, **{WEAK: STRONG})
    saved: list[Path] = []

    def save(payload: dict[str, Any]) -> None:
        saved.append(tmp_path / f"{len(saved)}.pt")
        save_checkpoint(saved[-1], payload)

    run = folded_run(save=save, checkpoint_seconds=0.0)
    payloads = [load_checkpoint(path) for path in saved]
    last_fold = [item["method"]["out_of_fold"] for item in payloads if item["position"][0] == 5][-1]
    soft = next(item["method"]["soft"] for item in payloads if item["position"][0] == 6)
    part = run.ctx.part("train")
    assert part.target is not None
    done = stratified_folds(part.target, 3, 0) != 2  # the last fold is filled in after its phase
    assert set(soft) == {STRONG}
    assert torch.equal(soft[STRONG][done], last_fold[STRONG][done])
    assert not last_fold[STRONG][~done].any()
    assert soft[STRONG][~done].any()


def test_what_was_cross_fitted_of_information_stays_in_stage_b() -> None:
    lines = joint_lines(folded_run(epochs=4))
    fixed = [key for key in lines[0] if key.startswith(("J.", "rho.", "emphasis.")) or key in ("noise", "entropy")]
    assert len(fixed) == 3 + 3 + 3 + 2
    assert all(line[key] == lines[0][key] for line in lines for key in fixed)
    assert lines[-1][f"F.{WEAK}"] != lines[0][f"F.{WEAK}"]


@pytest.mark.parametrize("phase", [3, 4, 5, 6])
def test_a_run_resumed_inside_a_fold_ends_as_the_straight_one(phase: int, tmp_path: Path) -> None:
    def save(payload: dict[str, Any]) -> None:
        if payload["position"] == [phase, 0, 1]:
            save_checkpoint(tmp_path / "middle.pt", payload)

    straight = folded_run(save=save, checkpoint_seconds=0.0)
    resumed = folded_run(resume=load_checkpoint(tmp_path / "middle.pt"), checkpoint_seconds=0.0)
    assert_same(resumed.state, straight.state)
    assert_same(resumed.method.state_dict(), straight.method.state_dict())
    assert resumed.ctx.notes == straight.ctx.notes


def test_folds_that_cannot_be_are_refused_in_one_sentence() -> None:
    with pytest.raises(ConfigError, match=r"^method mi_balance: cross_fit = 1 leaves nothing to train on, "):
        train_toy("mi_balance", {"cross_fit": 1})
    with pytest.raises(ConfigError, match=r"^method mi_balance: cross_fit = 31 needs as many training samples, found 30; 0 does"):
        train_toy("mi_balance", {"cross_fit": 31}, train=toy_part(30))


def test_folds_keep_groups_together() -> None:
    part = toy_part(40)
    part.group = torch.arange(40) // 10
    run = train_toy("mi_balance", {**QUICK, "cross_fit": None}, train=part)
    assert sum(phase.name.startswith("fold ") for phase, _ in run.phases) == 4  # of four groups no five folds can be made
    with pytest.raises(ConfigError, match="cross_fit = 5 needs as many training groups, found 4"):
        train_toy("mi_balance", {"cross_fit": 5}, train=part)


def test_a_class_of_fewer_samples_than_folds_does_not_stop_the_run() -> None:
    part = toy_part(40)
    assert part.target is not None
    part.target[part.target == 2] = 0
    part.target[:2] = 2
    run = train_toy("mi_balance", {**QUICK, "cross_fit": 5}, train=part, validation=toy_part(15, 1))
    assert len(fold_phases(run)) == 5
    assert all(math.isfinite(value) for line in run.lines for value in line["losses"].values())


def test_sharpness_is_chosen_where_none_is_stated() -> None:
    chosen = joint_lines(latent_run())[0]["sharpness"]
    assert chosen in (0.5, 1.0, 2.0, 4.0, 8.0)
    assert joint_lines(latent_run({"sharpness": 1.0}))[0]["sharpness"] == 1.0
