"""Preprocessing: raw inputs become float32 arrays by statistics of the training part alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import prod
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from equipoise.config import PreprocessingOptions
from equipoise.data.dataset import Dataset
from equipoise.data.prepare_array import ArrayPreparation
from equipoise.data.prepare_hashing import HashedText
from equipoise.data.prepare_sequence import SequencePreparation
from equipoise.data.prepare_table import TablePreparation
from equipoise.data.prepare_text import TextPreparation
from equipoise.data.prepare_tokens import TokenizedText
from equipoise.data.rows import CHUNK, Rows, read_rows
from equipoise.data.schema import Modality
from equipoise.data.text import text_form
from equipoise.errors import DataError

FORMAT = 1

TextForm: TypeAlias = TextPreparation | HashedText | TokenizedText
Preparation: TypeAlias = TablePreparation | ArrayPreparation | TextForm | SequencePreparation
_KINDS: dict[str, type[Preparation]] = {
    "table": TablePreparation,
    "array": ArrayPreparation,
    "text": TextPreparation,
    "hashed_text": HashedText,
    "tokenized_text": TokenizedText,
    "sequence": SequencePreparation,
}
_FORMS: dict[str, type[TextForm]] = {"tfidf": TextPreparation, "hashing": HashedText, "huggingface": TokenizedText}


@dataclass(frozen=True)
class Preprocessing:
    """What is done to the raw inputs of each modality; plain numbers and names, no code.

    Attributes:
        modalities: Per modality its preparation.
        options: The options it was fitted with.

    Example:
        >>> from equipoise.data.sources import open_dataset
        >>> data = open_dataset({"a": np.array([[0.0, 5.0], [2.0, 5.0]])}, target=[0, 1])
        >>> preprocessing = Preprocessing.fit(data)
        >>> preprocessing.transform(data)["a"].tolist(), preprocessing.modalities["a"].constant
        ([[-1.0], [1.0]], ('1',))
    """

    modalities: Mapping[str, Preparation]
    options: PreprocessingOptions

    @classmethod
    def fit(
        cls, train: Dataset, options: PreprocessingOptions | None = None, known: Sequence[Preprocessing] = ()
    ) -> Preprocessing:
        """Fit on the training part.

        Args:
            train: The training samples, and no others.
            options: What to do.
            known: Others that were fitted on the same samples; what the options say nothing new of is taken from them as it is.

        Returns:
            The fitted preprocessing.

        Raises:
            DataError: A modality is absent from all training samples, has no column that varies, or no word in two samples.
        """
        options = options or PreprocessingOptions()
        fitted: dict[str, Preparation] = {}
        for modality in train.schema.modalities:
            own = _own(options, modality)
            same = (item.modalities[modality.name] for item in known if _own(item.options, modality) == own)
            fitted[modality.name] = next(same, None) or _fit(train, modality, options)
        return cls(fitted, options)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Per modality the shape of one prepared sample; (channels, height, width) for images."""
        return {name: preparation.shape for name, preparation in self.modalities.items()}

    def transform(self, dataset: Dataset, modalities: Iterable[str] | None = None) -> dict[str, NDArray[np.float32]]:
        """Prepare all samples in memory.

        Args:
            dataset: Samples with the schema of the training part.
            modalities: The modalities that are wanted; all when not given.

        Returns:
            Per modality an array of shape (samples, *prepared shape); zeros where a sample lacks the modality.
        """
        names = self.modalities if modalities is None else modalities
        prepared = {name: np.empty((len(dataset), *self.modalities[name].shape), dtype=np.float32) for name in names}
        self.fill(dataset, np.arange(len(dataset)), prepared)
        return prepared

    def fill(self, dataset: Dataset, rows: NDArray[np.int64], prepared: Mapping[str, NDArray[np.float32]]) -> None:
        """Prepare some samples into arrays that are there.

        Args:
            dataset: Samples with the schema of the training part.
            rows: Numbers of the wanted samples, of shape (chosen,).
            prepared: Per wanted modality an array of shape (chosen, *prepared shape), whatever it holds; afterwards what
                :meth:`transform` gives.
        """
        for name, place in prepared.items():
            self._fill(name, dataset.inputs[name], rows, dataset.present[name][rows], place)

    def transform_rows(self, modality: str, raw: Any) -> NDArray[np.float32]:
        """Prepare some raw rows of one modality, as :func:`~equipoise.data.rows.read_rows` gives them.

        Args:
            modality: Its name.
            raw: Raw rows of shape (samples, ...); those of absent samples give numbers that mean nothing.

        Returns:
            Prepared rows of shape (samples, *prepared shape).
        """
        transform: Callable[[Any], NDArray[np.float32]] = self.modalities[modality].transform
        return transform(raw)

    def _fill(
        self, name: str, value: Rows, rows: NDArray[np.int64], present: NDArray[np.bool_], prepared: NDArray[np.float32]
    ) -> None:
        preparation, known = self.modalities[name], np.flatnonzero(present)
        if len(known) < len(present):
            prepared[~present] = 0
        step = max(1, CHUNK // max(1, prod(value.shape[1:]), prod(preparation.shape)))
        for start in range(0, len(known), step):
            part = known[start : start + step]
            raw: Any = read_rows(value, rows[part])
            if isinstance(preparation, ArrayPreparation) and part[-1] - part[0] < len(part):
                preparation.transform(raw, prepared[part[0] : part[-1] + 1])  # pictures are large: no copy
            else:
                prepared[part] = preparation.transform(raw)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON data; :meth:`from_json` is its inverse, to the last bit."""
        kinds = {preparation: kind for kind, preparation in _KINDS.items()}
        modalities = {name: {"kind": kinds[type(item)], **item.to_json()} for name, item in self.modalities.items()}
        return {"format": FORMAT, "options": asdict(self.options), "modalities": modalities}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Preprocessing:
        """Rebuild from :meth:`to_json`'s data.

        Raises:
            DataError: The data are not those of a preprocessing.
        """
        if value.get("format") != FORMAT:
            raise DataError(f"preprocessing has format {value.get('format')!r}, expected {FORMAT}")
        try:
            modalities = {
                name: _KINDS[item["kind"]].from_json({key: entry for key, entry in item.items() if key != "kind"})
                for name, item in value["modalities"].items()
            }
            return cls(modalities, PreprocessingOptions(**value["options"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"preprocessing is damaged: {error!r}") from error


def _own(options: PreprocessingOptions, modality: Modality) -> tuple[object, ...]:
    """Return what of the options the preparation of a modality may depend on."""
    return replace(options, text=None), text_form(options.text, modality.name) if modality.kind == "text" else None


def _fit(train: Dataset, modality: Modality, options: PreprocessingOptions) -> Preparation:
    value: Any = train.inputs[modality.name]
    present = train.present[modality.name]
    if not present.any():
        raise DataError(f"modality {modality.name!r}: no sample of the training part has it, expected at least one")
    if modality.kind == "tabular":
        return TablePreparation.fit(modality, value, present, options)
    if modality.kind == "text":
        return _FORMS[text_form(options.text, modality.name).name].fit(modality, value, present, options)
    if modality.kind == "sequence":
        return SequencePreparation.fit(modality, value, present, options)
    return ArrayPreparation.fit(modality, value, present, options)
