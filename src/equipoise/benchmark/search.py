"""A fair search for hyper-parameters: as many trials for every method, judged on the validation part of the training fold."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from equipoise.benchmark.cost import cost
from equipoise.config import TrainingOptions
from equipoise.errors import ConfigError, RunError
from equipoise.fold import Fold
from equipoise.methods.base import Method, make_method
from equipoise.methods.composition import Composition
from equipoise.run import Run, fit
from equipoise.seeding import derive
from equipoise.tasks.base import AUTO
from equipoise.training.selection import LOWER

if TYPE_CHECKING:
    import optuna

Values = dict[tuple[str, ...], Any]
"""What is tried: a value for each place, the place being where a description of a run has it."""


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        method: The method with the best hyper-parameters.
        options: The options of the run that were searched as well.
        trials: Number of trials.
        failed: How many of them ended in an error.
        score: The best validation score.
        chosen: What the best trial set, by name; empty where the published defaults were best.
        cost: What all trials cost together, as :func:`~equipoise.benchmark.cost.cost` counts.
    """

    method: dict[str, Any]
    options: dict[str, Any]
    trials: int
    failed: int
    score: float
    chosen: dict[str, Any]
    cost: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """Return what a row says about the search."""
        return {"trials": self.trials, "failed": self.failed, "score": self.score, "chosen": self.chosen, "cost": self.cost}


def space(method: Method) -> dict[tuple[str, ...], Mapping[str, Any]]:
    """Return what a search may change: the declared hyper-parameters of a method, and the learning rate for all methods.

    Returns:
        By place the declaration: ``search`` (low and high, or candidates), ``log`` and ``default``.

    Example:
        >>> sorted(space(make_method({"name": "ogm"})))
        [('learning_rate',), ('method', 'alpha')]
    """
    found = dict(_declared((), TrainingOptions()))
    if isinstance(method, Composition):
        for part in method.parts:
            found |= dict(_declared(("method", part.name), part))
        return found
    return found | dict(_declared(("method",), method))


def _declared(place: tuple[str, ...], owner: Any) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    for item in dataclasses.fields(owner):
        if item.metadata.get("search") is not None:
            yield (*place, item.name), {**item.metadata, "default": getattr(owner, item.name)}


def search(fold: Fold, method: Mapping[str, Any], trials: int, options: Mapping[str, Any]) -> Found:
    """Search the hyper-parameters of a method by Optuna's tree-structured Parzen estimator.

    The first trial takes the hyper-parameters as they are given, so that a search is never worse on the validation part than
    none. A trial that fails counts as a trial. The same seed gives the same search.

    Args:
        fold: The data; its test part must be the validation part, see :meth:`~equipoise.fold.Fold.without_test`.
        method: The method with the hyper-parameters of the first trial.
        trials: Number of trials.
        options: All other options of the run; ``monitor`` is what is searched for, of the fused output.

    Returns:
        The best trial and the cost of all.

    Raises:
        ConfigError: Optuna is not installed.
        RunError: All trials failed.

    References:
        Akiba et al., Optuna: A Next-generation Hyperparameter Optimization Framework, KDD 2019.
    """
    if fold.test is not fold.data.validation:
        raise ConfigError("search: the fold holds a test part, which nothing may be chosen by; use fold.without_test()")
    optuna = require_optuna()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    made = make_method(method)
    places, monitor = space(made), options.get("monitor", TrainingOptions().monitor)
    seed = derive(options["seed"], "search", fold.split.hash) % 2**32
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    best, spent, failures = None, dict.fromkeys(("passes", "forwards", "backwards", "updates", "seconds"), 0.0), []
    for number in range(trials):
        trial = study.ask() if number else None
        values: Values = {} if trial is None else {place: _suggest(trial, place, item) for place, item in places.items()}
        tried, changed = with_values(method, options, values)
        try:
            run = fit(fold, method=tried, progress=False, **changed)
        except RunError as error:  # such as a loss that is no longer a number at this learning rate
            failures.append(str(error))
            score = -math.inf
        else:
            spent = {name: value + spent[name] for name, value in cost(run).items()}
            score = _goodness(run, monitor)
        if trial is not None:
            state = optuna.trial.TrialState.COMPLETE if math.isfinite(score) else optuna.trial.TrialState.FAIL
            study.tell(trial, score if math.isfinite(score) else None, state)
        if math.isfinite(score) and (best is None or score > best[0]):
            best = score, values
    if best is None:
        raise RunError(f"search: all {trials} trials failed; the first one: {failures[0]}")
    chosen, changed = with_values(method, options, best[1])
    learned = {place[0]: value for place, value in best[1].items() if place[0] != "method"}
    return Found(
        chosen, learned, trials, len(failures), best[0], {_name(place): value for place, value in best[1].items()}, spent
    )


def _goodness(run: Run, monitor: str) -> float:
    """Return what is searched for, of the fused output: more is better."""
    metrics, name = run.metrics["fused"], run.summary["metric"] if monitor == AUTO else monitor
    if name == "loss":
        name = "nll" if "nll" in metrics else "mse"
    value = float(metrics[name] or 0.0)
    return -value if name in (*LOWER, "nll") else value


def require_optuna() -> Any:
    """Return the module ``optuna``.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise ConfigError("search: Optuna is not installed; install it by: pip install 'equipoise[sweep]'") from None
    return optuna


def with_values(method: Mapping[str, Any], options: Mapping[str, Any], values: Values) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the description of a method and the options of a run with some values set.

    Example:
        >>> with_values({"name": "a+b", "a": {"x": 1}}, {"seed": 0}, {("method", "a", "x"): 2, ("learning_rate",): 0.1})
        ({'name': 'a+b', 'a': {'x': 2}}, {'seed': 0, 'learning_rate': 0.1})
    """
    described = {name: dict(value) if isinstance(value, Mapping) else value for name, value in method.items()}
    changed = dict(options)
    for place, value in values.items():
        owner = described if place[0] == "method" else changed
        for name in place[1:-1]:
            owner = owner[name]
        owner[place[-1]] = value
    return described, changed


def _name(place: tuple[str, ...]) -> str:
    return ".".join(place[1:] if place[0] == "method" else place)


def _suggest(trial: optuna.trial.Trial, place: tuple[str, ...], item: Mapping[str, Any]) -> Any:
    """Return the value that a trial takes for a hyper-parameter: from a range where its default is a number, else a candidate."""
    name, values, default = _name(place), item["search"], item["default"]
    if isinstance(default, bool) or not isinstance(default, (int, float)):
        return trial.suggest_categorical(name, values)
    if isinstance(default, int):
        return trial.suggest_int(name, *values, log=item["log"])
    return trial.suggest_float(name, *values, log=item["log"])
