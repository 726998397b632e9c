"""``dataset.yaml``: what the owner of the data states about them, merged with the options of the call."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from equipoise.config import ReadOptions
from equipoise.data.files import read_yaml
from equipoise.data.media.check import MediaOptions
from equipoise.data.schema import KINDS, TASKS
from equipoise.errors import DataError, suggest

FILE_NAME = "dataset.yaml"
NAMES = ("id", "target", "split", "group")
KEYS = ("name", *NAMES, "task", "classes", "modalities", "root", "layout")


@dataclass(frozen=True, kw_only=True)
class Stated:
    """What is stated about one modality; None where nothing is.

    Attributes:
        file: File in the folder that holds it.
        prefix: Its columns begin with this.
        columns: Its columns.
        key: Name of its array.
        kind: Its kind, one of :data:`~equipoise.data.schema.KINDS`.
        categorical: Columns that hold categories although they look like numbers (or mix both).
        window: How many rows of a group, itself and those before it, make the sequence of a row.
        order: Column that the rows of a sequence are sorted by; as they are in the file when not given.
        options: How its files are decoded, or which columns of recordings are ``channels``.
    """

    file: str | None = None
    prefix: str | None = None
    columns: tuple[str, ...] | None = None
    key: str | None = None
    kind: str | None = None
    categorical: tuple[str, ...] = ()
    window: int | None = None
    order: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Description:
    """What is stated about a data set; None where nothing is.

    Attributes:
        place: Where it is stated, for messages.
        name: Name of the data set.
        id: Column of sample ids.
        target: Column to predict, or several.
        task: One of :data:`~equipoise.data.schema.TASKS`.
        split: Column of the given split.
        group: Column of groups.
        classes: The classes in the order of their codes.
        modalities: The modalities; when given, there are no others.
        root: Folder in which the paths of its files start, as its description states it.
        media: How media files are read.
    """

    place: str
    name: str | None = None
    id: str | None = None
    target: str | tuple[str, ...] | None = None
    task: str | None = None
    split: str | None = None
    group: str | None = None
    classes: tuple[str, ...] | None = None
    modalities: Mapping[str, Stated] | None = field(default=None)
    root: str | None = None
    media: MediaOptions = field(default_factory=MediaOptions)


def describe_source(path: Path | None, options: ReadOptions, applicable: Collection[str]) -> Description:
    """Merge the options with the ``dataset.yaml`` of a data set; the options win.

    Args:
        path: Folder or file of the data set; None for data in memory.
        options: The options of the call.
        applicable: Which fields of :class:`Stated` mean something to the reader that asks.

    Returns:
        What is stated.

    Raises:
        DataError: ``dataset.yaml`` cannot be read, has an unknown key, or states what the reader cannot use.
    """
    file = _description_file(path)
    values: Mapping[str, Any] = {}
    place = "the options"
    if file is not None:
        place = str(file)
        found = read_yaml(file)
        values = _mapping(found or {}, place, KEYS)
    root = None if options.root is not None else _word(values.get("root"), f"{place}: root")
    modalities = options.modalities if options.modalities is not None else values.get("modalities") or None
    where = "modalities" if options.modalities is not None else f"{place}: modalities"
    known = None if modalities is None else _modalities(modalities, where, applicable)
    if file is not None and options.modalities is None:
        for name, own in (known or {}).items():
            _within(own.file or "", file, f"modality {name!r}: file", "option modalities")
    return Description(
        place=place,
        name=_word(values.get("name"), f"{place}: name"),
        classes=_words(values.get("classes"), f"{place}: classes"),
        modalities=known,
        target=_target(options.target or values.get("target"), f"{place}: target"),
        task=_task(options.task or values.get("task"), f"{place}: task"),
        root=root,
        media=MediaOptions.of(
            options,
            path if path is None or path.is_dir() else path.parent,
            None if file is None or root is None else _inside(root, file),
        ),
        **{name: getattr(options, name) or _word(values.get(name), f"{place}: {name}") for name in NAMES if name != "target"},
    )


def stated_layout(path: Path | None, options: ReadOptions) -> str | None:
    """Return the published layout that is stated for a data set, by the options or else by its ``dataset.yaml``; None if none is.

    Args:
        path: Folder or file of the data set; None for data in memory.
        options: The options of the call; the word ``none`` there leaves unused what ``dataset.yaml`` states.

    Raises:
        DataError: ``dataset.yaml`` cannot be read.
    """
    word, file = options.layout, _description_file(path)
    if word is None and file is not None:
        word = _word(_mapping(read_yaml(file) or {}, str(file), KEYS).get("layout"), f"{file}: layout")
    return None if word == "none" else word


def _task(value: object, place: str) -> str | None:
    word = _word(value, place)
    if word is not None and word not in ("auto", *TASKS):
        raise DataError(f"{place}: {word!r} is unknown, {suggest(word, ('auto', *TASKS))}")
    return None if word == "auto" else word


def _description_file(path: Path | None) -> Path | None:
    if path is None:
        return None
    if path.is_dir():
        candidates = [path / FILE_NAME]
    else:
        candidates = [path.parent / f"{path.stem}.{FILE_NAME}"]
        if not any(path.parent.glob("labels.*")):  # else that description is of the whole folder
            candidates.append(path.parent / FILE_NAME)
    return next((file for file in candidates if os.path.exists(file)), None)  # False where the folder may not be read


def _modalities(value: object, place: str, applicable: Collection[str]) -> dict[str, Stated]:
    if not isinstance(value, Mapping):
        raise DataError(f"{place}: expected a mapping from modality names to what they consist of, found {value!r}")
    return {str(name): _stated(item, f"{place}: {name}", applicable) for name, item in value.items()}


def _stated(value: object, place: str, applicable: Collection[str]) -> Stated:
    # `audio: [a1, a2]` is short for `audio: {columns: [a1, a2]}`
    items = {"columns": value} if isinstance(value, (list, tuple)) else _mapping(value or {}, place, Stated.__dataclass_fields__)
    for key in items:
        if key not in applicable:
            if key == "options":
                raise DataError(f"{place}: options say how media files are decoded, and data of this layout hold none")
            raise DataError(f"{place}: {key!r} does not apply to data of this layout, {suggest(key, applicable)}")
    if "prefix" in items and "columns" in items:
        raise DataError(f"{place}: states both a prefix and columns, expected one of them")
    kind = _word(items.get("kind"), f"{place}: kind")
    if kind is not None and kind not in KINDS:
        raise DataError(f"{place}: kind {kind!r} is unknown, {suggest(kind, KINDS)}")
    window, order = _window(items, place), _word(items.get("order"), f"{place}: order")
    if order is not None and window is None and kind != "sequence":
        raise DataError(f"{place}: order = {order!r} is stated, but neither a window nor kind: sequence; only sequences have one")
    return Stated(
        file=_word(items.get("file"), f"{place}: file"),
        prefix=_word(items.get("prefix"), f"{place}: prefix"),
        columns=_words(items.get("columns"), f"{place}: columns"),
        key=_word(items.get("key"), f"{place}: key"),
        kind=kind,
        categorical=_words(items.get("categorical"), f"{place}: categorical") or (),
        window=window,
        order=order,
        options=_options(items.get("options"), f"{place}: options"),
    )


def _window(items: Mapping[str, Any], place: str) -> int | None:
    word = _word(items.get("window"), f"{place}: window")
    if word is None:
        return None
    if not word.isdecimal() or int(word) < 2:
        raise DataError(f"{place}: window = {word!r} is not valid, expected a whole number of at least 2 rows")
    if items.get("kind", "sequence") != "sequence":
        raise DataError(f"{place}: kind {items['kind']!r} and a window are stated, expected one of them: windows are sequences")
    return int(word)


def _inside(root: str, file: Path) -> Path:
    folder = _within(root, file, "root", "option root")
    if not folder.is_dir():
        raise DataError(f"{file}: root {root!r} is no folder in {file.parent}")
    return folder


def _within(word: str, file: Path, what: str, instead: str) -> Path:
    """A path in the folder of the description, which may state no other: it comes with the data, from anybody."""
    parent = os.path.abspath(file.parent)
    path = os.path.normpath(os.path.join(parent, word))
    if os.path.commonpath([parent, path]) != parent:
        raise DataError(f"{file}: {what} {word!r} leads out of {file.parent}; what is elsewhere is stated by the {instead}")
    return Path(path)


def _options(value: object, place: str) -> Mapping[str, Any]:
    if value is not None and not isinstance(value, Mapping):
        raise DataError(f"{place}: expected a mapping of options, found {value!r}")
    return value or {}


def _mapping(value: object, place: str, keys: Collection[str]) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise DataError(f"{place}: expected a mapping with any of {', '.join(keys)}, found {value!r}")
    for key in value:
        if key not in keys:
            raise DataError(f"{place}: unknown key {str(key)!r}, {suggest(str(key), keys)}")
    return value


def _word(value: object, place: str) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, (Mapping, list, tuple)):
        raise DataError(f"{place}: expected one name, found {value!r}")
    return str(value)


def _words(value: object, place: str) -> tuple[str, ...] | None:
    if value is None or value == "":
        return None
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, (str, int, float)) for item in value):
        raise DataError(f"{place}: expected a list of names, found {value!r}")
    words = tuple(str(item) for item in value)
    if len(set(words)) < len(words):
        twice = next(word for word in words if words.count(word) > 1)
        raise DataError(f"{place}: {twice!r} is listed twice")
    return words


def _target(value: object, place: str) -> str | tuple[str, ...] | None:
    return _words(value, place) if isinstance(value, (list, tuple)) else _word(value, place)
