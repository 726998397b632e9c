"""A data set of Hugging Face ``datasets`` as ``save_to_disk`` writes it: Arrow files, read through a memory map."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from equipoise.config import ReadOptions
from equipoise.data.arrow import ArrowTable, plain_type
from equipoise.data.arrow_modalities import APPLICABLE, from_arrow
from equipoise.data.columns import few
from equipoise.data.dataset import Dataset
from equipoise.data.description import describe_source
from equipoise.data.files import reading
from equipoise.data.readers import READERS, Source
from equipoise.data.schema import Schema
from equipoise.errors import DataError

STATE, INFO, SPLITS = "state.json", "dataset_info.json", "dataset_dict.json"


@READERS.register("hugging_face")
class HuggingFaceReader:
    """A folder of ``Dataset.save_to_disk``, or of ``DatasetDict.save_to_disk``, whose parts are then the split."""

    @staticmethod
    def matches(source: Source) -> bool:
        """Return whether the source is such a folder."""
        return isinstance(source, Path) and any((source / name).is_file() for name in (STATE, SPLITS))

    @staticmethod
    def read(source: Path, options: ReadOptions, labelled: bool = True, schema: Schema | None = None) -> Dataset:
        """Read a saved data set; see :class:`~equipoise.data.readers.Reader`."""
        stated = describe_source(source, options, APPLICABLE)
        parts = _parts(source)
        tables = {name: _open(folder) for name, folder in parts.items()}
        first = next(iter(tables.values()))
        for name, table in tables.items():
            if table.schema.names != first.schema.names:
                other = set(table.schema.names) ^ set(first.schema.names)
                raise DataError(f"{parts[name]}: its columns differ from those of {next(iter(parts))} ({few(sorted(other))})")

        def scan(columns: list[str]) -> Iterator[Any]:
            for name, table in tables.items():
                with reading(parts[name], "Arrow files"):
                    yield from _stored(table.select(columns))

        found = ArrowTable(
            place=str(source),
            types={field.name: plain_type(field.type) for field in first.schema},
            rows=sum(table.num_rows for table in tables.values()),
            scan=scan,
            classes=_class_names(next(iter(parts.values()))),
            split=np.repeat(list(tables), [table.num_rows for table in tables.values()]) if len(tables) > 1 else None,
        )
        if found.rows == 0:
            raise DataError(f"{source} has no rows, expected one row per sample")
        return from_arrow(found, stated, format="hugging_face", name=source.resolve().name, labelled=labelled, schema=schema)


def _parts(folder: Path) -> dict[str, Path]:
    """The folder of each part of the split; one part without a name where there is no split."""
    if not (folder / SPLITS).is_file():
        return {"": folder}
    names = _json(folder / SPLITS).get("splits")
    if not isinstance(names, list) or not names:
        raise DataError(f"{folder / SPLITS} names no splits, expected a list of them")
    return {str(name): _inside(folder, name, folder / SPLITS) for name in names}


def _open(folder: Path) -> Any:
    with reading(folder, "Arrow files"):
        import pyarrow as pa

    files = _json(folder / STATE).get("_data_files")
    if not isinstance(files, list) or not files or not all(isinstance(item, Mapping) and "filename" in item for item in files):
        raise DataError(f"{folder / STATE} names no data files, expected a list of them")
    tables = []
    for item in files:
        path = _inside(folder, item["filename"], folder / STATE)
        with reading(path, "an Arrow file"):
            tables.append(pa.ipc.open_stream(pa.memory_map(str(path))).read_all())
            tables[-1].validate()
            if tables[-1].schema.names != tables[0].schema.names:
                raise DataError(f"{path}: its columns differ from those of the other files")
    return pa.concat_tables(tables)


def _inside(folder: Path, name: object, place: Path) -> Path:
    path = (folder / str(name)).resolve()
    if not isinstance(name, str) or path.parent != folder.resolve():
        raise DataError(f"{place} names {str(name)!r}, which is not inside of {folder}; expected the name of a file there")
    return folder / name


def _json(path: Path) -> Mapping[str, Any]:
    with reading(path, "JSON"):
        value = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(value, Mapping):
        raise DataError(f"{path} is damaged, expected a JSON object")
    return value


def _class_names(folder: Path) -> dict[str, list[str]]:
    features = (_json(folder / INFO) if (folder / INFO).is_file() else {}).get("features") or {}
    return {
        name: [str(label) for label in feature["names"]]
        for name, feature in features.items()
        if isinstance(feature, Mapping) and feature.get("_type") == "ClassLabel" and feature.get("names")
    }


def _stored(table: Any) -> Iterator[Any]:
    """The batches of a table, extension types as what they are stored as."""
    import pyarrow as pa

    for batch in table.to_batches():
        columns = [column.storage if isinstance(column, pa.ExtensionArray) else column for column in batch.columns]
        yield pa.RecordBatch.from_arrays(columns, names=batch.schema.names)
