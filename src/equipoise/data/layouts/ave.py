"""AVE: the official lists, with sound and frames as the pre-processing of OGM-GE writes them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from equipoise.data.layouts import LAYOUTS
from equipoise.data.layouts.base import Layout, Manifest, Part
from equipoise.data.layouts.lists import as_table, list_note, paths, read_rows

FIELDS = ("category", "video", "quality", "start", "end")


@LAYOUTS.register("ave")
class AVE(Layout):
    """Videos of ten seconds in which an event is seen and heard: official lists, wav files and folders of frames."""

    title = "AVE: 28 audio-visual events, sound and video"
    reference = (
        "Tian et al., ECCV 2018 (arXiv 1803.08842), whose lists are read; media as the pre-processing of OGM-GE (CVPR "
        "2022, arXiv 2203.15332) writes them"
    )
    licence = "not stated by the source; see github.com/YapengTian/AVE-ECCV18. The clips are of YouTube, chosen from AudioSet"
    tree = """\
trainSet.txt            rows like Church bell&RUhOCu3LNXM&good&0&10: event, video, quality, start and end of the event in seconds
valSet.txt
testSet.txt
audio/VIDEO.wav
visual/VIDEO/*.jpg"""
    choices = (
        "published: about 10 s at 16000 Hz as a spectrogram of 512-sample windows every 159, three frames of 224 x 224. "
        "Here: the frames are the middle ones of three equal parts; the whole video is taken, not the event in it; a "
        "video with several events is several samples (published code drops some of them); groups are videos"
    )
    marks = ("trainSet.txt",)

    def manifest(self, folder: Path, media: Path) -> Manifest:
        """Read the lists; see :class:`~equipoise.data.layouts.base.Layout`."""
        files = self.find_splits(folder, train=["trainSet.txt"], validation=["valSet.txt"], test=["testSet.txt"])
        rows = [(part, *row[:5]) for part, file in files.items() for row in read_rows(file, FIELDS, "&") if row[1] != "VideoID"]
        count = Counter(row[2] for row in rows)
        records = [
            {
                "id": video if count[video] == 1 else f"{video}:{event}:{start}-{end}",
                "label": event,
                "split": part,
                "video_id": video,
                "audio": f"audio/{video}.wav",
                "video": f"visual/{video}",
            }
            for part, event, video, _, start, end in rows
        ]
        several = sum(number > 1 for number in count.values())
        sound = {"sample_rate": 16000, "seconds": 10.0, "features": "spectrogram", "n_fft": 512, "hop": 159}
        return Manifest(
            table=as_table(records, ("id", "label", "split", "video_id")),
            modalities={
                "audio": Part(values=paths(records, "audio"), kind="audio", options=sound, example="audio/VIDEO.wav"),
                "video": Part(
                    values=paths(records, "video"), kind="video", options={"frames": 3, "size": 224}, example="visual/VIDEO/*.jpg"
                ),
            },
            classes=tuple(sorted({str(record["label"]) for record in records})),
            class_list="in the order of the alphabet, as in the lists",
            group="video_id",
            notes=(list_note(files, folder), *([f"videos with several events: {several}"] if several else [])),
        )
