"""Unimodal training: each modality as if it were alone."""

from __future__ import annotations

import pytest
import torch

from equipoise.data.loader import MemoryPart
from tests.contract.harness import prepare, toy_part, train, weights


def only(part: MemoryPart, name: str) -> MemoryPart:
    return MemoryPart({name: part.inputs[name]}, {name: part.present[name]}, part.target)


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_each_modality_equals_training_it_alone_bit_for_bit(missing: float) -> None:
    """Also where phases stop early, so that one phase's length could shift the random numbers of the next."""
    part, validation = toy_part(missing=missing, signal=1.0), toy_part(40, 1, missing=missing, signal=1.0)
    settings = {"epochs": 6, "patience": 1, "encoder": {"dropout": 0.1}, "weight_decay": 0.1}
    method, ctx = prepare("unimodal", train=part, validation=validation, **settings)
    start = weights(ctx.model)
    together = train(method, ctx)
    lengths = set()
    for name in part.inputs:
        method, ctx = prepare("unimodal", train=only(part, name), validation=only(validation, name), **settings)
        ctx.model.load_state_dict(
            {key: start[key] if f"of_{name}." in key else value for key, value in weights(ctx.model).items()}
        )
        alone = train(method, ctx)
        for key, value in alone.state.items():
            if f"of_{name}." in key:
                assert torch.equal(value, together.state[key]), key
        mine = [line["validation"][name] for line in together.lines if line["phase"] == name]
        assert mine == [line["validation"][name] for line in alone.lines]
        lengths.add(len(mine))
    assert len(lengths) > 1, "phases of equal length would prove nothing"


def test_each_phase_trains_its_branch_and_keeps_its_own_best_epoch() -> None:
    part = toy_part(signal=1.0)
    run = train(*prepare("unimodal", train=part, epochs=4, weight_decay=0.1))
    assert [phase.name for phase, _ in run.phases] == list(part.inputs)
    states = [state for _, state in run.phases] + [run.state]
    for (phase, before), after in zip(run.phases, states[1:], strict=True):
        changed = {key for key, value in before.items() if not torch.equal(value, after[key])}
        assert changed == {key for key in before if f"of_{phase.name}." in key}
        lines = [line for line in run.lines if line["phase"] == phase.name]
        best = max(
            range(len(lines)),
            key=lambda place, lines=lines, own=phase.name: (
                lines[place]["validation"][own]["macro_f1"],
                -lines[place]["validation"][own]["loss"],
            ),
        )
        assert [number for number, line in enumerate(lines) if line["best"]][-1] == best
        kept = run.epochs[run.lines.index(lines[best])]
        assert all(torch.equal(after[key], kept[key]) for key in changed)
