"""Registries: a component is found because its file is there, not because a list names it."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from equipoise.errors import ConfigError, first_line, suggest

T = TypeVar("T")


class Registry(Generic[T]):
    """Components of one kind by name.

    The modules of ``package`` are imported on first use, which runs their ``register`` decorators. Other distributions add
    components by an entry point in the group ``equipoise.<kind>s`` that names a module to import.

    Args:
        kind: What the components are, for messages: ``"method"``.
        package: The package whose modules hold them.

    Example:
        >>> shapes = Registry[int]("shape")
        >>> shapes.register("square")(4)
        4
        >>> shapes.get("square")
        4
    """

    def __init__(self, kind: str, package: str | None = None) -> None:
        self.kind = kind
        self._package = package
        self._items: dict[str, T] = {}
        self._discovered = package is None

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that registers a component under ``name``.

        Args:
            name: Lower-case name, words joined by underscores; unique within the registry.

        Raises:
            ConfigError: The name is not well formed or is taken by another component.
        """
        if not (name.isidentifier() and name == name.lower() and not name.startswith("_") and not name.endswith("_")):
            raise ConfigError(f"{self.kind} name {name!r} must be lower-case words joined by underscores")

        def add(item: T) -> T:
            known = self._items.get(name)
            if known is not None and _origin(known) != _origin(item):
                raise ConfigError(f"{self.kind} {name!r} is registered twice: by {_origin(known)} and {_origin(item)}")
            self._items[name] = item
            return item

        return add

    def _discover(self) -> None:
        if self._discovered:
            return
        self._discovered = True
        assert self._package is not None
        package = importlib.import_module(self._package)
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{self._package}.{module.name}")
        for entry in entry_points(group=f"equipoise.{self.kind}s"):
            try:
                entry.load()
            except Exception as error:  # code of somebody else may raise anything
                owner = f"the package {entry.dist.name}" if entry.dist else "an installed package"
                words = f"{type(error).__name__}: {first_line(error)}"
                raise ConfigError(
                    f"{self.kind} {entry.name!r}: {owner} says that it is in {entry.value}, which cannot be imported ({words})"
                ) from error

    def names(self) -> list[str]:
        """Return all names, sorted."""
        self._discover()
        return sorted(self._items)

    def get(self, name: str) -> T:
        """Return the component called ``name``.

        Raises:
            ConfigError: There is none; the message offers the nearest name.
        """
        self._discover()
        if name not in self._items:
            raise ConfigError(f"unknown {self.kind} {name!r}, {suggest(name, self._items)}")
        return self._items[name]


def _origin(item: object) -> str:
    return f"{getattr(item, '__module__', '')}.{getattr(item, '__qualname__', repr(item))}"
