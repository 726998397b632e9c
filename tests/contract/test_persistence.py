"""What every method must survive: being stopped anywhere, saved, loaded and described."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch

from equipoise.methods.base import make_method
from equipoise.training.checkpoint import load_checkpoint, save_checkpoint
from tests.contract.harness import assert_same, brisk, predict, prepare, toy_part, train_toy

SETTINGS: dict[str, Any] = {"encoder": {"dropout": 0.2}, "checkpoint_seconds": 0.0, "schedule": "cosine", "patience": 2}


def _parts() -> dict[str, Any]:
    return {"train": toy_part(missing=0.2, signal=1.0), "validation": toy_part(40, 1, missing=0.2, signal=1.0)}


def test_resuming_anywhere_equals_never_stopping_bit_for_bit(name: str, tmp_path: Path) -> None:
    """In the middle of an epoch, between epochs, in each phase, at the very end."""
    places: list[tuple[int, int, int]] = []

    def save(payload: dict[str, Any]) -> None:
        phase, epoch, batch = payload["position"]
        # One epoch of each phase batch by batch, and every end of an epoch: writing is what takes the time.
        if batch == 0 or epoch == 1:
            save_checkpoint(tmp_path / f"{len(places)}.pt", payload)
            places.append((phase, epoch, batch))

    straight = train_toy(name, brisk(name), save=save, **_parts(), **SETTINGS)
    last = len(straight.phases) - 1
    mid, ends = [place for place in places if place[2]], [place for place in places if not place[2]]
    chosen = {
        mid[0],
        next(place for place in mid if place[0] == last),
        ends[0],
        [end for end in ends if end[0] == 0][-1],
        ends[-1],
    }
    assert any(place[2] for place in chosen)
    for place in sorted(chosen):
        random.seed(7)
        np.random.seed(7)  # noqa: NPY002 - a new process finds other generators
        torch.manual_seed(7)
        payload = load_checkpoint(tmp_path / f"{places.index(place)}.pt")
        resumed = train_toy(name, brisk(name), resume=payload, **_parts(), **SETTINGS)
        assert_same(resumed.state, straight.state)
        assert_same(resumed.method.state_dict(), straight.method.state_dict())
        done = len(straight.lines) - len(resumed.lines)
        assert resumed.lines == straight.lines[done:]
        assert done == sum(1 for line in straight.lines if _before(line, place, straight.lines))
        assert resumed.ctx.inert == straight.ctx.inert
        assert resumed.passes == straight.passes
        assert (resumed.ctx.epochs_done, resumed.ctx.updates_done) == (straight.ctx.epochs_done, straight.ctx.updates_done)
        assert torch.equal(resumed.logits(), straight.logits())


def _before(line: dict[str, Any], place: tuple[int, int, int], lines: list[dict[str, Any]]) -> bool:
    """Whether an epoch was finished when a checkpoint was written."""
    phases = list(dict.fromkeys(item["phase"] for item in lines))
    return (phases.index(line["phase"]), line["epoch"]) <= place[:2]


def test_what_was_saved_predicts_the_same(name: str, tmp_path: Path) -> None:
    """A new model and a new method that take over the saved states predict the same, without any data."""
    run = train_toy(name, brisk(name), **_parts())
    payload = {"model": run.ctx.model.state_dict(), "method": run.method.state_dict()}
    save_checkpoint(tmp_path / "states.pt", payload)
    loaded = load_checkpoint(tmp_path / "states.pt")
    method, ctx = prepare(name, run.method.hyperparameters(), seed=5)
    ctx._parts = {}  # a finished run is loaded without data
    method.setup(ctx)
    method.load_state_dict(ctx, loaded["method"])
    ctx.model.load_state_dict(loaded["model"])
    assert_same(method.state_dict(), run.method.state_dict())
    part = toy_part(30, 9, missing=0.3)
    predictor = method.predictor(ctx)
    assert torch.equal(predict(predictor, part), predict(run.predictor, part))


def test_description_survives_json(name: str) -> None:
    method = make_method({"name": name, **brisk(name)})
    text = json.dumps({"name": method.name, **method.hyperparameters()})
    again = make_method(json.loads(text))
    assert again == method
    assert type(again) is type(method)
    assert json.dumps({"name": again.name, **again.hyperparameters()}) == text
