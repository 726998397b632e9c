"""The projector against the authors' numbers and its definition."""

from __future__ import annotations

import json
from math import exp
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from equipoise.functional.flatness import flat_projector, joint_energy

(CASE,) = json.loads((Path(__file__).parents[1] / "golden" / "igm_p_matrix.json").read_text())["cases"]


def tensor(value: Any) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


@pytest.mark.parametrize("temperature", ["0.4", "2.0"])
@pytest.mark.parametrize("layer", ["linear", "conv"])
def test_authors_numbers(temperature: str, layer: str) -> None:
    golden = CASE["outputs"]["by_tau"][temperature]
    found = flat_projector(tensor(CASE["outputs"][f"covariance_{layer}"]), float(temperature))
    torch.testing.assert_close(found, tensor(golden[f"P_{layer}"]), rtol=1e-9, atol=1e-10)
    if layer == "linear":
        modified = tensor(CASE["inputs"]["gradient_current"]) @ found
        torch.testing.assert_close(modified, tensor(golden["grad_modified"]), rtol=1e-9, atol=1e-10)


def test_the_published_energy_is_that_of_batch_means() -> None:
    """Ours is that of samples: inputs that cancel in a batch have energy all the same."""
    batches = tensor(CASE["inputs"]["linear_layer_input_batches"])
    means = batches.mean(1)
    torch.testing.assert_close(means.T @ means, tensor(CASE["outputs"]["covariance_linear"]), rtol=1e-9, atol=1e-10)
    samples = batches.flatten(0, 1)
    ours, theirs = (flat_projector(inputs.T @ inputs, 2.0) for inputs in (samples, means))
    assert float((ours - theirs).abs().max()) > 0.05


@pytest.mark.parametrize("temperature", [0.0, 0.4, 3.0])
def test_directions_are_damped_by_their_energy(temperature: float) -> None:
    random = torch.Generator().manual_seed(1)
    basis = torch.linalg.qr(torch.randn(5, 5, generator=random, dtype=torch.float64)).Q
    values = tensor([9.0, 5.0, 3.0, 2.0, 1.0])
    found = flat_projector(basis * values @ basis.T, temperature)
    for number, value in enumerate(values.tolist()):
        factor = exp(-temperature * (value - 1) / 8)
        torch.testing.assert_close(found @ basis[:, number], factor * basis[:, number])


def test_equal_energy_everywhere_damps_nothing() -> None:
    """The published formula is 0 / 0 here."""
    for energy in (torch.zeros(3, 3), 4 * torch.eye(3)):
        torch.testing.assert_close(flat_projector(energy, 2.0), torch.eye(3))


def test_each_kind_of_inputs_counts_the_same() -> None:
    loud, quiet = torch.diag(tensor([100.0, 0.0])), torch.diag(tensor([0.0, 1e-3]))
    torch.testing.assert_close(joint_energy([loud, quiet]), torch.eye(2, dtype=torch.float64))
    torch.testing.assert_close(flat_projector(joint_energy([loud]), 0.7), flat_projector(loud, 0.7))
