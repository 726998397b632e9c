"""Opening a folder in a published layout: which files are missing and which lists were used is stated, never guessed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from equipoise.config import ReadOptions
from equipoise.data.assemble import Raw, assemble
from equipoise.data.columns import as_text, few
from equipoise.data.dataset import Dataset
from equipoise.data.description import Description, Stated, describe_source, stated_layout
from equipoise.data.labels import NO_COLUMN, Roles, find_roles
from equipoise.data.layouts import open_layout
from equipoise.data.layouts.base import Layout, Manifest, Part
from equipoise.data.media.modality import tell
from equipoise.data.schema import Schema
from equipoise.errors import DataError, suggest

APPLICABLE = ("kind", "options")
_NAMED = 3
"""How many missing files of each modality a message names."""


def layout_of(source: object, options: ReadOptions, schema: Schema | None) -> Layout | None:
    """Return the layout that is stated for data: by the options, by ``dataset.yaml``, or as a run was trained on; else None.

    The layout of a trained run counts only for folders that have its lists, so that it can predict for other data too.

    Raises:
        ConfigError: There is no such layout.
        DataError: A layout is stated for what is no folder, or for a folder that does not exist.
    """
    folder = source if isinstance(source, Path) else None
    word = stated_layout(folder, options)
    if word is not None:
        layout = open_layout(word)
        if folder is None or not folder.is_dir():
            raise DataError(
                f"{folder or 'data in memory'}: layout {word!r} is stated, which is one of folders; none leaves it unused"
            )
        return layout
    if schema is None or not schema.layout or folder is None or not folder.is_dir():
        return None
    layout = open_layout(schema.layout)
    return layout if layout.recognises(folder) else None


def read_layout(folder: Path, layout: Layout, options: ReadOptions, labelled: bool, schema: Schema | None) -> Dataset:
    """Read a folder in a published layout.

    Args:
        folder: The folder.
        layout: Its layout.
        options: What the user states; options of decoding go over those of the layout, one by one.
        labelled: Whether every sample must have a known label.
        schema: The schema of a trained run to read the data to.

    Returns:
        The data set. Its schema says which lists, classes and files were used.

    Raises:
        DataError: The folder is not in that layout, or files are missing.
    """
    stated = describe_source(folder, options, APPLICABLE)
    media = stated.media.root or folder
    if not layout.recognises(folder):
        raise DataError(
            f"{folder} is not in layout {layout.name!r}: it has none of {', '.join(layout.marks)} "
            f"(the files that it expects: equipoise data layouts {layout.name})"
        )
    found = layout.manifest(folder, media)
    parts, left_out = _chosen(found.modalities, stated, schema, folder)
    files = {name: list(part.values) for name, part in parts.items() if isinstance(part.values, list)}
    missing = _missing(files, media, stated, parts)
    ids = as_text(found.table["id"])
    roles, group_note = _roles(found, stated, schema, labelled, str(folder))
    notes = (
        f"layout {layout.name}{layout.variant and ':' + layout.variant}: {layout.title}",
        *found.notes,
        _class_note(found, stated),
        *_split_note(found, roles),
        *group_note,
        *left_out,
        *missing,
    )
    return assemble(
        Raw(
            format="layout",
            name=layout.name,
            place=str(folder),
            ids=ids,
            id="id",
            columns={name: found.table[name] for name in roles.names},
            roles=roles,
            inputs={name: _column(name, part, files.get(name)) for name, part in parts.items()},
            sources={name: part.example for name, part in parts.items()},
            layout=layout.name + (layout.variant and f":{layout.variant}"),
            notes=notes,
        ),
        replace(
            stated,
            task=stated.task or (found.task if not stated.target else None),
            classes=stated.classes or (found.classes if not stated.target else None),
            modalities={name: _stated(part, (stated.modalities or {}).get(name)) for name, part in parts.items()},
        ),
        labelled=labelled,
        schema=schema,
    )


def _chosen(
    modalities: Mapping[str, Part], stated: Description, schema: Schema | None, folder: Path
) -> tuple[dict[str, Part], tuple[str, ...]]:
    """The modalities that are stated, else those of the trained run, else all; and which are left out."""
    wanted: Any = stated.modalities if stated.modalities is not None else None if schema is None else schema.names
    if wanted is None:
        return dict(modalities), ()
    for name in wanted:
        if name not in modalities:
            raise DataError(f"{folder}: the layout has no modality {name!r}, {suggest(name, modalities)}")
    others = [name for name in modalities if name not in wanted]
    note = (f"modalities of the layout that are left out, since others are stated: {few(others)}",) if others else ()
    return {name: modalities[name] for name in wanted}, note


def _stated(part: Part, own: Stated | None) -> Stated:
    own = own or Stated()
    return replace(own, kind=own.kind or part.kind, options={**part.options, **own.options})


def _column(name: str, part: Part, files: list[str] | None) -> Any:
    import pandas as pd

    return part.values if files is None else pd.DataFrame({name: pd.Series(files, dtype=object)})


def _missing(files: Mapping[str, list[str]], media: Path, stated: Description, parts: Mapping[str, Part]) -> tuple[str, ...]:
    """Look for every file, set those that are missing to ``""`` where that is allowed, and say which they are.

    Raises:
        DataError: Files are missing and nothing is said about it, or a modality has none of its files.
    """
    notes = []
    for name, values in files.items():
        owners = [re.sub(r"#\d+:\d+$", "", value) for value in values]  # a part of a longer recording is in its file
        known = {file: (media / file).exists() for file in dict.fromkeys(owners) if file}
        values[:] = [value if known.get(file) else "" for value, file in zip(values, owners, strict=True)]
        lost = [file for file, exists in known.items() if not exists]
        if lost:
            named = ", ".join(lost[:_NAMED]) + (f" and {len(lost) - _NAMED} more" if len(lost) > _NAMED else "")
            notes.append(f"modality {name!r}: {len(lost)} of {len(known)} files are missing in {media}: {named}")
            if len(lost) == len(known):
                raise DataError(
                    f"{notes[-1]}; expected {parts[name].example}; another folder of the files is stated by root, "
                    "and the modalities that there are by modalities"
                )
    if notes and not stated.media.skip_damaged:
        raise DataError(f"{'; '.join(notes)}; to treat their samples as absent, set skip_damaged")
    for note in notes:
        tell(note)
    return tuple(f"{note}; they are absent" for note in notes)


def _roles(
    found: Manifest, stated: Description, schema: Schema | None, labelled: bool, place: str
) -> tuple[Roles, tuple[str, ...]]:
    """Which columns are the target, the split and the groups; groups only where the published split does not cut through them."""
    columns = [name for name in found.table.columns if name != "id"]
    full = replace(
        stated,
        target=stated.target or found.target,
        split=stated.split or ("split" if "split" in columns else NO_COLUMN),
        group=stated.group or found.group or NO_COLUMN,
    )
    roles = find_roles(columns, full, schema, labelled=labelled, place=place)
    if not (roles.split and roles.group) or stated.group:
        return roles, ()
    parts = found.table.groupby(roles.group)[roles.split].nunique()
    both = int((parts > 1).sum())
    if not both:
        return roles, ()
    note = (
        f"groups: {both} of {len(parts)} values of {roles.group!r} are on two sides of the published split, which is used as "
        "it is; without it (split none) they are groups"
    )
    return replace(roles, group=""), (note,)


def _class_note(found: Manifest, stated: Description) -> str:
    if stated.classes and stated.classes != found.classes:
        return f"classes: {len(stated.classes)}, as stated"
    if found.classes is None:
        return f"target: {found.class_list}"
    shown = ", ".join(found.classes[:8]) + (f" and {len(found.classes) - 8} more" if len(found.classes) > 8 else "")
    return f"classes: {len(found.classes)} ({shown}), {found.class_list}"


def _split_note(found: Manifest, roles: Roles) -> tuple[str, ...]:
    if "split" not in found.table:
        return ("split: the layout states none, so that parts are drawn at random (by groups where there are any)",)
    if not roles.split:
        return ("split: the published one is left unused",)
    counts = found.table["split"].value_counts().to_dict()
    words = ", ".join(f"{part} {counts[part]}" for part in ("train", "validation", "test") if part in counts)
    drawn = "" if "validation" in counts else "; it has no validation part, which is drawn from train (validation_fraction)"
    return (f"split: published, {words}{drawn}",)
