"""What a method says it needs of a training loop is what it needs: a loop of somebody else's gives it no more."""

from __future__ import annotations

import pytest
import torch

from equipoise.methods.base import make_method
from tests.contract.harness import NAMES, brisk, toy_part, train_toy
from tests.integrations.harness import Ours, described

FAR = 10**6


def test_phases_and_a_say_in_the_order_are_needed_where_they_are_used(name: str) -> None:
    needs = make_method({"name": name, **brisk(name)}).needs()
    run = train_toy(name, brisk(name), train=toy_part(signal=1.0))
    assert needs <= {"train", "validation", "index", "order", "phases"}
    assert ("phases" in needs) == (len(run.phases) > 1)
    assert ("order" in needs) == (run.ctx.sampler.weights is not None)


def test_what_a_method_does_not_need_it_does_not_look_at(name: str) -> None:
    """Parts that it does not name are not there, and a sample number that it has no use for means nothing."""
    method = make_method(described(name))
    needs = method.needs()
    if needs & {"phases", "order"}:
        pytest.skip("it cannot be used in a loop of somebody else's")
    unneeded = dict.fromkeys({"train", "validation"} - needs)
    part = toy_part(signal=1.0, missing=0.2)
    example = {key: value[:3] for key, value in part.inputs.items()}
    ours = Ours(described(name), part=part, example=example, **unneeded)
    far = 0 if "index" in needs else FAR
    start = ours.state
    for _ in range(3):
        with ours.balancer.epoch():
            for rows in torch.arange(len(part)).split(24):
                (batch,) = part.batches([rows], [len(rows)])
                ours.balancer.step(batch.inputs, batch.labels, present=batch.present, index=rows + far)
    state = ours.state
    for modality in NAMES[:3]:
        assert any(not torch.equal(value, state[key]) for key, value in start.items() if f"of_{modality}." in key)
