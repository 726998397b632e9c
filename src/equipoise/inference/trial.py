"""Samples on which two forms of a model are compared: of real data or made up, whole, with missing modalities, with gaps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from equipoise.data.dataset import Dataset
from equipoise.data.preprocessing import Preprocessing
from equipoise.data.rows import Rows, read_rows
from equipoise.data.schema import Modality, Schema

if TYPE_CHECKING:
    import pandas as pd

SAMPLES = 32
_GAPS = 0.1
_WORDS = ("one", "two", "three", "four", "five")


def trials(samples: Dataset | None, schema: Schema, preprocessing: Preprocessing) -> Iterator[tuple[str, Dataset]]:
    """Yield data sets with words for what they are.

    Args:
        samples: Real samples, a few of which are taken; None makes some up.
        schema: The schema of the run.
        preprocessing: Its preprocessing.
    """
    random = np.random.default_rng(0)
    if samples is None:
        whole, words = _made_up(schema, preprocessing, random), "made-up samples"
    else:
        rows = np.unique(np.linspace(0, len(samples) - 1, SAMPLES).astype(np.int64))
        chosen, words = samples.subset(rows), "samples of the data"
        whole = replace(chosen, inputs={name: read_rows(value, slice(None)) for name, value in chosen.inputs.items()})
    yield words, whole
    yield f"{words}, one alone", whole.subset(np.array([0]))
    keep = random.random((len(schema.names), len(whole))) < 0.5
    present = {name: whole.present[name] & keep[number] for number, name in enumerate(schema.names)}
    yield f"{words}, modalities missing at random", replace(whole, present=present)
    for name in schema.names:
        absent = {**whole.present, name: np.zeros(len(whole), dtype=bool)}
        yield f"{words}, no {name}", replace(whole, present=absent)
    yield f"{words}, values missing", _with_gaps(whole, random)


def _made_up(schema: Schema, preprocessing: Preprocessing, random: np.random.Generator) -> Dataset:
    return Dataset(
        schema=replace(schema, samples=SAMPLES),
        ids=np.arange(SAMPLES).astype(str),
        inputs={item.name: _rows(item, preprocessing.modalities[item.name], random) for item in schema.modalities},
        present={name: np.ones(SAMPLES, dtype=bool) for name in schema.names},
    )


def _rows(modality: Modality, preparation: Any, random: np.random.Generator) -> Rows:
    """Raw rows that are distributed somewhat like those of training."""
    import pandas as pd

    if modality.kind == "text":
        words = np.array(getattr(preparation, "terms", _WORDS), dtype=object)
        texts = [" ".join(random.choice(words, 5)) for _ in range(SAMPLES * len(modality.columns))]
        return pd.DataFrame(np.array(texts, dtype=object).reshape(SAMPLES, -1), columns=list(modality.columns))
    if modality.kind == "tabular":
        table: dict[str, Any] = {name: np.zeros(SAMPLES) for name in modality.columns}
        normal = random.normal(size=(len(preparation.numeric), SAMPLES))
        table |= dict(zip(preparation.numeric, preparation.mean[:, None] + preparation.scale[:, None] * normal, strict=True))
        for name in modality.categorical:
            table[name] = random.choice(np.array([*preparation.categories.get(name, ()), "unknown"], dtype=object), SAMPLES)
        return pd.DataFrame(table)
    steps = getattr(preparation, "steps", preparation)
    numbers = steps.mean.mean() + steps.scale.mean() * random.normal(size=(SAMPLES, *modality.shape))
    if modality.kind == "sequence":
        numbers[random.integers(1, modality.shape[0] + 1, SAMPLES)[:, None] <= np.arange(modality.shape[0])] = np.nan
    return cast("NDArray[np.float32]", numbers.astype(np.float32))


def _with_gaps(whole: Dataset, random: np.random.Generator) -> Dataset:
    """Values taken away at random; a sample that has none left lacks the modality, as a reader would find."""
    inputs, present = dict(whole.inputs), dict(whole.present)
    for modality in whole.schema.modalities:
        name, value = modality.name, whole.inputs[modality.name]
        if modality.kind == "text":
            continue
        gaps = random.random(value.shape) < _GAPS
        if isinstance(value, np.ndarray):
            numbers = np.where(gaps, np.nan, value)
            missing = np.isnan(numbers).reshape(len(numbers), -1).all(axis=1)
            inputs[name] = numbers
        else:
            table = cast("pd.DataFrame", value).mask(gaps)
            missing, inputs[name] = table.isna().all(axis=1).to_numpy(), table
        present[name] = present[name] & ~missing
    return replace(whole, inputs=inputs, present=present)
