"""UCF-101 as frames and optical flow."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from equipoise.data.layouts import LAYOUTS
from equipoise.data.layouts.base import Layout, Manifest, Part, first_existing
from equipoise.data.layouts.lists import as_table, list_note, paths, read_lines, read_rows
from equipoise.errors import DataError

_FOLDERS = ("ucfTrainTestlist", "UCF101TrainTestSplits-RecognitionTask/ucfTrainTestlist")


@LAYOUTS.register("ucf101")
class UCF101(Layout):
    """Videos of 101 actions: the official lists, folders of frames, and folders of both directions of optical flow."""

    title = "UCF-101: 101 actions, RGB and optical flow"
    reference = (
        "Soomro et al., arXiv 1212.0402, whose lists are read; frames and TV-L1 flow as published by Feichtenhofer et al. "
        "(CVPR 2016), which balanced-learning code reads too"
    )
    licence = "see crcv.ucf.edu/data/UCF101.php; the videos are uploads of users of YouTube"
    tree = """\
ucfTrainTestlist/classInd.txt           rows like 1 ApplyEyeMakeup
ucfTrainTestlist/trainlist01.txt        rows like ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1; 02 and 03 for the other splits
ucfTrainTestlist/testlist01.txt         rows like ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi
jpegs_256/v_ApplyEyeMakeup_g08_c01/*.jpg
tvl1_flow/u/v_ApplyEyeMakeup_g08_c01/*.jpg
tvl1_flow/v/v_ApplyEyeMakeup_g08_c01/*.jpg"""
    choices = (
        "published: three RGB frames and three of flow, 224 x 224; u and v of a flow frame are two channels of one "
        "modality. Here: they are the middle ones of three equal parts; groups are the source videos (g08 of a class), "
        "which no official split cuts"
    )
    variants: ClassVar = {f"split{number}": f"trainlist0{number}.txt and testlist0{number}.txt" for number in (1, 2, 3)}
    marks = tuple(f"{folder}/classInd.txt" for folder in _FOLDERS)

    def manifest(self, folder: Path, media: Path) -> Manifest:
        """Read the lists; see :class:`~equipoise.data.layouts.base.Layout`."""
        classes = tuple(row[1] for row in read_rows(self.find(folder, *self.marks), ("number", "class"), " "))
        number = f"0{self.variant[-1]}"
        files = {
            part: self.find(folder, *(f"{place}/{part}list{number}.txt" for place in _FOLDERS)) for part in ("train", "test")
        }
        records = []
        for part, file in files.items():
            for line in read_lines(file):
                label, slash, video = line.split()[0].partition("/")
                if not slash or label not in classes:
                    raise DataError(
                        f"{file}: expected rows like {classes[0]}/VIDEO.avi of the classes of classInd.txt, found {line!r}"
                    )
                name = video.removesuffix(".avi")
                # the published frames of one class are called differently from its videos
                names = (name, name.replace("HandStandPushups", "HandstandPushups"))
                records.append(
                    {
                        "id": name,
                        "label": label,
                        "split": part,
                        "source": name.rpartition("_")[0],
                        "rgb": first_existing(media, *(f"jpegs_256/{item}" for item in names)),
                        "flow": first_existing(media, *(f"tvl1_flow/u/{item}" for item in names)),
                    }
                )
        flow = {"frames": 3, "size": 224, "colours": "grey", "folders": ["u", "v"]}
        return Manifest(
            table=as_table(records, ("id", "label", "split", "source")),
            modalities={
                "rgb": Part(
                    values=paths(records, "rgb"),
                    kind="video",
                    options={"frames": 3, "size": 224},
                    example="jpegs_256/VIDEO/*.jpg",
                ),
                "flow": Part(
                    values=paths(records, "flow"),
                    kind="video",
                    options=flow,
                    example="tvl1_flow/u/VIDEO/*.jpg and tvl1_flow/v/VIDEO/*.jpg",
                ),
            },
            classes=classes,
            class_list="in the order of classInd.txt",
            group="source",
            notes=(list_note(files, folder),),
        )
