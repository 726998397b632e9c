"""Sound as pictures: power spectrograms, and the mel scale of pitch."""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

_LINEAR_HZ = 200 / 3
"""Width of a mel below 1000 Hz."""
_LOG_STEP = math.log(6.4) / 27
"""Logarithm of the ratio of frequencies one mel apart above 1000 Hz, which is 15 mel."""


def _mel_to_hz(mels: Tensor) -> Tensor:
    return torch.where(mels < 15, mels * _LINEAR_HZ, 1000 * torch.exp(_LOG_STEP * (mels - 15)))


def _hz_to_mel(frequency: float) -> float:
    return frequency / _LINEAR_HZ if frequency < 1000 else 15 + math.log(frequency / 1000) / _LOG_STEP


@cache
def mel_filters(sample_rate: int, n_fft: int, mels: int) -> Tensor:
    """Return triangular filters that turn a power spectrum into mel bands, each of area 1 over frequency in Hz.

    With ``m_0 < ... < m_{mels+1}`` evenly spaced on Slaney's mel scale from 0 Hz to half the sample rate, filter ``b`` is
    ``w_b(f) = 2 / (m_{b+2} - m_b) max(0, min((f - m_b) / (m_{b+1} - m_b), (m_{b+2} - f) / (m_{b+2} - m_{b+1})))``.
    The scale is linear below 1000 Hz (200/3 Hz per mel) and logarithmic above (a factor of 6.4 per 27 mel).

    Args:
        sample_rate: Samples per second.
        n_fft: Samples of a window.
        mels: Number of bands.

    Returns:
        Weights of shape (mels, n_fft // 2 + 1), float32.

    References:
        Slaney, "Auditory Toolbox, version 2", Interval Research Corporation 1998; the default of librosa (McFee et al., SciPy
        2015), whose values these are.

    Example:
        >>> mel_filters(8000, 256, 32).shape
        torch.Size([32, 129])
    """
    frequencies = torch.linspace(0, sample_rate / 2, n_fft // 2 + 1, dtype=torch.float64)
    edges = _mel_to_hz(torch.linspace(0, _hz_to_mel(sample_rate / 2), mels + 2, dtype=torch.float64))
    distances = edges[:, None] - frequencies
    widths = edges.diff()[:, None]
    triangles = torch.minimum(-distances[:-2] / widths[:-1], distances[2:] / widths[1:]).clamp(min=0)
    return (triangles * (2 / (edges[2:] - edges[:-2]))[:, None]).float()


def power_spectrogram(waveform: Tensor, n_fft: int, hop: int) -> Tensor:
    """Return ``|STFT|^2`` with periodic Hann windows centred on every ``hop``-th sample, the ends padded by zeros.

    Args:
        waveform: Samples of shape (..., samples).
        n_fft: Samples of a window.
        hop: Samples between two windows.

    Returns:
        Power of shape (..., n_fft // 2 + 1, 1 + samples // hop).

    Example:
        >>> power_spectrogram(torch.zeros(2, 8000), 256, 128).shape
        torch.Size([2, 129, 63])
    """
    flat = waveform.reshape(-1, waveform.shape[-1])
    window = torch.hann_window(n_fft, device=waveform.device, dtype=waveform.dtype)
    spectrum = torch.stft(flat, n_fft, hop, window=window, center=True, pad_mode="constant", return_complex=True)
    return spectrum.abs().square().reshape(*waveform.shape[:-1], *spectrum.shape[1:])


def mel_spectrogram(waveform: Tensor, sample_rate: int, n_fft: int, hop: int, mels: int) -> Tensor:
    """Return the power in each mel band: :func:`mel_filters` times :func:`power_spectrogram`.

    Args:
        waveform: Samples of shape (..., samples).
        sample_rate: Samples per second.
        n_fft: Samples of a window.
        hop: Samples between two windows.
        mels: Number of bands.

    Returns:
        Power of shape (..., mels, 1 + samples // hop).

    Example:
        >>> mel_spectrogram(torch.zeros(1, 8000), 8000, 256, 128, 32).shape
        torch.Size([1, 32, 63])
    """
    filters = mel_filters(sample_rate, n_fft, mels).to(waveform)
    return filters @ power_spectrogram(waveform, n_fft, hop)


def decibels(power: Tensor) -> Tensor:
    """Return ``10 log10 max(power, 1e-10)``.

    Args:
        power: Numbers of at least 0, of any shape.

    Returns:
        Decibels, of the same shape.

    Example:
        >>> decibels(torch.tensor([0.0, 1.0, 100.0])).tolist()
        [-100.0, 0.0, 20.0]
    """
    return 10 * power.clamp(min=1e-10).log10()
