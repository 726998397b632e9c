"""What a method is: a dataclass of hyper-parameters that fills the gaps of the one training loop."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from torch import Tensor, nn

from equipoise.batch import Batch, Outputs
from equipoise.config import build, check_fields
from equipoise.config import option as hparam
from equipoise.data.schema import TASKS
from equipoise.errors import ConfigError
from equipoise.registry import Registry

if TYPE_CHECKING:
    from equipoise.nn.multimodal import MultimodalModel
    from equipoise.training.context import Closure, Context

__all__ = ["METHODS", "Method", "MethodCard", "Phase", "Update", "alternate", "check_task", "hparam", "make_method", "register"]


@dataclass(frozen=True, kw_only=True)
class MethodCard:
    """What people and programs should know about a method.

    Attributes:
        title: Full name.
        summary: One sentence: what it does.
        formula: The idea as one line of mathematics.
        authors: Who proposed it; empty where nobody in particular did.
        venue: Where and when.
        arxiv: arXiv id, or empty.
        link: Where it can be found if it has no arXiv id.
        kind: The level at which it acts: ``loss``, ``gradient``, ``update``, ``phase``, ``batch``, ``epoch`` or ``baseline``.
        forwards: Forward passes per batch, in passes of the joint model.
        backwards: Backward passes per batch, likewise.
        extra: What it costs beyond, in words.
        fusion: The fusion it needs, or empty where any will do.
        order_matters: Whether the order in which modalities are listed matters.
        together: Whether it compares the modalities of one update, so that it cannot act on updates of single modalities.
        tasks: The tasks it can be used for, of :data:`~equipoise.data.schema.TASKS`; all where nothing is said.
        neutral: Hyper-parameters under which it equals joint training bit for bit; None where there are none.
        differs: How it departs from the paper or its published code.
    """

    title: str
    summary: str
    formula: str
    kind: str
    authors: str = ""
    venue: str = ""
    arxiv: str = ""
    link: str = ""
    forwards: float = 1.0
    backwards: float = 1.0
    extra: str = ""
    fusion: str = ""
    order_matters: bool = False
    together: bool = False
    tasks: tuple[str, ...] = TASKS
    neutral: Mapping[str, Any] | None = None
    differs: str = ""


def _every_parameter(model: MultimodalModel) -> list[nn.Parameter]:
    return list(model.parameters())


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A stretch of training with an optimizer of its own.

    Attributes:
        name: How logs call it.
        epochs: Most epochs; None takes the run's setting.
        parameters: Gives the parameters that train; the others are frozen for the phase.
        monitor: What the validation metric is taken of: ``"fused"`` or a modality. None keeps the last epoch.
        metric: The validation metric that selects the epoch; None takes the run's.
        learning_rate: Factor of the run's learning rate.
        rows: Numbers of the training samples that are used, of shape (samples,); None uses all.
        stop: Epochs after which the phase ends, though the learning rate takes its course over ``epochs``; None goes to the end.
        reusable: Whether it comes out the same whatever the hyper-parameters say, given the weights and the state it starts with;
            runs on one fold then train it once.
    """

    name: str = "train"
    epochs: int | None = None
    parameters: Callable[[MultimodalModel], Sequence[nn.Parameter]] = _every_parameter
    monitor: str | None = "fused"
    metric: str | None = None
    learning_rate: float = 1.0
    rows: Tensor | None = field(default=None, compare=False)
    stop: int | None = None
    reusable: bool = False


@dataclass(frozen=True)
class Update:
    """One optimizer step.

    Attributes:
        batch: The samples.
        only: The modalities that are encoded; None takes all.
    """

    batch: Batch
    only: tuple[str, ...] | None = None


@dataclass(kw_only=True)
class Method:
    """Base of all methods; by itself it is plain joint training.

    A subclass declares hyper-parameters as fields made by :func:`hparam` and overrides the hooks it needs. Everything a
    method must remember goes into ``state`` (tensors, numbers, text, and dictionaries and lists of them), modules go into
    ``ctx.model.extras``; both are saved and restored by the loop.
    """

    name: ClassVar[str] = ""
    card: ClassVar[MethodCard]
    kept_for_prediction: ClassVar[tuple[str, ...]] = ()
    """Keys of ``state`` that a finished run needs to predict; the rest serves only to resume."""
    state: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_fields(self, f"method {self.name}")

    def hyperparameters(self) -> dict[str, Any]:
        """Return the hyper-parameters and their values."""
        return {item.name: getattr(self, item.name) for item in dataclasses.fields(self) if "help" in item.metadata}

    def needs(self) -> set[str]:
        """Return what the method needs of a training loop beside batches.

        ``train``, ``validation``: it looks at that whole part; ``index``: at what it knows of a sample by the sample's number in
        the training part; ``order``: it says how often samples are drawn; ``phases``: it trains in several phases.
        """
        return set()

    def setup(self, ctx: Context) -> None:
        """Add modules and state, before anything is trained. Must not look at data: it also runs when a run is loaded."""

    def phases(self, ctx: Context) -> Iterator[Phase]:
        """Yield the phases, lazily: code between two yields runs between the phases.

        When a run is resumed, finished phases are passed over and what was saved replaces the effect of the code in between.
        """
        yield Phase()

    def on_epoch_start(self, ctx: Context) -> None:
        """Act before an epoch."""

    def on_epoch_end(self, ctx: Context) -> None:
        """Act after an epoch, before it is judged on the validation part."""

    def transform_batch(self, ctx: Context, batch: Batch) -> Batch:
        """Return the batch that is trained on."""
        return batch

    def updates(self, ctx: Context, batch: Batch) -> Iterable[Update]:
        """Yield the updates made from a batch."""
        yield Update(batch)

    def transform_outputs(self, ctx: Context, update: Update, outputs: Outputs) -> Outputs:
        """Return the outputs that the losses are computed of, for example with features changed."""
        return outputs

    def losses(self, ctx: Context, update: Update, outputs: Outputs) -> dict[str, Tensor]:
        """Return the losses of an update by name; their sum is minimised."""
        return {"fused": ctx.task_loss(outputs.logits, update.batch)}

    def compute_gradients(self, ctx: Context, closure: Closure) -> tuple[Outputs, dict[str, Tensor]]:
        """Leave in every trained parameter the gradient of the update, averaged over processes.

        Args:
            ctx: The run.
            closure: Calling it makes the forward pass and returns outputs and losses; ``closure.parts()`` are the pieces of
                the batch that fit in memory.

        Returns:
            Outputs and losses of the update.
        """
        return ctx.backward(closure)

    def modulate_gradients(self, ctx: Context, update: Update, outputs: Outputs) -> None:
        """Change gradients before the step."""

    def after_update(self, ctx: Context, update: Update, outputs: Outputs, closure: Closure) -> None:
        """Act after the step."""

    def predictor(self, ctx: Context) -> nn.Module:
        """Return the module that predicts: it encodes, fuses and answers a batch as the model does."""
        return ctx.model

    def state_dict(self) -> dict[str, Any]:
        """Return what must be saved."""
        return self.state

    def prediction_state(self) -> dict[str, Any]:
        """Return the part of the state that a finished run needs to predict."""
        return {key: value for key, value in self.state_dict().items() if key in self.kept_for_prediction}

    def load_state_dict(self, ctx: Context, state: dict[str, Any]) -> None:
        """Take over what was saved; a method whose modules grow rebuilds them here, before weights are loaded."""
        self.state = state


def alternate(ctx: Context, batch: Batch) -> Iterator[Update]:
    """Yield one update per modality that some sample of the batch has, in the order in which modalities are listed.

    Args:
        ctx: The run.
        batch: The batch; a modality that only other processes' samples have counts as well.
    """
    for name in ctx.modalities:
        if name in batch.complete or ctx.runtime.sum(batch.present[name].sum()) > 0:
            yield Update(batch, only=(name,))


METHODS: Registry[type[Method]] = Registry("method", "equipoise.methods")
"""Methods by name."""

M = TypeVar("M", bound=type[Method])


def register(name: str, *, card: MethodCard) -> Callable[[M], M]:
    """Return a decorator that registers a method.

    Args:
        name: Name of the method, lower case.
        card: What people and programs should know about it.
    """

    def add(cls: M) -> M:
        cls.name = name
        cls.card = card
        METHODS.register(name)(cls)
        return cls

    return add


def make_method(description: Mapping[str, Any]) -> Method:
    """Make a method from its description.

    Args:
        description: ``name`` and hyper-parameters. Methods joined by ``+`` are combined, each with its hyper-parameters under
            its name.

    Raises:
        ConfigError: The name or a hyper-parameter is unknown, a value is out of bounds, or methods cannot be combined.

    Example:
        >>> make_method({"name": "ogm", "alpha": 0.5}).alpha
        0.5
    """
    options = dict(description)
    name = options.pop("name")
    if "+" in name:
        from equipoise.methods.composition import compose

        return compose(description)
    return build(METHODS.get(name), options, f"method {name}")


def check_task(name: str, tasks: Sequence[str], task: str) -> None:
    """Check that a method can be used for a task.

    Args:
        name: The method.
        tasks: The tasks of its card.
        task: The task of the data.

    Raises:
        ConfigError: It cannot; the message names methods that can.
    """
    if task not in tasks:
        able = ", ".join(other for other in METHODS.names() if task in METHODS.get(other).card.tasks)
        raise ConfigError(f"method {name} is for {' or '.join(tasks)}, the task of the data is {task}; methods for it: {able}")
