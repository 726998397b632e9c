"""What a model says about samples, as a table, a file and metrics.

The columns of the table, for the classes ``no`` and ``yes`` and a modality ``audio``::

    id | prediction | probability[no] | probability[yes] | audio.present | audio.probability[no] | audio.probability[yes]
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from equipoise.errors import ConfigError, DataError
from equipoise.files import write_atomic

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".csv", ".parquet")
"""The kinds of files in which predictions are written."""


def check_destination(path: Path) -> None:
    """Check that predictions can be written in the format that a file name asks for, before they are computed.

    Args:
        path: The file name.

    Raises:
        ConfigError: The suffix is not one of :data:`SUFFIXES`, or it is ``.parquet`` and pyarrow is not installed.

    Example:
        >>> check_destination(Path("predictions.txt"))
        Traceback (most recent call last):
        equipoise.errors.ConfigError: predictions.txt: unknown kind of file '.txt', expected .csv or .parquet
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ConfigError(f"{path}: unknown kind of file {path.suffix!r}, expected {' or '.join(SUFFIXES)}")
    if suffix == ".parquet" and find_spec("pyarrow") is None:
        raise ConfigError(f"{path}: parquet files need pyarrow; install it with: pip install 'equipoise[parquet]'")


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """What a model says about some samples.

    Attributes:
        ids: Sample ids of shape (samples,).
        classes: The class names in the order of their codes.
        probabilities: Probabilities of the fused output, of shape (samples, classes).
        unimodal: Per encoded modality the probabilities of its own output, of shape (samples, classes); NaN where a sample
            lacks the modality.
        present: Per modality which samples have it, booleans of shape (samples,).
        target: Class codes of shape (samples,), -1 where the label is unknown; None without labels.
        weights: Per modality how much it counted for each sample, of shape (samples,), where the fusion weighs modalities.

    Example:
        >>> predictions = Predictions(
        ...     ids=np.array(["a", "b"]),
        ...     classes=("no", "yes"),
        ...     probabilities=np.array([[0.75, 0.25], [0.5, 0.5]]),
        ...     unimodal={},
        ...     present={"audio": np.array([True, False])},
        ... )
        >>> print(predictions.frame().to_string(index=False))
        id prediction  probability[no]  probability[yes]  audio.present
         a         no             0.75              0.25           True
         b         no             0.50              0.50          False
    """

    ids: NDArray[np.generic]
    classes: tuple[str, ...]
    probabilities: NDArray[np.floating]
    unimodal: Mapping[str, NDArray[np.floating]]
    present: Mapping[str, NDArray[np.bool_]]
    target: NDArray[np.integer] | None = None
    weights: Mapping[str, NDArray[np.floating]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check that everything is about the same samples and classes.

        Raises:
            ValueError: A shape does not fit, or an output has no ``present``.
        """
        rows, table = (len(self.ids),), (len(self.ids), len(self.classes))
        shapes: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {"probabilities": (self.probabilities.shape, table)}
        shapes |= {f"unimodal {name!r}": (value.shape, table) for name, value in self.unimodal.items()}
        shapes |= {f"present {name!r}": (value.shape, rows) for name, value in self.present.items()}
        shapes |= {f"weights {name!r}": (value.shape, rows) for name, value in self.weights.items()}
        if self.target is not None:
            shapes["target"] = (self.target.shape, rows)
        for name, (found, expected) in shapes.items():
            if found != expected:
                raise ValueError(f"{name} has shape {found}, expected {expected}")
        if missing := set(self.unimodal) - set(self.present):
            raise ValueError(f"no presence is given for {', '.join(sorted(missing))}")

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def labels(self) -> NDArray[np.str_]:
        """The name of the most probable class of each sample, of shape (samples,)."""
        codes = self.probabilities.argmax(1)
        return np.array([self.classes[code] for code in codes], dtype=np.str_)

    def frame(self) -> pd.DataFrame:
        """Return the predictions as a table, one row per sample in the given order.

        Returns:
            Columns ``id``, ``prediction`` and ``probability[CLASS]`` per class; then per modality ``MODALITY.present``,
            ``MODALITY.weight`` where the fusion weighs modalities, and,
            where the model has an output for it, ``MODALITY.probability[CLASS]`` per class (missing where it is absent).
        """
        import pandas as pd

        columns: dict[str, NDArray[np.generic]] = {"id": self.ids, "prediction": self.labels}
        columns |= self._columns("probability", self.probabilities)
        for name, present in self.present.items():
            columns[f"{name}.present"] = present
            if name in self.weights:
                columns[f"{name}.weight"] = self.weights[name]
            if name in self.unimodal:
                columns |= self._columns(f"{name}.probability", self.unimodal[name])
        return pd.DataFrame(columns)

    def _columns(self, prefix: str, values: NDArray[np.floating]) -> dict[str, NDArray[np.generic]]:
        return {f"{prefix}[{name}]": values[:, code] for code, name in enumerate(self.classes)}

    def write(self, path: Path) -> None:
        """Write the table of :meth:`frame`, atomically, as CSV or Parquet by the suffix of the file name.

        Args:
            path: The file; one that exists is replaced.

        Raises:
            ConfigError: The suffix is unknown, or Parquet is asked for and pyarrow is not installed.
            RunError: The file cannot be written; what was there before still is.
        """
        check_destination(path)
        frame = self.frame()
        if path.suffix.lower() == ".parquet":
            write_atomic(path, lambda new: frame.to_parquet(new, engine="pyarrow", index=False))
        else:
            write_atomic(path, lambda new: frame.to_csv(new, index=False, lineterminator="\n"))

    def metrics(self) -> dict[str, dict[str, float | None]]:
        """Compute the metrics of the fused output and of each modality's own.

        Returns:
            Under ``fused`` and under the name of each modality the metrics of
            :func:`equipoise.evaluation.metrics.classification_metrics` and ``samples``, how many samples they are of: all
            with a known label, for a modality those of them that have it.

        Raises:
            DataError: No label is known.
            RunError: The values are no probabilities, e.g. not finite.
        """
        from equipoise.evaluation.metrics import classification_metrics

        if self.target is None or not (self.target >= 0).any():
            raise DataError("the data carry no known label, so predictions cannot be compared with the truth")
        labelled = self.target >= 0
        outputs = {"fused": (self.probabilities, labelled)}
        outputs |= {name: (values, labelled & self.present[name]) for name, values in self.unimodal.items()}
        return {
            name: {**classification_metrics(values[rows], self.target[rows]), "samples": int(rows.sum())}
            for name, (values, rows) in outputs.items()
        }
