"""Embedded data sets by name: they come with the software, no file is needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from equipoise.data.builtin.gaussian import gaussian
from equipoise.data.builtin.real import digits, wisconsin

BUILTIN: Mapping[str, Callable[[], Mapping[str, Any]]] = {"digits": digits, "gaussian": gaussian, "wisconsin": wisconsin}
"""Functions that return the arrays of each set, as :func:`~equipoise.data.sources.open_dataset` takes them."""
