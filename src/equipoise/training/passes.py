"""How many samples each encoder took, forward and backward: what training cost in units that no machine changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from equipoise.nn.multimodal import MultimodalModel
from equipoise.training.runtime import Runtime


class Passes:
    """Counts the samples that encoders take while a model trains.

    A backward pass counts when gradients reach the output of an encoder, as often as they do; that of an encoder without
    anything to train never does. What an encoder is not asked for (modalities that a sample lacks or an update leaves out) does
    not count.

    Args:
        model: The model.

    Example:
        >>> from equipoise.nn.fusion.linear import SumFusion
        >>> from equipoise.tasks import Classification
        >>> model = MultimodalModel({"a": torch.nn.Linear(3, 2)}, SumFusion({"a": 2}, Classification(2)))
        >>> passes = Passes(model)
        >>> with passes.counting():
        ...     model.encode({"a": torch.ones(5, 3)})["a"].sum().backward()
        ...     with passes.paused():
        ...         _ = model.encode({"a": torch.ones(5, 3)})
        >>> passes.state_dict()
        {'a': [5, 5]}
    """

    def __init__(self, model: MultimodalModel) -> None:
        self._model = model
        self._counts = {name: [0, 0] for name in model.modalities}

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count inside of the block."""
        self._model.on_encoded = self._count
        try:
            yield
        finally:
            self._model.on_encoded = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Do not count inside of the block, which is inside of :meth:`counting`."""
        self._model.on_encoded = None
        try:
            yield
        finally:
            self._model.on_encoded = self._count

    def _count(self, modality: str, features: Tensor) -> None:
        counts, samples = self._counts[modality], len(features)
        counts[0] += samples
        # The node that made the features runs when gradients pass through it, not when they only arrive at the features.
        if features.grad_fn is not None:

            def arrived(*_: object) -> None:
                counts[1] += samples

            features.grad_fn.register_prehook(arrived)

    def total(self, runtime: Runtime) -> dict[str, dict[str, int]]:
        """Return the samples that each encoder took ``forward`` and ``backward``, over all processes."""
        every = runtime.sum(torch.tensor(list(self._counts.values()), dtype=torch.float64, device=runtime.device))
        return {
            name: {"forward": round(forward), "backward": round(backward)}
            for name, (forward, backward) in zip(self._counts, every.tolist(), strict=True)
        }

    def state_dict(self) -> dict[str, list[int]]:
        """Return the counts of this process, for a checkpoint."""
        return {name: list(counts) for name, counts in self._counts.items()}

    def load_state_dict(self, state: Mapping[str, list[int]]) -> None:
        """Take over :meth:`state_dict`'s value."""
        for name, counts in state.items():
            self._counts[name][:] = counts
