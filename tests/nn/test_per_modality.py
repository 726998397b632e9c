"""A dictionary of modules that takes any name."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from equipoise.nn.per_modality import PerModality

NAMES = ["train", "a.b", "a%2Eb", "fused", "of_train", "type", "", "parameters", "mrna tpm"]


def test_any_name_goes_in_and_out() -> None:
    modules = {name: nn.Linear(1, number + 1) for number, name in enumerate(NAMES)}
    parts = PerModality(modules)
    assert list(parts) == NAMES
    assert len(parts) == len(NAMES)
    assert len(parts.state_dict()) == 2 * len(NAMES)
    for name, module in modules.items():
        assert name in parts
        assert parts[name] is module
    assert dict(parts.items()) == modules
    assert list(parts.values()) == list(modules.values())
    assert "of_fused" not in parts
    with pytest.raises(KeyError):
        parts["nothing"]


def test_it_is_a_module_like_any_other() -> None:
    parts = PerModality({name: nn.Linear(2, 2) for name in NAMES})
    other = PerModality({name: nn.Linear(2, 2) for name in NAMES})
    other.load_state_dict(parts.state_dict())
    for name in NAMES:
        assert torch.equal(parts[name].weight, other[name].weight)
    assert len(list(parts.parameters())) == 2 * len(NAMES)
    parts.eval()
    assert not any(module.training for module in parts.values())
    parts["train"] = nn.Linear(3, 3)
    assert parts["train"].in_features == 3
    assert len(parts) == len(NAMES)
