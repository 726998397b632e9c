"""How much of what lies on disk may be taken into memory."""

from __future__ import annotations

import os

_SHARE = 4


def free_bytes() -> int:
    """Return how many bytes of memory are free."""
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def fits(size: int) -> bool:
    """Return whether so many bytes may be held: a quarter of what is free, because the parts of a split are copies.

    Args:
        size: Number of bytes.
    """
    return size <= free_bytes() // _SHARE


def copyable(size: int) -> bool:
    """Return whether what is held already can be copied once more, as it must be if it can be nowhere but in memory.

    Args:
        size: Number of bytes.
    """
    return size <= free_bytes()


def readable(size: int) -> str:
    """Return a number of bytes as people write it.

    Example:
        >>> readable(1536), readable(3 * 2**30)
        ('1.5 KiB', '3.0 GiB')
    """
    power = min(4, max(0, size.bit_length() - 1) // 10)
    return f"{size / 1024**power:.1f} {('B', 'KiB', 'MiB', 'GiB', 'TiB')[power]}"
