"""The schema: what a data set consists of, as data a person can read and correct."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from equipoise.errors import DataError

KINDS = ("tabular", "image", "audio", "video", "array", "text", "sequence")
"""``tabular``: named columns, numeric or categorical. ``image``: height x width, with or without channels
(pictures, spectrograms). ``audio``: channels x samples, or channels x bands x time. ``video``: frames x height x width x
channels. Images, audio and video may be files. ``array``: numbers of any other shape. ``text``: named columns of free text.
``sequence``: time steps x channels, of any length."""

TASKS = ("classification", "ordinal", "multilabel", "regression")
"""``classification``: one of several classes. ``ordinal``: classes in their order. ``multilabel``: labels, each 0 or 1.
``regression``: numbers."""

CLASSES = ("classification", "ordinal")
"""The tasks whose targets are class codes."""

RESERVED = ("fused", "name")
"""Names that no modality may have."""


@dataclass(frozen=True, kw_only=True)
class Modality:
    """One modality of a data set.

    Attributes:
        name: How the modality is called everywhere.
        kind: One of :data:`KINDS`.
        shape: Shape of one raw sample; ``(number of columns,)`` for tables and text, ``(longest, channels)`` for sequences.
        columns: Column names of a table or text, channels of sequences, in order; empty for arrays.
        categorical: Those of ``columns`` that hold categories rather than numbers.
        source: Where it is read from (a file name in the folder, a key of the archive), for messages.
        present: How many samples have it.
        decode: How its files are decoded, in full; empty where it is not of media files.
        notes: What was found about it that people should know.
        window: Rows of a window, where a sequence is a row and those before it in its group; 0 where it is not.
        order: Column that the rows of a sequence are sorted by; empty where they are in order.
        path_column: Column that names the file of each sequence; empty where they are not in files of their own.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    columns: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    source: str = ""
    present: int = 0
    decode: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    window: int = 0
    order: str = ""
    path_column: str = ""

    @property
    def table_columns(self) -> tuple[str, ...]:
        """The columns that hold it in a table with a row per sample."""
        return (self.path_column,) if self.path_column else self.columns

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\w[\w -]{0,99}", self.name):
            raise DataError(
                f"modality {self.name!r}: a name may have letters, digits, blanks, '_' and '-', and at most 100 of them; rename "
                "what it comes from, or state another name for it, such as modalities: {NAME: {file: ...}}"
            )
        if self.name in RESERVED:
            raise DataError(
                f"modality {self.name!r}: the name has a meaning of its own in results and options; state another name"
            )
        if self.kind not in KINDS:
            raise DataError(f"modality {self.name!r}: kind {self.kind!r} is unknown, expected one of {', '.join(KINDS)}")


@dataclass(frozen=True, kw_only=True)
class Schema:
    """What a data set consists of.

    Attributes:
        name: Name of the data set.
        samples: Number of samples.
        modalities: The modalities, in the order in which they are always listed.
        target: Name of the target column or array, or names of several columns; empty when the data carry no target.
        task: One of :data:`TASKS`.
        classes: The classes in the order of their codes, the labels, or the names of the numbers; empty without a target.
        id: Name of the sample id column; empty when rows are numbered.
        split: Name of the column that states the split; empty when there is none.
        group: Name of the column that groups samples; empty when there is none.
        layout: The published layout that they were read in; empty for others.
        root: Folder in which the paths of files start, as ``dataset.yaml`` states it; empty where it does not.
        notes: What was found about them that people should know: lists, classes and files that were used.
    """

    name: str
    samples: int
    modalities: tuple[Modality, ...]
    target: str | tuple[str, ...] = ""
    task: str = "classification"
    classes: tuple[str, ...] = ()
    id: str = ""
    split: str = ""
    group: str = ""
    format: str = field(default="")
    layout: str = ""
    root: str = ""
    notes: tuple[str, ...] = ()

    @property
    def targets(self) -> tuple[str, ...]:
        """The names of the target columns."""
        return as_names(self.target)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the modalities, in order."""
        return tuple(modality.name for modality in self.modalities)

    def require_classes(self, what: str) -> None:
        """Check that the targets are class codes.

        Args:
            what: What needs them.

        Raises:
            DataError: They are not.
        """
        if self.task not in CLASSES:
            raise DataError(f"{self.name}: {what} is for {' or '.join(CLASSES)}, the task of the data is {self.task}")

    def __getitem__(self, name: str) -> Modality:
        for modality in self.modalities:
            if modality.name == name:
                return modality
        raise DataError(f"unknown modality {name!r}; the data have: {', '.join(self.names)}")

    def to_json(self) -> dict[str, Any]:
        """Return the schema as plain JSON data; :meth:`from_json` is its inverse."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Schema:
        """Rebuild a schema from :meth:`to_json`'s data."""
        modalities = tuple(
            Modality(
                **{
                    **item,
                    "shape": tuple(item["shape"]),
                    "columns": tuple(item["columns"]),
                    "categorical": tuple(item["categorical"]),
                    "notes": tuple(item.get("notes", ())),
                }
            )
            for item in value["modalities"]
        )
        target = value["target"] if isinstance(value["target"], str) else tuple(value["target"])
        lists = {name: tuple(value.get(name, ())) for name in ("classes", "notes")}
        return cls(**{**value, **lists, "modalities": modalities, "target": target})


def as_names(target: str | tuple[str, ...]) -> tuple[str, ...]:
    """Return one name, several or none as several.

    Example:
        >>> as_names("y"), as_names(("a", "b")), as_names("")
        (('y',), ('a', 'b'), ())
    """
    return target if isinstance(target, tuple) else (target,) if target else ()
