"""Sound files: read, mixed, resampled, cut to length, and turned into log-mel bands."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from equipoise.config import option
from equipoise.data.media.base import Decoder, Header, library
from equipoise.errors import DataError

LONGEST = 10.0
"""Seconds that are kept of each file at most where nothing is stated."""
_WINDOW = 0.032
"""Seconds of a window of the spectrogram, about; its samples are a power of two."""
_PART = re.compile(r"(.*)#(\d+):(\d+)", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class AudioDecoder(Decoder):
    """Decodes sound files (wav, flac, ogg and whatever else libsndfile reads).

    A sample is a file, or a part of a longer recording: ``recording.flac#START:STOP`` by sample numbers of the file. Files of
    another number of channels are mixed down to their mean, those of another rate resampled. The first ``seconds`` are kept;
    shorter files are filled up by silence.
    """

    kind: ClassVar[str] = "audio"

    sample_rate: int | None = option(None, low=1, help="samples per second after resampling (default: that of most files)")
    seconds: float | None = option(None, above=0.0, help="length of a sample (default: that of the longest file, at most 10)")
    channels: int = option(1, low=1, help="channels after mixing")
    features: str = option("logmel", choices=("logmel", "spectrogram", "waveform"), help="what a sample becomes")
    mels: int = option(64, low=1, help="mel bands of logmel")
    n_fft: int | None = option(None, low=2, help="samples of a window (default: the power of two nearest to 32 ms)")
    hop: int | None = option(None, low=1, help="samples between windows (default: half a window)")

    @property
    def _settings(self) -> tuple[int, int, int, int]:
        """Rate, length in samples, window and hop of a completed decoder."""
        assert self.sample_rate is not None
        assert self.seconds is not None
        n_fft = self.n_fft or 2 ** max(1, round(math.log2(_WINDOW * self.sample_rate)))
        return self.sample_rate, max(1, round(self.seconds * self.sample_rate)), n_fft, self.hop or max(1, n_fft // 2)

    @property
    def shape(self) -> tuple[int, ...]:
        _, samples, n_fft, hop = self._settings
        if self.features == "waveform":
            return (self.channels, samples)
        bands = self.mels if self.features == "logmel" else n_fft // 2 + 1
        return (self.channels, bands, 1 + samples // hop)

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.float32)

    @property
    def words(self) -> str:
        rate, samples, n_fft, hop = self._settings
        taken = f"the first {samples / rate:g} s (silence after shorter ones) in {self.channels} channel at {rate} Hz"
        bands = {"logmel": f"{self.mels} mel bands", "spectrogram": f"{n_fft // 2 + 1} frequencies", "waveform": ""}
        windows = f" as decibels in {bands[self.features]}, windows of {n_fft} samples every {hop}"
        return taken + (windows if bands[self.features] else " as samples")

    def header(self, path: Path) -> Header:
        with library("soundfile", "audio"):
            import soundfile
        found = soundfile.info(str(path))
        if found.frames == 0:
            raise DataError("holds no sound")
        return {"sample rate": found.samplerate, "channels": found.channels, "seconds": found.frames / found.samplerate}

    def completed(self, headers: Sequence[Header]) -> AudioDecoder:
        rate = self.sample_rate or statistics.mode(sorted(header["sample rate"] for header in headers))
        seconds = self.seconds or min(LONGEST, max(header["seconds"] for header in headers))
        full = replace(self, sample_rate=rate, seconds=max(seconds, 1 / rate))
        _, _, n_fft, hop = full._settings
        return replace(full, n_fft=n_fft, hop=hop)

    def file(self, name: str) -> Path:
        found = _PART.fullmatch(name)
        return Path(found[1] if found else name)

    def part(self, name: str, header: Header) -> Header:
        found = _PART.fullmatch(name)
        if found is None:
            return header
        start, stop, rate = int(found[2]), int(found[3]), header["sample rate"]
        length = round(header["seconds"] * rate)
        if not start < stop <= length:
            raise DataError(f"its part {start}:{stop} is not within its {length} samples")
        return {**header, "seconds": (stop - start) / rate}

    def decode(self, name: str) -> NDArray[np.float32]:
        waveform = self._fixed(*self._read(name))
        if not np.isfinite(waveform).all():
            raise DataError("holds numbers that are not finite")
        if self.features == "waveform":
            return waveform
        import torch

        from equipoise.functional.spectrogram import decibels, mel_spectrogram, power_spectrogram

        rate, _, n_fft, hop = self._settings
        sound = torch.from_numpy(waveform)
        logmel = self.features == "logmel"
        power = mel_spectrogram(sound, rate, n_fft, hop, self.mels) if logmel else power_spectrogram(sound, n_fft, hop)
        decoded: NDArray[np.float32] = decibels(power).numpy()
        return decoded

    def _read(self, name: str) -> tuple[NDArray[np.float32], int]:
        """What is needed of a file, float32 of shape (samples, channels), and its rate."""
        with library("soundfile", "audio"):
            import soundfile
        rate, samples, _, _ = self._settings
        found = _PART.fullmatch(name)
        start, stop = (int(found[2]), int(found[3])) if found else (0, None)
        with soundfile.SoundFile(str(self.file(name))) as file:
            most = math.ceil(samples * file.samplerate / rate)
            length = min(most, (file.frames if stop is None else stop) - start)
            if start:  # even to go to the beginning is slow in compressed files
                file.seek(start)
            sound: NDArray[np.float32] = file.read(length, dtype="float32", always_2d=True)
            if len(sound) < length:
                raise DataError(f"damaged: it ends after {len(sound)} of {length} samples")
            return sound, file.samplerate

    def _fixed(self, sound: NDArray[np.float32], found_rate: int) -> NDArray[np.float32]:
        """Sound of the stated channels, rate and length, of shape (channels, samples)."""
        rate, samples, _, _ = self._settings
        if sound.shape[1] != self.channels:
            # Channel after channel: the mean over pairs that lie beside each other would take ten times as long.
            sound = np.ascontiguousarray(sound.T).mean(axis=0)[:, None]
        if found_rate != rate:
            with library("soxr", "audio"):
                import soxr
            sound = soxr.resample(sound, found_rate, rate)
        fixed = np.zeros((self.channels, samples), dtype=np.float32)
        kept = sound[:samples]
        fixed[:, : len(kept)] = kept.T
        return fixed
