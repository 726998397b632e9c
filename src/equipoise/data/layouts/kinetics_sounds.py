"""Kinetics-Sounds: lists differ between papers, so what the lists at hand name is compared with what is documented."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from equipoise.data.columns import few
from equipoise.data.layouts import LAYOUTS
from equipoise.data.layouts.base import Layout, Manifest, Part, first_existing
from equipoise.data.layouts.lists import as_table, list_note, paths, read_rows

YOUTUBE = 11
"""Letters of a YouTube id, with which the name of every clip begins."""

FIRST_NAMES = (
    "blowing nose", "bowling", "chopping wood", "ripping paper", "shuffling cards", "singing", "tapping pen", "typing",
    "blowing out", "dribbling ball", "laughing", "mowing the lawn by pushing lawnmower", "shoveling snow", "stomping",
    "tap dancing", "tapping guitar", "tickling", "fingerpicking", "patting", "playing accordion", "playing bagpipes",
    "playing bass guitar", "playing clarinet", "playing drums", "playing guitar", "playing harmonica", "playing keyboard",
    "playing organ", "playing piano", "playing saxophone", "playing trombone", "playing trumpet", "playing violin",
    "playing xylophone",
)  # fmt: skip
"""The 34 classes of Arandjelovic and Zisserman, ICCV 2017, named as in the first version of Kinetics."""

LATER_NAMES = (
    "blowing nose", "blowing out candles", "bowling", "chopping wood", "dribbling basketball", "laughing", "mowing lawn",
    "playing accordion", "playing bagpipes", "playing bass guitar", "playing clarinet", "playing drums", "playing guitar",
    "playing harmonica", "playing keyboard", "playing organ", "playing piano", "playing saxophone", "playing trombone",
    "playing trumpet", "playing violin", "playing xylophone", "ripping paper", "shoveling snow", "shuffling cards", "singing",
    "stomping grapes", "tap dancing", "tapping guitar", "tapping pen", "tickling",
)  # fmt: skip
"""The 31 that are in Kinetics-400, by their names there, as the authors of AdaMML (ICCV 2021) list them."""

DOCUMENTED = {
    "Arandjelovic and Zisserman (ICCV 2017)": FIRST_NAMES,
    "Kinetics-400 (github.com/IBM/AdaMML, issue 3)": LATER_NAMES,
}
"""Lists of the classes by who published them."""

SOUND = {"sample_rate": 16000, "seconds": 10.0, "features": "spectrogram", "n_fft": 512, "hop": 159}
PICTURE = {"frames": 3, "size": 224}


@LAYOUTS.register("kinetics_sounds")
class KineticsSounds(Layout):
    """Clips of Kinetics whose action can be heard: wav files, folders of frames, and lists."""

    title = "Kinetics-Sounds: 31 to 34 actions of Kinetics, sound and video"
    reference = (
        "Arandjelovic and Zisserman, ICCV 2017 (34 classes; published code trains on 31); named: layout of the code of "
        "AUG (arXiv 2502.20120); codes: lists and folders of OGM-GE (CVPR 2022, arXiv 2203.15332)"
    )
    licence = "Kinetics, a set of links to videos, is licensed by Google under CC BY 4.0 (deepmind.com/open-source/kinetics)"
    tree = """\
named:  annotations/train.csv                      columns youtube_id (name of the clip) and label; valid.csv where there is one
        annotations/test.csv
        train_wav/CLIP.wav                         also valid_wav/ and test_wav/; each clip is looked for in that of its list
        train_img/Image-01-FPS/CLIP/*.jpg          also valid_img/ and test_img/; clips of valid.csv may be with those of train
codes:  my_train.txt                               rows like -3Mwkq-7TV4_2,10,23: clip, seconds, number of the class
        my_test.txt
        train/CLIP/CLIP.wav, train/CLIP/*.jpg      frames and sound of a clip in one folder; the same below test/"""
    choices = (
        "published: about 10 s at 16000 Hz as a spectrogram of 512-sample windows every 159, three frames of 224 x 224. "
        "Here: the frames are the middle ones of three equal parts; groups are YouTube videos; lists are used as they "
        "are, and compared with the documented names: 34 of the first version of Kinetics, 31 of Kinetics-400"
    )
    variants: ClassVar = {
        "named": "lists with names of classes in annotations/",
        "codes": "lists with numbers of classes, as OGM-GE published them",
    }
    marks = ("annotations/train.csv", "my_train.txt")

    def manifest(self, folder: Path, media: Path) -> Manifest:
        """Read the lists; see :class:`~equipoise.data.layouts.base.Layout`."""
        if self.variant == "codes":
            files = self.find_splits(folder, train=["my_train.txt"], test=["my_test.txt"])
            rows = {
                part: [(row[0], row[2]) for row in read_rows(file, ("clip", "seconds", "class"))] for part, file in files.items()
            }
        else:
            files = self.find_splits(
                folder, train=["annotations/train.csv"], validation=["annotations/valid.csv"], test=["annotations/test.csv"]
            )
            rows = {
                part: [(row[0], row[1]) for row in read_rows(file, ("youtube_id", "label"), header=True)]
                for part, file in files.items()
            }
        records = [
            {"id": clip, "label": label, "split": part, "youtube": clip[:YOUTUBE], **self._files(clip, part, media)}
            for part, pairs in rows.items()
            for clip, label in pairs
        ]
        labels = {str(record["label"]) for record in records}
        classes = tuple(sorted(labels, key=lambda label: (len(label), label) if self.variant == "codes" else (0, label)))
        return Manifest(
            table=as_table(records, ("id", "label", "split", "youtube")),
            modalities={
                "audio": Part(values=paths(records, "audio"), kind="audio", options=SOUND, example=self._example("audio")),
                "video": Part(values=paths(records, "video"), kind="video", options=PICTURE, example=self._example("video")),
            },
            classes=classes,
            class_list="numbers as in the lists, which name none" if self.variant == "codes" else compared(classes),
            group="youtube",
            notes=(list_note(files, folder),),
        )

    def _files(self, clip: str, part: str, media: Path) -> dict[str, str]:
        if self.variant == "codes":
            return {"audio": f"{part}/{clip}/{clip}.wav", "video": f"{part}/{clip}"}
        places = ("valid", "train") if part == "validation" else (part,)
        return {
            "audio": first_existing(media, *(f"{place}_wav/{clip}.wav" for place in places)),
            "video": first_existing(media, *(f"{place}_img/Image-01-FPS/{clip}" for place in places)),
        }

    def _example(self, modality: str) -> str:
        if self.variant == "codes":
            return "train/CLIP/CLIP.wav" if modality == "audio" else "train/CLIP/*.jpg"
        return "train_wav/CLIP.wav" if modality == "audio" else "train_img/Image-01-FPS/CLIP/*.jpg"


def compared(classes: Sequence[str]) -> str:
    """Say how a list of classes differs from that of the documented ones which is nearest.

    Example:
        >>> compared(FIRST_NAMES[:33])
        "as in the lists; of the 34 of Arandjelovic and Zisserman (ICCV 2017) 1 is not among them: 'playing xylophone'"
        >>> compared(LATER_NAMES)
        'as in the lists; the 31 of Kinetics-400 (github.com/IBM/AdaMML, issue 3)'
    """
    named = {label.replace("_", " ").lower() for label in classes}
    source, documented = max(DOCUMENTED.items(), key=lambda item: len(named & set(item[1])))
    absent = [name for name in documented if name not in named]
    others = sorted(named - set(documented))
    words = f"the {len(documented)} of {source}"
    if absent or others:
        words = f"of {words} {len(absent)} {'is' if len(absent) == 1 else 'are'} not among them"
        words += f": {few(absent)}" if absent else ""
        words += f"; {len(others)} of other names: {few(others)}" if others else ""
    return f"as in the lists; {words}"
