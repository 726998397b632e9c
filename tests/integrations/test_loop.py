"""A method in a loop of one's own does what it does in ours, and what the loop does beside it is left alone."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import equipoise
from equipoise.data.loader import Loader, MemoryPart
from equipoise.errors import ConfigError, DataError, EquipoiseError, RunError
from equipoise.integrations.loop import Balancer
from equipoise.tasks import Classification, Multilabel, Regression
from tests.contract.harness import (
    CLASSES,
    NAMES,
    Trained,
    assert_close,
    assert_same,
    brisk,
    differs,
    toy_part,
    train_toy,
    weights,
)
from tests.end_to_end.harness import ENVIRONMENT, ROOT
from tests.integrations import worker
from tests.integrations.harness import DECAY, EPOCHS, RATE, Ours, described

USABLE = [*Balancer.methods(), "joint_unimodal+ogm", "modality_dropout+mmpareto", "ogm+relearning"]


def theirs(method: str, optimizer: str = "adamw", **options: Any) -> Trained:
    """Our own loop."""
    return train_toy(method, brisk(method), optimizer=optimizer, learning_rate=RATE, weight_decay=DECAY, **options)


@pytest.mark.parametrize(("optimizer", "missing"), [("adamw", 0.0), ("sgd", 0.3)])
@pytest.mark.parametrize("method", USABLE)
def test_same_weights_as_in_our_own_loop(method: str, optimizer: str, missing: float) -> None:
    part = toy_part(signal=1.0, missing=missing)
    mine = Ours(described(method), optimizer, part=part).fit()
    run = theirs(method, optimizer, train=part, validation=mine.validation)
    assert_same(mine.state, run.last)
    for entry, line in zip(mine.balancer.log, run.lines, strict=True):
        assert entry["losses"] == pytest.approx(line["losses"], rel=1e-6)
        assert entry["coefficients"] == pytest.approx(line["coefficients"], nan_ok=True)


@pytest.mark.parametrize("method", ["agm", "mla", "joint_unimodal"])
def test_under_autocast_as_with_our_option(method: str) -> None:
    mine = Ours(method)
    with torch.autocast("cpu", torch.bfloat16):  # around all of training: weights cast before a step must not be used after it
        mine.fit()
        assert torch.is_autocast_enabled("cpu")
    assert_same(mine.state, theirs(method, train=mine.train, validation=mine.validation, precision="bfloat16").last)


@pytest.mark.parametrize("method", ["agm", "mla"])
def test_clipping_between_gradients_and_step(method: str) -> None:
    mine = Ours(method)

    def step(*batch: Any, **extra: Any) -> None:
        for loss in mine.balancer.updates(*batch, **extra):
            assert torch.isfinite(loss)
            items = [item for item in mine.balancer.module.parameters() if item.grad is not None]
            nn.utils.clip_grad_norm_(items, 0.1)
            mine.optimizer.step()

    mine.fit(step=step)
    assert_close(mine.state, theirs(method, train=mine.train, validation=mine.validation, clip_norm=0.1).last)
    assert differs(mine.state, Ours(method).fit().state)


def test_same_as_fit() -> None:
    """One epoch from the same data, without anything that is only known here."""
    random = np.random.default_rng(0)
    target = np.arange(60) % 3
    arrays = {name: (random.normal(size=(60, 4)) + target[:, None]).astype(np.float32) for name in ("a", "b")}
    splitting = {"split": np.array(["train"] * 40 + ["validation"] * 10 + ["test"] * 10)}
    settings = {"epochs": 1, "batch_size": 16, "standardize": False, "clip": None, "schedule": "constant", "device": "cpu"}
    run = equipoise.fit({**arrays, **splitting}, target=target, method="ogm", progress=False, split="split", **settings)
    start = equipoise.fit(
        {**arrays, **splitting}, target=target, method="ogm", progress=False, split="split", **settings, learning_rate=1e-30
    )
    module: Any = start.predictor.module
    before = weights(module)
    inputs = {name: torch.from_numpy(value[:40]) for name, value in arrays.items()}
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3, weight_decay=1e-2, fused=True)
    balancer = Balancer(
        "ogm",
        encoders=dict(module.encoders.items()),
        fusion=module.fusion.linear,
        optimizer=optimizer,
        epochs=1,
        classes=3,
        example=inputs,
    )
    part = MemoryPart(inputs, {name: torch.ones(40, dtype=torch.bool) for name in inputs}, torch.from_numpy(target[:40]))
    with balancer.epoch():
        for batch in Loader(part, 16).epoch(("train", 0, 0)):
            balancer.step(batch.inputs, batch.labels, index=batch.index)
    assert_close(weights(module), weights(run.predictor.module), rtol=0, atol=1e-6)
    assert differs(weights(module), before)


class Net(nn.Module):
    """Somebody's model, with dropout and a head that is no single layer."""

    def __init__(self) -> None:
        super().__init__()
        self.alpha = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.3))
        self.beta = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4))
        self.head = nn.Sequential(nn.Linear(12, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, CLASSES))

    @property
    def encoders(self) -> dict[str, nn.Module]:
        return {"alpha": self.alpha, "beta": self.beta}

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        logits: Tensor = self.head(torch.cat([self.alpha(inputs["alpha"]), self.beta(inputs["beta"])], 1))
        return logits


def two() -> tuple[dict[str, Tensor], Tensor]:
    part = toy_part(48, names=NAMES[:2])
    assert part.target is not None
    return part.inputs, part.target


def made(net: Net, method: str = "joint", **options: Any) -> tuple[Balancer, torch.optim.Optimizer]:
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    common = {"encoders": net.encoders, "fusion": net.head, "epochs": 4, "classes": CLASSES, "example": two()[0]}
    return Balancer(method, optimizer=optimizer, **{**common, **options}), optimizer


def test_joint_training_is_the_loop_by_hand_bit_for_bit() -> None:
    """With random numbers, running statistics and a scheduler, none of which it touches."""
    inputs, target = two()
    states = []
    for by_hand in (True, False):
        torch.manual_seed(3)
        net = Net()
        optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
        scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.8)
        balancer = (
            None
            if by_hand
            else Balancer(
                "joint", encoders=net.encoders, fusion=net.head, optimizer=optimizer, epochs=3, classes=CLASSES, example=inputs
            )
        )
        for _ in range(3):
            net.train()
            if balancer is None:
                for start in range(0, 48, 16):
                    optimizer.zero_grad()
                    loss = nn.functional.cross_entropy(
                        net({k: v[start : start + 16] for k, v in inputs.items()}), target[start : start + 16]
                    )
                    loss.backward()
                    optimizer.step()
            else:
                with balancer.epoch():
                    for start in range(0, 48, 16):
                        loss = balancer.step({k: v[start : start + 16] for k, v in inputs.items()}, target[start : start + 16])
            scheduler.step()
            net.eval()
        states.append({**weights(net), "loss": loss.detach(), "random": torch.rand(2)})
    assert_same(*states)


@pytest.mark.parametrize("method", ["ogm", "agm", "cml", "opm", "mmpareto"])
def test_a_head_of_several_layers(method: str) -> None:
    """Asking it about single modalities changes neither its statistics nor the random numbers of the fused pass."""
    inputs, target = two()
    net = Net()
    balancer, _ = made(net, method)
    for _ in range(4):
        with balancer.epoch():
            balancer.step(inputs, target)
    outputs = balancer.predict(inputs)
    net.eval()
    with torch.no_grad():
        torch.testing.assert_close(outputs.logits, net(inputs))
    assert set(outputs.unimodal) == {"alpha", "beta"}
    assert net.head[1].num_batches_tracked == 4


def test_other_forms_of_a_head() -> None:
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleDict({"alpha": nn.Linear(8, CLASSES), "beta": nn.Linear(4, CLASSES)})

        def forward(self, features: dict[str, Tensor]) -> Tensor:
            return self.layers["alpha"](features["alpha"]) + self.layers["beta"](features["beta"])

    net, head, (inputs, target) = Net(), Pair(), two()
    optimizer = torch.optim.SGD([*net.parameters(), *head.parameters()], lr=0.1)
    balancer = Balancer(
        "ogm", encoders=net.encoders, fusion=head, join=dict, optimizer=optimizer, epochs=1, classes=CLASSES, example=inputs
    )
    with balancer.epoch():
        balancer.step(inputs, target)
    outputs = balancer.predict(inputs)
    # of two linear parts, with zeros for the other
    bias = head.layers["beta"].bias
    expected = head.layers["alpha"](outputs.features["alpha"]) + bias
    torch.testing.assert_close(outputs.unimodal["alpha"], expected.detach())


def test_a_head_without_bias_is_split_exactly() -> None:
    net, (inputs, _) = Net(), two()
    head = nn.Linear(12, CLASSES, bias=False)
    balancer, _ = made(net, fusion=head)
    outputs = balancer.predict(inputs)
    torch.testing.assert_close(sum(outputs.unimodal.values()), outputs.logits)


def test_scaled_steps_leave_the_groups_of_the_optimizer_alone() -> None:
    """Rates and counters of groups are the caller's, whoever steps; a scheduler of three groups keeps seeing three."""
    net, (inputs, target) = Net(), two()
    groups = [
        {"params": [*net.alpha.parameters(), *net.beta.parameters()], "lr": 0.02},
        {"params": net.head.parameters(), "lr": 0.01},
    ]
    optimizer = torch.optim.AdamW(groups)
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 0.5, total_iters=3)
    before = [dict(group) for group in optimizer.param_groups]
    balancer = Balancer(
        "mwam", encoders=net.encoders, fusion=net.head, optimizer=optimizer, epochs=2, classes=CLASSES, train=(inputs, target)
    )
    with balancer.epoch():
        balancer.step(inputs, target, index=torch.arange(48))
        scheduler.step()
        balancer.step(inputs, target, index=torch.arange(48))
    assert [len(group["params"]) for group in optimizer.param_groups] == [len(before[0]["params"]), len(before[1]["params"])]
    assert len(before[1]["params"]) == len(list(net.head.parameters())) + 4  # and two auxiliary heads
    assert [group["lr"] for group in optimizer.param_groups] == scheduler.get_last_lr()
    assert balancer.log[0]["coefficients"].keys() == {"weight.alpha", "weight.beta"}


def test_what_the_caller_froze_stays_frozen_and_what_is_thawed_learns() -> None:
    net, (inputs, target) = Net(), two()
    net.alpha.requires_grad_(False)
    balancer, _ = made(net, "mmpareto")
    first = weights(net.alpha)
    with balancer.epoch():
        balancer.step(inputs, target)
    assert_same(weights(net.alpha), first)
    net.alpha.requires_grad_(True)
    with balancer.epoch():
        balancer.step(inputs, target)
    assert differs(weights(net.alpha), first)


def test_modes_are_the_callers() -> None:
    net, (inputs, target) = Net(), two()
    balancer, _ = made(net, "lfm", train=(inputs, target), validation=(inputs, target))
    net.beta.eval()
    with balancer.epoch():
        assert not net.beta.training
        assert net.head.training
        balancer.step(inputs, target)
    balancer.predict(inputs)
    assert (net.alpha.training, net.beta.training) == (True, False)
    assert net.beta[1].num_batches_tracked == 0


def test_absent_samples_are_not_looked_at() -> None:
    inputs, target = two()
    has = torch.arange(48) % 3 > 0
    states = []
    for placeholder in (0.0, float("nan")):
        torch.manual_seed(0)
        net = Net()
        balancer, _ = made(net, "ogm")
        filled = {**inputs, "beta": torch.where(has[:, None], inputs["beta"], placeholder)}
        with balancer.epoch():
            balancer.step(filled, target, present={"beta": has})
        outputs = balancer.predict(filled, present={"beta": has})
        assert bool((outputs.unimodal["beta"][~has] == 0).all())
        states.append({**weights(net), "logits": outputs.logits})
    assert_same(*states)


@pytest.mark.parametrize("method", USABLE)
def test_goes_on_from_its_state_as_if_it_had_never_stopped(method: str) -> None:
    straight = Ours(described(method)).fit()
    first = Ours(described(method)).fit(range(2))
    file = io.BytesIO()
    torch.save([item.state_dict() for item in (first.user, first.balancer, first.optimizer)], file)
    file.seek(0)
    second = Ours(described(method), seed=1)  # other weights, which those of the file replace
    for item, state in zip((second.user, second.balancer, second.optimizer), torch.load(file, weights_only=True), strict=True):
        item.load_state_dict(state)
    second.fit(range(2, EPOCHS))
    assert_same(second.state, straight.state)
    assert second.balancer.log == straight.balancer.log


def test_goes_on_in_mid_epoch() -> None:
    states = []
    for stop in (False, True):
        torch.manual_seed(0)
        ours = Ours("amco")
        batches = list(ours.batches(0))
        ours.balancer.start_epoch()
        for batch in batches:
            ours.balancer.step(batch.inputs, batch.labels)
            if stop and batch is batches[0]:
                other = Ours("amco", seed=1)
                other.user.load_state_dict(ours.user.state_dict())
                other.balancer.load_state_dict(ours.balancer.state_dict())
                other.optimizer.load_state_dict(ours.optimizer.state_dict())
                ours = other
                ours.balancer.start_epoch()
        ours.balancer.end_epoch()
        states.append({**ours.state, "log": ours.balancer.log})
    assert_same(*states)


def test_unimodal_strengths_and_a_fusion_made_here() -> None:
    inputs, target = two()
    net = Net()
    balancer, optimizer = made(net, "mla", fusion=None, encoders={"alpha": net.alpha[0], "beta": nn.Linear(5, 8)})
    count = sum(len(group["params"]) for group in optimizer.param_groups)
    assert count == len(list(net.parameters())) + 2  # the head that the modalities share
    for _ in range(4):
        with balancer.epoch():
            balancer.step(inputs, target)
    assert balancer.predict(inputs).logits.shape == (48, CLASSES)


def test_which_methods_there_are() -> None:
    methods = Balancer.methods()
    assert equipoise.Balancer is Balancer
    assert {"ogm", "agm", "mla", "mmpareto", "relearning", "aug", "opm", "modality_dropout"} <= set(methods)
    assert {"umt", "gblending", "unimodal", "valuation"}.isdisjoint(methods)
    assert methods["mwam"] == ("index", "train")
    # Not as they are by default, but as they can be.
    made(Net(), {"name": "umt", "distillation": 0.0})  # type: ignore[arg-type]


def test_other_tasks() -> None:
    net, (inputs, target) = Net(), two()
    balancer, _ = made(net, "ogm", classes=None, task=Multilabel(CLASSES))
    labels = nn.functional.one_hot(target, CLASSES).float()
    losses = []
    for _ in range(4):
        with balancer.epoch():
            losses += [float(balancer.step(inputs, labels)) for _ in range(5)]
    assert losses[-1] < losses[0]


class Wide(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        return inputs[:, :, None]


def wrong(**options: Any) -> dict[str, Any]:
    return options


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (wrong(method="umt"), "method umt trains in several phases, which a loop of your own cannot follow; expected one of"),
        (wrong(method="valuation"), "method valuation says how often samples are drawn, which"),
        (wrong(method="msl"), "method msl looks at whole parts of the data, expected the argument validation"),
        (wrong(method="lfm"), "expected the arguments train and validation"),
        (wrong(encoders=[nn.Linear(6, 3)]), "encoders: expected a mapping from modalities to modules, found list"),
        (wrong(encoders={}), "encoders: expected at least one modality, found none"),
        (wrong(method="mla"), "method mla has a fusion of its own, entropy_gate; leave fusion out"),
        (wrong(classes=None), "expected either classes, a number, or task"),
        (wrong(task=Classification(3)), "expected either classes, a number, or task"),
        (wrong(method="amco", classes=None, task=Regression([0.0], [1.0])), "method amco is for .* is regression"),
        (wrong(classes=4), r"the head must give logits of shape \(2, 4\) for 2 samples, found \(2, 3\)"),
        (wrong(example=None), "example: expected a few samples per modality"),
        (wrong(example={"alpha": torch.zeros(2, 6)}), "example: it has no modality 'beta'"),
        (wrong(example={"alpha": torch.zeros(2, 7), "beta": torch.zeros(2, 5)}), "of modality 'alpha' cannot take samples"),
        (wrong(encoders={"alpha": Wide(), "beta": nn.Linear(5, 4)}), r"must give features of shape \(batch, width\), found"),
        (wrong(encoders={"alpha": nn.Linear(6, 3), "beta": nn.Linear(5, 4)}), "the head cannot take the features of alpha, beta"),
        (wrong(fusion=nn.Linear(13, CLASSES)), r"the head takes 13 features, the encoders give 12 \(alpha 8, beta 4\)"),
        (wrong(fusion="gate"), "unknown fusion 'gate'"),
        (wrong(fusion="concat", join=dict), "join: it makes the input of a head of your own"),
        (wrong(encoders={"fused": nn.Linear(6, 3)}), "cannot be called 'fused'"),
        (wrong(encoders={"alpha": lambda values: values}), "expected a module for each modality, found function"),
        (wrong(epochs=0), "epochs = 0 is out of range"),
        (wrong(optimizer=0.1), "expected one of torch.optim that steps without a closure, found float"),
        (wrong(optimizer=torch.optim.SGD([nn.Parameter(torch.zeros(1))])), "optimizer: it trains no parameter"),
        (wrong(method="msl", validation=[1]), "validation: expected .inputs, target. or .inputs, target, present., found int"),
        (wrong(method="msl", validation=[]), "validation: there are no samples in it"),
        (wrong(method="msl", validation=({"alpha": torch.zeros(2, 6)}, torch.zeros(2))), "validation: no modality 'beta'"),
        (
            wrong(method="msl", validation=({"alpha": torch.zeros(2, 6), "beta": torch.zeros(3, 5)}, torch.zeros(2))),
            "validation: expected one row per sample .* found alpha 2, beta 3, target 2",
        ),
        (
            wrong(method="msl", validation=({"alpha": torch.zeros(2, 6), "beta": torch.zeros(2, 5)}, torch.zeros(2))),
            r"validation: target: found torch.float32 of shape \(2,\), expected class codes",
        ),
    ],
)  # fmt: skip
def test_bad_arguments(options: dict[str, Any], words: str) -> None:
    net = Net()
    common = {
        "encoders": net.encoders, "fusion": net.head, "epochs": 2, "classes": CLASSES, "example": two()[0],
        "optimizer": torch.optim.SGD(net.parameters(), lr=0.1), "method": "joint",
    }  # fmt: skip
    with pytest.raises(EquipoiseError, match=words):
        Balancer(**{**common, **options})


def test_bad_steps() -> None:
    inputs, target = two()
    balancer, _ = made(Net())
    with pytest.raises(RunError, match="no epoch was started"):
        balancer.step(inputs, target)
    with pytest.raises(RunError, match="no epoch was started"):
        balancer.end_epoch()
    balancer.start_epoch()
    with pytest.raises(RunError, match="epoch 1 has not ended yet"):
        balancer.start_epoch()
    with pytest.raises(DataError, match="modality 'beta': expected alpha, beta, found inputs of alpha"):
        balancer.step({"alpha": inputs["alpha"]}, target)
    for batch, words in [
        ((inputs, target, {"gamma": target > 0}), "present: unknown modality 'gamma', choose from: alpha, beta"),
        ((inputs, target, {"beta": target}), "present of modality 'beta': expected booleans, found torch.int64"),
        ((inputs, target, {"beta": target[:5] > 0}), "present of modality 'beta': 5 rows, expected 48 as in modality 'alpha'"),
        (((inputs["alpha"], inputs["beta"]), target, None), "inputs: expected a mapping from modalities to tensors, found tuple"),
        (({**inputs, "alpha": inputs["alpha"].numpy()}, target, None), "modality 'alpha': expected a tensor, found ndarray"),
        ((inputs, target.tolist(), None), "target: expected a tensor, found list"),
        (({name: value[:0] for name, value in inputs.items()}, target[:0], None), "the batch has no samples"),
    ]:
        with pytest.raises(DataError, match=words):
            balancer.step(batch[0], batch[1], present=batch[2])  # type: ignore[arg-type]
    with pytest.raises(DataError, match="target: 3 rows, expected 48 as in modality 'alpha'"):
        balancer.step(inputs, target[:3])
    with pytest.raises(ConfigError, match="autocast to float16"), torch.autocast("cpu", torch.float16):
        balancer.step(inputs, target)
    balancer.end_epoch()
    for _ in range(3):
        with balancer.epoch():
            balancer.step(inputs, target)
    with pytest.raises(RunError, match="all epochs are over; the Balancer was made with epochs = 4"):
        balancer.start_epoch()
    indexed, _ = made(Net(), "mwam", train=(inputs, target))
    with indexed.epoch(), pytest.raises(DataError, match="method mwam needs index"):
        indexed.step(inputs, target)


def test_targets_that_the_task_does_not_know() -> None:
    """Numbers of shape (samples,) would silently be compared with the logits of all other samples."""
    inputs, target = two()
    numbers = target.float()
    for task, given, words in [
        (Classification(CLASSES), numbers, r"torch.float32 of shape \(48,\), expected class codes: torch.int64 of shape"),
        (Classification(CLASSES), target[:, None], r"torch.int64 of shape \(48, 1\), expected class codes"),
        (Classification(CLASSES), target + 1, f"found class code {CLASSES}, expected 0 to {CLASSES - 1}"),
        (Classification(CLASSES), target - 1, f"found class code -1, expected 0 to {CLASSES - 1}"),
        (Multilabel(CLASSES), target, rf"found shape \(48,\), expected \(samples, {CLASSES}\) for multilabel"),
        (Regression([0.0] * CLASSES, [1.0] * CLASSES), numbers, rf"found shape \(48,\), expected \(samples, {CLASSES}\)"),
    ]:
        balancer, _ = made(Net(), classes=None, task=task)
        with balancer.epoch(), pytest.raises(DataError, match=f"^target: .*{words}"):
            balancer.step(inputs, given)


def test_states_of_something_else() -> None:
    balancer, _ = made(Net(), "joint_unimodal")
    with pytest.raises(RunError, match=r"the state is that of method {'name': 'joint'}, expected {'name': 'joint_unimodal'"):
        balancer.load_state_dict(made(Net(), "joint")[0].state_dict())
    with pytest.raises(RunError, match=r"not the state of a Balancer, expected what state_dict\(\) returned"):
        balancer.load_state_dict({})
    state = balancer.state_dict()
    renamed = {name.replace("beta", "gamma"): value for name, value in state["modules"].items()}
    with pytest.raises(RunError, match=r"that of other modalities, widths of features or classes: .*Missing key.*beta"):
        balancer.load_state_dict({**state, "modules": renamed})


def test_two_processes_give_the_weights_of_one(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    words = [*command, "-m", "tests.integrations.worker", str(tmp_path)]
    answer = subprocess.run(words, capture_output=True, text=True, env=ENVIRONMENT, cwd=ROOT, timeout=200, check=False)
    assert answer.returncode == 0, answer.stderr[-3000:]
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    for method in worker.METHODS:
        assert_same(first[method], second[method])
        assert_close(first[method], worker.train(method))


def test_wrapped_modules_are_refused() -> None:
    net = Net()

    class Fake(nn.parallel.DistributedDataParallel):
        def __init__(self) -> None:
            nn.Module.__init__(self)

    with pytest.raises(ConfigError, match="DistributedDataParallel: gradients are averaged already"):
        made(net, encoders={"alpha": Fake(), "beta": net.beta})
