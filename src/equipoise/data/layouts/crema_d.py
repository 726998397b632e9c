"""CREMA-D as the code of OGM-GE, PMR and AUG reads it."""

from __future__ import annotations

from pathlib import Path

from equipoise.data.layouts import LAYOUTS
from equipoise.data.layouts.base import Layout, Manifest, Part
from equipoise.data.layouts.lists import as_table, list_note, paths, read_rows

CLASSES = ("NEU", "HAP", "SAD", "FEA", "DIS", "ANG")


@LAYOUTS.register("crema_d")
class CremaD(Layout):
    """Clips of 91 actors: wav files, folders of frames at one per second, and lists of clip and emotion without a header."""

    title = "CREMA-D: 6 emotions of 91 actors, sound and face"
    reference = (
        "Cao et al., IEEE Transactions on Affective Computing 2014; layout of OGM-GE (CVPR 2022, arXiv 2203.15332), with "
        "the lists beside the media or, as in the code of AUG (arXiv 2502.20120), in annotations/"
    )
    licence = (
        "Open Database License; rights in its individual contents: Database Contents License (README of "
        "github.com/CheyneyComputerScience/CREMA-D)"
    )
    tree = """\
train.csv                          or annotations/train.csv; rows like 1001_DFA_ANG_XX,ANG
test.csv                           or annotations/test.csv; a valid.csv is used where there is one
AudioWAV/1001_DFA_ANG_XX.wav
Image-01-FPS/1001_DFA_ANG_XX/*.jpg"""
    choices = (
        "published: 22050 Hz, 3 s, spectrogram of 512-sample windows every 353 (257 x 188), one frame of 224 x 224. Here: "
        "shorter clips end in silence instead of being repeated; the frame is the middle one instead of a random one; "
        "groups are actors"
    )
    marks = ("train.csv", "annotations/train.csv")

    def manifest(self, folder: Path, media: Path) -> Manifest:
        """Read the lists; see :class:`~equipoise.data.layouts.base.Layout`."""
        names = {part: (f"{name}.csv", f"annotations/{name}.csv") for part, name in _PARTS.items()}
        files = self.find_splits(folder, **names)
        records = [
            {
                "id": clip,
                "label": emotion,
                "split": part,
                "actor": clip.split("_")[0],
                "audio": f"AudioWAV/{clip}.wav",
                "video": f"Image-01-FPS/{clip}",
            }
            for part, file in files.items()
            for clip, emotion, *_ in read_rows(file, ("clip", "emotion"))
        ]
        sound = {"sample_rate": 22050, "seconds": 3.0, "features": "spectrogram", "n_fft": 512, "hop": 353}
        return Manifest(
            table=as_table(records, ("id", "label", "split", "actor")),
            modalities={
                "audio": Part(values=paths(records, "audio"), kind="audio", options=sound, example="AudioWAV/*.wav"),
                "video": Part(
                    values=paths(records, "video"),
                    kind="video",
                    options={"frames": 1, "size": 224},
                    example="Image-01-FPS/*/*.jpg",
                ),
            },
            classes=CLASSES,
            class_list="in the order of the code of OGM-GE",
            group="actor",
            notes=(list_note(files, folder),),
        )


_PARTS = {"train": "train", "validation": "valid", "test": "test"}
