"""What a single run of a suite is, and its identity."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from equipoise.config import SECTIONS, FitConfig, ReadOptions, component
from equipoise.data.dataset import Dataset
from equipoise.data.fingerprint import fingerprint
from equipoise.data.sources import open_dataset
from equipoise.data.splits import make_splits
from equipoise.errors import ConfigError
from equipoise.methods.base import METHODS, check_task, make_method


@dataclass(frozen=True)
class Source:
    """Where a worker finds the data.

    Attributes:
        data: A path, the name of an embedded set, or an open data set.
        read: How the data are read.
    """

    data: str | Dataset
    read: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def open(self) -> Dataset:
        """Open the data."""
        return self.data if isinstance(self.data, Dataset) else open_dataset(self.data, ReadOptions(**self.read))


@dataclass(frozen=True)
class Job:
    """One run of a suite.

    Attributes:
        method: Name and hyper-parameters.
        fold: Which of the splits.
        seed: Seed of everything random in training.
        options: All other options of the run.
        data: Fingerprint of the data.
        split: Hash of the split.
        trials: Trials of the search for hyper-parameters; 0 takes those of ``method``.
        set: How tables call the data; no part of the identity.
    """

    method: dict[str, Any]
    fold: int
    seed: int
    options: dict[str, Any]
    data: str
    split: str
    trials: int = 0
    set: str = ""

    @property
    def key(self) -> str:
        """The identity of the run: a hash of all that it depends on."""
        parts = {name: value for name, value in dataclasses.asdict(self).items() if name != "set"}
        return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def parse_method(text: str) -> dict[str, Any]:
    """Return the description of a method as a word says it: ``name`` or ``name:key=value:key=value``.

    In a combination of methods the keys are ``method.key``.

    Raises:
        ConfigError: The word is not of this form.

    Example:
        >>> parse_method("ogm:alpha=0.5:noise=false")
        {'name': 'ogm', 'alpha': '0.5', 'noise': 'false'}
    """
    name, *parts = text.strip().split(":")
    described: dict[str, Any] = {"name": name}
    for part in parts:
        key, equals, value = part.partition("=")
        owner, dot, own = key.rpartition(".")
        place = described.setdefault(owner, {}) if dot else described
        if not own or not equals or own in place:
            raise ConfigError(f"methods: {text!r} is not valid at {part!r}, expected name:key=value, each key once")
        place[own] = value
    return described


def described_methods(methods: Sequence[str | Mapping[str, Any]], task: str | None = None) -> list[dict[str, Any]]:
    """Return methods with all their hyper-parameters, each once.

    Args:
        methods: Words for :func:`parse_method`, or mappings with ``name`` and hyper-parameters; ``all`` is every method
            that can be used for the task.
        task: The task of the data, where it is known.

    Raises:
        ConfigError: A method or a hyper-parameter is unknown, there is no method, or one that is named is not for the task.
    """
    found: list[dict[str, Any]] = []
    every = [name for name in METHODS.names() if task is None or task in METHODS.get(name).card.tasks]
    for word in (name for method in methods for name in (every if method == "all" else [method])):
        made = make_method(parse_method(word) if isinstance(word, str) else component(word, "method"))
        if task is not None:
            check_task(made.name, made.card.tasks, task)
        description = {"name": made.name, **made.hyperparameters()}
        found += [] if description in found else [description]
    if not found:
        raise ConfigError("methods: none is named, expected at least one")
    return found


def plan(
    dataset: Dataset,
    methods: Sequence[str | Mapping[str, Any]],
    seeds: int,
    options: Mapping[str, Any],
    *,
    trials: int = 0,
    set: str = "",
) -> list[Job]:
    """Return the runs on one data set, fold by fold, so that methods can be compared early and runs share what is prepared.

    Args:
        dataset: The data.
        methods: See :func:`described_methods`.
        seeds: Seeds per fold, counted from the option ``seed``.
        options: Options of all runs; ``folds`` and ``repeats`` say on how many splits.
        trials: Trials of the search for hyper-parameters of each run; 0 takes them as they are given.
        set: How tables call the data; by default as they call themselves.

    Raises:
        ConfigError: A method, a hyper-parameter or an option is unknown, or there is no method.
    """
    for name in ("method", "fold"):
        if name in options:
            raise ConfigError(f"option: a suite runs every method on every fold; leave out {name}")
    config = FitConfig.from_options(options)
    described = described_methods(methods, dataset.schema.task)
    # In full and checked, so that the identity of a run does not depend on how its options were written.
    full = {name: value for name, value in config.to_options().items() if name not in ("method", "fold", "seed")}
    for item in dataclasses.fields(SECTIONS["read"]):
        del full[item.name]  # the fingerprint says what was read
    identity, first = fingerprint(dataset), config.training.seed
    return [
        Job(method, number, seed, full, identity, split.hash, trials, set or dataset.schema.name)
        for number, split in enumerate(make_splits(dataset, config.splitting))
        for seed in range(first, first + seeds)
        for method in described
    ]
