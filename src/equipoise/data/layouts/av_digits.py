"""Spoken digits in one FLAC recording, paired with pictures of written ones."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from equipoise.data.files import read_archive, read_table
from equipoise.data.layouts import LAYOUTS
from equipoise.data.layouts.base import Layout, Manifest, Part
from equipoise.errors import DataError

RECORDING = "recordings_8k_mono.flac"


@LAYOUTS.register("av_digits")
class AVDigits(Layout):
    """3000 spoken digits of six speakers, cut out of one recording by a table of offsets, and 1797 pictures of written digits."""

    title = "Audio-visual digits: 10 digits spoken by 6 people, with pictures of written ones"
    reference = (
        "Jackson et al., Free Spoken Digit Dataset (Zenodo 10.5281/zenodo.1342401); Alpaydin and Kaynak, Optical "
        "Recognition of Handwritten Digits (UCI); paired by label"
    )
    licence = (
        "recordings CC BY-SA 4.0 (README of github.com/Jakobovski/free-spoken-digit-dataset), pictures CC BY 4.0 (UCI); so "
        "that the pairs are CC BY-SA 4.0"
    )
    tree = f"""\
{RECORDING}      the sounds one after another
recordings_offsets.csv       columns start and stop, in samples of the recording
audio.npz                    label, split and speaker of each sound
images.npz                   image (pictures x 8 x 8) and label of each picture
pairs.npz                    image_row: the picture of each sound"""
    choices = (
        "Ours: the first 0.8 s as 40 mel bands. The published pairs share pictures between speakers, so that folds by "
        "speaker would put the same picture on two sides: the variant speakers pairs each speaker with pictures of his "
        "own"
    )
    variants: ClassVar = {
        "pairs": "published pairs and split, which shares speakers",
        "speakers": "every speaker has pictures of his own; no split, groups are speakers",
    }
    marks = ("recordings_offsets.csv",)

    def manifest(self, folder: Path, media: Path) -> Manifest:
        """Read the tables; see :class:`~equipoise.data.layouts.base.Layout`."""
        import pandas as pd

        offsets = read_table(self.find(folder, "recordings_offsets.csv"))
        sounds, pictures, pairs = (read_archive(self.find(folder, f"{name}.npz")) for name in ("audio", "images", "pairs"))
        wanted = {
            "audio": (sounds, ("label", "split", "speaker")),
            "images": (pictures, ("image", "label")),
            "pairs": (pairs, ("image_row",)),
        }
        for name, (arrays, keys) in wanted.items():
            for key in keys:
                if key not in arrays:
                    raise DataError(f"{folder / name}.npz has no array {key!r}, found {', '.join(arrays)}")
        lengths = {len(offsets), *(len(sounds[key]) for key in ("label", "split", "speaker")), len(pairs["image_row"])}
        if len(lengths) > 1 or not {"start", "stop"} <= set(offsets):
            raise DataError(f"{folder}: recordings_offsets.csv (start, stop), audio.npz and pairs.npz need a row for each sound")
        own = self.variant == "speakers"
        rows = own_pictures(sounds["label"], sounds["speaker"], pictures["label"]) if own else pairs["image_row"]
        table = pd.DataFrame({"id": np.arange(len(offsets)).astype(str), "label": sounds["label"].astype(str)})
        if not own:
            table["split"] = np.where(sounds["split"] == "val", "validation", sounds["split"])
        table["speaker"] = sounds["speaker"]
        parts = [f"{RECORDING}#{start}:{stop}" for start, stop in zip(offsets["start"], offsets["stop"], strict=True)]
        sound = {"sample_rate": 8000, "seconds": 0.8, "mels": 40}
        return Manifest(
            table=table,
            modalities={
                "audio": Part(values=parts, kind="audio", options=sound, example=RECORDING),
                "image": Part(values=pictures["image"][rows], kind="image", example="images.npz"),
            },
            classes=tuple(map(str, np.unique(sounds["label"]))),
            class_list="the digits",
            group="speaker",
            notes=(f"pairs: {self.variants[self.variant]}",),
        )


def own_pictures(label: NDArray[np.int64], speaker: NDArray[np.str_], picture: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return a picture of the same class for each sound, such that no two speakers share one.

    The pictures of a class are dealt out to the speakers in turn; a speaker with more sounds than pictures takes them again.

    Args:
        label: Class of each sound, of shape (sounds,).
        speaker: Speaker of each sound.
        picture: Class of each picture, of shape (pictures,).

    Returns:
        Row numbers of pictures, of shape (sounds,).

    Raises:
        DataError: A class has fewer pictures than there are speakers.

    Example:
        >>> own_pictures(np.zeros(4, int), np.array(["a", "b", "a", "a"]), np.zeros(3, int)).tolist()
        [0, 1, 2, 0]
    """
    speakers, who = np.unique(speaker, return_inverse=True)
    chosen = np.empty(len(label), dtype=np.int64)
    for value in np.unique(label):
        known = np.flatnonzero(picture == value)
        if len(known) < len(speakers):
            raise DataError(
                f"class {value} has {len(known)} pictures for {len(speakers)} speakers, expected one for each at least"
            )
        for number in range(len(speakers)):
            sounds = np.flatnonzero((label == value) & (who == number))
            chosen[sounds] = np.resize(known[number :: len(speakers)], len(sounds))
    return chosen
