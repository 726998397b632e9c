"""Prepared samples, in memory or streamed from disk, as batches on a device."""

from __future__ import annotations

import multiprocessing
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from math import ceil, prod
from multiprocessing.context import BaseContext
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, get_worker_info
from torch.utils.data import Dataset as TorchDataset

from equipoise.batch import Batch, Neighbours
from equipoise.errors import ConfigError, EquipoiseError
from equipoise.seeding import generator

if TYPE_CHECKING:
    from equipoise.data.augment import Augmentation
    from equipoise.data.dataset import Dataset
    from equipoise.data.graph import SampleGraph
    from equipoise.data.preprocessing import Preprocessing

# Up to this size a part is put into the order of an epoch at once and batches are views; above it each batch is gathered.
_REORDER_BYTES = 16 * 2**20


class Part(ABC):
    """One part of the data (train, validation, or what is to be predicted), prepared.

    Attributes:
        target: Targets of shape (samples,), or None.
        present: Per modality which samples have it.
        complete: The modalities that every sample has.
        group: Number of each sample's group on the CPU, of shape (samples,); None where the data state no groups.
    """

    target: Tensor | None
    present: dict[str, Tensor]
    complete: frozenset[str]
    group: Tensor | None = None

    def __len__(self) -> int:
        return len(next(iter(self.present.values())))

    @abstractmethod
    def batches(self, rows: Sequence[Tensor], totals: Sequence[int]) -> Iterator[Batch]:
        """Yield one batch per tensor of row numbers.

        Args:
            rows: Row numbers of each batch, each of shape (batch,).
            totals: Samples of each whole batch over all processes.
        """


class MemoryPart(Part):
    """A part whose prepared samples are tensors on the device; a batch is a gather or a view.

    Args:
        inputs: Prepared samples per modality, each of shape (samples, ...).
        present: Which samples have each modality, booleans of shape (samples,).
        target: Targets of shape (samples,), or None.
        neighbours: Edges to the nodes of a graph, for each modality whose encoder uses one; none by default.
    """

    def __init__(
        self,
        inputs: Mapping[str, Tensor],
        present: Mapping[str, Tensor],
        target: Tensor | None,
        neighbours: Mapping[str, Neighbours] | None = None,
    ) -> None:
        self.inputs = dict(inputs)
        self.present = dict(present)
        self.target = target
        self.neighbours = dict(neighbours or {})
        self.complete = frozenset(name for name, mask in present.items() if bool(mask.all()))
        tensors = [*inputs.values(), *(part for item in self.neighbours.values() for part in (item.nodes, item.weights))]
        self._small = sum(value.numel() * value.element_size() for value in tensors) <= _REORDER_BYTES

    def _take(self, rows: Tensor, total: int) -> Batch:
        place = rows.to(next(iter(self.inputs.values())).device)
        return Batch(
            # index_select copies the same rows as indexing by a tensor, several times faster on a CPU.
            {name: value.index_select(0, place) for name, value in self.inputs.items()},
            {name: value.index_select(0, place) for name, value in self.present.items()},
            None if self.target is None else self.target.index_select(0, place),
            place,
            self.complete,
            total,
            neighbours={name: value.take(place) for name, value in self.neighbours.items()},
        )

    def batches(self, rows: Sequence[Tensor], totals: Sequence[int]) -> Iterator[Batch]:
        if not self._small or len(rows) == 1:
            for chosen, total in zip(rows, totals, strict=True):
                yield self._take(chosen, total)
            return
        # One gather for the whole epoch costs a tenth of one per batch; the batches are then cut in one call per tensor.
        whole = self._take(torch.cat(list(rows)), 0)
        sizes = [len(chosen) for chosen in rows]
        inputs = {name: value.split(sizes) for name, value in whole.inputs.items()}
        present = {name: value.split(sizes) for name, value in whole.present.items()}
        target = None if whole.target is None else whole.target.split(sizes)
        index = whole.index.split(sizes)
        neighbours = {name: value.split(sizes) for name, value in whole.neighbours.items()}
        for number, total in enumerate(totals):
            yield Batch(
                {name: parts[number] for name, parts in inputs.items()},
                {name: parts[number] for name, parts in present.items()},
                None if target is None else target[number],
                index[number],
                self.complete,
                total,
                neighbours={name: parts[number] for name, parts in neighbours.items()},
            )


class _Rows(TorchDataset[dict[str, Tensor] | EquipoiseError]):
    """Prepares the rows of a batch in a worker process; what a file broken since then raises is handed on as it is."""

    def __init__(self, dataset: Dataset, preprocessing: Preprocessing) -> None:
        self._dataset = dataset
        self._preprocessing = preprocessing

    def __getitem__(self, rows: Any) -> dict[str, Tensor] | EquipoiseError:
        prepared = {name: _room((len(rows), *shape)) for name, shape in self._preprocessing.shapes.items()}
        try:
            self._preprocessing.fill(self._dataset, rows, {name: value.numpy() for name, value in prepared.items()})
        except EquipoiseError as error:
            return error
        return prepared


def _room(shape: tuple[int, ...]) -> Tensor:
    """A tensor that holds nothing yet; in a worker it is where the main process can read it, so that no batch is copied."""
    if get_worker_info() is None:
        return torch.empty(shape, dtype=torch.float32)
    storage = torch.UntypedStorage._new_shared(torch.float32.itemsize * prod(shape))
    return torch.empty(0, dtype=torch.float32).set_(storage).view(shape)


class _Order:
    """The batches of the next pass over a part; workers that stay alive get a new one for each pass."""

    def __init__(self, rows: Sequence[Tensor] = ()) -> None:
        self.rows = rows

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        # A worker gets an array through the pipe; for a tensor it would have to ask this process for a piece of memory.
        return (chosen.numpy() for chosen in self.rows)

    def __len__(self) -> int:
        return len(self.rows)


def _worker_context() -> BaseContext:
    """Workers must not inherit this process's threads and locks; their server imports for all, so that they start fast."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "pandas"])
    return context


class StreamPart(Part):
    """A part that is prepared batch by batch, in worker processes, from arrays that stay on disk.

    Args:
        dataset: The raw samples.
        preprocessing: How they are prepared.
        device: Where batches go.
        workers: Number of worker processes; 0 prepares in this one.
    """

    def __init__(self, dataset: Dataset, preprocessing: Preprocessing, device: torch.device, workers: int) -> None:
        self._rows = _Rows(dataset, preprocessing)
        self._device = device
        self._workers = workers
        self.present = {name: torch.from_numpy(mask) for name, mask in dataset.present.items()}
        self.target = None if dataset.target is None else torch.from_numpy(dataset.target).to(device)
        self.complete = frozenset(name for name, mask in self.present.items() if bool(mask.all()))

        self._order = _Order()
        self._kept: DataLoader[Any] | None = None
        self._busy = False

    def batches(self, rows: Sequence[Tensor], totals: Sequence[int]) -> Iterator[Batch]:
        if self._busy:  # somebody passes over the part inside a pass over it
            loader = self._loader(_Order(rows), keep=False)
        else:
            # Starting workers takes longer than many a small epoch: they stay, and get a new order.
            self._order.rows = rows
            loader = self._kept = self._kept or self._loader(self._order, keep=self._workers > 0)
        mine, self._busy = not self._busy, True
        try:
            for chosen, total, prepared in zip(rows, totals, loader, strict=True):
                if isinstance(prepared, EquipoiseError):
                    raise prepared
                present = {name: mask.index_select(0, chosen) for name, mask in self.present.items()}
                target = None if self.target is None else self.target.index_select(0, chosen.to(self._device))
                yield Batch(prepared, present, target, chosen, self.complete, total).to(self._device)
        finally:
            self._busy = not mine

    def _loader(self, order: _Order, keep: bool) -> DataLoader[Any]:
        return DataLoader(
            self._rows,
            batch_size=None,
            sampler=order,
            num_workers=self._workers,
            persistent_workers=keep,
            pin_memory=self._device.type == "cuda",
            multiprocessing_context=_worker_context() if self._workers else None,
        )


def make_part(
    dataset: Dataset,
    preprocessing: Preprocessing,
    device: torch.device,
    loader: str = "auto",
    workers: int = 0,
    graph: SampleGraph | None = None,
    known: Mapping[str, Tensor] | None = None,
) -> Part:
    """Prepare a data set for batches.

    Args:
        dataset: The raw samples.
        preprocessing: How they are prepared.
        device: Where batches go.
        loader: ``memory``, ``stream``, or ``auto``: in memory if the prepared samples take less than half of what is free.
        workers: Worker processes when data are streamed.
        graph: The graph that encoders use, if any do; the samples are then prepared in memory.
        known: Samples of some modalities, on the device, that were prepared so before; not with a graph.
    """
    part = _make_part(dataset, preprocessing, device, loader, workers, graph, known or {})
    if dataset.group is not None:
        part.group = torch.from_numpy(np.unique(dataset.group, return_inverse=True)[1])
    return part


def _make_part(
    dataset: Dataset,
    preprocessing: Preprocessing,
    device: torch.device,
    loader: str,
    workers: int,
    graph: SampleGraph | None,
    known: Mapping[str, Tensor],
) -> Part:
    shapes = {name: shape for name, shape in preprocessing.shapes.items() if name not in known}
    size = len(dataset) * sum(4 * prod(shape) for shape in shapes.values())
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if graph is None and (loader == "stream" or (loader == "auto" and size > free / 2)):
        return StreamPart(dataset, preprocessing, device, workers)
    prepared = preprocessing.transform(dataset, shapes)
    neighbours: Mapping[str, Neighbours] = {}
    if graph is not None:
        prepared, neighbours = graph.place(prepared, dataset.present)
    new = {name: torch.from_numpy(value).to(device) for name, value in prepared.items()}
    inputs = {name: known[name] if name in known else new[name] for name in preprocessing.shapes}
    present = {name: torch.from_numpy(mask).to(device) for name, mask in dataset.present.items()}
    target = None if dataset.target is None else torch.from_numpy(dataset.target).to(device)
    return MemoryPart(inputs, present, target, {name: value.to(device) for name, value in neighbours.items()})


class Loader:
    """Batches of a part: shuffled for training, in order for everything else.

    The order of an epoch follows from the seed and the epoch alone, whatever the number of processes; each process gets its
    share of every batch. Batches of an epoch differ in size by at most one sample, so there is no small last one.

    Args:
        part: The samples.
        batch_size: Most samples per batch, over all processes.
        seed: Seed of the order.
        rank: Number of this process.
        world: Number of processes.
        rows: Numbers of the samples that training epochs use, of shape (samples,); None uses all.
        augment: What is changed at random in the batches of training epochs; None leaves them as they are.

    Raises:
        ConfigError: A batch would give a process no sample.
    """

    def __init__(
        self,
        part: Part,
        batch_size: int,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        rows: Tensor | None = None,
        augment: Augmentation | None = None,
    ) -> None:
        self.part = part
        self._rows = torch.arange(len(part)) if rows is None else rows.cpu()
        samples = len(self._rows)
        self.count = ceil(samples / batch_size)
        if samples // self.count < world:
            raise ConfigError(
                f"batch_size = {batch_size} gives {samples} samples in {self.count} batches, too few for {world} processes"
            )
        self._batch_size, self._seed, self._rank, self._world = batch_size, seed, rank, world
        self._augment = augment

    def epoch(self, epoch: object, weights: Tensor | None = None, skip: int = 0) -> Iterator[Batch]:
        """Yield the batches of a training epoch.

        Args:
            epoch: What tells the epoch from others, e.g. its phase and number; keys the order.
            weights: Relative frequency of each sample, of shape (samples,), drawn with replacement; None takes each once.
            skip: Leave out this many first batches (they were done before an interruption).
        """
        random = generator(self._seed, "order", epoch)
        if weights is None:
            order = torch.randperm(len(self._rows), generator=random)
        else:
            order = torch.multinomial(weights.cpu()[self._rows], len(self._rows), replacement=True, generator=random)
        chunks = self._rows[order].tensor_split(self.count)[skip:]
        totals = [len(chunk) for chunk in chunks]
        mine = chunks if self._world == 1 else [chunk.tensor_split(self._world)[self._rank] for chunk in chunks]
        for batch in self.part.batches(mine, totals) if mine else ():
            yield batch if self._augment is None else self._augment(batch, epoch)

    def ordered(self) -> Iterator[Batch]:
        """Yield all samples once, in order, in every process; nothing is left out."""
        rows = torch.arange(len(self.part)).split(max(self._batch_size, 1024))
        yield from self.part.batches(rows, [len(chosen) for chosen in rows])
