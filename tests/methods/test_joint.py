"""Joint training by the loop equals a training loop written by hand."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from equipoise.data.loader import Loader
from tests.contract.harness import assert_same, prepare, toy_part, train, weights


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_equals_a_loop_written_by_hand(optimizer: str) -> None:
    method, ctx = prepare("joint", optimizer=optimizer, weight_decay=0.1, epochs=2)
    other = prepare("joint", optimizer=optimizer)[1].model
    assert_same(weights(ctx.model), weights(other))
    run = train(method, ctx)

    by_hand = (
        torch.optim.AdamW(other.parameters(), lr=1e-2, weight_decay=0.1, fused=True)
        if optimizer == "adamw"
        else torch.optim.SGD(other.parameters(), lr=1e-2, weight_decay=0.1, momentum=0.9)
    )
    loader = Loader(toy_part(), 24, seed=0)
    for epoch in range(2):
        for batch in loader.epoch(("train", 0, epoch)):
            by_hand.zero_grad()
            features = [other.encoders[name](batch.inputs[name]) for name in other.modalities]
            logits = other.fusion.linear(torch.cat(features, 1))
            F.cross_entropy(logits, batch.labels).backward()
            by_hand.step()
    for key, value in weights(other).items():
        torch.testing.assert_close(run.last[key], value, rtol=1e-6, atol=1e-7)
