"""What the estimators for scikit-learn share: from tables to modalities, training, and storage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from equipoise.config import FitConfig, ReadOptions, option_sections
from equipoise.data.dataset import Dataset
from equipoise.data.labels import read_group
from equipoise.data.readers.memory import PRESENT
from equipoise.data.sequences import LENGTHS
from equipoise.data.sources import open_dataset
from equipoise.errors import ConfigError, DataError, suggest
from equipoise.fold import Fold
from equipoise.inference.predictions import Predictions
from equipoise.integrations.columns import find_columns
from equipoise.run import Run, fit, load


class BalancedEstimator(BaseEstimator):  # type: ignore[misc]
    """What the estimators share: from tables to modalities, training, and storage."""

    def __init__(
        self,
        method: str | Mapping[str, Any] = "joint",
        *,
        modalities: Mapping[str, Any] | None = None,
        encoder: str | dict[str, Any] | None = None,
        fusion: str | dict[str, Any] | None = None,
        epochs: int = 100,
        batch_size: int = 64,
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-2,
        patience: int | None = 20,
        validation_fraction: float = 0.15,
        device: str = "auto",
        random_state: int | RandomState | None = None,
        verbose: int = 0,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.method = method
        self.modalities = modalities
        self.encoder = encoder
        self.fusion = fusion
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.device = device
        self.random_state = random_state
        self.verbose = verbose
        self.options = options

    def to_modalities(self, X: Any) -> dict[str, Any]:
        """Return what ``X`` holds of each modality, as ``run_.predict`` and ``run_.evaluate`` take it.

        Args:
            X: As for ``predict``.
        """
        check_is_fitted(self)
        return self._divided(X, reset=False)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "run_")

    def __getstate__(self) -> dict[str, Any]:
        """Hold the run as the files of a run folder: weights by safetensors, the rest as JSON, and no module of PyTorch."""
        state = dict(super().__getstate__())
        if "run_" in state:
            with TemporaryDirectory() as folder:
                self.run_.save(folder)
                state["run_"] = {file.name: file.read_bytes() for file in sorted(Path(folder).iterdir())}
        return state

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        state = dict(state)
        if "run_" in state:
            with TemporaryDirectory() as folder:
                for name, content in state["run_"].items():
                    (Path(folder) / name).write_bytes(content)
                # whoever unpickles has already chosen to run what the file names
                state["run_"] = replace(load(folder, allow_imports=True), folder=None)
        super().__setstate__(state)

    def _divided(self, X: Any, *, reset: bool) -> dict[str, Any]:
        """The values of each modality; with ``reset`` X is that of training, else it must fit what was learned."""
        if isinstance(X, Mapping) and not issparse(X):
            if reset and self.modalities is not None:
                raise ConfigError("modalities: X is a mapping, whose keys are the modalities; leave the argument out")
            if reset:
                for name in ("n_features_in_", "feature_names_in_", "modalities_"):
                    self.__dict__.pop(name, None)
            return dict(X)
        if not reset and not hasattr(self, "modalities_"):
            raise DataError("the estimator was fitted to a mapping of arrays by modality, expected X to be one")
        named = hasattr(X, "iloc") and validate_data(self, X, reset=reset, skip_check_array=True) is not None
        if not (named and hasattr(self, "feature_names_in_")):  # else columns may hold words, which arrays of numbers may not
            X = validate_data(self, X, reset=reset, ensure_all_finite="allow-nan", ensure_min_samples=2 if reset else 1)
        if reset:
            names = getattr(self, "feature_names_in_", None)
            self.modalities_ = find_columns(self.modalities, self.n_features_in_, None if names is None else names.tolist())
        take = X.iloc if hasattr(X, "iloc") else X
        return {name: take[:, columns] for name, columns in self.modalities_.items()}

    def _check_given(self, y: object) -> None:
        if y is None:
            raise DataError(f"{type(self).__name__} requires y to be passed, but the target y is None")

    def _settings(self) -> dict[str, Any]:
        """The options of equipoise, from the arguments and from ``options``."""
        own = self.get_params(deep=False)
        possible = {name for name, part in option_sections().items() if part in ("preprocessing", "model", "training")} - {"seed"}
        for name in self.options or {}:
            if name in own:
                raise ConfigError(f"options: {name!r} is an argument of its own, state it there")
            if name not in possible:
                raise ConfigError(f"options: unknown option {name!r}, {suggest(name, possible - own.keys())}")
        given = {name: own[name] for name in own if name in {"method", "validation_fraction", *possible}}
        state = self.random_state
        seed = int(state) if isinstance(state, (int, np.integer)) else int(check_random_state(state).randint(2**31 - 1))
        return {**given, **(self.options or {}), "seed": seed, "split_seed": seed}

    def _train(self, X: Any, y: NDArray[Any], groups: ArrayLike | None, task: str, classes: Sequence[str]) -> Self:
        """Train on samples with these targets, some of which are kept to select the epoch by."""
        settings = self._settings()
        config = FitConfig.from_options(settings)
        dataset = self._dataset(self._divided(X, reset=True), y, groups, task, classes)
        fold = Fold.for_training(dataset, config.splitting, config.preprocessing)
        self.run_: Run = fit(fold, progress=self.verbose > 0, **settings)
        self.n_iter_ = len(self.run_.log)
        return self

    def _dataset(
        self, values: Mapping[str, Any], y: NDArray[Any], groups: ArrayLike | None, task: str, classes: Sequence[str]
    ) -> Dataset:
        flags = {f"{name}{ending}" for name in values for ending in (PRESENT, LENGTHS)}
        dataset = open_dataset(values, ReadOptions(modalities={name: {} for name in values if name not in flags}), labelled=False)
        for words, given in (("y", y), ("groups", groups)):
            if given is not None and len(np.asarray(given)) != len(dataset):
                found = len(np.asarray(given))
                raise DataError(f"{words} has {found} values, expected one for each of the {len(dataset)} samples of X")
        group = None if groups is None else read_group(groups, dataset.ids, labelled=True, place="groups")
        schema = replace(
            dataset.schema, target="y", task=task, classes=tuple(classes), split="", group="" if group is None else "groups"
        )
        return replace(dataset, schema=schema, target=y, split=None, group=group)

    def _predictions(self, X: Any) -> Predictions:
        values = self.to_modalities(X)
        return self.run_.predict(values)
