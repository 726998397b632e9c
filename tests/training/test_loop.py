"""The loop: stops that lose nothing, errors that say what happened, observers that only watch."""

from __future__ import annotations

import copy
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from equipoise.batch import Outputs
from equipoise.errors import RunError
from equipoise.methods.base import Method, Phase, Update
from equipoise.methods.joint import Joint
from equipoise.nn.multimodal import MultimodalModel
from equipoise.training.checkpoint import load_checkpoint, save_checkpoint
from equipoise.training.context import Closure, Context
from equipoise.training.loop import Interrupted, Loop
from tests.contract.harness import Recorder, assert_same, differs, prepare, toy_part, train, train_toy, weights


class Stopped(Joint):
    """Gets Ctrl-C in the middle of an update."""

    at = 4

    def after_update(self, ctx: Context, update: Update, outputs: Outputs, closure: Closure) -> None:
        if ctx.updates_done == self.at:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("update", [0, 2, 4, 8])  # in mid-epoch, at the last batch of an epoch, at the very last
def test_ctrl_c_writes_a_checkpoint_from_which_the_run_goes_on_bit_for_bit(update: int, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"encoder": {"dropout": 0.2}, "train": toy_part(signal=1.0)}
    straight = train_toy("joint", **settings)
    path = tmp_path / "checkpoint.pt"
    saves = []

    def save(payload: dict[str, Any]) -> None:
        saves.append(payload["position"])
        save_checkpoint(path, payload)

    _, ctx = prepare("joint", **settings)
    method = Stopped()
    method.at = update
    handler = signal.getsignal(signal.SIGINT)
    recorder = Recorder(ctx.model)
    with pytest.raises(Interrupted, match="can be resumed"):
        Loop(ctx, method, [recorder], save).fit()
    assert signal.getsignal(signal.SIGINT) is handler
    assert len(saves) == 1, "the checkpoint interval is far from over, so only the stop may save"
    assert ctx.updates_done == update + 1
    resumed = train_toy("joint", resume=load_checkpoint(path), **settings)
    assert_same(resumed.state, straight.state)
    assert recorder.lines + resumed.lines == straight.lines


class StoppedTwice(Joint):
    """The user has no patience."""

    def after_update(self, ctx: Context, update: Update, outputs: Outputs, closure: Closure) -> None:
        first = signal.getsignal(signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        while signal.getsignal(signal.SIGINT) is first:  # two signals at once may arrive as one
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)


@pytest.fixture
def terminal() -> Iterator[None]:
    """As at a terminal: what is started in the background ignores Ctrl-C, and what it starts does too."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("terminal")
def test_a_second_ctrl_c_stops_at_once() -> None:
    _, ctx = prepare("joint")
    with pytest.raises(KeyboardInterrupt):
        Loop(ctx, StoppedTwice()).fit()
    assert all(item.requires_grad for item in ctx.model.parameters())


def test_training_outside_the_main_thread_leaves_signals_alone() -> None:
    handler = signal.getsignal(signal.SIGINT)
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(train_toy("joint")))
    thread.start()
    thread.join()
    assert_same(found[0].state, train_toy("joint").state)
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_loss_that_is_no_number_is_one_clear_error() -> None:
    with pytest.raises(
        RunError, match=r"epoch 1 of phase 'train': the training loss is no longer a number .*learning_rate \(now 1e\+30\)"
    ):
        train_toy("joint", learning_rate=1e30, optimizer="sgd")


def test_checkpoints_keep_their_distance() -> None:
    saves: list[list[int]] = []
    train_toy("joint", save=lambda payload: saves.append(payload["position"]), checkpoint_seconds=1e6)
    assert saves == []
    train_toy("joint", save=lambda payload: saves.append(payload["position"]), checkpoint_seconds=0.0, epochs=2)
    assert saves == [[0, 0, 1], [0, 0, 2], [0, 1, 0], [0, 1, 1], [0, 1, 2], [0, 2, 0]]


def test_saving_and_watching_change_nothing() -> None:
    plain = train_toy("ogm", encoder={"dropout": 0.2})
    method, ctx = prepare("ogm", encoder={"dropout": 0.2}, checkpoint_seconds=0.0)
    Loop(ctx, method, (), lambda payload: None).fit()
    assert_same(weights(ctx.model), plain.state)


def test_the_best_epoch_is_what_remains() -> None:
    run = train_toy("joint", train=toy_part(signal=0.5), epochs=8, learning_rate=0.05)
    best = [number for number, line in enumerate(run.lines) if line["best"]][-1]
    assert best < 7, "choose another seed: the last epoch is the best"
    assert_same(run.state, run.epochs[best])
    scores = [line["validation"]["fused"]["macro_f1"] for line in run.lines]
    assert scores[best] == max(scores)


def test_patience_ends_a_phase() -> None:
    run = train_toy("joint", train=toy_part(signal=0.5), epochs=60, patience=2, learning_rate=0.05)
    best = [number for number, line in enumerate(run.lines) if line["best"]][-1]
    assert len(run.lines) == best + 3 < 60


@pytest.mark.parametrize(("metric", "best_by"), [(None, "macro_f1"), ("loss", "loss")])
def test_a_phase_may_select_by_a_metric_of_its_own(metric: str | None, best_by: str) -> None:
    class Chosen(Joint):
        def phases(self, ctx: Context) -> Iterator[Phase]:
            yield Phase(metric=metric)

    run = train(Chosen(), prepare("joint", train=toy_part(signal=0.5), epochs=12, learning_rate=0.05)[1])
    scores = {key: [line["validation"]["fused"][key] for line in run.lines] for key in ("macro_f1", "loss")}
    best = {"macro_f1": scores["macro_f1"].index(max(scores["macro_f1"])), "loss": scores["loss"].index(min(scores["loss"]))}
    assert best["macro_f1"] != best["loss"], "choose another seed: both metrics choose one epoch"
    assert_same(run.state, run.epochs[best[best_by]])


class SomeRows(Joint):
    """Trains on every third sample, for two of its epochs."""

    def phases(self, ctx: Context) -> Iterator[Phase]:
        yield Phase(rows=torch.arange(0, 70, 3), stop=2, monitor=None)

    def after_update(self, ctx: Context, update: Update, outputs: Outputs, closure: Closure) -> None:
        self.state.setdefault("seen", []).extend(update.batch.index.tolist())


def test_a_phase_may_use_some_training_samples_and_stop_on_the_way() -> None:
    settings: dict[str, Any] = {"schedule": "cosine", "epochs": 5, "batch_size": 10}
    run = train(SomeRows(), prepare("joint", **settings)[1])
    assert sorted(run.method.state["seen"]) == sorted([*range(0, 70, 3)] * 2)
    whole = train(Joint(), prepare("joint", **settings)[1])
    assert [line["learning_rate"] for line in run.lines] == [line["learning_rate"] for line in whole.lines][:2]
    part = toy_part()
    rest = [row for row in range(70) if row % 3]
    for value in part.inputs.values():
        value[rest] = float("nan")
    assert_same(train(SomeRows(), prepare("joint", train=part, **settings)[1]).last, run.last)


def test_a_stop_in_a_phase_of_some_samples_loses_nothing() -> None:
    saves: list[dict[str, Any]] = []
    settings: dict[str, Any] = {"batch_size": 10, "epochs": 5}
    _, ctx = prepare("joint", checkpoint_seconds=0.0, **settings)
    straight = train(SomeRows(), ctx, save=lambda payload: saves.append(copy.deepcopy(payload)))
    assert [item["position"] for item in saves][:3] == [[0, 0, 1], [0, 0, 2], [0, 1, 0]]
    for payload in saves:
        if payload["position"][1] < 2:
            assert_same(train(SomeRows(), prepare("joint", **settings)[1], resume=payload).last, straight.last)


class TwoPhases(Method):
    """Warms up one encoder, then trains everything at a lower rate, with a head that appears in between and one in mid-phase."""

    name = "two_phases"
    card = Joint.card

    def phases(self, ctx: Context) -> Iterator[Phase]:
        yield Phase(name="warm", epochs=1, parameters=lambda model: model.parameters_of("alpha"), monitor=None)
        ctx.model.extras["between"] = nn.Linear(3, 3, bias=False)
        yield Phase(name="warm", learning_rate=0.1)

    def on_epoch_start(self, ctx: Context) -> None:
        if ctx.stage == ("warm", 1) and ctx.epoch == 1:
            ctx.model.extras["late"] = nn.Linear(3, 3, bias=False)

    def losses(self, ctx: Context, update: Update, outputs: Outputs) -> dict[str, torch.Tensor]:
        logits = outputs.logits
        for module in ctx.model.extras.values():
            logits = logits + module(logits)
        return {"fused": ctx.task_loss(logits, update.batch)}


def test_modules_may_appear_between_and_within_phases() -> None:
    _, ctx = prepare("joint", train=toy_part(signal=1.0), monitor="loss", patience=None)
    run = train(TwoPhases(), ctx)
    assert [line["learning_rate"] for line in run.lines] == pytest.approx([1e-2, 1e-3, 1e-3, 1e-3])
    assert not differs(run.phases[0][1], run.epochs[0], lambda key: "of_alpha" not in key)
    assert not torch.equal(run.epochs[1]["extras.between.weight"], run.epochs[2]["extras.between.weight"])
    assert "extras.late.weight" not in run.epochs[1]
    assert not torch.equal(run.epochs[2]["extras.late.weight"], run.epochs[3]["extras.late.weight"])


class Orders(Joint):
    """Notes the order of samples in each phase of one name."""

    def __post_init__(self) -> None:
        self.seen: dict[tuple[str, int, int], list[int]] = {}
        super().__post_init__()

    def phases(self, ctx: Context) -> Iterator[Phase]:
        for name, epochs in (("one", 2), ("two", 1), ("one", 1)):
            yield Phase(name=name, epochs=epochs, monitor=None)

    def updates(self, ctx: Context, batch: Any) -> Iterator[Update]:
        self.seen.setdefault((*ctx.stage, ctx.epoch), []).extend(batch.index.tolist())
        yield Update(batch)


def test_each_epoch_of_each_phase_has_an_order_of_its_own() -> None:
    _, ctx = prepare("joint")
    method = Orders()
    train(method, ctx)
    assert list(method.seen) == [("one", 0, 0), ("one", 0, 1), ("two", 0, 0), ("one", 1, 0)]
    orders = list(method.seen.values())
    assert all(sorted(order) == list(range(70)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4


class Gathers(Joint):
    """Draws only some samples, and says how often."""

    def on_epoch_start(self, ctx: Context) -> None:
        share = torch.zeros(70)
        share[:10] = 1.0
        ctx.sampler.weights = share

    def updates(self, ctx: Context, batch: Any) -> Iterator[Update]:
        assert int(batch.index.max()) < 10
        ctx.log("seen", float(len(batch)))
        yield Update(batch)


def test_a_method_may_weigh_samples() -> None:
    _, ctx = prepare("joint")
    run = train(Gathers(), ctx)
    assert run.lines[0]["coefficients"]["seen"] == pytest.approx(70 / 3)


def test_sample_weights_survive_a_stop_in_mid_epoch() -> None:
    saves: list[dict[str, Any]] = []
    _, ctx = prepare("joint", checkpoint_seconds=0.0, epochs=1)
    straight = train(Gathers(), ctx, save=lambda payload: saves.append(copy.deepcopy(payload)))
    assert saves[0]["position"] == [0, 0, 1]
    _, ctx = prepare("joint", epochs=1)
    resumed = train(Gathers(), ctx, resume=saves[0])
    assert_same(resumed.state, straight.state)


def test_log_lines_hold_means_over_the_epoch() -> None:
    losses: list[float] = []

    class Noting(Joint):
        def losses(self, ctx: Context, update: Update, outputs: Outputs) -> dict[str, torch.Tensor]:
            found = super().losses(ctx, update, outputs)
            losses.append(float(found["fused"].detach()))
            return found

    _, ctx = prepare("joint", epochs=2)
    run = train(Noting(), ctx)
    assert [line["epoch"] for line in run.lines] == [1, 2]
    for number, line in enumerate(run.lines):
        assert line["losses"]["fused"] == pytest.approx(sum(losses[3 * number : 3 * number + 3]) / 3, rel=1e-6)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_compiled_encoders_give_the_same_training() -> None:
    def compile_encoders(model: MultimodalModel) -> None:
        for encoder in model.encoders.values():
            encoder.compile()

    settings: dict[str, Any] = {
        "train": toy_part(48, names=("alpha",)),
        "validation": toy_part(24, 1, names=("alpha",)),
        "epochs": 2,
    }
    plain = train_toy("joint", **settings)
    compiled = train_toy("joint", change=compile_encoders, **settings)
    for key, value in plain.last.items():
        torch.testing.assert_close(compiled.last[key], value, rtol=1e-3, atol=1e-4)
