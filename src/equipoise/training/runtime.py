"""Where training runs: the device, the number format, and the other processes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from equipoise.errors import ConfigError

T = TypeVar("T")


def choose_device(name: str, local_rank: int = 0) -> torch.device:
    """Return the device called ``name``.

    Args:
        name: ``auto`` (CUDA where there is one), ``cpu``, ``cuda``, ``cuda:0`` ...
        local_rank: Number of this process on its machine; picks the GPU where ``name`` does not.

    Raises:
        ConfigError: There is no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"device = {name!r} is not valid, expected auto, cpu, cuda or cuda:0") from error
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise ConfigError(f"device = {name!r}: this machine has no usable CUDA device; use cpu")
        index = local_rank if device.index is None else device.index
        if index >= torch.cuda.device_count():
            raise ConfigError(f"device = {name!r}: this machine has {torch.cuda.device_count()} CUDA devices")
        return torch.device("cuda", index)
    return device


class Runtime:
    """The device, the number format and the process group of one training run.

    Under ``torchrun`` the processes find each other by the environment variables it sets; alone, every exchange between
    processes is free. Gradients are averaged explicitly rather than by ``DistributedDataParallel``: half of the methods use
    partial backward passes or modules that appear in mid-run, which the wrapper does not average.

    Args:
        device: Name of the device, see :func:`choose_device`.
        precision: ``float32`` or ``bfloat16``.

    Raises:
        ConfigError: There is no such device.
    """

    def __init__(self, device: str = "auto", precision: str = "float32") -> None:
        self.world = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        self.device = choose_device(device, int(os.environ.get("LOCAL_RANK", "0")))
        self._bfloat16 = precision == "bfloat16"
        if self.world > 1 and not dist.is_initialized():
            dist.init_process_group("nccl" if self.device.type == "cuda" else "gloo")

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes files and speaks to people."""
        return self.rank == 0

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context in which forward passes run."""
        return torch.autocast(self.device.type, torch.bfloat16) if self._bfloat16 else nullcontext()

    def sum(self, value: Tensor) -> Tensor:
        """Return the sum of ``value`` over processes."""
        if self.world > 1:
            value = value.detach().clone()
            dist.all_reduce(value)
        return value

    def mean(self, value: Tensor) -> Tensor:
        """Return the mean of ``value`` over processes."""
        return self.sum(value) / self.world if self.world > 1 else value

    def any(self, *flags: bool) -> list[bool]:
        """Return for each flag whether it is set in some process."""
        if self.world == 1:
            return list(flags)
        return [count > 0 for count in self.sum(torch.tensor([float(flag) for flag in flags], device=self.device)).tolist()]

    def average(self, gradients: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Average gradients over processes.

        Args:
            gradients: One gradient (or None) per parameter, in an order that all processes share.

        Returns:
            The averages. A gradient is None only if it is None in every process; where a process lacks one (its samples lack
            the modality), it counts as zero.
        """
        if self.world == 1:
            return list(gradients)
        # Which gradients exist, and how large they are, travels first: a process that lacks one must reserve its place.
        sizes = self._largest(torch.tensor([0 if item is None else item.numel() for item in gradients], device=self.device))
        some = next((item for item in gradients if item is not None), None)
        dtype = torch.float32 if some is None else some.dtype
        pieces = [
            torch.zeros(size, dtype=dtype, device=self.device) if item is None else item.reshape(-1)
            for item, size in zip(gradients, sizes, strict=True)
        ]
        flat = torch.cat(pieces)
        dist.all_reduce(flat)
        parts = (flat / self.world).split(sizes)
        return [
            None if size == 0 else part if item is None else part.view_as(item)
            for item, part, size in zip(gradients, parts, sizes, strict=True)
        ]

    def _largest(self, value: Tensor) -> list[int]:
        dist.all_reduce(value, op=dist.ReduceOp.MAX)
        numbers: list[int] = value.tolist()
        return numbers

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Average the gradients of parameters over processes in place; see :meth:`average`."""
        if self.world == 1:
            return
        items = list(parameters)
        for item, gradient in zip(items, self.average([item.grad for item in items]), strict=True):
            item.grad = None if gradient is None else gradient.view_as(item)

    def share(self, value: T) -> T:
        """Return the main process's ``value`` in every process; for small plain data."""
        if self.world == 1:
            return value
        box: list[Any] = [value]
        dist.broadcast_object_list(box, src=0)
        result: T = box[0]
        return result

    def share_weights(self, module: nn.Module) -> None:
        """Give every process the main process's parameters and buffers."""
        if self.world > 1:
            for value in [*module.parameters(), *module.buffers()]:
                dist.broadcast(value.data, src=0)

    def wait(self) -> None:
        """Wait for all processes."""
        if self.world > 1:
            dist.barrier()

    def close(self) -> None:
        """Leave the process group."""
        if self.world > 1 and dist.is_initialized():
            dist.destroy_process_group()
