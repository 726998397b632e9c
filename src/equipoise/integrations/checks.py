"""What the caller of a method brings, checked before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from equipoise.config import component
from equipoise.errors import ConfigError, DataError, suggest
from equipoise.methods.base import Method, check_task
from equipoise.tasks import Classification, Task

IMPOSSIBLE = {"phases": "trains in several phases", "order": "says how often samples are drawn"}
"""What a method may need that no argument can give, in words."""


def check_method(method: Method, given: set[str], fusion: object) -> None:
    """Refuse a method that a foreign loop cannot serve."""
    needs = method.needs()
    for need, words in IMPOSSIBLE.items():
        if need in needs:
            raise ConfigError(
                f"method {method.name} {words}, which a loop of your own cannot follow; "
                "expected one of equipoise.Balancer.methods(), or use equipoise.fit"
            )
    missing = sorted(needs & {"train", "validation"} - given)
    if missing:
        words = f"argument{'s' if len(missing) > 1 else ''} {' and '.join(missing)}"
        raise ConfigError(f"method {method.name} looks at whole parts of the data, expected the {words}")
    wanted = method.card.fusion
    stated = None if fusion is None or isinstance(fusion, nn.Module) else component(fusion, "fusion")["name"]
    if wanted and fusion is not None and stated != wanted:
        raise ConfigError(
            f"method {method.name} has a fusion of its own, {wanted}; leave fusion out, and predict by balancer.predict"
        )


def check_modules(modules: object, fusion: object, optimizer: object) -> set[int]:
    """Check the caller's modules and optimizer, and return the numbers (``id``) of the caller's parameters."""
    if not isinstance(modules, (Mapping, nn.ModuleDict)):
        raise ConfigError(f"encoders: expected a mapping from modalities to modules, found {type(modules).__name__}")
    if not modules:
        raise ConfigError("encoders: expected at least one modality, found none")
    if "fused" in modules:
        raise ConfigError("a modality cannot be called 'fused', which is the name of what all modalities say together")
    every = [*modules.values(), *([fusion] if isinstance(fusion, nn.Module) else [])]
    for module in every:
        if not isinstance(module, nn.Module):
            raise ConfigError(f"encoders: expected a module for each modality, found {type(module).__name__}")
        if isinstance(module, DistributedDataParallel):
            raise ConfigError("DistributedDataParallel: gradients are averaged already, expected the module inside of it")
    if not isinstance(optimizer, torch.optim.Optimizer) or isinstance(optimizer, torch.optim.LBFGS):
        raise ConfigError(
            f"optimizer: expected one of torch.optim that steps without a closure, found {type(optimizer).__name__}"
        )
    theirs = {id(item) for module in every for item in module.parameters()}
    if theirs and theirs.isdisjoint(id(item) for group in optimizer.param_groups for item in group["params"]):
        raise ConfigError("optimizer: it trains no parameter of the encoders or the fusion, expected the optimizer of your model")
    return theirs


def choose_task(method: Method, classes: int | None, task: Task | None) -> Task:
    """Return the task, stated one way or the other, if the method can be used for it."""
    if (classes is None) == (task is None):
        raise ConfigError("expected either classes, a number, or task, another task")
    chosen = task or Classification(classes or 0)
    check_task(method.name, method.card.tasks, chosen.name)
    return chosen


def check_batch(
    names: Sequence[str], inputs: Mapping[str, Tensor], target: Tensor | None, present: Mapping[str, Tensor], index: Tensor | None
) -> None:
    """Refuse a batch that is not one tensor per modality, with one row per sample in all of them."""
    for place, given in (("inputs", inputs), ("present", present)):
        if not isinstance(given, Mapping):
            raise DataError(f"{place}: expected a mapping from modalities to tensors, found {type(given).__name__}")
    for name in names:
        if name not in inputs:
            raise DataError(f"modality {name!r}: expected {', '.join(names)}, found inputs of {', '.join(map(str, inputs))}")
    for name in present:
        if name not in names:
            raise DataError(f"present: unknown modality {name!r}, {suggest(name, names)}")
    masks = {f"present of modality {name!r}": mask for name, mask in present.items()}
    rows = {f"modality {name!r}": inputs[name] for name in names} | masks | {"target": target, "index": index}
    for name, value in rows.items():
        if value is not None and not isinstance(value, Tensor):
            raise DataError(f"{name}: expected a tensor, found {type(value).__name__}")
    for name, mask in masks.items():
        if mask.dtype != torch.bool:
            raise DataError(f"{name}: expected booleans, found {mask.dtype}")
    samples = len(inputs[names[0]])
    for name, value in rows.items():
        if value is not None and len(value) != samples:
            raise DataError(f"{name}: {len(value)} rows, expected {samples} as in modality {names[0]!r}")
    if samples == 0:
        raise DataError("the batch has no samples, expected at least one")
