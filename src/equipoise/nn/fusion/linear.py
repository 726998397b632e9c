"""Linear fusions: ``concat`` and ``sum``. Their split into unimodal logits is exact."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from equipoise.nn.fusion.base import FUSIONS, AdditiveFusion, Features, Present, masked
from equipoise.nn.per_modality import PerModality
from equipoise.tasks import Task


@FUSIONS.register("concat")
class ConcatFusion(AdditiveFusion):
    """One linear layer on the concatenated features: ``z = sum_m W_m f_m + b``.

    The unimodal logits are ``z_m = W_m f_m + b / M``, M being the number of modalities that the sample has, so that
    ``z = sum_m z_m`` exactly (Peng et al., CVPR 2022, arXiv 2203.15332, for two modalities).

    Args:
        sizes: Width of the features of each modality.
        task: The task.

    Example:
        >>> from equipoise.tasks import Classification
        >>> fusion = ConcatFusion({"a": 2, "b": 3}, Classification(4))
        >>> features = {"a": torch.ones(5, 2), "b": torch.ones(5, 3)}
        >>> total = sum(fusion.contributions(features, {}).values())
        >>> torch.allclose(total, fusion(features, {}), atol=1e-6)
        True
    """

    def __init__(self, sizes: Mapping[str, int], task: Task) -> None:
        super().__init__(sizes, task)
        self.linear = nn.Linear(sum(sizes.values()), task.outputs)
        starts = [0, *torch.tensor(list(sizes.values())).cumsum(0).tolist()]
        self._columns = {name: slice(start, stop) for name, start, stop in zip(sizes, starts, starts[1:], strict=False)}
        self._width = next(iter(sizes.values())) if len(set(sizes.values())) == 1 else None

    def forward(self, features: Features, present: Present) -> Tensor:
        used = masked(features, present) if present else features
        if len(used) == len(self.names):
            return F.linear(torch.cat([used[name] for name in self.names], 1), self.linear.weight, self.linear.bias)
        weight = torch.cat([self.linear.weight[:, self._columns[name]] for name in used], 1)
        return F.linear(torch.cat(list(used.values()), 1), weight, self.linear.bias)

    def contributions(self, features: Features, present: Present) -> dict[str, Tensor]:
        terms = self._products(features)
        if not present:
            terms = terms + self.linear.bias / len(features)
        else:
            have = self.available(features, present)[:, [self.names.index(name) for name in features]]
            share = self.linear.bias / have.sum(1, keepdim=True).clamp_min(1)
            terms = (terms + share) * have.T[:, :, None]
        return dict(zip(features, terms, strict=True))

    def _products(self, features: Features) -> Tensor:
        """Return ``W_m f_m`` of the modalities in ``features``, of shape (modalities, batch, outputs)."""
        if self._width is not None and len(features) == len(self.names):
            blocks = self.linear.weight.view(self.task.outputs, len(self.names), self._width).permute(1, 2, 0)
            return torch.bmm(torch.stack([features[name] for name in features]), blocks[self._order(features)])
        return torch.stack([value @ self.linear.weight[:, self._columns[name]].T for name, value in features.items()])

    def _order(self, features: Features) -> slice | list[int]:
        names = tuple(features)
        return slice(None) if names == self.names else [self.names.index(name) for name in names]

    def terms(self, features: Features, present: Present) -> Tensor:
        ordered = {name: features[name] for name in self.names}
        return self._products(masked(ordered, present))

    def constant(self) -> Tensor | float:
        return self.linear.bias


@FUSIONS.register("sum")
class SumFusion(AdditiveFusion):
    """The sum of one linear layer per modality: ``z = sum_m z_m`` with ``z_m = W_m f_m + b_m``.

    Args:
        sizes: Width of the features of each modality.
        task: The task.
    """

    def __init__(self, sizes: Mapping[str, int], task: Task) -> None:
        super().__init__(sizes, task)
        self.heads = PerModality({name: nn.Linear(size, task.outputs) for name, size in sizes.items()})

    def contributions(self, features: Features, present: Present) -> dict[str, Tensor]:
        return masked({name: self.heads[name](value) for name, value in features.items()}, present)

    def forward(self, features: Features, present: Present) -> Tensor:
        return self.fuse(features, present, lambda: self.contributions(features, present))

    def fuse(self, features: Features, present: Present, contributions: Callable[[], Mapping[str, Tensor]]) -> Tensor:
        return torch.stack(list(contributions().values())).sum(0)

    def terms(self, features: Features, present: Present) -> Tensor:
        logits = self.contributions(features, present)
        return torch.stack([logits[name] for name in self.names])

    def constant(self) -> Tensor | float:
        return 0.0
