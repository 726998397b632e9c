"""Multimodal sarcasm detection in tweets: the lists of its authors, and those of MMSD 2.0."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any, ClassVar

from equipoise.data.files import reading
from equipoise.data.layouts import LAYOUTS
from equipoise.data.layouts.base import Layout, Manifest, Part
from equipoise.data.layouts.lists import as_table, list_note, paths, read_lines
from equipoise.errors import DataError

CLASSES = ("0", "1")
TELLTALE = frozenset(
    ("sarcasm", "sarcastic", "reposting", "<url>", "joke", "humour", "humor", "jokes", "irony", "ironic", "exgag")
)  # fmt: skip
"""A tweet with one of these words is no sample in the published code, for the word may tell the label."""


@LAYOUTS.register("sarcasm")
class Sarcasm(Layout):
    """Tweets with a picture, sarcastic or not."""

    title = "Sarcasm: sarcastic tweets or not, text and picture"
    reference = "Cai et al., ACL 2019 (lists of Python lists); Qin et al., Findings of ACL 2023 (MMSD 2.0, JSON)"
    licence = (
        "not stated by the sources; see github.com/headacheboy/data-of-multimodal-sarcasm-detection and "
        "github.com/JoeYing1019/MMSD2.0. Texts and pictures are of Twitter"
    )
    tree = """\
annotated, hashtag:  text/train.txt     rows like ['682716753374351360', 'what a day !', 1]: number, text, label by hashtag
                     text/valid2.txt    a second label, of a person who read the tweet, follows
                     text/test2.txt
mmsd, mmsd2:         text_json_clean/{train,valid,test}.json or text_json_final/...: a list of {image_id, text, label}
all:                 dataset_image/682716753374351360.jpg"""
    choices = (
        "published: tweets with words such as sarcasm, irony or joke are no samples (in all parts; 19816, 2410 and 2409 "
        "remain), and labels of validation and test are those of the person. Ours: pictures of 224 x 224"
    )
    variants: ClassVar = {
        "annotated": "the authors' lists; validation and test labelled by a person",
        "hashtag": "the authors' lists; validation and test labelled by hashtag, as train is",
        "mmsd": "text_json_clean of MMSD 2.0: the authors' samples",
        "mmsd2": "text_json_final of MMSD 2.0: corrected samples and labels",
    }
    marks = ("text/train.txt", "text_json_clean", "text_json_final")

    def manifest(self, folder: Path, media: Path) -> Manifest:
        """Read the lists; see :class:`~equipoise.data.layouts.base.Layout`."""
        notes = []
        if self.variant.startswith("mmsd"):
            place = "text_json_final" if self.variant == "mmsd2" else "text_json_clean"
            files = self.find_splits(
                folder, train=[f"{place}/train.json"], validation=[f"{place}/valid.json"], test=[f"{place}/test.json"]
            )
            rows = {part: _json(file) for part, file in files.items()}
        else:
            files = self.find_splits(folder, train=["text/train.txt"], validation=["text/valid2.txt"], test=["text/test2.txt"])
            every = {part: _lists(file, 2 if self.variant == "hashtag" else -1) for part, file in files.items()}
            rows = {part: [row for row in found if not TELLTALE & set(row[1].split())] for part, found in every.items()}
            left_out = {part: len(every[part]) - len(rows[part]) for part in rows}
            words = ", ".join(f"{part} {count}" for part, count in left_out.items())
            notes.append(f"tweets with a word that may tell the label, no samples in the published code either: {words}")
        records = [
            {"id": number, "label": label, "split": part, "text": text, "image": f"dataset_image/{number}.jpg"}
            for part, found in rows.items()
            for number, text, label in found
        ]
        return Manifest(
            table=as_table(records, ("id", "label", "split")),
            modalities={
                "text": Part(values=as_table(records, ("text",)), kind="text"),
                "image": Part(
                    values=paths(records, "image"),
                    kind="image",
                    options={"size": 224, "colours": "rgb"},
                    example="dataset_image/NUMBER.jpg",
                ),
            },
            classes=CLASSES,
            class_list=f"1 sarcastic; {self.variants[self.variant]}",
            notes=(list_note(files, folder), *notes),
        )


def _lists(path: Path, place: int) -> list[tuple[str, str, str]]:
    """Rows of a file of Python lists, which are parsed as data and never run; ``place`` is that of the label in a row."""
    rows = []
    for number, line in enumerate(read_lines(path), 1):
        try:
            row = ast.literal_eval(line)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            row = None
        if not isinstance(row, list) or len(row) < 3 or str(row[place]) not in CLASSES:
            raise DataError(f"{path}, line {number}: expected a list like ['NUMBER', 'text', 1], found {line[:80]!r}")
        rows.append((str(row[0]), str(row[1]), str(row[place])))
    return rows


def _json(path: Path) -> list[tuple[str, str, str]]:
    with reading(path, "JSON"):
        found: Any = json.loads(path.read_text(encoding="utf-8"))
    fields = ("image_id", "text", "label")
    if not isinstance(found, list) or not all(isinstance(row, dict) and set(fields) <= row.keys() for row in found):
        raise DataError(f"{path}: expected a list of objects with {', '.join(fields)}")
    return [(str(row["image_id"]), str(row["text"]), str(row["label"])) for row in found]
