"""Toy data, toy models and one call that trains: what the contract asks of every method is asked on these."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from equipoise.config import TrainingOptions
from equipoise.data.loader import MemoryPart
from equipoise.methods.base import METHODS, Method, Phase, make_method
from equipoise.nn.multimodal import MultimodalModel, build_model
from equipoise.tasks import Classification, Task
from equipoise.training.context import Context
from equipoise.training.loop import Loop
from equipoise.training.reuse import PhaseMemory
from equipoise.training.runtime import Runtime

NAMES = ("alpha", "beta", "gamma", "delta")
CLASSES = 3
FEATURE_SIZE = 8

State = dict[str, Tensor]


def toy_part(
    samples: int = 70,
    seed: int = 0,
    names: Sequence[str] = NAMES[:3],
    *,
    signal: float = 4.0,
    missing: float = 0.0,
    never: Sequence[str] = (),
    placeholder: float = 0.0,
) -> MemoryPart:
    """Samples of three classes; each modality says the class, the earlier ones louder.

    Args:
        samples: Number of samples.
        seed: Seed of the samples.
        names: The modalities.
        signal: Distance of the class means in the first modality, in standard deviations.
        missing: Share of samples that lack a modality; every sample keeps one.
        never: Modalities that no sample has.
        placeholder: What the rows of absent samples hold.
    """
    random = torch.Generator().manual_seed(seed)
    target = torch.arange(samples) % CLASSES
    inputs, present = {}, {}
    for number, name in enumerate(names):
        width = 6 - number
        means = torch.eye(CLASSES, width)[target] * signal / (1 + number)
        inputs[name] = means + torch.randn(samples, width, generator=random)
        present[name] = torch.rand(samples, generator=random) >= missing
        if name in never:
            present[name] = torch.zeros(samples, dtype=torch.bool)
    nothing = ~torch.stack(list(present.values())).any(0)
    present[names[0]] |= nothing
    for name, mask in present.items():
        inputs[name][~mask] = placeholder
    return MemoryPart(inputs, present, target)


def brisk(name: str) -> dict[str, Any]:
    """Hyper-parameters that let a method act within a short run: counts that would outlast it are at their lower bound.

    Upper limits ("most ...") stay: they hold nothing up.
    """
    if "+" in name:
        return {part: brisk(part) for part in name.split("+")}
    return {
        item.name: int(item.metadata["low"])
        for item in dataclasses.fields(METHODS.get(name))
        if item.metadata.get("low") is not None and type(item.default) is int and item.default > 3
        if not item.metadata["help"].startswith("most ")
    }


def toy_model(
    shapes: Mapping[str, tuple[int, ...]],
    fusion: str = "concat",
    *,
    seed: int = 0,
    task: Task | None = None,
    encoder: Mapping[str, Any] | None = None,
) -> MultimodalModel:
    """A tiny model: one MLP per modality, features of one width."""
    description = {"name": "mlp", "hidden": 12, **(encoder or {})}
    return build_model(
        shapes, dict.fromkeys(shapes, description), {"name": fusion}, FEATURE_SIZE, task or Classification(CLASSES), seed
    )


def weights(module: nn.Module) -> State:
    """Copies of all weights and buffers."""
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


class Recorder:
    """An observer that keeps the log, and the weights at the start of each phase and after each epoch."""

    def __init__(self, model: MultimodalModel) -> None:
        self.model = model
        self.lines: list[dict[str, Any]] = []
        self.epochs: list[State] = []
        self.phases: list[tuple[Phase, State]] = []

    def on_phase(self, phase: Phase, epochs: int, done: int) -> None:
        self.phases.append((phase, weights(self.model)))

    def on_epoch(self, line: dict[str, Any]) -> None:
        self.lines.append(line)
        self.epochs.append(weights(self.model))


@dataclass
class Trained:
    """What a run leaves behind."""

    method: Method
    ctx: Context
    predictor: nn.Module
    lines: list[dict[str, Any]]
    epochs: list[State]
    phases: list[tuple[Phase, State]]
    passes: dict[str, dict[str, int]]

    @property
    def state(self) -> State:
        return weights(self.ctx.model)

    @property
    def last(self) -> State:
        """The weights after the last epoch, before the best one is taken."""
        return self.epochs[-1]

    def logits(self, part: MemoryPart | None = None) -> Tensor:
        """Fused logits of the predictor, by default of the validation part."""
        if part is None:
            return self.ctx.outputs("validation", self.predictor).logits
        return predict(self.predictor, part)


def predict(predictor: nn.Module, part: MemoryPart) -> Tensor:
    """Fused logits of all samples of a part in one batch, in evaluation mode."""
    (batch,) = part.batches([torch.arange(len(part))], [len(part)])
    predictor.eval()
    with torch.no_grad():
        logits: Tensor = predictor(batch).logits
    return logits


def prepare(
    name: str,
    hyperparameters: Mapping[str, Any] | None = None,
    *,
    train: MemoryPart | None = None,
    validation: MemoryPart | None = None,
    fusion: str | None = None,
    task: Task | None = None,
    encoder: Mapping[str, Any] | None = None,
    model: MultimodalModel | None = None,
    **options: Any,
) -> tuple[Method, Context]:
    """Make a method and a run for it: three short epochs of three batches of unequal sizes, unless told otherwise."""
    method = make_method({"name": name, **(hyperparameters or {})})
    train = train if train is not None else toy_part()
    validation = validation if validation is not None else toy_part(40, 1, list(train.inputs))
    settings = TrainingOptions(
        **{"epochs": 3, "batch_size": 24, "learning_rate": 1e-2, "schedule": "constant", "device": "cpu", **options}
    )
    if model is None:
        shapes = {name: tuple(value.shape[1:]) for name, value in train.inputs.items()}
        model = toy_model(shapes, fusion or method.card.fusion or "concat", seed=settings.seed, task=task, encoder=encoder)
    return method, Context(model, Runtime("cpu", settings.precision), settings, train, validation)


def train_toy(
    name: str,
    hyperparameters: Mapping[str, Any] | None = None,
    *,
    save: Callable[[dict[str, Any]], None] | None = None,
    resume: dict[str, Any] | None = None,
    change: Callable[[MultimodalModel], None] | None = None,
    reuse: tuple[PhaseMemory, str] | None = None,
    **settings: Any,
) -> Trained:
    """Train a registered method on toy data.

    Args:
        name: The method.
        hyperparameters: Its hyper-parameters.
        save: Writes checkpoints.
        resume: The checkpoint to go on from.
        change: Changes the model before training.
        reuse: Where reusable phases are kept.
        settings: Whatever :func:`prepare` takes.
    """
    method, ctx = prepare(name, hyperparameters, **settings)
    return train(method, ctx, save=save, resume=resume, change=change, reuse=reuse)


def train(
    method: Method,
    ctx: Context,
    *,
    save: Callable[[dict[str, Any]], None] | None = None,
    resume: dict[str, Any] | None = None,
    change: Callable[[MultimodalModel], None] | None = None,
    reuse: tuple[PhaseMemory, str] | None = None,
) -> Trained:
    """Train a method, registered or not."""
    if change is not None:
        change(ctx.model)
    recorder = Recorder(ctx.model)
    loop = Loop(ctx, method, [recorder], save, reuse)
    predictor = loop.fit(resume)
    passes = loop.passes.total(ctx.runtime)
    return Trained(method, ctx, predictor, recorder.lines, recorder.epochs, recorder.phases, passes)


def assert_same(first: Mapping[str, Any], second: Mapping[str, Any]) -> None:
    """Check that two states are equal bit for bit."""
    mine, theirs = _flat(first), _flat(second)
    assert mine.keys() == theirs.keys()
    different = [key for key, value in mine.items() if not _equal(value, theirs[key])]
    assert not different, f"these differ: {different}"


def assert_close(first: State, second: State, rtol: float = 1e-5, atol: float = 1e-5) -> None:
    """Check that two states are equal up to rounding."""
    assert first.keys() == second.keys()
    for key, value in first.items():
        torch.testing.assert_close(value, second[key], rtol=rtol, atol=atol, msg=lambda text, key=key: f"{key}: {text}")


def differs(first: State, second: State, keys: Callable[[str], bool] = lambda _: True) -> bool:
    """Whether two states differ in any of the chosen tensors."""
    return any(not torch.equal(value, second[key]) for key, value in first.items() if keys(key))


def encoder_or_fusion(key: str) -> bool:
    """Whether a weight belongs to what every method trains."""
    return key.startswith(("encoders.", "fusion."))


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, Mapping):
        return {key: item for name, part in value.items() for key, item in _flat(part, f"{prefix}.{name}").items()}
    if isinstance(value, (list, tuple)):
        return {key: item for number, part in enumerate(value) for key, item in _flat(part, f"{prefix}.{number}").items()}
    return {prefix: value}


def _equal(first: Any, second: Any) -> bool:
    if isinstance(first, Tensor):
        return isinstance(second, Tensor) and first.dtype == second.dtype and torch.equal(first, second)
    return bool(first == second)
