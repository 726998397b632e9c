"""How training went, from the log that a run keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Dynamics:
    """What happened over the epochs of all phases, in order.

    Attributes:
        phases: Phase of each epoch.
        epochs: Number of each epoch within its phase.
        losses: Training losses by name; None in epochs that have no such loss.
        validation: Per output the validation metrics by name.
        coefficients: What the method noted: weights, budgets, gates.
        learning_rate: The learning rate.
        gradients: Per modality what was measured on a batch of some epochs, see
            :meth:`equipoise.training.dynamics.Probe.result`; None in epochs without a measurement.
    """

    phases: tuple[str, ...]
    epochs: tuple[int, ...]
    losses: dict[str, tuple[float | None, ...]]
    validation: dict[str, dict[str, tuple[float | None, ...]]]
    coefficients: dict[str, tuple[float | None, ...]]
    learning_rate: tuple[float, ...]
    gradients: dict[str, dict[str, tuple[float | None, ...]]]


def read_dynamics(lines: Sequence[dict[str, Any]]) -> Dynamics | None:
    """Turn the lines of a log into curves; None where there are none."""
    if not lines:
        return None
    return Dynamics(
        tuple(line["phase"] for line in lines),
        tuple(line["epoch"] for line in lines),
        _curves([line["losses"] for line in lines]),
        _nested([line["validation"] for line in lines]),
        _curves([line["coefficients"] for line in lines]),
        tuple(line["learning_rate"] for line in lines),
        _nested([line.get("gradients", {}) for line in lines]),
    )


def _curves(values: Sequence[dict[str, Any]]) -> dict[str, tuple[float | None, ...]]:
    names = dict.fromkeys(name for value in values for name in value)
    return {name: tuple(value.get(name) for value in values) for name in names}


def _nested(values: Sequence[dict[str, Any]]) -> dict[str, dict[str, tuple[float | None, ...]]]:
    names = dict.fromkeys(name for value in values for name in value)
    return {name: _curves([value.get(name) or {} for value in values]) for name in names}
