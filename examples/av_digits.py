"""Spoken and written digits from a recording and pictures: ``python examples/av_digits.py FOLDER``.

The folder is that of a data set of 3000 spoken digits of six speakers in one FLAC recording, ``recordings_8k_mono.flac``, cut by
``recordings_offsets.csv``, each with the picture of the same digit. Speakers are groups: the model is measured on speakers
that it never heard.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd

import equipoise


def main(folder: Path, epochs: int = 15, every: int = 1) -> equipoise.Run:
    """Train on the raw recording and the pictures; ``every`` takes only each so many-th sample."""
    offsets = pd.read_csv(folder / "recordings_offsets.csv")
    recording = folder / "recordings_8k_mono.flac"
    with (
        np.load(folder / "audio.npz") as audio,
        np.load(folder / "images.npz") as images,
        np.load(folder / "pairs.npz") as pairs,
    ):
        data = {
            # a part of a longer recording is stated by the numbers of its samples
            "sound": [f"{recording}#{start}:{stop}" for start, stop in zip(offsets["start"], offsets["stop"], strict=True)],
            "picture": images["image"][pairs["image_row"]],
            "digit": audio["label"],
            "speaker": audio["speaker"],
        }
    run = equipoise.fit(
        {name: values[::every] for name, values in data.items()},
        target="digit",
        group="speaker",
        modalities={"sound": {"kind": "audio", "options": {"seconds": 0.8, "mels": 40}}, "picture": {"kind": "image"}},
        method="ogm",
        augment={"sound": "time,frequency"},
        epochs=epochs,
    )
    for name, values in run.metrics.items():
        print(f"{name:7} accuracy {values['accuracy']:.3f} on {values['samples']} samples of speakers never heard")
    return run


if __name__ == "__main__":
    main(Path(sys.argv[1]))
