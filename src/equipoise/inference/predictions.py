"""What a model says about samples, as a table, a file and metrics.

The columns of the table, for the classes ``no`` and ``yes`` and a modality ``audio``::

    id | prediction | probability[no] | probability[yes] | audio.present | audio.probability[no] | audio.probability[yes]

For labels ``prediction`` lists those of probability 1/2 or more, with commas between them. For the numbers ``x`` and ``y`` there
are ``prediction[x] | prediction[y]`` and ``audio.prediction[x] | audio.prediction[y]`` instead of probabilities, for one number
``prediction`` and ``audio.prediction``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from equipoise.data.dataset import known
from equipoise.data.schema import CLASSES
from equipoise.errors import ConfigError, DataError
from equipoise.files import write_atomic

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".csv", ".parquet")
"""The kinds of files in which predictions are written."""

_AT_ONCE = 1 << 14
"""Samples that are written together: a Parquet file of many small groups of rows is slow to read."""


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
        classes: The class names in the order of their codes, the labels, or the names of the numbers.
        probabilities: Probabilities of the fused output, of shape (samples, classes); for regression the predicted numbers.
        unimodal: Per encoded modality the same of its own output; NaN where a sample lacks the modality.
        present: Per modality which samples have it, booleans of shape (samples,).
        target: As in :class:`~equipoise.data.dataset.Dataset`; None without labels.
        weights: Per modality how much it counted for each sample, of shape (samples,), where the fusion weighs modalities.
        task: One of :data:`~equipoise.data.schema.TASKS`.

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
    target: NDArray[np.integer] | NDArray[np.floating] | None = None
    weights: Mapping[str, NDArray[np.floating]] = field(default_factory=dict)
    task: str = CLASSES[0]

    def __repr__(self) -> str:
        outputs = ", ".join(["fused", *self.unimodal])
        return f"<Predictions of {len(self.ids)} samples, outputs {outputs}; frame() makes a table of them>"

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
            shapes["target"] = (self.target.shape, rows if self.task in CLASSES else table)
        for name, (found, expected) in shapes.items():
            if found != expected:
                raise ValueError(f"{name} has shape {found}, expected {expected}")
        if missing := set(self.unimodal) - set(self.present):
            raise ValueError(f"no presence is given for {', '.join(sorted(missing))}")

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def concatenate(cls, pieces: Iterable[Predictions]) -> Predictions:
        """Join the predictions of one model for consecutive samples."""
        items = list(pieces)
        first = items[0]
        if len(items) == 1:
            return first
        target = [item.target for item in items if item.target is not None]
        return replace(
            first,
            ids=np.concatenate([item.ids for item in items]),
            probabilities=np.concatenate([item.probabilities for item in items]),
            unimodal={name: np.concatenate([item.unimodal[name] for item in items]) for name in first.unimodal},
            present={name: np.concatenate([item.present[name] for item in items]) for name in first.present},
            target=np.concatenate(target) if target else None,
            weights={name: np.concatenate([item.weights[name] for item in items]) for name in first.weights},
        )

    @property
    def labels(self) -> NDArray[np.str_]:
        """The name of the most probable class of each sample, or its labels with commas between them, of shape (samples,).

        Raises:
            ConfigError: These are predictions of numbers.
        """
        if self.task == "regression":
            raise ConfigError("predictions of numbers have no labels; the numbers are in probabilities")
        names = np.array(self.classes, dtype=object)
        if self.task in CLASSES:
            return np.array(names[self.probabilities.argmax(1)], dtype=np.str_)
        return np.array([", ".join(names[row]) for row in self.probabilities >= 0.5], dtype=np.str_)

    def frame(self) -> pd.DataFrame:
        """Return the predictions as a table, one row per sample in the given order.

        Returns:
            Columns ``id``, ``prediction`` and, for classes, ``probability[CLASS]`` per class; then per modality
            ``MODALITY.present``, ``MODALITY.weight`` where the fusion weighs modalities, and,
            where the model has an output for it, ``MODALITY.probability[CLASS]`` per class (missing where it is absent).
        """
        import pandas as pd

        columns: dict[str, NDArray[np.generic]] = {"id": self.ids}
        columns |= {} if self.task == "regression" else {"prediction": self.labels}
        columns |= self._columns("", self.probabilities)
        for name, present in self.present.items():
            columns[f"{name}.present"] = present
            if name in self.weights:
                columns[f"{name}.weight"] = self.weights[name]
            if name in self.unimodal:
                columns |= self._columns(f"{name}.", self.unimodal[name])
        return pd.DataFrame(columns)

    def _columns(self, prefix: str, values: NDArray[np.floating]) -> dict[str, NDArray[np.generic]]:
        if self.task != "regression":
            return {f"{prefix}probability[{name}]": values[:, code] for code, name in enumerate(self.classes)}
        names = [f"[{name}]" for name in self.classes] if len(self.classes) > 1 else [""]
        return {f"{prefix}prediction{name}": values[:, number] for number, name in enumerate(names)}

    def write(self, path: Path) -> None:
        """Write the table of :meth:`frame`; see :func:`write_predictions`."""
        write_predictions(path, [self])

    def metrics(self) -> dict[str, dict[str, float | None]]:
        """Compute the metrics of the fused output and of each modality's own.

        Returns:
            Under ``fused`` and under the name of each modality the metrics of
            :func:`equipoise.evaluation.metrics.task_metrics` and ``samples``, how many samples they are of: all
            with a known label, for a modality those of them that have it.

        Raises:
            DataError: No label is known.
            RunError: The values are no probabilities, e.g. not finite.
        """
        from equipoise.evaluation.metrics import task_metrics

        if self.target is None or not (labelled := known(self.target)).any():
            raise DataError("the data carry no known label, so predictions cannot be compared with the truth")
        outputs = {"fused": (self.probabilities, labelled)}
        outputs |= {name: (values, labelled & self.present[name]) for name, values in self.unimodal.items()}
        return {
            name: {**task_metrics(self.task, values[rows], self.target[rows]), "samples": int(rows.sum())}
            for name, (values, rows) in outputs.items()
        }


def write_predictions(path: Path, pieces: Iterable[Predictions]) -> None:
    """Write predictions as they come, as CSV or Parquet by the suffix of the file name; the file appears when all are there.

    Args:
        path: The file; one that exists is replaced.
        pieces: Predictions of one model for consecutive samples.

    Raises:
        ConfigError: The suffix is unknown, or Parquet is asked for and pyarrow is not installed.
        RunError: The file cannot be written; what was there before still is.
    """
    check_destination(path)
    write = _write_parquet if path.suffix.lower() == ".parquet" else _write_csv
    write_atomic(path, lambda new: write(new, _gathered(pieces)))


def _gathered(pieces: Iterable[Predictions]) -> Iterator[pd.DataFrame]:
    """The tables of many small pieces as those of fewer."""
    held: list[Predictions] = []
    for piece in pieces:
        held.append(piece)
        if sum(map(len, held)) >= _AT_ONCE:
            yield Predictions.concatenate(held).frame()
            held = []
    if held:
        yield Predictions.concatenate(held).frame()


def _write_csv(path: Path, frames: Iterable[pd.DataFrame]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        for number, frame in enumerate(frames):
            frame.to_csv(file, index=False, header=number == 0, lineterminator="\n")


def _write_parquet(path: Path, frames: Iterable[pd.DataFrame]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    with ExitStack() as stack:
        writer = None
        for frame in frames:
            table = pa.Table.from_pandas(frame, schema=writer and writer.schema, preserve_index=False)
            writer = writer or stack.enter_context(parquet.ParquetWriter(path, table.schema))
            writer.write_table(table)
