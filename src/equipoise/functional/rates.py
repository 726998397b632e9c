"""Learning rates that follow how a modality does on held-out samples."""

from __future__ import annotations

from collections.abc import Sequence


def adapted_rate(rate: float, scores: Sequence[float]) -> float:
    """Return a learning rate that grows while a modality gets better and shrinks while it gets worse.

    ``rate * u_t / mean(u_{t-N+1} .. u_t)``.

    Args:
        rate: The rate in force.
        scores: ``u``, how well the modality did by itself after each of the last epochs, from 0 to 1, the newest last.

    Returns:
        The new rate; the old one where there is no score above 0.

    Example:
        >>> round(adapted_rate(1.0, [0.4, 0.5, 0.6]), 6)
        1.2
    """
    total = sum(scores)
    return rate * scores[-1] * len(scores) / total if total > 0 else rate
