"""Coefficients equal another library's, ratios a naive loop's and the authors' own; the soft start of their code is shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.fft import dctn
from torch import Tensor

from equipoise.functional.frequency import cosine_basis, frequency_corners, frequency_ratios, frequency_weights, remembered

CASES: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "golden" / "mwam.json").read_text())["cases"]


def double(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("size", [1, 2, 5, 8])
def test_basis_is_that_of_another_library(size: int) -> None:
    expected = dctn(np.eye(size), norm="ortho", axes=[0])
    torch.testing.assert_close(cosine_basis(size), double(expected), rtol=0, atol=1e-14)


def naive_ratio(sample: np.ndarray, patch: int, band: int) -> float:
    """The mean over planes, patches and coefficients of one sample of shape (planes, height, width)."""
    _, height, width = sample.shape
    tall, wide = min(patch, height), min(patch, width)
    rows, columns = max(1, min(band, tall // 2)), max(1, min(band, wide // 2))
    values = []
    for plane in sample:
        for top in range(0, height - tall + 1, tall):
            for left in range(0, width - wide + 1, wide):
                found = dctn(plane[top : top + tall, left : left + wide], norm="ortho")
                cells = [(a, b) for a in range(rows) for b in range(columns)]
                values += [abs(found[a, b]) / (abs(found[tall - 1 - a, wide - 1 - b]) + 1e-6) for a, b in cells]
    return float(np.mean(values))


@pytest.mark.parametrize(
    ("shape", "patch", "band"),
    [
        ((3, 16, 16), 8, 2),
        ((1, 19, 11), 8, 2),
        ((2, 5, 16), 8, 3),
        ((2, 3, 8, 8), 4, 1),
        ((20, 3), 8, 2),
        ((30,), 8, 2),
        ((3,), 8, 2),
    ],
)
def test_ratios_equal_a_naive_loop(shape: tuple[int, ...], patch: int, band: int) -> None:
    values = torch.randn(4, *shape, generator=torch.Generator().manual_seed(0))
    planes = values.numpy().astype(np.float64)
    if len(shape) == 1:
        planes = planes[:, None, None]
    elif len(shape) == 2:  # steps and widths: each width is a row of steps
        planes = planes.transpose(0, 2, 1)[:, :, None]
    else:
        planes = planes.reshape(4, -1, *shape[-2:])
    expected = [naive_ratio(sample, patch, band) for sample in planes]
    torch.testing.assert_close(frequency_ratios(values, patch, band), double(expected), rtol=1e-6, atol=0)


def test_one_number_has_no_frequency() -> None:
    torch.testing.assert_close(frequency_ratios(torch.tensor([[3.0], [-0.5]])), double([1.0, 1.0]), rtol=1e-5, atol=0)
    assert frequency_ratios(torch.zeros(2, 1, 8, 8)).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("case", CASES)
def test_authors_ratios_and_weights(case: dict[str, Any]) -> None:
    inputs = case["inputs"]
    bank = torch.full((3,), torch.nan, dtype=torch.float64)
    soft = torch.zeros(3, dtype=torch.float64)  # where the published code starts
    for number, (images, golden) in enumerate(zip(inputs["images_per_step"], case["outputs"]["steps"], strict=True)):
        sums = []
        for modality, pictures in enumerate(images):
            low, high = frequency_corners(double(pictures), inputs["p"], inputs["q"])
            block = double(golden["low_patch0_channel0"][modality])
            torch.testing.assert_close(low[0, 0].view(2, 2), block, rtol=1e-9, atol=1e-12)
            block = double(golden["high_flipped_patch0_channel0"][modality])
            torch.testing.assert_close(high[0, 0].view(2, 2), block, rtol=1e-9, atol=1e-12)
            sums.append((low / (high + inputs["sigma"])).abs().sum())
            # Our choice: the mean, and a denominator that cannot be zero.
            mean = frequency_ratios(double(pictures), inputs["p"], inputs["q"]).mean()
            torch.testing.assert_close(mean, sums[-1] / low.numel(), rtol=5e-3, atol=0)
        ratios = torch.stack(sums)
        torch.testing.assert_close(ratios, double(golden["frm"]), rtol=1e-10, atol=0)

        soft = remembered(soft, ratios, inputs["omega"])
        torch.testing.assert_close(soft, double(golden["bank_after"]), rtol=1e-6, atol=0)
        torch.testing.assert_close(frequency_weights(ratios, soft), double(golden["own_K_float64"]), rtol=0, atol=1e-6)
        torch.testing.assert_close(frequency_weights(ratios, soft), double(golden["K"]), rtol=0, atol=1e-5)
        paper = frequency_weights(ratios, soft, slope=6.0, centre=0.7)
        torch.testing.assert_close(paper, double(golden["own_K_paper_constants"]), rtol=0, atol=1e-6)

        # The paper's bank starts at the first ratio: modalities that are nearly alike are then weighed near 1, not near 0.5.
        bank = remembered(bank, ratios, inputs["omega"])
        if number == 0:
            assert torch.equal(bank, ratios)
            ours = frequency_weights(ratios, bank)
            assert double(golden["K"]).max() < 0.51
            expected = 1.5 - torch.sigmoid(10 * (ratios / ratios.mean() - 1))
            torch.testing.assert_close(ours, expected)
            assert ours.min() < 0.75 < 1.25 < ours.max()


def test_a_modality_that_nobody_has_changes_nothing() -> None:
    nothing = float("nan")
    bank = remembered(double([4.0, nothing, 2.0]), double([nothing, nothing, 6.0]), 0.75)
    torch.testing.assert_close(bank, double([4.0, nothing, 3.0]), equal_nan=True)
    weights = frequency_weights(double([nothing, nothing, 6.0]), bank)
    torch.testing.assert_close(weights, double([1.0, 1.0, 1.5 - float(torch.sigmoid(double(10 * (6 / 3.5 - 1))))]))
