"""A method inside a PyTorch loop of your own: your model, your optimizer, your loader."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from equipoise.batch import Batch, Outputs
from equipoise.config import TrainingOptions, build, component
from equipoise.errors import ConfigError, DataError, RunError
from equipoise.integrations.checks import IMPOSSIBLE, check_batch, check_method, check_modules, choose_task
from equipoise.integrations.model import Join, adopt_model, evaluating, modes_kept
from equipoise.integrations.optimizer import AdoptedOptimizer
from equipoise.integrations.runtime import CallersRuntime
from equipoise.integrations.samples import read_samples
from equipoise.methods.base import METHODS, make_method
from equipoise.tasks import Task
from equipoise.training.context import Closure, Context
from equipoise.training.selection import copy_state


class Balancer:
    """A method of balanced learning inside a training loop of your own.

    One call replaces ``zero_grad``, forward pass, loss, ``backward`` and ``step``. Model, optimizer, scheduler, loader, number
    format (``torch.autocast``) and what is saved stay yours: your parameters are trained in place. What a method adds (auxiliary
    heads, a fusion of its own) joins the last group of the optimizer; it is saved by :meth:`state_dict` and used by
    :meth:`predict`. Under ``torchrun`` gradients are averaged over processes: do not wrap modules in DistributedDataParallel.

    Args:
        method: Name of a method, or a mapping with ``name`` and hyper-parameters.
        encoders: The encoder of each modality: modules from (batch, ...) to (batch, width).
        optimizer: The optimizer of your parameters.
        epochs: Epochs that your loop makes, which schedules of methods count in.
        fusion: Your head: a module that turns the concatenated features, in the order of ``encoders``, into logits. Of a plain
            ``nn.Linear`` the share of each modality in the logits is exact; of any other head it is what the head says of the
            features of one modality, with zeros for the others. Or the name of one of our fusions. None makes the one that the
            method needs, or ``concat``; predict by :meth:`predict` then.
        join: Makes what your head takes of the mapping of features, where that is not their concatenation: ``dict``, say.
        classes: Number of classes; ``Classification(classes)`` is the task then.
        task: The task, where it is another one.
        example: A few samples per modality, by which the widths of features are found: the inputs of a batch, or zeros of that
            shape. Not needed where ``train`` or ``validation`` is given.
        train: The training part, for the methods that look at all of it: ``(inputs, target)``, ``(inputs, target, present)`` or a
            DataLoader that yields such batches; it is read into memory.
        validation: The validation part, likewise.
        seed: Seed of what the method draws and of what it adds.

    Attributes:
        log: One entry per finished epoch: its number, the mean of each loss and of each coefficient of the method.

    Raises:
        ConfigError: The method cannot be used in a loop of your own or needs an argument that is not given, or modules do not
            fit the example, the task or each other.

    Example:
        >>> import torch
        >>> _ = torch.manual_seed(0)
        >>> encoders = {"audio": torch.nn.Linear(6, 4), "video": torch.nn.Linear(5, 4)}
        >>> head = torch.nn.Linear(8, 3)
        >>> optimizer = torch.optim.SGD([*head.parameters(), *(p for m in encoders.values() for p in m.parameters())], lr=0.1)
        >>> inputs, target = {"audio": torch.randn(12, 6), "video": torch.randn(12, 5)}, torch.arange(12) % 3
        >>> balancer = Balancer(
        ...     "ogm", encoders=encoders, fusion=head, optimizer=optimizer, epochs=2, classes=3, example=inputs
        ... )
        >>> for _ in range(2):
        ...     with balancer.epoch():
        ...         loss = balancer.step(inputs, target)
        >>> sorted(balancer.log[-1]["coefficients"])
        ['coefficient.audio', 'coefficient.video']
        >>> balancer.predict(inputs).logits.shape
        torch.Size([12, 3])
    """

    def __init__(
        self,
        method: str | Mapping[str, Any],
        *,
        encoders: Mapping[str, nn.Module] | nn.ModuleDict,
        optimizer: torch.optim.Optimizer,
        epochs: int,
        fusion: nn.Module | str | Mapping[str, Any] | None = None,
        join: Join | None = None,
        classes: int | None = None,
        task: Task | None = None,
        example: Mapping[str, Tensor] | None = None,
        train: Any = None,
        validation: Any = None,
        seed: int = 0,
    ) -> None:
        self._method = make_method(component(method, "method"))
        given = {"train": train, "validation": validation}
        check_method(self._method, {name for name, part in given.items() if part is not None}, fusion)
        theirs = check_modules(encoders, fusion, optimizer)
        modules = dict(encoders.items())
        device = next((item.device for module in modules.values() for item in module.parameters()), torch.device("cpu"))
        parts = {name: None if part is None else read_samples(part, tuple(modules), name, device) for name, part in given.items()}
        chosen = choose_task(self._method, classes, task)
        for name, part in parts.items():
            if part is not None and part.target is not None:
                chosen.check_target(part.target.cpu(), f"{name}: target")
        samples = example or next((part.inputs for part in parts.values() if part is not None), None)
        if samples is None:
            raise ConfigError("example: expected a few samples per modality, such as the inputs of a batch, found none")
        samples = {name: value[:2].to(device) for name, value in samples.items()}
        fused = fusion or self._method.card.fusion or "concat"
        model = adopt_model(modules, fused, join, chosen, samples, seed)
        size = getattr(train, "batch_size", None) or TrainingOptions().batch_size
        options = build(TrainingOptions, {"epochs": epochs, "batch_size": size, "seed": seed}, "option")
        self._runtime = CallersRuntime(str(device))
        self._ctx = ctx = Context(model, self._runtime, options, parts["train"], parts["validation"])
        self._theirs = ("encoders.", "fusion.") if isinstance(fusion, nn.Module) else ("encoders.",)
        self._method.setup(ctx)
        self._runtime.share_weights(model.to(device))
        ctx.epochs = epochs
        ctx.phase = next(iter(self._method.phases(ctx)))
        ctx.stage = (ctx.phase.name, 0)
        ctx.optimizer = self._optimizer = AdoptedOptimizer(model, ctx.phase, optimizer, theirs)
        self._running = self._resumed = False
        self._samples = self._batches = 0
        self._losses: dict[str, Tensor] = {}
        self.log: list[dict[str, Any]] = []

    @staticmethod
    def methods() -> dict[str, tuple[str, ...]]:
        """Return the methods that can be used in a loop of your own, as they are by default, and what each of them needs.

        ``train``, ``validation``: the argument of that name; ``index``: that of :meth:`step`.

        Example:
            >>> methods = Balancer.methods()
            >>> methods["ogm"], methods["msl"], "umt" in methods
            ((), ('validation',), False)
        """
        needs = {name: make_method({"name": name}).needs() for name in METHODS.names()}
        return {name: tuple(sorted(words)) for name, words in needs.items() if words.isdisjoint(IMPOSSIBLE)}

    @property
    def module(self) -> nn.Module:
        """The model as the method predicts by it; it takes a :class:`~equipoise.batch.Batch`."""
        return self._method.predictor(self._ctx)

    @contextmanager
    def epoch(self) -> Iterator[None]:
        """Return a context for the steps of one epoch: :meth:`start_epoch` before and :meth:`end_epoch` after them."""
        self.start_epoch()
        yield
        self.end_epoch()

    def start_epoch(self) -> None:
        """Let the method act before an epoch. After the state of an unfinished epoch was loaded, that epoch goes on.

        Raises:
            RunError: The epoch before was not ended, or all epochs are over.
        """
        ctx = self._ctx
        if self._running and not self._resumed:
            words = "call end_epoch (also after an error in it), or use: with balancer.epoch()"
            raise RunError(f"epoch {ctx.epoch + 1} has not ended yet; {words}")
        if ctx.epoch >= ctx.epochs:
            raise RunError(f"all epochs are over; the Balancer was made with epochs = {ctx.epochs}, expected those of the loop")
        if not self._resumed:
            with self._runtime.callers_format(), modes_kept(ctx.model):
                self._method.on_epoch_start(ctx)
            self._optimizer.adopt_new_parameters()
            self._losses, self._batches, self._samples = {}, 0, 0
        self._running, self._resumed = True, False

    def end_epoch(self) -> None:
        """Let the method act after an epoch, and log it.

        Raises:
            RunError: No epoch was started.
        """
        ctx = self._ctx
        self._require_epoch()
        with self._runtime.callers_format():
            self._method.on_epoch_end(ctx)
        losses = {name: float(self._runtime.mean(total)) / self._batches for name, total in self._losses.items()}
        self.log.append({"epoch": ctx.epoch + 1, "losses": losses, "coefficients": ctx.take_log()})
        ctx.epoch += 1
        ctx.epochs_done += 1
        self._running = self._resumed = False

    def step(
        self,
        inputs: Mapping[str, Tensor],
        target: Tensor,
        *,
        present: Mapping[str, Tensor] | None = None,
        index: Tensor | None = None,
    ) -> Tensor:
        """Make the updates of a batch: gradients, and the steps of the optimizer.

        Args:
            inputs: Per modality a tensor of shape (batch, ...).
            target: Targets, one row per sample.
            present: Which samples have a modality, booleans of shape (batch,); all have those that are not named.
            index: Number of each sample in the training part, of shape (batch,). Some methods need it (:meth:`methods`); others
                draw by it. Without it samples count in the order in which the epoch brings them.

        Returns:
            The sum of the losses of all updates, without history.

        Raises:
            DataError: The batch lacks a modality, or lengths differ.
            RunError: No epoch was started.
        """
        total = torch.zeros((), device=self._runtime.device)
        for loss in self.updates(inputs, target, present=present, index=index):
            self._optimizer.step()
            total = total + loss
        return total

    def updates(
        self,
        inputs: Mapping[str, Tensor],
        target: Tensor,
        *,
        present: Mapping[str, Tensor] | None = None,
        index: Tensor | None = None,
    ) -> Iterator[Tensor]:
        """Yield the loss of each update of a batch, with its gradients in the parameters: the step is yours to make.

        Most methods make one update of a batch, some one per modality. Clip gradients here::

            for loss in balancer.updates(inputs, target):
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()

        Args:
            inputs: As in :meth:`step`, and so are the others.
            target: As there.
            present: As there.
            index: As there.
        """
        self._require_epoch()
        ctx, method = self._ctx, self._method
        batch = self._batch(inputs, target, present or {}, index)
        with self._runtime.callers_format():
            updates = iter(method.updates(ctx, method.transform_batch(ctx, batch)))
        while True:
            with self._runtime.callers_format():
                update = next(updates, None)
                if update is None:
                    break
                closure = Closure(ctx, method, update)
                self._optimizer.clear_gradients()
                outputs, losses = method.compute_gradients(ctx, closure)
                method.modulate_gradients(ctx, update, outputs)
            values = {name: value.detach() for name, value in losses.items()}
            yield torch.stack(list(values.values())).sum()
            with self._runtime.callers_format():
                method.after_update(ctx, update, outputs, closure)
            ctx.update += 1
            ctx.updates_done += 1
            self._losses |= {name: self._losses.get(name, 0.0) + value for name, value in values.items()}
        self._batches += 1
        self._samples += len(batch)

    @torch.no_grad()
    def predict(self, inputs: Mapping[str, Tensor], *, present: Mapping[str, Tensor] | None = None) -> Outputs:
        """Return what the model says about samples, in evaluation mode: ``logits``, and ``unimodal`` logits per modality.

        Args:
            inputs: Per modality a tensor of shape (batch, ...).
            present: Which samples have a modality, booleans of shape (batch,); all have those that are not named.

        Raises:
            DataError: A modality is missing, or lengths differ.
        """
        module = self.module
        with evaluating(self._ctx.model, module):
            return Outputs.concatenate([module(self._batch(inputs, None, present or {}, None))])

    def state_dict(self) -> dict[str, Any]:
        """Return what must be saved beside your model, optimizer and scheduler: tensors and plain data."""
        ctx = self._ctx
        return {
            "method": {"name": self._method.name, **self._method.hyperparameters()},
            "counters": [ctx.epoch, ctx.update, ctx.updates_done, self._batches, self._samples],
            "running": self._running,
            "modules": {key: value for key, value in ctx.model.state_dict().items() if not key.startswith(self._theirs)},
            "state": copy_state(self._method.state_dict()),
            "losses": dict(self._losses),
            "context": ctx.log_state(),
            "log": list(self.log),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what was saved. Load your model before, and your optimizer after it: it may have gained parameters.

        Raises:
            RunError: It is the state of another method or model.
        """
        ctx = self._ctx
        mine = {"name": self._method.name, **self._method.hyperparameters()}
        if not isinstance(state, Mapping) or "method" not in state:
            raise RunError("this is not the state of a Balancer, expected what state_dict() returned")
        if state["method"] != mine:
            raise RunError(f"the state is that of method {state['method']}, expected {mine}")
        self._method.load_state_dict(ctx, copy_state(state["state"], self._runtime.device))
        kept = {key: value for key, value in ctx.model.state_dict().items() if key.startswith(self._theirs)}
        try:
            ctx.model.load_state_dict({**kept, **state["modules"]})
        except RuntimeError as error:
            raise RunError(
                f"the state is that of other modalities, widths of features or classes: {' '.join(str(error).split())}"
            ) from error
        self._optimizer.adopt_new_parameters()
        ctx.epoch, ctx.update, ctx.updates_done, self._batches, self._samples = state["counters"]
        ctx.epochs_done = ctx.epoch
        ctx.load_log_state(copy_state(state["context"], self._runtime.device))
        self._running = self._resumed = state["running"]
        self._losses = copy_state(state["losses"], self._runtime.device)
        self.log = list(state["log"])

    def _require_epoch(self) -> None:
        if not self._running:
            raise RunError("no epoch was started; make the steps of an epoch inside: with balancer.epoch()")

    def _batch(
        self, inputs: Mapping[str, Tensor], target: Tensor | None, present: Mapping[str, Tensor], index: Tensor | None
    ) -> Batch:
        names, device = self._ctx.modalities, self._runtime.device
        check_batch(names, inputs, target, present, index)
        if target is not None:
            self._ctx.task.check_target(target)
            if index is None and "index" in self._method.needs():
                raise DataError(f"method {self._method.name} needs index: the number of each sample in the training part")
        samples = len(inputs[names[0]])
        index = torch.arange(self._samples, self._samples + samples) if index is None else index
        total = torch.tensor(float(samples), device=device) if target is not None and self._runtime.world > 1 else None
        every = torch.ones(samples, dtype=torch.bool)
        return Batch(
            {name: inputs[name] for name in names},
            {name: present.get(name, every) for name in names},
            target,
            index,
            frozenset(names) - set(present),
            samples if total is None else float(self._runtime.sum(total)),
        ).to(device)
