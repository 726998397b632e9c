"""The one training loop. It knows no method and no modality by name."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from equipoise.errors import EquipoiseError, RunError
from equipoise.methods.base import Method, Phase
from equipoise.seeding import derive
from equipoise.training.checkpoint import random_states, random_states_kept, restore_random_states
from equipoise.training.context import Closure, Context
from equipoise.training.dynamics import Probe, due
from equipoise.training.optimizers import Freezer, PhaseOptimizer
from equipoise.training.passes import Passes
from equipoise.training.reuse import PhaseMemory, TrainedPhase, digest
from equipoise.training.selection import Selection, copy_state, snapshot, validate


class Observer(Protocol):
    """Watches a run. It reads; it cannot change training."""

    def on_phase(self, phase: Phase, epochs: int, done: int) -> None:
        """A phase starts (or goes on, with ``done`` epochs behind it)."""

    def on_epoch(self, line: dict[str, Any]) -> None:
        """An epoch is finished; ``line`` is its entry of the log."""


class Interrupted(EquipoiseError):
    """The user stopped the run; it can be resumed."""


class Loop:
    """Trains a model by a method.

    Args:
        ctx: The run.
        method: Fills the gaps.
        observers: Watch.
        save: Writes a checkpoint; None writes none.
        reuse: Where reusable phases are kept for other runs, and what all of those have in common with this one; None trains all.

    Attributes:
        saved_seconds: What it took others to train the phases that were taken from them.
        passes: The samples that encoders took, without the passes that judge an epoch.
    """

    def __init__(
        self,
        ctx: Context,
        method: Method,
        observers: Sequence[Observer] = (),
        save: Callable[[dict[str, Any]], None] | None = None,
        reuse: tuple[PhaseMemory, str] | None = None,
    ) -> None:
        self.ctx, self.method, self.observers, self._save = ctx, method, observers, save
        self._losses: dict[str, Tensor] = {}
        self._batches = 0
        self._gradients: dict[str, dict[str, float]] = {}
        self._saved_at = time.monotonic()
        self._stop = False
        self._freezer = Freezer(ctx.model)
        self._reuse = reuse
        self._lines: list[dict[str, Any]] = []
        self.passes = Passes(ctx.model)
        self.saved_seconds = 0.0

    def fit(self, resume: dict[str, Any] | None = None) -> nn.Module:
        """Train, and return the module that predicts.

        Args:
            resume: A checkpoint's payload: the run goes on from there, bit for bit as if it had never stopped.

        Raises:
            Interrupted: The user pressed Ctrl-C; a checkpoint was written.
            RunError: The loss is no longer a number.
        """
        ctx, method = self.ctx, self.method
        method.setup(ctx)
        ctx.model.to(ctx.runtime.device)
        ctx.runtime.share_weights(ctx.model)
        start_phase, start_epoch = resume["position"][:2] if resume else (0, 0)
        if resume:
            # A copy: what runs between phases may change the state, and the phase that goes on takes it over again.
            method.load_state_dict(ctx, copy_state(resume["method"], ctx.runtime.device))
        names: Counter[str] = Counter()
        try:
            with random_states_kept(), self._interruptible(), self.passes.counting():
                for number, phase in enumerate(method.phases(ctx)):
                    ctx.stage, ctx.update = (phase.name, names[phase.name]), 0
                    names[phase.name] += 1
                    if number > start_phase or not resume:
                        self._run_phase(number, phase, 0, None)
                    elif number == start_phase:
                        self._run_phase(number, phase, start_epoch, resume)
        finally:
            self._freezer.release()
        return method.predictor(ctx)

    def _run_phase(self, number: int, phase: Phase, first: int, resume: dict[str, Any] | None) -> None:
        ctx, method, options = self.ctx, self.method, self.ctx.options
        ctx.phase, ctx.epochs = phase, phase.epochs or options.epochs
        last = min(ctx.epochs, phase.stop or ctx.epochs)
        self._freezer.train_only(phase.parameters(ctx.model))
        ctx.optimizer = PhaseOptimizer(ctx.model, phase, options)
        selection = Selection(phase.monitor, ctx.task.monitor(phase.metric or options.monitor), options.patience)
        key = "" if resume else self._key(phase)
        known = self._reuse[0].find(key) if self._reuse else None
        if known is not None:
            resume, first, self.saved_seconds = known.payload, last, self.saved_seconds + known.seconds
        skip = self._restore(resume, selection) if resume else 0
        loader, self._lines, started = ctx.train_loader(), [], time.perf_counter()
        for observer in self.observers:
            observer.on_phase(phase, last, 0 if known else first)
        for line in known.lines if known else ():
            self._report(line)
        for epoch in range(first, last):
            ctx.epoch = epoch
            if selection.exhausted:
                break
            if skip == 0:
                method.on_epoch_start(ctx)
                self._losses, self._batches, self._gradients = {}, 0, {}
            self._freezer.train_only(phase.parameters(ctx.model))
            ctx.optimizer.start_epoch(ctx.epoch, ctx.epochs)
            ctx.model.train()
            for batch_number, batch in enumerate(loader.epoch((*ctx.stage, ctx.epoch), ctx.sampler.weights, skip), start=skip):
                self._train_batch(batch_number, batch, batch_number == 0 and due(ctx.epoch, loader.count))
                if batch_number + 1 < loader.count:
                    self._checkpoint((number, ctx.epoch, batch_number + 1), selection)
            skip = 0
            method.on_epoch_end(ctx)
            self._judge(phase, selection)
            ctx.epochs_done += 1
            self._checkpoint((number, ctx.epoch + 1, 0), selection)
        if self._reuse and key and known is None:
            ended = TrainedPhase(self._payload((number, last, 0), selection), self._lines, time.perf_counter() - started)
            self._reuse[0].keep(key, ended)
        if selection.kept is not None:
            method.load_state_dict(ctx, selection.kept["method"])
            ctx.model.load_state_dict(selection.kept["model"])

    def _train_batch(self, number: int, batch: Any, watched: bool = False) -> None:
        ctx, method = self.ctx, self.method
        self._seed(number)
        for update in method.updates(ctx, method.transform_batch(ctx, batch)):
            closure = Closure(ctx, method, update)
            self._freezer.clear_gradients()
            outputs, losses = method.compute_gradients(ctx, closure)
            method.modulate_gradients(ctx, update, outputs)
            probe = Probe(ctx) if watched else None
            ctx.optimizer.step()
            if probe is not None:
                self._gradients |= probe.result(update, outputs)
            method.after_update(ctx, update, outputs, closure)
            ctx.update += 1
            ctx.updates_done += 1
            self._observe(losses)
        self._batches += 1

    def _seed(self, number: int) -> None:
        """Make what dropout draws a function of the place in the run, in every process, so that a restart cannot change it."""
        seed = derive(self.ctx.options.seed, "batch", self.ctx.stage, self.ctx.epoch, number, self.ctx.runtime.rank)
        torch.default_generator.manual_seed(seed)
        if self.ctx.runtime.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def _observe(self, losses: dict[str, Tensor]) -> None:
        for name, value in losses.items():
            value = value.detach()
            known = self._losses.get(name)
            self._losses[name] = value.clone() if known is None else known + value

    def _judge(self, phase: Phase, selection: Selection) -> None:
        """Log an epoch, and keep its weights if it is the best on the validation part."""
        ctx, method = self.ctx, self.method
        losses = {name: float(ctx.runtime.mean(total)) / self._batches for name, total in self._losses.items()}
        if not all(math.isfinite(value) for value in losses.values()):
            raise RunError(
                f"epoch {ctx.epoch + 1} of phase {phase.name!r}: the training loss is no longer a number ({losses}); "
                f"a smaller learning_rate (now {ctx.options.learning_rate:g}) or clip_norm may help"
            )
        with self.passes.paused():
            metrics = ctx.runtime.share(validate(ctx, method.predictor(ctx)))
        best = selection.consider(ctx.epoch, metrics)
        if best:
            selection.kept = snapshot(ctx, method)
        line = {
            "phase": phase.name,
            "epoch": ctx.epoch + 1,
            "losses": losses,
            "validation": metrics,
            "coefficients": ctx.take_log(),
            "gradients": self._gradients,
            "learning_rate": ctx.optimizer.rate,
            "best": best,
        }
        self._report(line)

    def _report(self, line: dict[str, Any]) -> None:
        self._lines.append(line)
        for observer in self.observers:
            observer.on_epoch(line)

    def _key(self, phase: Phase) -> str:
        """Return the digest of all that a phase follows from but the hyper-parameters; nothing where it is not reusable."""
        if self._reuse is None or not phase.reusable:
            return ""
        ctx = self.ctx
        settings = [phase.name, phase.epochs, phase.stop, phase.monitor, phase.metric, phase.learning_rate, phase.rows]
        place = [ctx.stage, ctx.epochs_done, ctx.updates_done, ctx.sampler.weights, ctx.log_state()]
        trained = [name for name, value in ctx.model.named_parameters() if value.requires_grad]
        return digest([self._reuse[1], settings, place, trained, ctx.model.state_dict(), self.method.state_dict()])

    def _checkpoint(self, position: tuple[int, int, int], selection: Selection) -> None:
        due = time.monotonic() - self._saved_at >= self.ctx.options.checkpoint_seconds
        due, self._stop = self.ctx.runtime.any(due, self._stop)
        if not (due or self._stop):
            return
        if self._save is not None and self.ctx.runtime.is_main:
            self._save(self._payload(position, selection))
        self._saved_at = time.monotonic()
        if self._stop:
            raise Interrupted("interrupted; what was trained so far is kept and the run can be resumed")

    def _payload(self, position: tuple[int, int, int], selection: Selection) -> dict[str, Any]:
        ctx = self.ctx
        return {
            "position": list(position),
            "counters": [ctx.epochs_done, ctx.updates_done, ctx.update, self._batches],
            "model": ctx.model.state_dict(),
            "method": self.method.state_dict(),
            "optimizer": ctx.optimizer.state_dict(),
            "selection": selection.state_dict(),
            "losses": self._losses,
            "gradients": self._gradients,
            "log": ctx.log_state(),
            "passes": self.passes.state_dict(),
            "sampler": ctx.sampler.weights,
            "random": random_states(),
        }

    def _restore(self, payload: dict[str, Any], selection: Selection) -> int:
        """Take over a checkpoint inside its phase; return how many batches of the epoch were done."""
        ctx = self.ctx
        self.method.load_state_dict(ctx, copy_state(payload["method"], ctx.runtime.device))
        ctx.model.load_state_dict(payload["model"])
        self._freezer.train_only(ctx.phase.parameters(ctx.model))
        ctx.optimizer.load_state_dict(payload["optimizer"])
        selection.load_state_dict(payload["selection"])
        ctx.epochs_done, ctx.updates_done, ctx.update, self._batches = payload["counters"]
        self._losses = {name: value.to(ctx.runtime.device) for name, value in payload["losses"].items()}
        self._gradients = payload["gradients"]
        ctx.load_log_state(payload["log"])
        self.passes.load_state_dict(payload["passes"])
        ctx.sampler.weights = payload["sampler"]
        restore_random_states(payload["random"])
        batch: int = payload["position"][2]
        return batch

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Turn the first Ctrl-C into a stop after the batch in hand; a second one stops at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def stop(*_: object) -> None:
            self._stop = True
            signal.signal(signal.SIGINT, previous)

        previous = signal.signal(signal.SIGINT, stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, previous)
