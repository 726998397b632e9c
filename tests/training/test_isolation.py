"""Training must not be able to reach the test part, however hard a method tries."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import dataclass
from types import FunctionType, MethodType, ModuleType
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch

from equipoise.methods.base import METHODS, Method, MethodCard
from equipoise.run import fit
from equipoise.training.context import Context

SENTINEL = 7.25


@dataclass(kw_only=True)
class Spy(Method):
    """Keeps the context that it is given."""

    name: ClassVar[str] = "spy"
    card: ClassVar[MethodCard] = MethodCard(title="Spy", summary="Looks around.", formula="-", kind="baseline")
    seen: ClassVar[list[Context]] = []

    def on_epoch_end(self, ctx: Context) -> None:
        self.seen.append(ctx)


def reachable(start: object) -> Iterator[object]:
    """Yield everything that can be reached from an object, without passing through code (modules, classes, functions)."""
    known, queue = {id(start)}, [start]
    while queue:
        item = queue.pop()
        yield item
        for other in gc.get_referents(item):
            if id(other) not in known and not isinstance(other, (ModuleType, type, FunctionType, MethodType)):
                known.add(id(other))
                queue.append(other)


def values(item: object) -> np.ndarray | None:
    """Return the numbers that an object holds."""
    if isinstance(item, torch.Tensor):
        # The whole storage, not only the part that a view shows.
        return np.asarray(torch.empty(0, dtype=item.dtype).set_(item.untyped_storage()).tolist(), dtype=object)
    if isinstance(item, np.ndarray):
        return item.base if isinstance(item.base, np.ndarray) else item
    return None


def holds_sentinel(item: Any) -> bool:
    found = values(item)
    return found is not None and bool((pd.Series(found.ravel()) == SENTINEL).any())


def test_no_test_sample_can_be_reached_from_the_context() -> None:
    METHODS.register("spy")(Spy)
    Spy.seen.clear()
    random = np.random.default_rng(0)
    split = np.array(["train"] * 40 + ["validation"] * 10 + ["test"] * 14)
    table = random.integers(0, 3, (64, 3)).astype(np.float64)
    table[split == "test", 0] = SENTINEL
    data = {"table": pd.DataFrame(table, columns=["p", "q", "r"]), "array": table.reshape(64, 3, 1).copy(), "split": split}
    try:
        run = fit(data, method="spy", target=[0, 1] * 32, epochs=1, standardize=False, clip=None, progress=False)
    finally:
        METHODS._items.pop("spy")
    assert run.summary["samples"]["test"] == 14
    assert any(holds_sentinel(item) for item in reachable(data))  # the search does find it where it is
    ctx = Spy.seen[0]
    assert sum(values(item) is not None for item in reachable(ctx)) > 10  # and there is something to search here
    assert not any(holds_sentinel(item) for item in reachable(ctx))
