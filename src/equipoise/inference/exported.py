"""A trained model as one module from raw numbers to predictions, in which nothing depends on the values of a batch.

Impute, standardise, clip, one-hot codes, the place of channels and the masks of missing modalities are arithmetic on buffers, so
that they go into a graph of operators together with the model. What is no arithmetic stays outside: decoding media files, and
turning text into numbers.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from equipoise.data.dataset import Dataset
from equipoise.data.prepare_array import ArrayPreparation
from equipoise.data.prepare_sequence import SequencePreparation
from equipoise.data.prepare_table import TablePreparation
from equipoise.data.preprocessing import Preparation
from equipoise.data.rows import read_rows
from equipoise.data.schema import Modality
from equipoise.errors import ConfigError
from equipoise.inference.predictor import Predictor
from equipoise.nn.multimodal import MultimodalModel
from equipoise.nn.per_modality import PerModality

if TYPE_CHECKING:
    import pandas as pd


class Inside(nn.Module):
    """The preparation of one modality, from what the exported model is given to what the encoder takes.

    Attributes:
        shape: Shape of one sample as it is given.
        dtype: Type of its numbers.
        steps: Whether the first dimension of a sample is of any length.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32
    steps: bool = False

    def given(self, modality: Modality, rows: Any) -> NDArray[np.floating]:
        """Return raw rows, as :func:`~equipoise.data.rows.read_rows` gives them, as the exported model is given them."""
        return np.array(rows, dtype=np.float64 if self.dtype == torch.float64 else np.float32)

    def observed(self, value: Tensor) -> Tensor:
        """Return which samples have any value, booleans of shape (batch,): without one a modality is absent, as in training."""
        return ~value.isnan().flatten(1).all(1)

    def described(self, modality: Modality) -> dict[str, Any]:
        """Return what a person who calls the exported model must know, as plain data."""
        first, *rest = self.shape
        return {
            "kind": modality.kind,
            "shape": ["batch", "steps" if self.steps else first, *rest],
            "dtype": str(self.dtype).removeprefix("torch."),
            "columns": list(modality.columns),
            "prepared": "raw numbers are given, prepared in the graph",
            "decoded": dict(modality.decode),
        }

    @abstractmethod
    def forward(self, value: Tensor) -> Tensor:
        """Return prepared samples of shape (batch, *prepared shape), float32."""


class _Scaled(Inside):
    """Numbers whose missing values are filled and that are standardised, in double precision as training did it."""

    fill: Tensor
    mean: Tensor
    scale: Tensor

    def __init__(self, preparation: TablePreparation | ArrayPreparation, along: tuple[int, ...]) -> None:
        super().__init__()
        self.clip = preparation.clip
        for name in ("fill", "mean", "scale"):
            self.register_buffer(name, torch.from_numpy(getattr(preparation, name)).reshape(along))

    def scaled(self, value: Tensor) -> Tensor:
        numbers = value.double()
        numbers = (torch.where(numbers.isnan(), self.fill, numbers) - self.mean) / self.scale
        return (numbers if self.clip is None else numbers.clamp(-self.clip, self.clip)).float()


class _Table(_Scaled):
    """Columns in their raw order, categories as their numbers."""

    chosen: Tensor
    dtype = torch.float64

    def __init__(self, preparation: TablePreparation) -> None:
        super().__init__(preparation, (-1,))
        self.shape = (len(preparation.columns),)
        place = {name: number for number, name in enumerate(preparation.columns)}
        self.register_buffer("chosen", torch.tensor([place[name] for name in preparation.numeric], dtype=torch.long))
        self.categories = {place[column]: names for column, names in preparation.categories.items()}

    def given(self, modality: Modality, rows: Any) -> NDArray[np.floating]:
        if not modality.categorical:
            return super().given(modality, rows)
        import pandas as pd

        table = cast("pd.DataFrame", rows)
        columns = []
        for number, name in enumerate(modality.columns):
            values = table[name]
            if name in modality.categorical:
                codes = pd.Index(np.array(self.categories.get(number, ()), dtype=object)).get_indexer(values.to_numpy(object))
                values = pd.Series(np.where(values.isna(), np.nan, codes))
            columns.append(values.to_numpy(dtype=np.float64))
        return np.stack(columns, axis=1)

    def described(self, modality: Modality) -> dict[str, Any]:
        categories = {modality.columns[number]: list(names) for number, names in self.categories.items()}
        return {**super().described(modality), "categories": categories}

    def forward(self, value: Tensor) -> Tensor:
        parts = [self.scaled(value.index_select(1, self.chosen))]
        for place, names in self.categories.items():
            codes = torch.arange(len(names), dtype=value.dtype, device=value.device)
            parts.append((value[:, place : place + 1] == codes).float())
        return torch.cat(parts, 1)


class _Array(_Scaled):
    """Images, sound, videos and other arrays."""

    def __init__(self, preparation: ArrayPreparation) -> None:
        trailing = len(preparation.raw_shape) - 1
        super().__init__(preparation, (-1, *[1] * trailing) if preparation.layout == "first" else (-1,))
        self.shape = preparation.raw_shape
        self.layout = preparation.layout

    def forward(self, value: Tensor) -> Tensor:
        numbers = self.scaled(value)
        if self.layout == "none":
            return numbers.unsqueeze(1)
        if self.layout in ("last", "frames"):
            return numbers.movedim(-1, 1 if self.layout == "last" else 2)
        return numbers


class _Sequence(_Scaled):
    """Time steps, as many as there are, with NaN after the end of a shorter sequence."""

    dtype = torch.float64
    steps = True

    def __init__(self, preparation: SequencePreparation) -> None:
        super().__init__(preparation.steps, (-1,))
        self.length = preparation.length
        self.shape = (preparation.length, *preparation.steps.raw_shape)

    def forward(self, value: Tensor) -> Tensor:
        longer = torch.cat([value, value.new_full((value.shape[0], *self.shape), float("nan"))], 1)
        known = (~longer.isnan().all(2)).long()
        # A step is real if it or any later one has a value.
        real = (known.sum(1, keepdim=True) - known.cumsum(1) + known > 0)[:, : self.length, None]
        numbers = torch.where(real, self.scaled(longer[:, : self.length]), 0.0)
        return torch.cat([numbers, real.float()], 2).transpose(1, 2)


class _Outside(Inside):
    """What was prepared before: numbers of terms or tokens, weights of words."""

    def __init__(self, preparation: Preparation) -> None:
        super().__init__()
        self.shape = preparation.shape
        self._preparation = preparation

    def described(self, modality: Modality) -> dict[str, Any]:
        words = "outside: what the preparation below gives is given"
        found = {"kind": type(self._preparation).__name__, **self._preparation.to_json()}
        return {**super().described(modality), "prepared": words, "preparation": found}

    def given(self, modality: Modality, rows: Any) -> NDArray[np.floating]:
        return self._preparation.transform(rows)

    def forward(self, value: Tensor) -> Tensor:
        return value


_INSIDE: dict[type[Any], type[Any]] = {
    TablePreparation: _Table,
    ArrayPreparation: _Array,
    SequencePreparation: _Sequence,
}


class ExportedModel(nn.Module):
    """A run's model with its preparation, for any number of samples of which each may lack any modality.

    It gives what :class:`~equipoise.inference.predictor.Predictor` gives. Instead of leaving samples that lack a modality out of
    its encoder, it encodes zeros in their place and sets the features to zero: in evaluation mode no sample depends on others.

    Args:
        predictor: The trained model; it is copied.

    Raises:
        ConfigError: An encoder uses the sample graph, or the method predicts by a module of its own kind.

    Example:
        >>> from equipoise.run import fit
        >>> run = fit("wisconsin", epochs=1, progress=False, device="cpu")
        >>> model, every = ExportedModel(run.predictor), torch.ones(4) > 0
        >>> inputs = {name: torch.zeros(4, 10, dtype=torch.float64) for name in ("mean", "error", "worst")}
        >>> said = model(inputs, {"mean": every, "error": every, "worst": ~every})
        >>> said["fused"].shape, bool(said["mean"].isnan().any()), bool(said["worst"].isnan().all())
        (torch.Size([4, 2]), False, True)
    """

    def __init__(self, predictor: Predictor) -> None:
        super().__init__()
        module = predictor.module
        if not isinstance(module, MultimodalModel):
            raise ConfigError(f"a run whose method predicts by a {type(module).__name__} cannot be exported")
        if module.graph_modalities:
            raise ConfigError(
                f"modality {module.graph_modalities[0]!r}: its encoder compares samples with those of training by the sample "
                "graph, which cannot be exported; expected encoders that see each sample by itself"
            )
        self.model = copy.deepcopy(module).cpu().eval()
        self.schema = predictor.schema
        prepare = predictor.preprocessing.modalities
        self.inside = PerModality({name: _INSIDE.get(type(item), _Outside)(item) for name, item in prepare.items()})
        self.eval()

    def forward(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return predictions.

        Args:
            inputs: Per modality samples of shape (batch, ...); NaN is a missing number. Where a modality is absent, anything.
            present: Per modality which samples have it, booleans of shape (batch,).

        Returns:
            Under ``fused`` and the name of each modality the probabilities of shape (batch, classes), for regression the
            predicted numbers; NaN where a modality is absent.
        """
        have, features = {}, {}
        for name in self.model.modalities:
            inside, value = cast("Inside", self.inside[name]), inputs[name]
            have[name] = present[name] & inside.observed(value)
            prepared = inside(value)
            prepared = torch.where(have[name].reshape(-1, *[1] * (prepared.ndim - 1)), prepared, 0.0)
            encoded = self.model.encoders[name](prepared)
            features[name] = torch.where(have[name][:, None], encoded, 0.0)
        said = {"fused": self.model.task.predictions(self.model.fuse(features, have))}
        for name, logits in self.model.unimodal(features, have).items():
            said[name] = torch.where(have[name][:, None], self.model.task.predictions(logits), float("nan"))
        return said

    def given(self, dataset: Dataset) -> tuple[dict[str, NDArray[np.floating]], dict[str, NDArray[np.bool_]]]:
        """Return samples as :meth:`forward` is given them, as arrays.

        Args:
            dataset: Samples with the schema of the run.
        """
        every = slice(None)
        inputs = {
            name: cast("Inside", self.inside[name]).given(dataset.schema[name], read_rows(dataset.inputs[name], every))
            for name in self.model.modalities
        }
        return inputs, {name: np.array(dataset.present[name]) for name in self.model.modalities}
