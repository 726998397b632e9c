"""Balanced multimodal learning: train models in which no modality starves another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from equipoise._version import __version__

if TYPE_CHECKING:
    from equipoise.diagnosis.diagnose import diagnose
    from equipoise.errors import EquipoiseError
    from equipoise.integrations.loop import Balancer
    from equipoise.integrations.sklearn import BalancedClassifier, BalancedRegressor
    from equipoise.run import Run, fit, load, resume

__all__ = [
    "BalancedClassifier",
    "BalancedRegressor",
    "Balancer",
    "EquipoiseError",
    "Run",
    "__version__",
    "diagnose",
    "fit",
    "load",
    "resume",
]

# Where each public name lives. Importing equipoise imports neither torch nor pandas; the first use of a name does.
_HOMES = {
    "Balancer": "equipoise.integrations.loop",
    "BalancedClassifier": "equipoise.integrations.sklearn",
    "BalancedRegressor": "equipoise.integrations.sklearn",
    "EquipoiseError": "equipoise.errors",
    "Run": "equipoise.run",
    "diagnose": "equipoise.diagnosis.diagnose",
    "fit": "equipoise.run",
    "load": "equipoise.run",
    "resume": "equipoise.run",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'equipoise' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
