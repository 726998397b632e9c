"""A LightningModule trains by a method as a loop of one's own does."""

from __future__ import annotations

import contextlib
import io
import runpy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from equipoise.errors import ConfigError, RunError
from equipoise.integrations.lightning import Balanced
from equipoise.integrations.loop import Balancer
from tests.contract.harness import CLASSES, NAMES, assert_same, toy_part, weights

lightning = pytest.importorskip("lightning", reason="an optional package, and a heavy one")
pytestmark = [
    # What Lightning says of a small machine and of short training.
    pytest.mark.filterwarnings("ignore:.*does not have many workers:UserWarning"),
    pytest.mark.filterwarnings("ignore:The dirpath has changed:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*smaller than the logging interval:UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:lightning.*"),
    pytest.mark.filterwarnings("ignore::FutureWarning:lightning.*"),
]

ROOT = Path(__file__).parents[2]
EPOCHS = 3


def samples() -> tuple[dict[str, Tensor], Tensor]:
    part = toy_part(48, names=NAMES[:2])
    assert part.target is not None
    return part.inputs, part.target


def loader() -> DataLoader[Any]:
    inputs, target = samples()
    return DataLoader([({name: value[row] for name, value in inputs.items()}, target[row]) for row in range(48)], 16)  # type: ignore[arg-type]


def make(**options: Any) -> Any:
    class Net(Balanced, lightning.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.encoders = nn.ModuleDict({"alpha": nn.Linear(6, 8), "beta": nn.Linear(5, 8)})
            self.head = nn.Linear(16, CLASSES)

        def balancing(self) -> dict[str, Any]:
            common = {"encoders": self.encoders, "fusion": self.head, "classes": CLASSES, "example": samples()[0]}
            return {**common, "method": "ogm", **options}

        def training_step(self, batch: Any, number: int) -> None:
            self.log("loss", self.balanced_step(*batch))

        def validation_step(self, batch: Any, number: int) -> None:
            self.log("accuracy", (self.balancer.predict(batch[0]).logits.argmax(1) == batch[1]).float().mean(), batch_size=16)

        def configure_optimizers(self) -> Any:
            return torch.optim.AdamW(self.parameters(), lr=0.01)

    return Net()


def train(net: Any, folder: Path, epochs: int = EPOCHS, resume: Path | None = None, ended: bool = True, **options: Any) -> Any:
    callbacks = [
        lightning.pytorch.callbacks.ModelCheckpoint(
            folder, filename="{epoch}", save_top_k=-1, enable_version_counter=False, save_on_train_epoch_end=ended
        )
    ]
    trainer = lightning.Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, callbacks=callbacks, enable_progress_bar=False,
        enable_model_summary=False, **options,
    )  # fmt: skip
    with contextlib.redirect_stderr(io.StringIO()):
        trainer.fit(net, loader(), loader(), ckpt_path=resume, weights_only=True if resume else None)
    return trainer


def by_hand(net: Any) -> Balancer:
    balancer = Balancer(optimizer=net.configure_optimizers(), epochs=EPOCHS, **net.balancing())
    for _ in range(EPOCHS):
        with balancer.epoch():
            for inputs, target in loader():
                balancer.step(inputs, target)
    return balancer


@pytest.mark.parametrize("method", ["ogm", "joint_unimodal", "mla", "amco"])
def test_same_weights_as_in_a_loop_by_hand(method: str, tmp_path: Path) -> None:
    options = {"method": method, "fusion": None} if method == "mla" else {"method": method}
    net = make(**options)
    trainer = train(net, tmp_path)
    assert trainer.global_step == EPOCHS * 3 * (2 if method == "mla" else 1)
    other = by_hand(make(**options))
    assert_same(weights(net.balancer.module), weights(other.module))
    assert net.balancer.log == other.log
    last = other.log[-1]["coefficients"]
    assert {name: float(trainer.callback_metrics[name]) for name in last} == pytest.approx(last)
    assert 0 < trainer.callback_metrics["accuracy"] <= 1


@pytest.mark.parametrize("ended", [True, False])
@pytest.mark.parametrize("method", ["joint_unimodal", "amco"])
def test_goes_on_from_a_checkpoint_as_if_it_had_never_stopped(method: str, ended: bool, tmp_path: Path) -> None:
    """Also from one that was written after the validation, when the epoch of training has not ended."""
    straight = make(method=method)
    train(straight, tmp_path / "straight", ended=ended)
    checkpoint = tmp_path / "straight" / "epoch=1.ckpt"
    assert torch.load(checkpoint, weights_only=True)["equipoise"]["running"] != ended
    resumed = make(method=method)
    train(resumed, tmp_path / "resumed", resume=checkpoint, ended=ended)
    assert_same(weights(resumed.balancer.module), weights(straight.balancer.module))
    assert resumed.balancer.log == straight.balancer.log


def test_half_precision(tmp_path: Path) -> None:
    net = make(method="agm")
    train(net, tmp_path, precision="bf16-mixed")
    with torch.autocast("cpu", torch.bfloat16):
        other = by_hand(make(method="agm"))
    assert_same(weights(net.balancer.module), weights(other.module))


def test_bad_trainers(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="max_epochs = -1, expected the number of epochs"):
        train(make(), tmp_path / "endless", -1, max_steps=5)

    class Two(type(make())):  # type: ignore[misc]
        def configure_optimizers(self) -> Any:
            return [torch.optim.SGD(part.parameters(), lr=0.1) for part in (self.encoders, self.head)]

    with pytest.raises(ConfigError, match="configure_optimizers: expected one optimizer, found 2"):
        train(Two(), tmp_path / "two")

    class Automatic(type(make())):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.automatic_optimization = True

    with pytest.raises(ConfigError, match="automatic_optimization = True: a method makes the updates itself, expected False"):
        train(Automatic(), tmp_path / "automatic")


def test_bad_classes() -> None:
    with pytest.raises(ConfigError, match="class Last: Balanced comes after LightningModule, expected it as the first base"):

        class Last(lightning.LightningModule, Balanced):  # type: ignore[misc, name-defined]
            pass

    class Misspelt(type(make())):  # type: ignore[misc]
        def balancing(self) -> dict[str, Any]:
            return {"method": "ogm", "encoders": self.encodres}

    with pytest.raises(ConfigError, match=r"Misspelt\.balancing: 'Misspelt' object has no attribute 'encodres'"):
        _ = Misspelt().balancer


@pytest.mark.parametrize("method", ["ogm", "joint_unimodal", "aug"])
def test_a_checkpoint_predicts_without_a_fit(method: str, tmp_path: Path) -> None:
    """In a module that was loaded from it, in a test by it, and after a fit that went on from there."""
    options = {"method": method, "fusion": None} if method == "aug" else {"method": method}
    net = make(**options)
    trainer = train(net, tmp_path, 1)
    said = net.balancer.predict(samples()[0])
    other = make(**options)
    with contextlib.redirect_stderr(io.StringIO()):
        trainer.validate(other, loader(), ckpt_path=tmp_path / "epoch=0.ckpt", weights_only=True, verbose=False)
    assert_same({"": other.balancer.predict(samples()[0]).logits}, {"": said.logits})
    last = train(net, tmp_path / "longer", 3)
    assert not torch.equal(net.balancer.predict(samples()[0]).logits, said.logits)
    with contextlib.redirect_stderr(io.StringIO()):
        last.validate(net, loader(), ckpt_path=tmp_path / "epoch=0.ckpt", weights_only=True, verbose=False)
    again = net.balancer.predict(samples()[0])
    assert_same({"": again.logits, **again.unimodal}, {"": said.logits, **said.unimodal})
    loaded = type(net).load_from_checkpoint(tmp_path / "epoch=0.ckpt", map_location="cpu", weights_only=True)
    assert_same({"": loaded.balancer.predict(samples()[0]).logits}, {"": said.logits})


def test_a_checkpoint_without_a_method() -> None:
    with pytest.raises(RunError, match="the checkpoint holds no state of a method"):
        make().on_load_checkpoint({"state_dict": {}})


def test_example(capsys: pytest.CaptureFixture[str]) -> None:
    main = runpy.run_path(str(ROOT / "examples" / "lightning_module.py"))["main"]
    found = main(epochs=3, enable_progress_bar=False, enable_model_summary=False)
    assert str(found) in capsys.readouterr().out
    assert found["accuracy.fused"] > 0.7
    assert found["coefficient.upper"] < 1
