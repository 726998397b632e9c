"""VGGSound as the code of OGM-GE reads it."""

from __future__ import annotations

from pathlib import Path

from equipoise.data.layouts import LAYOUTS
from equipoise.data.layouts.base import Layout, Manifest, Part, first_existing
from equipoise.data.layouts.lists import as_table, paths, read_rows
from equipoise.errors import DataError

CLASSES = 309


@LAYOUTS.register("vggsound")
class VGGSound(Layout):
    """Clips of ten seconds: the official list, wav files and folders of frames."""

    title = "VGGSound: 309 sounds of everyday videos, sound and video"
    reference = "Chen et al., ICASSP 2020 (arXiv 2004.14368); layout of OGM-GE (CVPR 2022, arXiv 2203.15332)"
    licence = (
        "CC BY 4.0, for commercial and research purposes; the copyright remains with the original owners of the video (README of "
        "github.com/hche11/VGGSound)"
    )
    tree = """\
vggsound.csv                                               rows like ---g-f_I2yQ,1,"people marching",test
train-audios/train-set/VIDEO_SECOND.wav                    SECOND as in the list, or of six digits (000001)
train-videos/train-set-img/Image-01-FPS/VIDEO_SECOND.mp4/  a folder of frames (*.jpg), with or without .mp4
test-audios/test-set/VIDEO_SECOND.wav
test-videos/test-set-img/Image-01-FPS/VIDEO_SECOND.mp4/"""
    choices = (
        "published: 16000 Hz, spectrogram of 256-sample windows every 128 over 5 s that are drawn at random out of 10, "
        "three frames of 224 x 224. Here: all 10 s, and the frames are the middle ones of three equal parts; groups are "
        "YouTube videos"
    )
    marks = ("vggsound.csv",)

    def manifest(self, folder: Path, media: Path) -> Manifest:
        """Read the list; see :class:`~equipoise.data.layouts.base.Layout`."""
        file = self.find(folder, "vggsound.csv")
        records = []
        for video, second, label, part, *_ in read_rows(file, ("video", "second", "label", "split")):
            if part not in ("train", "test") or not second.isdecimal():
                raise DataError(
                    f"{file}: expected rows of video, second, label and train or test, found {video},{second},{label},{part}"
                )
            clips = (f"{video}_{second}", f"{video}_{int(second):06}")
            frames = f"{part}-videos/{part}-set-img/Image-01-FPS"
            records.append(
                {
                    "id": clips[0],
                    "label": label,
                    "split": part,
                    "youtube": video,
                    "audio": first_existing(media, *(f"{part}-audios/{part}-set/{clip}.wav" for clip in clips)),
                    "video": first_existing(media, *(f"{frames}/{clip}{end}" for clip in clips for end in (".mp4", ""))),
                }
            )
        classes = tuple(sorted({str(record["label"]) for record in records}))
        complete = "" if len(classes) == CLASSES else f"; the official list has {CLASSES}"
        sound = {"sample_rate": 16000, "seconds": 10.0, "features": "spectrogram", "n_fft": 256, "hop": 128}
        return Manifest(
            table=as_table(records, ("id", "label", "split", "youtube")),
            modalities={
                "audio": Part(
                    values=paths(records, "audio"), kind="audio", options=sound, example="train-audios/train-set/VIDEO_SECOND.wav"
                ),
                "video": Part(
                    values=paths(records, "video"),
                    kind="video",
                    options={"frames": 3, "size": 224},
                    example="train-videos/train-set-img/Image-01-FPS/VIDEO_SECOND.mp4/*.jpg",
                ),
            },
            classes=classes,
            class_list=f"in the order of the alphabet, as in vggsound.csv{complete}",
            group="youtube",
            notes=("lists: vggsound.csv",),
        )
