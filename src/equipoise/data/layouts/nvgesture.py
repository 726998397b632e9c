"""NVGesture: the official lists, with frames that were cut out of the videos."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from equipoise.data.columns import few
from equipoise.data.layouts import LAYOUTS
from equipoise.data.layouts.base import Layout, Manifest, Part, Record
from equipoise.data.layouts.lists import as_table, list_note, paths, read_lines
from equipoise.data.media.video import frame_files
from equipoise.errors import DataError

_LISTS = ("nvgesture_{}_correct_cvpr2016_v2.lst", "nvgesture_{}_correct_v2.lst", "nvgesture_{}_correct.lst")


@LAYOUTS.register("nvgesture")
class NVGesture(Layout):
    """Hand gestures in a car: folders of frames of each sensor beside the official videos."""

    title = "NVGesture: 25 hand gestures of 20 people, RGB, optical flow and depth"
    reference = (
        "Molchanov et al., CVPR 2016, whose lists and folders are read. Videos are not decoded: the folders of frames "
        "beside them are called like the video, which is our choice"
    )
    licence = (
        "given out by NVIDIA on request, under the terms stated there: research.nvidia.com/publication/"
        "2016-06_online-detection-and-classification-dynamic-hand-gestures-recurrent-3d"
    )
    tree = """\
nvgesture_train_correct_cvpr2016_v2.lst                  also without cvpr2016_ and v2; a valid list is used where there is one
nvgesture_test_correct_cvpr2016_v2.lst                   rows like path:./Video_data/class_01/subject13_r0
                                                         depth:sk_depth:138:218 color:sk_color:138:218 ... label:1
Video_data/class_01/subject13_r0/sk_color/*.jpg          the frames 138 to 217 of sk_color.avi
Video_data/class_01/subject13_r0/sk_depth/*.jpg          the frames 138 to 217 of sk_depth.avi
Video_data/class_01/subject13_r0/u/sk_color/*.jpg        both directions of the optical flow of these frames
Video_data/class_01/subject13_r0/v/sk_color/*.jpg"""
    choices = (
        'Ours: only the frames of the gesture are in a folder (ffmpeg -i sk_color.avi -vf "select=between(n\\,138\\,217)" '
        "-vsync 0 sk_color/%06d.jpg); 16 frames of 112 x 112, the middle ones of equal parts; u and v of flow are two "
        "channels; groups are people. Two sensors alone: --modalities '{rgb: {}, depth: {}}'"
    )
    marks = tuple(name.format("train") for name in _LISTS)

    def manifest(self, folder: Path, media: Path) -> Manifest:
        """Read the lists; see :class:`~equipoise.data.layouts.base.Layout`."""
        words = {"train": "train", "validation": "valid", "test": "test"}
        files = self.find_splits(folder, **{part: [name.format(word) for name in _LISTS] for part, word in words.items()})
        records = []
        for part, file in files.items():
            for line in read_lines(file):
                fields = dict(field.split(":", 1) for field in line.split() if ":" in field)
                if not {"path", "depth", "color", "label"} <= fields.keys():
                    raise DataError(f"{file}: expected rows with path:, depth:, color: and label:, found {line!r}")
                place = fields["path"].removeprefix("./")
                person = re.match(r"subject\d+", Path(place).name)
                colour, depth = (fields[sensor].split(":")[0] for sensor in ("color", "depth"))
                records.append(
                    {
                        "id": place.removeprefix("Video_data/"),
                        "label": fields["label"],
                        "split": part,
                        "subject": person.group() if person else Path(place).name,
                        "rgb": f"{place}/{colour}",
                        "flow": f"{place}/u/{colour}",
                        "depth": f"{place}/{depth}",
                        "length": _length(fields["color"], file),
                    }
                )
        picture: dict[str, Any] = {"frames": 16, "size": 112}
        options = {
            "rgb": picture,
            "flow": {**picture, "colours": "grey", "folders": ["u", "v"]},
            "depth": {**picture, "colours": "grey"},
        }
        examples = {"rgb": "sk_color/*.jpg", "flow": "u/sk_color/*.jpg and v/sk_color/*.jpg", "depth": "sk_depth/*.jpg"}
        labels = {str(record["label"]) for record in records}
        return Manifest(
            table=as_table(records, ("id", "label", "split", "subject")),
            modalities={
                name: Part(
                    values=paths(records, name),
                    kind="video",
                    options=options[name],
                    example=f"Video_data/CLASS/CLIP/{examples[name]}",
                )
                for name in options
            },
            classes=tuple(sorted(labels, key=lambda label: (len(label), label))),
            class_list="numbers as in the lists, from 1",
            group="subject",
            notes=(list_note(files, folder), *_uncut(records, media)),
        )


def _length(sensor: str, file: Path) -> int:
    """Frames of the window that ``sk_color:138:218`` states."""
    found = re.fullmatch(r"\w+:(\d+):(\d+)", sensor)
    if found is None or int(found[2]) <= int(found[1]):
        raise DataError(
            f"{file}: expected a sensor with its first frame and the one after its last (sk_color:138:218), found {sensor!r}"
        )
    return int(found[2]) - int(found[1])


def _uncut(records: Sequence[Record], media: Path) -> tuple[str, ...]:
    """Say which folders hold more frames than the gesture has by the list."""
    known = [record for record in records if (media / record["rgb"]).is_dir()]
    longer = [record["rgb"] for record in known if len(frame_files(media / record["rgb"])) > record["length"]]
    share = f"{len(longer)} of {len(known)} folders"
    words = f"frames: {share} hold more than the gesture has by the list, all of which count: {few(longer)}"
    return (words,) if longer else ()
