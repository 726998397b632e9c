"""What a layout is: where a published data set keeps its lists and files, and what a folder in that layout comes to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from equipoise.data.rows import Rows
from equipoise.data.sequences import Frames
from equipoise.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

Record: TypeAlias = Mapping[str, Any]
"""One sample: ``id``, ``label``, ``split`` and the group where the set has them, and the path of its file in each modality."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One modality of a folder.

    Attributes:
        values: Paths of files below the folder of the media, a list of shape (samples,), empty where there is none; or rows.
        kind: Its kind, one of :data:`~equipoise.data.schema.KINDS`.
        options: How its files are decoded unless the user states otherwise: the published preprocessing.
        example: Where its files are, for people.
    """

    values: list[str] | Rows | Frames
    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)
    example: str = ""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a folder in a layout comes to.

    Attributes:
        table: Per sample its ``id``, the targets, ``split`` where the lists state one, and the column of groups.
        modalities: The modalities; files need not exist.
        classes: The classes in the order of their codes; None for a task without, or as they are found.
        class_list: Whose list of classes this is, for people.
        target: Columns to predict.
        task: One of :data:`~equipoise.data.schema.TASKS`.
        group: Column of groups (speaker, actor, video), ``""`` where the set has none.
        notes: What else people should know: which list files were read, what was left out.
    """

    table: pd.DataFrame
    modalities: Mapping[str, Part]
    class_list: str
    classes: tuple[str, ...] | None = None
    target: tuple[str, ...] = ("label",)
    task: str = "classification"
    group: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout(ABC):
    """One published layout. A subclass states its facts and turns a folder into a manifest.

    Attributes:
        name: Name in the registry.
        variant: Which of :attr:`variants` is read, ``""`` where there is one only.
    """

    name: str
    variant: str

    title: ClassVar[str]
    """The data set."""
    reference: ClassVar[str]
    """Its paper, and whose layout it is."""
    licence: ClassVar[str]
    """What its owners say about its use."""
    tree: ClassVar[str]
    """The files that are read."""
    choices: ClassVar[str]
    """Published preprocessing that is the default here, and where this departs from it."""
    variants: ClassVar[Mapping[str, str]] = {}
    """Other lists, splits or targets of the same files, and what they are; the first one is read by default."""
    marks: ClassVar[tuple[str, ...]]
    """List files by any of which a folder is known to be in this layout."""

    @abstractmethod
    def manifest(self, folder: Path, media: Path) -> Manifest:
        """Read the lists of a folder.

        Args:
            folder: Where the lists are.
            media: Where the media files are; the same folder unless the user states ``root``.

        Raises:
            DataError: A list is missing or cannot be understood.
        """

    def recognises(self, folder: Path) -> bool:
        """Return whether any list file of the layout is in a folder."""
        return any((folder / mark).exists() for mark in self.marks)

    def find(self, folder: Path, *names: str) -> Path:
        """Return the one of some list files that exists.

        Raises:
            DataError: None of them does, or several do.
        """
        found = [folder / name for name in names if (folder / name).is_file()]
        if not found:
            raise DataError(
                f"{folder} has no {' or '.join(names)}, a list of layout {self.name!r} "
                f"(the files that it expects: equipoise data layouts {self.name})"
            )
        if len(found) > 1:
            raise DataError(f"{folder} has both {names[0]} and {names[1]}, expected one of them for layout {self.name!r}")
        return found[0]

    def find_splits(
        self, folder: Path, *, train: Sequence[str], validation: Sequence[str] = (), test: Sequence[str]
    ) -> dict[str, Path]:
        """Return the list file of each part of the published split; there may be none of the validation part.

        Args:
            folder: Where the lists are.
            train: Names that the list of training samples may have.
            validation: The same for the validation samples.
            test: The same for the test samples.

        Raises:
            DataError: A list is missing.
        """
        found = {"train": self.find(folder, *train)}
        if any((folder / name).is_file() for name in validation):
            found["validation"] = self.find(folder, *validation)
        return {**found, "test": self.find(folder, *test)}


def first_existing(root: Path, *names: str) -> str:
    """Return the first of several spellings of a path that exists below a folder, else the first one."""
    return next((name for name in names if (root / name).exists()), names[0])
