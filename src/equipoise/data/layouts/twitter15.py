"""Twitter-15 as the code of TomBERT publishes it."""

from __future__ import annotations

from pathlib import Path

from equipoise.data.layouts import LAYOUTS
from equipoise.data.layouts.base import Layout, Manifest, Part
from equipoise.data.layouts.lists import as_table, list_note, paths, read_rows
from equipoise.errors import DataError

CLASSES = ("0", "1", "2")
FIELDS = ("index", "label", "image", "tweet", "target")


@LAYOUTS.register("twitter15")
class Twitter15(Layout):
    """Tweets with a picture and a named target, towards which they are negative, neutral or positive."""

    title = "Twitter-15: sentiment towards a target of a tweet, text and picture"
    reference = "Yu and Jiang, IJCAI 2019 (TomBERT), whose files are read; they are also named IJCAI2019_data"
    licence = "not stated by the source; see github.com/jefferyYu/TomBERT. Texts and pictures are of Twitter"
    tree = """\
twitter2015/train.tsv            a header, then, by tabs: index, label (0 negative, 1 neutral, 2 positive), picture, tweet, target
twitter2015/dev.tsv
twitter2015/test.tsv
twitter2015_images/PICTURE.jpg   the name stands in the lists"""
    choices = (
        "Ours: the text is the tweet, in which $T$ stands for the target, followed by the target; pictures of 224 x 224; "
        "groups are pictures, since a tweet with several targets is several samples. Published code puts one and the same "
        "picture where one is missing; here it is missing"
    )
    marks = ("twitter2015/train.tsv",)

    def manifest(self, folder: Path, media: Path) -> Manifest:
        """Read the lists; see :class:`~equipoise.data.layouts.base.Layout`."""
        names = {
            part: [f"twitter2015/{name}.tsv"] for part, name in (("train", "train"), ("validation", "dev"), ("test", "test"))
        }
        files = self.find_splits(folder, **names)
        records = []
        for part, file in files.items():
            for number, (_, label, picture, tweet, target, *_) in enumerate(read_rows(file, FIELDS, "\t")[1:]):
                if label not in CLASSES:
                    raise DataError(f"{file}: label {label!r} of sample {number + 1} is none of 0, 1 and 2")
                image = f"twitter2015_images/{picture}"
                records.append(
                    # the index of the files starts anew in each of them
                    {"id": f"{part}{number}", "label": label, "split": part, "tweet": tweet, "target": target, "image": image}
                )
        return Manifest(
            table=as_table(records, ("id", "label", "split")).assign(picture=paths(records, "image")),
            modalities={
                "text": Part(values=as_table(records, ("tweet", "target")), kind="text"),
                "image": Part(
                    values=paths(records, "image"), kind="image", options=_PICTURE, example="twitter2015_images/PICTURE.jpg"
                ),
            },
            classes=CLASSES,
            class_list="0 negative, 1 neutral, 2 positive",
            group="picture",
            notes=(list_note(files, folder),),
        )


_PICTURE = {"size": 224, "colours": "rgb"}
