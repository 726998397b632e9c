"""Randomness by key: every random draw follows from what it is for, so restarts and process counts cannot change it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

# Odd constants of the SplitMix64 generator (Steele, Lea, Flood 2014), as signed 64-bit numbers.
_GOLDEN = -7046029254386353131
_MIX_1 = -4658895280553007687
_MIX_2 = -7723592293110705685


def derive(*parts: object) -> int:
    """Return a 63-bit seed that depends on every part and nothing else.

    Args:
        parts: Anything with a stable ``repr``: seeds, epoch numbers, names.

    Example:
        >>> derive(0, "order", 3) == derive(0, "order", 3)
        True
        >>> derive(0, "order", 3) == derive(0, "order", 4)
        False
    """
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(*parts: object) -> torch.Generator:
    """Return a CPU generator seeded by :func:`derive`."""
    return torch.Generator().manual_seed(derive(*parts))


@contextmanager
def forked(*parts: object) -> Iterator[None]:
    """Run a block (the creation of a module, say) under a seed of its own and leave the global random state as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(*parts))
        yield


def _mix(value: Tensor) -> Tensor:
    value = (value ^ ((value >> 30) & 0x3FFFFFFFF)) * _MIX_1
    value = (value ^ ((value >> 27) & 0x1FFFFFFFFF)) * _MIX_2
    return value ^ ((value >> 31) & 0x1FFFFFFFF)


def keyed_uniform(index: Tensor, columns: int, *parts: object) -> Tensor:
    """Draw uniform numbers that depend on the sample, not on its place in a batch or on the process that holds it.

    The draw for sample ``i`` and column ``c`` is the SplitMix64 hash of ``(parts, i, c)``.

    Args:
        index: Sample numbers, of shape (batch,).
        columns: Numbers per sample.
        parts: What the numbers are for, e.g. seed, name and epoch.

    Returns:
        Numbers in [0, 1), float32 of shape (batch, columns).

    Example:
        >>> whole = keyed_uniform(torch.arange(4), 2, 0, "mask")
        >>> bool((whole[2:] == keyed_uniform(torch.tensor([2, 3]), 2, 0, "mask")).all())
        True
    """
    column = torch.arange(1, columns + 1, device=index.device, dtype=torch.int64)
    state = _mix((index.to(torch.int64) + 1) * _GOLDEN + derive(*parts))
    bits = _mix(state[:, None] + column * _GOLDEN)
    return ((bits >> 40) & 0xFFFFFF).to(torch.float32) / 16777216.0
