"""Samples per second of pictures and sounds that are decoded while training: the streaming loader against bare decoding."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Iterable
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from common import Setup, Spread, Table, interleave, ratio, report, verdict
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from equipoise.config import ReadOptions
from equipoise.data.loader import Loader, StreamPart
from equipoise.data.preprocessing import Preprocessing
from equipoise.data.sources import open_dataset
from equipoise.functional.spectrogram import decibels, mel_filters, power_spectrogram

BATCH, WORKERS = 32, 2
SIZE, RATE, SECONDS, MELS, N_FFT = 224, 16_000, 2.0, 64, 512
BARE = "DataLoader, bare decoding"


def write_pictures(folder: Path, samples: int) -> list[Path]:
    """Write JPEG files of 400 x 300 pixels that are as smooth as photographs."""
    random = np.random.default_rng(0)
    paths = [folder / f"{number}.jpg" for number in range(samples)]
    for path in paths:
        coarse = Image.fromarray(random.integers(0, 256, (30, 40, 3), dtype=np.uint8))
        coarse.resize((400, 300), Image.Resampling.BICUBIC).save(path, quality=90)
    return paths


def write_sounds(folder: Path, samples: int) -> list[Path]:
    """Write FLAC files of two seconds at 22050 Hz in stereo, as recordings come."""
    random = np.random.default_rng(0)
    paths = [folder / f"{number}.flac" for number in range(samples)]
    for path in paths:
        soundfile.write(path, random.uniform(-0.5, 0.5, (44_100, 2)).cumsum(0) * 0.01, 22_050)
    return paths


def picture(path: Path) -> Tensor:
    """Decode a picture as one writes it by hand: resized, cut, float32, channels first, standardised."""
    with Image.open(path) as image:
        image.draft("RGB", (2 * SIZE, 2 * SIZE))
        plain = image.convert("RGB")
    side = min(plain.size)
    left, top = ((length - side) // 2 for length in plain.size)
    square = plain.resize((SIZE, SIZE), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))
    return (torch.from_numpy(np.array(square)).permute(2, 0, 1).float() - 128) / 64


def sound(path: Path) -> Tensor:
    """Decode a sound as one writes it by hand: mixed, resampled, log-mel, standardised."""
    values, rate = soundfile.read(path, dtype="float32", always_2d=True)
    waveform = soxr.resample(values.mean(1), rate, RATE)[: int(RATE * SECONDS)]
    mel = mel_filters(RATE, N_FFT, MELS) @ power_spectrogram(torch.from_numpy(waveform)[None], N_FFT, N_FFT // 2)
    return (decibels(mel) + 30) / 10


class Files(Dataset[tuple[Tensor, int]]):
    """What one writes for a DataLoader: a sample is a file."""

    def __init__(self, paths: list[Path], decode: Callable[[Path], Tensor]) -> None:
        self._paths, self._decode = paths, decode

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        return self._decode(self._paths[row]), row % 2


def stream_part(paths: list[Path], kind: str, gigabytes: float) -> StreamPart:
    """Return the files as a part that is decoded batch by batch."""
    options = {"image": {"size": SIZE}, "audio": {"sample_rate": RATE, "seconds": SECONDS, "mels": MELS, "n_fft": N_FFT}}[kind]
    dataset = open_dataset(
        {"files": [str(path) for path in paths], "label": np.arange(len(paths)) % 2},
        ReadOptions(cache_gigabytes=gigabytes, modalities={"files": {"kind": kind, "options": options}}),
    )
    return StreamPart(dataset, Preprocessing.fit(dataset), torch.device("cpu"), WORKERS)


def measure(title: str, paths: list[Path], kind: str, decode: Callable[[Path], Tensor], rounds: int) -> Table:
    """Measure one kind of files."""
    epoch = count()

    def pass_over(make: Callable[[], Iterable[object]]) -> Callable[[], None]:
        def run() -> None:
            for _batch in make():
                pass

        return run

    def ours(gigabytes: float) -> Setup:
        loader = Loader(stream_part(paths, kind, gigabytes), BATCH)
        return partial(pass_over, lambda: loader.epoch(next(epoch)))

    bare = DataLoader(Files(paths, decode), BATCH, shuffle=True, num_workers=WORKERS, persistent_workers=True)
    variants = {
        BARE: partial(pass_over, lambda: bare),
        "Loader, decoding": ours(0),
        "Loader, decoded before (cache)": ours(10),
    }
    seconds = interleave(variants, rounds, title)
    table = Table(title, ["batches", "samples per second [quartiles]", "x bare decoding [quartiles]", "target"])
    for name, values in seconds.items():
        speed = Spread.of([len(paths) / value for value in values])
        share = ratio(seconds, BARE, name)
        wanted = verdict(share.median, at_least=0.9) if name == "Loader, decoding" else ""
        table.rows.append([name, speed.text(",.0f"), share.text(".2f"), wanted])
    return table


NOTES = [
    f"Wall-clock time of whole shuffled epochs in batches of {BATCH}, {WORKERS} worker processes each, which stay over epochs; "
    "nothing is done with the batches; variants run in turn, a ratio is that of one round. All files are in memory (page cache).",
    "DataLoader, bare decoding: a Dataset that decodes one file with the same libraries and steps, without equipoise's loader, "
    "and standardises it by two fixed numbers; default collate.",
    "Loader: what the training loop uses with `loader = stream`; it decodes without a cache, or reads what was decoded before.",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=256, help="files of each kind")
    parser.add_argument("--rounds", type=int, default=7, help="rounds")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name, torch.no_grad():
        os.environ["EQUIPOISE_CACHE"] = str(Path(name) / "cache")
        pictures = write_pictures(Path(name), arguments.samples)
        sounds = write_sounds(Path(name), arguments.samples)
        tables = [
            measure(f"JPEG, 400 x 300 to {SIZE} x {SIZE}", pictures, "image", picture, arguments.rounds),
            measure(f"FLAC, stereo at 22050 Hz to {MELS} mel bands at {RATE} Hz", sounds, "audio", sound, arguments.rounds),
        ]
    report("media_speed", "Speed of batches decoded from media files", tables, NOTES)


if __name__ == "__main__":
    main()
