"""What two variables tell about a third one: redundant, unique and synergistic parts, in nats.

Everything starts from a joint distribution of shape (..., first, second, target) that sums to 1 over its last three axes.
Parts are redundant, unique to the first, unique to the second, synergistic; they sum to ``I(first, second; target)``, the
first two to ``I(first; target)``, the first and third to ``I(second; target)``. The three decompositions differ in what they
call redundant.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from equipoise.errors import DataError

_Floats = NDArray[np.float64]
_Integers = NDArray[np.int64]

PARTS = ("redundant", "unique_first", "unique_second", "synergistic")
"""What the last axis of a decomposition lists."""

_BARRIERS = (1e-2, 1e-4, 1e-6, 1e-8)
_STEPS = 20


def joint_table(
    first: Tensor, second: Tensor, target: Tensor, sizes: tuple[int, int, int], counts: Tensor | None = None
) -> Tensor:
    """Count how often three codes meet, as frequencies.

    Args:
        first: Codes of the first variable, of shape (samples,).
        second: Codes of the second.
        target: Codes of the third.
        sizes: How many codes each of them may have.
        counts: How often each sample counts, of shape (resamples, samples); once by default.

    Returns:
        Frequencies of shape sizes, or resamples and then sizes where counts are given.

    Raises:
        DataError: There are no samples.

    Example:
        >>> joint_table(torch.tensor([0, 1]), torch.tensor([0, 0]), torch.tensor([1, 1]), (2, 1, 2)).flatten().tolist()
        [0.0, 0.5, 0.0, 0.5]
    """
    if not len(target):
        raise DataError("frequencies of no samples were asked for, expected at least one")
    cells = (first * sizes[1] + second) * sizes[2] + target
    rows = torch.ones(1, len(target), dtype=torch.float64) if counts is None else counts.double()
    table = rows.new_zeros(len(rows), sizes[0] * sizes[1] * sizes[2]).index_add_(1, cells, rows)
    table = (table / table.sum(1, keepdim=True)).view(-1, *sizes)
    return table[0] if counts is None else table


def mutual_information(joint: Tensor) -> Tensor:
    """Return the mutual information of two discrete variables, ``H(A) + H(B) - H(A, B)``.

    Args:
        joint: Their joint distribution, of shape (..., a, b).

    Returns:
        Information in nats, of shape (...).

    Example:
        >>> mutual_information(torch.tensor([[0.5, 0.0], [0.0, 0.5]]))
        tensor(0.6931)
    """
    return _entropy(joint.sum(-1), 1) + _entropy(joint.sum(-2), 1) - _entropy(joint, 2)


def minimum_parts(joint: Tensor) -> Tensor:
    """Decompose by minimum mutual information: redundant is what the less telling variable tells, ``min_m I(X_m; Y)``.

    Exact for one-dimensional jointly Gaussian variables, where every decomposition that looks at pairs alone agrees with it.

    Args:
        joint: Joint distribution of shape (..., first, second, target).

    Returns:
        Parts of shape (..., 4), see :data:`PARTS`.

    References:
        Barrett, "Exploration of synergistic and redundant information sharing in static and dynamical Gaussian systems",
        Physical Review E 91, 2015, arXiv 1411.2832.

    Example:
        >>> both_are_the_target = torch.zeros(2, 2, 2)
        >>> both_are_the_target[0, 0, 0] = both_are_the_target[1, 1, 1] = 0.5
        >>> minimum_parts(both_are_the_target)
        tensor([0.6931, 0.0000, 0.0000, 0.0000])
    """
    first, second, both = _informations(joint)
    return _parts(torch.minimum(first, second), first, second, both)


def specific_parts(joint: Tensor) -> Tensor:
    """Decompose by minimum specific information (``I_min``).

    Redundant is ``sum_y p(y) min_m I(Y = y; X_m)`` with ``I(Y = y; X) = sum_x p(x | y) (log p(y | x) - log p(y))``. It calls
    redundant what two variables tell about the same values of the target, even where they tell different things about them.

    Args:
        joint: Joint distribution of shape (..., first, second, target).

    Returns:
        Parts of shape (..., 4), see :data:`PARTS`.

    References:
        Williams and Beer, "Nonnegative decomposition of multivariate information", 2010, arXiv 1004.2515.
    """
    pairs = joint.sum(-2), joint.sum(-3)
    shares = [(torch.xlogy(pair, pair) - torch.xlogy(pair, pair.sum(-1, keepdim=True))).sum(-2) for pair in pairs]
    target = pairs[0].sum(-2)
    redundant = (torch.minimum(*shares) - torch.xlogy(target, target)).sum(-1)
    return _parts(redundant, *_informations(joint))


def broja_parts(joint: Tensor) -> Tensor:
    """Decompose by the smallest information that the two pairs allow (BROJA).

    ``I* = min_Q I_Q(X_1, X_2; Y)`` over all ``Q`` with ``Q(X_1, Y) = P(X_1, Y)`` and ``Q(X_2, Y) = P(X_2, Y)``. Synergistic is
    ``I(X_1, X_2; Y) - I*``, unique to the first ``I* - I(X_2; Y)``, redundant ``I(X_1; Y) + I(X_2; Y) - I*``.

    The convex programme is solved by Newton steps inside a logarithmic barrier that is lowered to 1e-8; the value is exact to
    about 1e-8 nats per cell. The cost grows with the cube of the cells that are not empty: a hundredth of a second for five
    classes, a second or more for ten.

    Args:
        joint: Joint distribution of shape (..., first, second, target).

    Returns:
        Parts of shape (..., 4), float64, see :data:`PARTS`.

    References:
        Bertschinger, Rauh, Olbrich, Jost and Ay, "Quantifying unique information", Entropy 16, 2014, arXiv 1311.2852; for
        multimodal learning Liang et al., NeurIPS 2023, arXiv 2302.12247.

    Example:
        >>> exclusive_or = torch.zeros(2, 2, 2)
        >>> for a, b in ((0, 0), (0, 1), (1, 0), (1, 1)):
        ...     exclusive_or[a, b, a ^ b] = 0.25
        >>> [round(value, 4) for value in broja_parts(exclusive_or).abs().tolist()]
        [0.0, 0.0, 0.0, 0.6931]
    """
    joint = joint.double()
    first, second, both = _informations(joint)
    least = torch.tensor([_least_information(table) for table in joint.reshape(-1, *joint.shape[-3:])]).to(both).view(both.shape)
    return _parts(first + second - least, first, second, both)


def _informations(joint: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return what the first, the second and both tell about the target."""
    return mutual_information(joint.sum(-2)), mutual_information(joint.sum(-3)), mutual_information(joint.flatten(-3, -2))


def _parts(redundant: Tensor, first: Tensor, second: Tensor, both: Tensor) -> Tensor:
    return torch.stack([redundant, first - redundant, second - redundant, both - first - second + redundant], -1)


def _entropy(values: Tensor, axes: int) -> Tensor:
    total: Tensor = torch.special.entr(values).flatten(-axes).sum(-1)
    return total


def _least_information(joint: Tensor) -> float:
    """Return ``I*`` of a distribution of shape (first, second, target)."""
    table = joint.cpu().numpy()
    left, right, target = table.sum(1), table.sum(0), table.sum((0, 1))
    # Given the target the two are independent here: it has the right pairs, and is inside of all that have.
    start = left[:, None] * right[None] / np.where(target > 0, target, 1.0)
    first, second, code = start.nonzero()
    directions = np.hstack([np.zeros((len(code), 0)), *_exchanges(first, second, code)])
    q, place = start[first, second, code], np.unique(first * table.shape[1] + second, return_inverse=True)[1]
    group = np.eye(place.max() + 1)[place]
    moves, shared = directions.T, group.T @ directions
    for barrier in _BARRIERS:
        for _ in range(_STEPS if directions.size else 0):
            sums = group.T @ q
            slope = moves @ (np.log(q / sums[place]) - barrier / q)
            bend = (moves * (1 / q + barrier / q**2)) @ directions - shared.T @ (shared / sums[:, None])
            bend[np.diag_indices_from(bend)] *= 1 + 1e-12  # cells near the barrier outweigh the others by many orders
            along = np.linalg.solve(bend, -slope)
            step = directions @ along
            falling = step < 0
            reach = min(1.0, 0.99 * float((-q[falling] / step[falling]).min(initial=np.inf)))
            ways = q + reach * 0.5 ** np.arange(12)[:, None] * step
            cost = (ways * np.log(ways / (ways @ group)[:, place]) - barrier * np.log(ways)).sum(1)
            q = ways[cost.argmin()]
            if -(slope @ along) < barrier:  # what the step could gain at most, about twice
                break
    found = np.zeros_like(table)
    found[first, second, code] = q
    return float(mutual_information(torch.from_numpy(found).flatten(0, 1)))


def _exchanges(first: _Integers, second: _Integers, code: _Integers) -> Iterator[_Floats]:
    """Yield, per target, the changes of the cells that keep the sums over either variable: a basis, as columns."""
    for value in np.unique(code):
        own = np.flatnonzero(code == value)
        rows, columns = len(np.unique(first[own])), len(np.unique(second[own]))
        row = np.vstack([-np.ones(rows - 1), np.eye(rows - 1)])
        column = np.vstack([-np.ones(columns - 1), np.eye(columns - 1)])
        block = np.zeros((len(code), (rows - 1) * (columns - 1)))
        block[own] = np.kron(row, column)
        yield block
