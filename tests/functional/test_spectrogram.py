from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from equipoise.functional.spectrogram import decibels, mel_filters, mel_spectrogram, power_spectrogram

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "librosa_mel.json").read_text())


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: f"{case['sample_rate']} Hz")
def test_mel_bands_are_those_of_librosa(case: dict[str, object]) -> None:
    waveform = torch.tensor(GOLDEN["waveform"], dtype=torch.float64)
    settings = {name: int(str(case[name])) for name in ("sample_rate", "n_fft", "hop", "mels")}
    mel = mel_spectrogram(waveform, **settings)
    np.testing.assert_allclose(mel.numpy(), case["mel"], rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(decibels(mel).numpy(), case["decibels"], atol=1e-3)


def test_every_filter_has_area_one() -> None:
    filters = mel_filters(16000, 4096, 10)
    np.testing.assert_allclose(filters.sum(1) * (16000 / 4096), np.ones(10), rtol=1e-2)


def test_power_of_a_sine_is_in_its_bin() -> None:
    time = torch.arange(4000, dtype=torch.float64) / 8000
    power = power_spectrogram(torch.sin(2 * torch.pi * 1000 * time), 256, 128)
    assert (power[:, 5:-5].argmax(0) == 1000 * 256 // 8000).all()
    windows = torch.stack([torch.sin(2 * torch.pi * 1000 * time), torch.zeros(4000, dtype=torch.float64)])
    torch.testing.assert_close(power_spectrogram(windows, 256, 128)[0], power)
