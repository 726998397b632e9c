"""Layouts: how published data sets lie in their folders, one file per set. To read another set, add a file here."""

from __future__ import annotations

from equipoise.data.layouts.base import Layout
from equipoise.errors import ConfigError, suggest
from equipoise.registry import Registry

LAYOUTS: Registry[type[Layout]] = Registry("layout", package="equipoise.data.layouts")


def open_layout(word: str) -> Layout:
    """Return a layout by its name, with one of its variants behind a colon where it has several.

    Args:
        word: ``crema_d``, or ``ucf101:split2``.

    Raises:
        ConfigError: There is no such layout or variant.

    Example:
        >>> open_layout("ucf101").variant, open_layout("ucf101:split2").variant
        ('split1', 'split2')
    """
    name, colon, variant = word.partition(":")
    cls = LAYOUTS.get(name)
    if colon and not cls.variants:
        raise ConfigError(f"layout {name!r} has no variants, found {word!r}")
    if colon and variant not in cls.variants:
        raise ConfigError(f"layout {name!r} has no variant {variant!r}, {suggest(variant, cls.variants)}")
    return cls(name, variant or next(iter(cls.variants), ""))
