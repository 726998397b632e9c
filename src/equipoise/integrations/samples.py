"""A whole part of the caller's data, read once into memory, for methods that look at more than batches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from equipoise.data.loader import MemoryPart
from equipoise.errors import DataError


def read_samples(source: Any, modalities: Sequence[str], place: str, device: torch.device) -> MemoryPart:
    """Read all samples of a part.

    Args:
        source: ``(inputs, target)`` or ``(inputs, target, present)``, as a step takes them, or an iterable of such batches. Of a
            ``DataLoader`` all samples of its data set are read in their order, whatever order it draws them in.
        modalities: The modalities.
        place: How messages call it.
        device: Where the samples go.

    Raises:
        DataError: It is none of these, or lacks a modality.
    """
    with torch.random.fork_rng(devices=[]):  # a DataLoader draws a seed whenever it is passed over
        batches = [_batch(item, modalities, place) for item in _in_order(source)]
    if not batches:
        raise DataError(f"{place}: there are no samples in it")

    def join(values: Iterable[Tensor]) -> Tensor:
        return torch.cat(list(values)).to(device)

    inputs = {name: join(batch[0][name] for batch in batches) for name in modalities}
    present = {name: join(batch[2][name] for batch in batches) for name in modalities}
    target = join(batch[1] for batch in batches)
    found = {name: len(value) for name, value in {**inputs, "target": target}.items()}
    if len({*found.values(), *(len(mask) for mask in present.values())}) > 1:
        words = ", ".join(f"{name} {count}" for name, count in found.items())
        raise DataError(f"{place}: expected one row per sample in every modality, in present and in the target, found {words}")
    return MemoryPart(inputs, present, target)


def _in_order(source: Any) -> Iterable[Any]:
    if isinstance(source, tuple):
        return [source]
    if isinstance(source, DataLoader) and not isinstance(source.dataset, IterableDataset):
        size = source.batch_size or 64
        return DataLoader(source.dataset, size, collate_fn=source.collate_fn, num_workers=source.num_workers)
    return list(source) if isinstance(source, Iterable) else [source]


def _batch(item: Any, modalities: Sequence[str], place: str) -> tuple[dict[str, Tensor], Tensor, dict[str, Tensor]]:
    if not isinstance(item, (tuple, list)) or len(item) not in (2, 3):
        raise DataError(f"{place}: expected (inputs, target) or (inputs, target, present), found {type(item).__name__}")
    inputs, target = item[:2]
    for name in modalities:
        if name not in inputs:
            raise DataError(f"{place}: no modality {name!r} in its inputs, found {', '.join(map(str, inputs))}")
    stated = item[2] if len(item) == 3 else {}
    every = torch.ones(len(target), dtype=torch.bool)
    return dict(inputs), target, {name: stated.get(name, every) for name in modalities}
