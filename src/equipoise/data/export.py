"""Writing a data set as a folder that anybody, and the folder reader, can read."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from equipoise.data.dataset import Dataset
from equipoise.data.describe import describe_yaml
from equipoise.data.description import FILE_NAME
from equipoise.data.named_rows import NamedRows
from equipoise.data.rows import LazyRows, row_chunks
from equipoise.data.schema import CLASSES, Modality
from equipoise.data.sequences import to_frames
from equipoise.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


def export(dataset: Dataset, folder: str | Path) -> Path:
    """Write a data set as a folder: ``labels.csv``, one file per modality, and ``dataset.yaml``.

    Tables become parquet (csv where pyarrow is not installed) with the rows that are present; sequences become such tables with
    a row per time step; arrays become npy, or npz with ids where some samples lack them.

    Args:
        dataset: The data.
        folder: A folder that does not exist yet, or is empty.

    Returns:
        The folder; reading it gives equal data.

    Raises:
        DataError: The folder is not empty or cannot be written.

    Example:
        >>> import tempfile
        >>> from equipoise.data.sources import open_dataset
        >>> folder = export(open_dataset("gaussian"), Path(tempfile.mkdtemp()) / "set")
        >>> sorted(path.name for path in folder.iterdir())
        ['dataset.yaml', 'faint.npy', 'labels.csv', 'strong.npy', 'weak.npy']
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder} exists, expected a new or empty folder to export to")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _write(dataset, folder)
    except OSError as error:
        raise DataError(f"{folder} cannot be written: {error.strerror or error}") from error


def _write(dataset: Dataset, folder: Path) -> Path:
    import pandas as pd

    schema = dataset.schema
    if "labels" in schema.names:
        raise DataError(f"{folder}: modality 'labels' would overwrite labels.csv, expected another name")
    taken = {column for modality in schema.modalities for column in modality.columns}
    roles = {"id": schema.id or "id", "split": schema.split, "group": schema.group}
    roles = {role: _free(name, taken) if name else "" for role, name in roles.items()}
    columns: dict[str, NDArray[Any]] = {roles["id"]: dataset.ids}
    targets: tuple[str, ...] = ()
    if dataset.target is not None:
        targets = tuple(_free(name, taken) for name in schema.targets or ("label",))
        if schema.task in CLASSES:
            names = np.array([*schema.classes, ""], dtype=str)  # -1, an unknown label, is the last
            columns[targets[0]] = names[dataset.target]
        else:
            columns |= dict(zip(targets, dataset.target.T, strict=True))
    if dataset.split is not None:
        columns[roles["split"]] = dataset.split
    if dataset.group is not None:
        columns[roles["group"]] = dataset.group
    _write_csv(columns, folder / "labels.csv")
    modalities = []
    for modality in schema.modalities:
        value, present = dataset.inputs[modality.name], dataset.present[modality.name]
        if hasattr(value, "iloc"):
            name = _write_table(modality, cast("pd.DataFrame", value)[present], dataset.ids[present], roles["id"], folder)
        elif isinstance(value, NamedRows):
            table = pd.DataFrame(value[np.flatnonzero(present)], columns=list(value.columns))
            name = _write_table(modality, table, dataset.ids[present], roles["id"], folder)
        elif modality.kind == "sequence":
            steps, lengths = to_frames(np.asarray(value[np.flatnonzero(present)]), modality.columns)
            name = _write_table(modality, steps, np.repeat(dataset.ids[present], lengths), roles["id"], folder)
        else:
            name = _write_array(modality, value, dataset.ids, present, folder)
        modalities.append(replace(modality, source=name, window=0, order="", decode={}, notes=(), path_column=""))
    split, group = (roles[role] if roles[role] in columns else "" for role in ("split", "group"))
    target: str | tuple[str, ...] = "" if not targets else targets[0] if len(targets) == 1 else targets
    written = replace(
        schema,
        modalities=tuple(modalities),
        format="folder",
        layout="",
        root="",
        id=roles["id"],
        target=target,
        split=split,
        group=group,
    )
    (folder / FILE_NAME).write_text(describe_yaml(replace(dataset, schema=written)), encoding="utf-8")
    return folder


def _free(name: str, taken: set[str]) -> str:
    """The name, with ``sample_`` before it as often as needed to differ from the columns of all tables."""
    while name in taken:
        name = f"sample_{name}"
    return name


def _write_csv(columns: dict[str, NDArray[Any]], path: Path) -> None:
    import pandas as pd

    pd.DataFrame(columns).to_csv(path, index=False)


def _write_table(modality: Modality, table: pd.DataFrame, ids: NDArray[np.str_], id_name: str, folder: Path) -> str:
    table = table.reset_index(drop=True)
    table.insert(0, id_name, ids.astype(object))
    if find_spec("pyarrow") is None:
        table.to_csv(folder / f"{modality.name}.csv", index=False)
        return f"{modality.name}.csv"
    table.to_parquet(folder / f"{modality.name}.parquet", index=False)
    return f"{modality.name}.parquet"


def _write_array(
    modality: Modality, value: NDArray[Any] | LazyRows, ids: NDArray[np.str_], present: NDArray[np.bool_], folder: Path
) -> str:
    if not present.all():
        np.savez_compressed(folder / f"{modality.name}.npz", id=ids[present], rows=np.asarray(value[np.flatnonzero(present)]))
        return f"{modality.name}.npz"
    path = folder / f"{modality.name}.npy"
    file = np.lib.format.open_memmap(path, mode="w+", dtype=value.dtype, shape=tuple(value.shape))
    for part, rows in row_chunks(value):
        file[part] = rows
    file.flush()
    return path.name
