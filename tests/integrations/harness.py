"""A Balancer on toy data, and a loop that hands it the batches of ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from equipoise.batch import Batch
from equipoise.data.loader import Loader, MemoryPart
from equipoise.integrations.loop import Balancer
from equipoise.methods.base import make_method
from tests.contract.harness import CLASSES, brisk, toy_model, toy_part, weights

EPOCHS, RATE, DECAY = 3, 1e-2, 1e-2

OPTIMIZERS: dict[str, Callable[[list[nn.Parameter]], torch.optim.Optimizer]] = {
    "adamw": lambda items: torch.optim.AdamW(items, lr=RATE, weight_decay=DECAY, fused=True),
    "sgd": lambda items: torch.optim.SGD(items, lr=RATE, weight_decay=DECAY, momentum=0.9, foreach=True),
}


class Samples(Dataset[Any]):
    """A part, sample by sample."""

    def __init__(self, part: MemoryPart) -> None:
        self.part = part

    def __len__(self) -> int:
        return len(self.part)

    def __getitem__(self, row: int) -> tuple[dict[str, Tensor], Tensor, dict[str, Tensor]]:
        assert self.part.target is not None
        inputs, present = ({name: item[row] for name, item in values.items()} for values in (self.part.inputs, self.part.present))
        return inputs, self.part.target[row], present


class Ours:
    """A model, an optimizer and a Balancer on toy data, and the loop that trains them on the batches of ours."""

    def __init__(
        self,
        method: str | Mapping[str, Any],
        optimizer: str = "adamw",
        *,
        part: MemoryPart | None = None,
        head: nn.Module | None = None,
        seed: int = 0,
        **options: Any,
    ) -> None:
        self.train = toy_part(signal=1.0) if part is None else part
        self.validation = toy_part(40, 1, signal=1.0)
        shapes = {name: tuple(value.shape[1:]) for name, value in self.train.inputs.items()}
        model = toy_model(shapes, seed=seed)
        card = make_method({"name": method} if isinstance(method, str) else method).card
        self.head = None if card.fusion else head or model.fusion.linear
        self.encoders = dict(model.encoders.items())
        modules = [*self.encoders.values(), *([] if self.head is None else [self.head])]
        self.user = nn.ModuleList(modules)
        self.optimizer = OPTIMIZERS[optimizer](list(self.user.parameters()))
        self.options = {
            "encoders": self.encoders,
            "fusion": self.head,
            "optimizer": self.optimizer,
            "epochs": EPOCHS,
            "classes": CLASSES,
            "train": DataLoader(Samples(self.train), 24, shuffle=True),
            "validation": (self.validation.inputs, self.validation.target),
            **options,
        }
        self.balancer = Balancer(method, **self.options)

    def batches(self, epoch: int) -> Iterator[Batch]:
        yield from Loader(self.train, 24).epoch(("train", 0, epoch))

    def fit(self, epochs: range = range(EPOCHS), step: Callable[..., Any] | None = None) -> Ours:
        for epoch in epochs:
            with self.balancer.epoch():
                for batch in self.batches(epoch):
                    (step or self.balancer.step)(batch.inputs, batch.labels, **self.extra(batch))
        return self

    def extra(self, batch: Batch) -> dict[str, Any]:
        partly = {name: mask for name, mask in batch.present.items() if name not in batch.complete}
        return {"present": partly, "index": batch.index}

    @property
    def state(self) -> dict[str, Tensor]:
        return weights(self.balancer.module)


def described(method: str) -> dict[str, Any]:
    return {"name": method, **brisk(method)}
