"""The schema: what a data set consists of, as data a person can read and correct."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from equipoise.errors import DataError

KINDS = ("tabular", "image", "array", "text")
"""``tabular``: named columns, numeric or categorical. ``image``: height x width, with or without channels
(pictures, spectrograms). ``array``: numbers of any other shape. ``text``: named columns of free text."""

RESERVED = ("fused", "name")
"""Names that no modality may have."""


@dataclass(frozen=True, kw_only=True)
class Modality:
    """One modality of a data set.

    Attributes:
        name: How the modality is called everywhere.
        kind: One of :data:`KINDS`.
        shape: Shape of one raw sample; ``(number of columns,)`` for tables and text.
        columns: Column names of a table or text, in order; empty for arrays.
        categorical: Those of ``columns`` that hold categories rather than numbers.
        source: Where it is read from (a file name in the folder, a key of the archive), for messages.
        present: How many samples have it.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    columns: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    source: str = ""
    present: int = 0

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\w[\w -]{0,99}", self.name):
            raise DataError(
                f"modality {self.name!r}: a name may have letters, digits, blanks, '_' and '-', and at most 100 of them; "
                "state another name"
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
        target: Name of the target column or array; empty when the data carry no target.
        classes: The classes in the order of their codes; empty without a target.
        id: Name of the sample id column; empty when rows are numbered.
        split: Name of the column that states the split; empty when there is none.
        group: Name of the column that groups samples; empty when there is none.
    """

    name: str
    samples: int
    modalities: tuple[Modality, ...]
    target: str = ""
    classes: tuple[str, ...] = ()
    id: str = ""
    split: str = ""
    group: str = ""
    format: str = field(default="")

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the modalities, in order."""
        return tuple(modality.name for modality in self.modalities)

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
                }
            )
            for item in value["modalities"]
        )
        return cls(**{**value, "modalities": modalities, "classes": tuple(value["classes"])})
