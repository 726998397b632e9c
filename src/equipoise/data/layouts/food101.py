"""Food-101: UPMC's pictures with the titles of their web pages, and ETH's pictures alone."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from equipoise.data.layouts import LAYOUTS
from equipoise.data.layouts.base import Layout, Manifest, Part
from equipoise.data.layouts.lists import as_table, list_note, paths, read_lines, read_rows
from equipoise.data.media.base import file_kind
from equipoise.errors import DataError

CLASSES = 101


@LAYOUTS.register("food101")
class Food101(Layout):
    """Dishes: a picture of each, and the title of the page where it was found."""

    title = "Food-101: 101 dishes, picture and text (UPMC) or pictures alone (ETH)"
    reference = "Wang et al., ICME workshops 2015 (UPMC Food-101); Bossard et al., ECCV 2014 (ETH Food-101)"
    licence = (
        "eth: pictures of Foodspotting, not property of ETH Zurich, whose use beyond scientific fair use must be negotiated with "
        "their owners (licence agreement of the set); upmc: see visiir.lip6.fr"
    )
    tree = """\
upmc:  texts/train_titles.csv                       rows like apple_pie_0.jpg,Apple Pie Recipe,apple_pie; a header is passed over
       texts/test_titles.csv
       images/train/apple_pie/apple_pie_0.jpg
       images/test/apple_pie/apple_pie_1.jpg
eth:   meta/classes.txt                             one class per row
       meta/train.txt                               rows like apple_pie/1005649
       meta/test.txt
       images/apple_pie/1005649.jpg"""
    choices = (
        "published: pictures of 224 x 224, the title as it is. Here: a picture is cut to a square instead of being "
        "squeezed to one"
    )
    variants: ClassVar = {"upmc": "picture and title", "eth": "pictures alone, one modality"}
    marks = ("texts/train_titles.csv", "meta/train.txt")

    def manifest(self, folder: Path, media: Path) -> Manifest:
        """Read the lists; see :class:`~equipoise.data.layouts.base.Layout`."""
        upmc = self.variant == "upmc"
        if upmc:
            files = self.find_splits(folder, train=["texts/train_titles.csv"], test=["texts/test_titles.csv"])
            records = [
                {"id": name, "label": label, "split": part, "text": title, "image": f"images/{part}/{label}/{name}"}
                for part, file in files.items()
                for name, title, label, *_ in read_rows(file, ("picture", "title", "class"))
                if file_kind(name) == "image"
            ]
            classes = tuple(sorted({record["label"] for record in records}))
            order = "in the order of the alphabet, as in the lists"
        else:
            files = self.find_splits(folder, train=["meta/train.txt"], test=["meta/test.txt"])
            classes = tuple(read_lines(self.find(folder, "meta/classes.txt")))
            records = [
                {"id": name, "label": name.split("/")[0], "split": part, "image": f"images/{name}.jpg"}
                for part, file in files.items()
                for name in read_lines(file)
            ]
            order = "in the order of meta/classes.txt"
        if not records:
            raise DataError(f"{files['train']} names no picture, expected rows like apple_pie_0.jpg,Apple Pie Recipe,apple_pie")
        picture = Part(
            values=paths(records, "image"),
            kind="image",
            options={"size": 224, "colours": "rgb"},
            example="images/train/CLASS/PICTURE.jpg" if upmc else "images/CLASS/NUMBER.jpg",
        )
        text = {"text": Part(values=as_table(records, ("text",)), kind="text")} if upmc else {}
        return Manifest(
            table=as_table(records, ("id", "label", "split")),
            modalities={"image": picture, **text},
            classes=classes,
            class_list=order + ("" if len(classes) == CLASSES else f"; the published list has {CLASSES}"),
            notes=(list_note(files, folder),),
        )
