from __future__ import annotations

import io
import json
import pickle
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from PIL import Image
from pyarrow import parquet

from equipoise.config import ReadOptions
from equipoise.data import arrow, memory
from equipoise.data.dataset import Dataset
from equipoise.data.describe import describe_yaml
from equipoise.data.fingerprint import fingerprint
from equipoise.data.loader import Loader, make_part
from equipoise.data.named_rows import NamedRows
from equipoise.data.preprocessing import Preprocessing
from equipoise.data.rows import MappedRows
from equipoise.data.sources import open_dataset
from equipoise.errors import DataError, EquipoiseError


def table(rows: int, seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "id": [f"s{seed}_{row}" for row in range(rows)],
            "label": ["x", "y"] * (rows // 2),
            "a_1": random.normal(size=rows),
            "a_2": random.normal(size=rows),
            "b_1": random.normal(size=rows).astype(np.float32),
            "b_2": ["u", "v"] * (rows // 2),
        }
    )


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """Three parts of twenty rows, each of two row groups."""
    folder = tmp_path / "parts"
    folder.mkdir()
    for number in range(3):
        table(20, number).to_parquet(folder / f"part-{number}.parquet", index=False, row_group_size=10)
    return folder


@pytest.fixture
def no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing fits into memory."""
    monkeypatch.setattr(memory, "free_bytes", lambda: 0)


def in_memory(frame: pd.DataFrame) -> Dataset:
    return open_dataset({"a": frame[["a_1", "a_2"]], "label": frame["label"], "id": frame["id"]})


def test_parts_are_one_table(parts: Path) -> None:
    data = open_dataset(parts)
    whole = pd.concat([table(20, number) for number in range(3)], ignore_index=True)
    assert data.schema.names == ("a", "b")
    assert data.schema["b"].categorical == ("b_2",)
    assert data.ids.tolist() == whole["id"].tolist()
    pd.testing.assert_frame_equal(data.inputs["a"], whole[["a_1", "a_2"]])
    (parts / "dataset.yaml").write_text(describe_yaml(data), encoding="utf-8")
    assert open_dataset(parts).schema == data.schema


def test_only_the_columns_that_are_needed_are_read(parts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: set[str] = set()
    original = arrow.ArrowTable.pieces
    monkeypatch.setattr(arrow.ArrowTable, "pieces", lambda self, columns: (read.update(columns), original(self, columns))[1])
    open_dataset(parts, ReadOptions(modalities={"a": ["a_1"]}))
    assert read == {"id", "label", "a_1"}


@pytest.mark.usefixtures("no_memory")
def test_what_does_not_fit_streams_and_equals_what_fits(parts: Path) -> None:
    data = open_dataset(parts, ReadOptions(modalities={"a": {"prefix": "a_"}}))
    rows = data.inputs["a"]
    assert isinstance(rows, NamedRows)
    assert isinstance(rows.matrix, MappedRows)
    assert rows.columns == ("a_1", "a_2")
    whole = in_memory(pd.concat([table(20, number) for number in range(3)], ignore_index=True))
    fitted, expected = Preprocessing.fit(data), Preprocessing.fit(whole)
    np.testing.assert_allclose(fitted.modalities["a"].mean, expected.modalities["a"].mean)  # type: ignore[union-attr]
    memory = make_part(whole, fitted, torch.device("cpu"), "memory")
    stream = make_part(data, fitted, torch.device("cpu"), "stream")
    for mine, theirs in zip(Loader(stream, 16).epoch(0), Loader(memory, 16).epoch(0), strict=True):
        assert torch.equal(mine.inputs["a"], theirs.inputs["a"])
    with pytest.raises(DataError, match=r"modality 'b' takes more than .* only numbers can stay on disk, .* without 'b_2'"):
        open_dataset(parts)


def test_folders_and_names_state_the_split(tmp_path: Path) -> None:
    for number, part in enumerate(("train", "val", "test")):
        folder = tmp_path / "partitioned" / f"split={part}" / "site=07"
        folder.mkdir(parents=True)
        table(10, number).to_parquet(folder / "part-0.parquet", index=False)
        (tmp_path / "named").mkdir(exist_ok=True)
        table(10, number).to_parquet(tmp_path / "named" / f"{part}-00000-of-00001.parquet", index=False)
    for name in ("partitioned", "named"):
        data = open_dataset(tmp_path / name, ReadOptions(group="site" if name == "partitioned" else None))
        assert data.split is not None
        found = dict(zip(data.ids.tolist(), data.split.tolist(), strict=True))
        assert [found[f"s{number}_3"] for number in range(3)] == ["train", "validation", "test"]
    assert open_dataset(tmp_path / "partitioned", ReadOptions(group="site")).group.tolist() == ["07"] * 30  # type: ignore[union-attr]


def test_parts_of_different_types_and_folders_that_state_nothing(tmp_path: Path) -> None:
    for number, (folder, kind) in enumerate({"a%20b": int, "__HIVE_DEFAULT_PARTITION__": float, "c": np.int8}.items()):
        (tmp_path / f"site={folder}").mkdir()
        frame = table(4, number).assign(a_1=np.arange(4).astype(kind), b_2=pd.Categorical(["u", "v"] * 2))
        frame.to_parquet(tmp_path / f"site={folder}" / "part-0.parquet", index=False)
    data = open_dataset(tmp_path, ReadOptions(modalities={"a": {"prefix": "a_"}, "b": ["b_2"], "site": ["site"]}))
    assert data.inputs["a"]["a_1"].tolist() == [0, 1, 2, 3] * 3  # type: ignore[call-overload,union-attr]
    assert data.inputs["site"]["site"].tolist() == [None] * 4 + ["a b"] * 4 + ["c"] * 4  # type: ignore[call-overload,union-attr]
    assert data.schema["b"].categorical == ("b_2",)


def test_lists_are_modalities(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    vectors, images = random.normal(size=(6, 4)).astype(np.float32), random.integers(0, 9, (6, 5, 7))
    columns = {
        "label": pa.array(["x", "y"] * 3),
        "vector": pa.array([*vectors[:5].tolist(), None], pa.list_(pa.float32())),
        "fixed": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 4),
        "image": pa.array(images.tolist(), pa.list_(pa.list_(pa.int64()))),
        "steps": pa.array([[1.0] * count for count in (1, 2, 3, 1, 2, 3)]),
        "age": pa.array(range(6)),
    }
    parquet.write_table(pa.table(columns).slice(0, 3), tmp_path / "part-0.parquet")
    parquet.write_table(pa.table(columns).slice(3), tmp_path / "part-1.parquet")
    data = open_dataset(tmp_path)
    kinds = {modality.name: (modality.kind, modality.shape) for modality in data.schema.modalities}
    assert kinds == {
        "vector": ("tabular", (4,)), "fixed": ("tabular", (4,)), "image": ("image", (5, 7)), "steps": ("sequence", (3, 1)),
    }  # fmt: skip
    np.testing.assert_array_equal(np.asarray(data.inputs["fixed"]), vectors)
    np.testing.assert_array_equal(np.asarray(data.inputs["vector"])[:5], vectors[:5])
    assert data.present["vector"].tolist() == [True] * 5 + [False]
    np.testing.assert_array_equal(np.asarray(data.inputs["image"]), images)


@pytest.mark.usefixtures("no_memory")
def test_lists_that_do_not_fit_stay_on_disk(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32)
    columns = {"label": ["x", "y"] * 5, "vector": pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), 4)}
    parquet.write_table(pa.table(columns), tmp_path / "part-0.parquet", row_group_size=3)
    rows = open_dataset(tmp_path).inputs["vector"]
    assert isinstance(rows, MappedRows)
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows[:], values)


@pytest.mark.usefixtures("no_memory")
def test_too_little_room_on_disk(parts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(9, 9, 0))
    with pytest.raises(DataError, match=r"does not fit into memory, and its copy of up to 960.0 B not into .* TMPDIR"):
        open_dataset(parts, ReadOptions(modalities={"a": {"prefix": "a_"}}))


def test_a_trained_run_meets_parts_that_lack_a_modality(parts: Path, tmp_path: Path) -> None:
    schema = open_dataset(parts).schema
    (tmp_path / "new").mkdir()
    table(4)[["id", "a_2", "a_1"]].to_parquet(tmp_path / "new" / "part-0.parquet", index=False)
    data = open_dataset(tmp_path / "new", labelled=False, schema=schema)
    assert list(data.inputs["a"].columns) == ["a_1", "a_2"]  # type: ignore[union-attr]
    assert not data.present["b"].any()
    assert data.target is None


def break_columns(folder: Path) -> None:
    table(20).drop(columns="a_2").assign(other=1.0).to_parquet(folder / "part-1.parquet", index=False)


def break_bytes(folder: Path) -> None:
    path = folder / "part-1.parquet"
    path.write_bytes(path.read_bytes()[:200])


def break_page(folder: Path) -> None:
    path = folder / "part-1.parquet"
    content = bytearray(path.read_bytes())
    content[4:150] = b"\xff" * 146
    path.write_bytes(bytes(content))


def break_rows(folder: Path) -> None:
    for path in folder.iterdir():
        table(20).iloc[:0].to_parquet(path, index=False)


def break_ids(folder: Path) -> None:
    table(20, 0).assign(id="s0_0").to_parquet(folder / "part-1.parquet", index=False)
    (folder / "dataset.yaml").write_text("id: id", encoding="utf-8")


def break_layout(folder: Path) -> None:
    (folder / "split=train").mkdir()
    (folder / "labels.csv").write_text("id,label\n", encoding="utf-8")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (break_columns, r"part-1.parquet: its columns differ from those of .*part-0.parquet: 'a_2', 'other' is in one of them"),
        (break_bytes, r"part-1.parquet cannot be read as a parquet table"),
        (break_page, r"part-1.parquet cannot be read as a parquet table"),
        (break_rows, r"parts has no rows"),
        (break_ids, r"parts: id 's0_0' repeats"),
        (break_layout, r"as one table in folders called column=value, or as one file per modality \('labels.csv'\)"),
    ],
)
def test_bad_parts_are_one_sentence(parts: Path, edit: Any, message: str) -> None:
    edit(parts)
    with pytest.raises(DataError, match=message):
        open_dataset(parts)


def test_files_that_may_be_either_name_both_readings(tmp_path: Path) -> None:
    for name in ("first", "second"):
        table(4).to_parquet(tmp_path / f"{name}.parquet", index=False)
    with pytest.raises(DataError, match=r"no labels.csv.* or are they parts of one table\? call them part-0.parquet"):
        open_dataset(tmp_path)


def save(folder: Path, columns: dict[str, Any], features: dict[str, Any], rows: slice = slice(None)) -> None:
    """Write a folder as ``datasets`` does: Arrow streams, their names, and the features."""
    folder.mkdir(parents=True)
    whole = pa.table(columns)
    halves = [whole.slice(0, 4), whole.slice(4)]
    names = [f"data-0000{number}-of-00002.arrow" for number in range(2)]
    for name, half in zip(names, halves, strict=True):
        with pa.OSFile(str(folder / name), "wb") as file, pa.ipc.new_stream(file, half.schema) as writer:
            writer.write_table(half)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    (folder / "dataset_info.json").write_text(json.dumps({"features": features}))


def saved_columns(seed: int = 0) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    return {
        "label": pa.array([0, 1, 1, 0, 1, 0, 0, 1]),
        "text": pa.array([f"this is sentence number {seed} {row}" for row in range(8)]),
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(random.normal(size=40).astype(np.float32)), 5),
        "age": pa.array(range(8)),
    }


FEATURES = {"label": {"names": ["neg", "pos"], "_type": "ClassLabel"}, "text": {"dtype": "string", "_type": "Value"}}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A saved data set of one part."""
    save(tmp_path / "saved", saved_columns(), FEATURES)
    return tmp_path / "saved"


def test_a_saved_data_set(saved: Path) -> None:
    data = open_dataset(saved)
    assert data.schema.classes == ("neg", "pos")
    assert data.target is not None
    assert data.target.tolist() == [0, 1, 1, 0, 1, 0, 0, 1]
    assert {modality.name: modality.kind for modality in data.schema.modalities} == {"vector": "tabular", "text": "text"}
    expected = saved_columns()["vector"].flatten().to_numpy().reshape(8, 5)
    np.testing.assert_array_equal(np.asarray(data.inputs["vector"]), expected)
    (saved / "dataset.yaml").write_text(describe_yaml(data), encoding="utf-8")
    assert fingerprint(open_dataset(saved)) == fingerprint(data)
    (saved / "dataset.yaml").unlink()
    stated = open_dataset(saved, ReadOptions(target="age", modalities={"vector": {}, "label": {}}))
    assert stated.schema["label"].categorical == ("label",)


def test_parts_of_a_saved_data_set_are_the_split(tmp_path: Path) -> None:
    for number, name in enumerate(("train", "validation", "test")):
        save(tmp_path / "saved" / name, saved_columns(number), FEATURES)
    (tmp_path / "saved" / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "validation", "test"]}))
    data = open_dataset(tmp_path / "saved")
    assert data.split is not None
    assert data.split.tolist() == ["train"] * 8 + ["validation"] * 8 + ["test"] * 8
    assert data.schema.split == "split"


def test_what_datasets_writes(tmp_path: Path) -> None:
    import datasets

    features = datasets.Features(
        {
            "label": datasets.ClassLabel(names=["neg", "pos"]),
            "image": datasets.Array2D((3, 4), "uint8"),
            "vector": datasets.Sequence(datasets.Value("float32"), length=2),
        }
    )
    random = np.random.default_rng(0)
    values = {"label": [0, 1] * 3, "image": random.integers(0, 255, (6, 3, 4)), "vector": random.normal(size=(6, 2))}
    datasets.disable_progress_bars()
    made = datasets.Dataset.from_dict(values, features=features)
    datasets.DatasetDict({"train": made, "test": made.select([4, 1])}).save_to_disk(str(tmp_path / "saved"))
    data = open_dataset(tmp_path / "saved")
    np.testing.assert_array_equal(np.asarray(data.inputs["image"]), values["image"][[0, 1, 2, 3, 4, 5, 4, 1]])
    np.testing.assert_allclose(np.asarray(data.inputs["vector"])[6:], values["vector"][[4, 1]], rtol=1e-6)
    assert data.schema.classes == ("neg", "pos")


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.parametrize("name", ["../secret.arrow", "/etc/passwd", "a/b.arrow", ""])
def test_a_name_that_leaves_the_folder(saved: Path, name: str) -> None:
    change(saved / "state.json", _data_files=[{"filename": name}])
    with pytest.raises(DataError, match=r"state.json names '.*', which is not inside of"):
        open_dataset(saved)


def test_a_split_that_leaves_the_folder(tmp_path: Path) -> None:
    (tmp_path / "dataset_dict.json").write_text(json.dumps({"splits": [".."]}))
    with pytest.raises(DataError, match=r"dataset_dict.json names '..', which is not inside of"):
        open_dataset(tmp_path)


def test_bad_saved_data_are_one_sentence(saved: Path, tmp_path: Path) -> None:
    file = saved / "data-00001-of-00002.arrow"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"data-00001-of-00002.arrow cannot be read as an Arrow file"):
        open_dataset(saved)
    file.unlink()
    with pytest.raises(DataError, match=r"data-00001-of-00002.arrow does not exist"):
        open_dataset(saved)
    (saved / "state.json").write_text("[]")
    with pytest.raises(DataError, match=r"state.json is damaged"):
        open_dataset(saved)
    missing = {**saved_columns(), "label": pa.array([0, 1, None, 0, 1, 0, -1, 1])}
    save(tmp_path / "missing", missing, FEATURES)
    with pytest.raises(DataError, match=r"column 'label'.*2 of 8 samples have no label: '2', '6'"):
        open_dataset(tmp_path / "missing")


def media_of(items: list[Any]) -> Any:
    return pa.array(items, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))


def test_encoded_files_are_media(tmp_path: Path) -> None:
    items, pictures = [], np.random.default_rng(0).integers(0, 255, (8, 5, 6, 3), dtype=np.uint8)
    for picture in pictures:
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "PNG")
        items.append({"bytes": file.getvalue(), "path": "../../anywhere.wav"})
    save(
        tmp_path / "saved",
        {"label": saved_columns()["label"], "image": media_of([*items[:7], None]), "age": saved_columns()["age"]},
        FEATURES,
    )
    options = ReadOptions(modalities={"image": {}, "age": {}})
    data = open_dataset(tmp_path / "saved", options)
    assert data.schema["image"].kind == "image"
    assert data.present["image"].tolist() == [True] * 7 + [False]
    assert np.asarray(data.inputs["image"][:7]).shape[0] == 7
    again = open_dataset(tmp_path / "saved", options, labelled=False, schema=data.schema)
    assert fingerprint(again) == fingerprint(data)


@pytest.mark.parametrize("container", ["saved", "parts"])
def test_options_of_decoding(tmp_path: Path, container: str) -> None:
    items = []
    for picture in np.random.default_rng(0).integers(0, 255, (8, 9, 12, 3), dtype=np.uint8):
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "PNG")
        items.append({"bytes": file.getvalue(), "path": None})
    columns = {"label": pa.array(["a", "b"] * 4), "image": media_of(items), "age": pa.array(np.arange(8.0))}
    folder = tmp_path / container
    if container == "saved":
        save(folder, columns, {})
    else:
        folder.mkdir()
        parquet.write_table(pa.table(columns), folder / "part-0.parquet")
    photo: dict[str, Any] = {"columns": ["image"], "kind": "image", "options": {"size": 6, "colours": "grey"}}
    data = open_dataset(folder, ReadOptions(modalities={"photo": photo, "person": ["age"]}))
    assert data.schema["photo"].shape == (6, 6)
    (folder / "dataset.yaml").write_text(describe_yaml(data))
    assert fingerprint(open_dataset(folder)) == fingerprint(data)
    for own, message in (
        ({"key": "image", "options": {"sise": 6}}, "options: unknown option 'sise', did you mean 'size'"),
        ({"columns": ["image", "age"]}, "modality 'photo': column 'image' holds lists or files, expected it alone"),
        ({"columns": ["age"], "options": {"size": 6}}, "does not hold names of media files"),
    ):
        with pytest.raises(EquipoiseError, match=message):
            open_dataset(folder, ReadOptions(modalities={"photo": own}))


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"bytes": None, "path": "/etc/hostname"}, r"column 'image' names the file '/etc/hostname' without holding it"),
        (
            {"bytes": pickle.dumps(1), "path": "a.png"},
            r"column 'image': the file in row 0 is of no known format, expected one of .png",
        ),
    ],
)
def test_files_that_are_refused(tmp_path: Path, item: Any, message: str) -> None:
    save(tmp_path / "saved", {"label": saved_columns()["label"], "image": media_of([item] * 8)}, FEATURES)
    with pytest.raises(DataError, match=message):
        open_dataset(tmp_path / "saved")


def test_without_pyarrow(saved: Path, parts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for source in (saved, parts):
        with pytest.raises(DataError, match=r"needs the package pyarrow to be read"):
            open_dataset(source)
