"""Estimators for scikit-learn: modalities are groups of columns of one table, so that everything around estimators works.

Pipelines, searches, cross-validation and ``clone`` treat them like any other estimator::

    GridSearchCV(BalancedClassifier(), {"method": ["joint", "ogm", {"name": "ogm", "alpha": 0.5}]}).fit(X, y)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils import assert_all_finite, check_array, column_or_1d
from sklearn.utils.multiclass import check_classification_targets

from equipoise.integrations.estimator import BalancedEstimator


class BalancedClassifier(ClassifierMixin, BalancedEstimator):  # type: ignore[misc]
    """A classifier of samples with several modalities, trained so that none starves another.

    All samples given to ``fit`` are for training: some are kept to select the epoch by, none for a test. Columns are
    standardised and missing numbers filled inside. A missing value is NaN; where all columns of a modality are missing, the
    sample does not have it. A DataFrame may have columns of words, which are categories or text.

    ``X`` may also be a mapping from names of modalities to arrays of shape (samples, ...), DataFrames or lists of texts. This
    is how pictures come in; but whoever cuts X by row, as ``cross_val_score`` and ``GridSearchCV`` do, cannot cut a mapping.

    Pickled estimators hold the model as plain tensors and JSON, but unpickling as such runs whatever a file says: unpickle only
    files that you trust. ``run_.save(folder)`` writes a run folder instead, which :func:`equipoise.load` opens without
    running code from it; predict with it from ``to_modalities(X)``.

    Args:
        method: Name of a method, or a mapping with ``name`` and hyper-parameters; see ``equipoise methods``.
        modalities: Per modality its column names, its column numbers, a slice of numbers, or (a text) the prefix of its
            columns. Other columns are not used. None: by what stands before the first ``_`` or ``.`` of column names; one
            modality ``all`` where no two columns share such a prefix, or where columns have no names.
        encoder: Encoder of all modalities, or of each: a name, or a mapping; None: by the kind of data.
        fusion: How features become one prediction; None: the method's, or concat.
        epochs: Most epochs of each training phase.
        batch_size: Samples per update.
        learning_rate: Learning rate.
        weight_decay: Weight decay.
        patience: Stop after this many epochs without a better validation metric; None: never.
        class_weights: ``balanced`` weighs each class in the loss by the inverse of its frequency, ``none`` does not.
        validation_fraction: Share of the samples (of the groups) of each class that epochs are selected by.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:0``.
        random_state: A number makes training repeatable.
        verbose: More than 0 shows a progress bar.
        options: All other options of preprocessing, model and training in :mod:`equipoise.config`, by name.

    Attributes:
        classes_: The classes, of shape (classes,).
        modalities_: Per modality its column numbers; not there after a mapping of arrays.
        n_features_in_: Number of columns; not there after a mapping of arrays.
        feature_names_in_: Names of the columns, if they have any.
        n_iter_: Epochs that were trained.
        run_: The finished run, with its log of epochs. It has no test metrics; ``run_.evaluate(estimator.to_modalities(X),
            target=y, coalitions="all")`` says what each modality and each combination of them reaches.

    Example:
        >>> from sklearn.datasets import load_wine
        >>> from sklearn.model_selection import cross_val_score
        >>> X, y = load_wine(return_X_y=True)
        >>> groups = {"alcohol": [0, 1, 2, 3, 4], "phenols": [5, 6, 7, 8], "colour": slice(9, None)}
        >>> classifier = BalancedClassifier("ogm", modalities=groups, epochs=5, learning_rate=0.01, random_state=0)
        >>> bool(cross_val_score(classifier, X, y, cv=3).mean() > 0.9)
        True
    """

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
        class_weights: str = "none",
        validation_fraction: float = 0.15,
        device: str = "auto",
        random_state: int | RandomState | None = None,
        verbose: int = 0,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(
            method,
            modalities=modalities,
            encoder=encoder,
            fusion=fusion,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            patience=patience,
            validation_fraction=validation_fraction,
            device=device,
            random_state=random_state,
            verbose=verbose,
            options=options,
        )
        self.class_weights = class_weights

    def fit(self, X: Any, y: ArrayLike, groups: ArrayLike | None = None) -> Self:
        """Train.

        Args:
            X: A table of shape (samples, columns), or a mapping from names of modalities to arrays.
            y: Labels of shape (samples,).
            groups: Groups of shape (samples,), such as patients: none is both trained on and selected by.

        Returns:
            The estimator itself.

        Raises:
            DataError: Something is wrong with the data, e.g. there are too few samples to keep some for selection.
            ConfigError: Something is wrong with an argument.
        """
        self._check_given(y)
        y = column_or_1d(y, warn=True)
        assert_all_finite(y, input_name="y")
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        return self._train(X, codes.astype(np.int64), groups, "classification", [str(name) for name in self.classes_])

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the most probable class of each sample, of shape (samples,).

        Args:
            X: A table with the columns of training, or a mapping of arrays, which may lack modalities.
        """
        codes = self.predict_proba(X).argmax(1)
        chosen: NDArray[Any] = self.classes_[codes]
        return chosen

    def predict_proba(self, X: Any) -> NDArray[np.floating]:
        """Return probabilities of shape (samples, classes), in the order of ``classes_``.

        Args:
            X: As for :meth:`predict`.
        """
        return self._predictions(X).probabilities

    def predict_proba_by_modality(self, X: Any) -> dict[str, NDArray[np.floating]]:
        """Return what the model says from each modality alone.

        Args:
            X: As for :meth:`predict`.

        Returns:
            Per modality probabilities of shape (samples, classes); NaN where a sample lacks it.
        """
        return dict(self._predictions(X).unimodal)


class BalancedRegressor(RegressorMixin, BalancedEstimator):  # type: ignore[misc]
    """A regressor of samples with several modalities, trained so that none starves another.

    It takes data, trains and is stored as :class:`BalancedClassifier`, and has the same arguments but ``class_weights``. Some
    methods are for classes alone and refuse numbers; ``equipoise methods NAME`` says so.

    Attributes:
        modalities_: Per modality its column numbers; not there after a mapping of arrays.
        n_features_in_: Number of columns; not there after a mapping of arrays.
        feature_names_in_: Names of the columns, if they have any.
        n_iter_: Epochs that were trained.
        run_: The finished run, as that of :class:`BalancedClassifier`.

    Example:
        >>> from sklearn.datasets import load_diabetes
        >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
        >>> groups = {"person": ["age", "sex", "bmi", "bp"], "blood": slice(4, None)}
        >>> regressor = BalancedRegressor(modalities=groups, epochs=20, learning_rate=0.01, random_state=0).fit(X, y)
        >>> regressor.score(X, y) > 0.4
        True
    """

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: ArrayLike, groups: ArrayLike | None = None) -> Self:
        """Train.

        Args:
            X: A table of shape (samples, columns), or a mapping from names of modalities to arrays.
            y: Numbers of shape (samples,) or (samples, outputs).
            groups: Groups of shape (samples,), such as patients: none is both trained on and selected by.

        Returns:
            The estimator itself.

        Raises:
            DataError: Something is wrong with the data, e.g. there are too few samples to keep some for selection.
            ConfigError: Something is wrong with an argument.
        """
        self._check_given(y)
        values = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y", estimator=self)
        self._shape = values.shape[1:]
        table = values.reshape(len(values), -1)
        names = ["y"] if table.shape[1] == 1 else [f"y_{number}" for number in range(table.shape[1])]
        return self._train(X, table, groups, "regression", names)

    def predict(self, X: Any) -> NDArray[np.floating]:
        """Return numbers of shape (samples,), or (samples, outputs) as they were in training.

        Args:
            X: A table with the columns of training, or a mapping of arrays, which may lack modalities.
        """
        return self._shaped(self._predictions(X).probabilities)

    def predict_by_modality(self, X: Any) -> dict[str, NDArray[np.floating]]:
        """Return what the model says from each modality alone.

        Args:
            X: As for :meth:`predict`.

        Returns:
            Per modality numbers as :meth:`predict` gives them; NaN where a sample lacks it.
        """
        return {name: self._shaped(values) for name, values in self._predictions(X).unimodal.items()}

    def _shaped(self, values: NDArray[np.floating]) -> NDArray[np.floating]:
        return values.reshape(len(values), *self._shape)


__all__ = ["BalancedClassifier", "BalancedRegressor"]
