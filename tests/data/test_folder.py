from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from equipoise.config import ReadOptions
from equipoise.data.rows import MappedRows
from equipoise.data.sources import open_dataset
from equipoise.errors import DataError


def test_joins_by_inferred_id(folder: Path) -> None:
    data = open_dataset(folder)
    labels, blood = pd.read_csv(folder / "labels.csv"), pd.read_csv(folder / "blood.csv").set_index("patient")
    assert data.schema.id == "patient"
    assert data.schema.format == "folder"
    assert data.schema.name == "study"
    assert data.schema.names == ("blood", "genes", "scan")
    assert [(m.kind, m.shape, m.present) for m in data.schema.modalities] == [
        ("tabular", (3,), 12),
        ("tabular", (3,), 10),
        ("image", (5, 6), 12),
    ]
    assert data.schema["blood"].columns == ("age", "sex", "score")
    assert data.schema["blood"].categorical == ("sex",)
    assert data.schema.classes == ("a", "b")
    assert data.ids.tolist() == labels["patient"].tolist()
    pd.testing.assert_series_equal(data.inputs["blood"]["age"], blood.loc[labels["patient"], "age"].reset_index(drop=True))
    genes = pd.read_parquet(folder / "genes.parquet").set_index("patient")
    assert data.present["genes"].tolist() == [True] * 10 + [False] * 2
    np.testing.assert_array_equal(data.inputs["genes"].iloc[:10].to_numpy(), genes.loc[labels["patient"][:10]].to_numpy())
    assert isinstance(data.inputs["scan"], MappedRows)
    np.testing.assert_array_equal(data.inputs["scan"][slice(None)], np.load(folder / "scan.npy"))
    assert data.target is not None
    assert data.target.tolist() == [1, 0] * 6


def test_options_state_names(folder: Path) -> None:
    data = open_dataset(
        folder,
        ReadOptions(
            target="stage",
            id="patient",
            group="site",
            modalities={"g": {"file": "genes.parquet"}, "a": {"file": "blood.csv", "columns": ["age"]}},
        ),
    )
    assert data.schema.classes == ("x", "y", "z")
    assert data.schema.names == ("g", "a")
    assert data.schema["a"].columns == ("age",)
    assert data.group is not None
    assert set(data.group) == {"s"}


def test_columns_with_a_role_are_no_inputs(folder: Path) -> None:
    blood = pd.read_csv(folder / "blood.csv")
    blood["label"] = 1
    blood.to_csv(folder / "blood.csv", index=False)
    assert "label" not in open_dataset(folder).schema["blood"].columns


def test_npz_with_ids_is_joined(folder: Path) -> None:
    np.savez(folder / "extra.npz", ids=np.array(["p03", "p01"]), codes=np.array([[3, 30], [1, 10]], dtype=np.uint8))
    data = open_dataset(folder)
    assert np.flatnonzero(data.present["extra"]).tolist() == [1, 3]
    assert data.inputs["extra"][3].tolist() == [3, 30]
    assert data.inputs["extra"].dtype == np.uint8


def test_stated_in_yaml(folder: Path) -> None:
    (folder / "dataset.yaml").write_text(
        "name: trial\nid: patient\ntarget: label\nclasses: [b, a]\n"
        "modalities:\n  blood: {categorical: [score, sex]}\n  scan: {file: scan.npy, kind: array}\n"
    )
    data = open_dataset(folder)
    assert data.schema.name == "trial"
    assert data.schema.classes == ("b", "a")
    assert data.schema["blood"].categorical == ("sex", "score")
    assert data.schema["scan"].kind == "array"
    assert data.inputs["blood"]["score"].tolist()[:3] == ["0", "1", "2"]


def test_one_file_without_labels_is_that_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "arrays.npz", a=np.eye(4), label=[0, 1, 0, 1])
    (tmp_path / "README.md").write_text("about")
    assert open_dataset(tmp_path).schema.format == "archive"


def test_prediction_without_labels(folder: Path) -> None:
    schema = open_dataset(folder).schema
    (folder / "labels.csv").unlink()
    (folder / "scan.npy").unlink()
    with pytest.raises(DataError, match=r"study has no labels\.csv"):
        open_dataset(folder)
    data = open_dataset(folder, labelled=False, schema=schema)
    assert data.target is None
    assert data.ids.tolist() == [f"p{number:02}" for number in range(11, -1, -1)]
    assert not data.present["scan"].any()
    assert data.present["genes"].sum() == 10
    assert open_dataset(folder, labelled=False).schema.names == ("blood", "genes")


def test_prediction_with_one_modality(folder: Path) -> None:
    schema = open_dataset(folder).schema
    for name in ("labels.csv", "scan.npy", "genes.parquet"):
        (folder / name).unlink()
    data = open_dataset(folder, labelled=False, schema=schema)
    assert {name: int(mask.sum()) for name, mask in data.present.items()} == {"blood": 12, "genes": 0, "scan": 0}


def test_repeated_id(folder: Path, edit: Callable[..., None]) -> None:
    edit(folder / "blood.csv", 0, "patient", "p05")
    with pytest.raises(DataError, match=r"blood\.csv: column 'patient': id 'p05' repeats"):
        open_dataset(folder)
    edit(folder / "labels.csv", 0, "patient", "p05")
    with pytest.raises(DataError, match="repeats"):
        open_dataset(folder, ReadOptions(id="patient"))


def test_unknown_and_missing_ids(folder: Path, edit: Callable[..., None]) -> None:
    edit(folder / "blood.csv", 0, "patient", "q1")
    edit(folder / "blood.csv", 1, "patient", "q2")
    with pytest.raises(DataError, match=r"blood\.csv: 2 of its 12 ids are not among the 12 samples of .*labels\.csv: 'q1', 'q2'"):
        open_dataset(folder)
    edit(folder / "blood.csv", 0, "patient", "")
    with pytest.raises(DataError, match=r"blood\.csv: column 'patient': row 1 has no id"):
        open_dataset(folder)


def test_sample_without_any_modality(folder: Path) -> None:
    (folder / "scan.npy").unlink()
    pd.read_csv(folder / "blood.csv").query("patient != 'p11'").to_csv(folder / "blood.csv", index=False)
    with pytest.raises(DataError, match="study: 1 sample has no modality at all: 'p11'"):
        open_dataset(folder)


def test_empty_rows_are_absent(folder: Path) -> None:
    genes = pd.read_parquet(folder / "genes.parquet").set_index("patient")
    genes.loc["p00"] = np.nan
    genes.loc["p01", "g1"] = np.nan
    genes.reset_index().to_parquet(folder / "genes.parquet")
    data = open_dataset(folder)
    assert data.present["genes"][:3].tolist() == [False, True, True]
    genes[:] = np.nan
    genes.reset_index().to_parquet(folder / "genes.parquet")
    with pytest.raises(DataError, match="modality 'genes': no sample has it"):
        open_dataset(folder)


def test_arrays_are_checked(folder: Path) -> None:
    scan = np.load(folder / "scan.npy")
    scan[3] = np.nan
    np.save(folder / "scan.npy", scan)
    assert not open_dataset(folder).present["scan"][3]
    scan[4, 2, 1] = np.inf
    np.save(folder / "scan.npy", scan)
    with pytest.raises(DataError, match="modality 'scan': column 2, 1 is infinite for sample 'p04'"):
        open_dataset(folder)
    np.save(folder / "scan.npy", scan[:5])
    with pytest.raises(
        DataError, match=r"scan\.npy has 5 rows and no ids, expected one row for each of the 12 samples of .* same order"
    ):
        open_dataset(folder)


def test_bad_values(folder: Path, edit: Callable[..., None]) -> None:
    edit(folder / "blood.csv", 2, "age", "n.d.")
    with pytest.raises(
        DataError, match=r"modality 'blood': column 'age' has text where numbers are expected: 'n\.d\.' for sample 'p09'"
    ):
        open_dataset(folder)
    edit(folder / "blood.csv", 2, "age", "inf")
    with pytest.raises(DataError, match="modality 'blood': column 'age' is infinite for sample 'p09'"):
        open_dataset(folder)
    edit(folder / "blood.csv", 2, "age", "")
    edit(folder / "labels.csv", 4, "label", "")
    with pytest.raises(DataError, match="column 'label': 1 of 12 samples have no label: 'p04'"):
        open_dataset(folder)


def test_structure_of_the_folder(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"labels\.csv has no id column 'patien', did you mean 'patient'"):
        open_dataset(folder, ReadOptions(id="patien"))
    with pytest.raises(DataError, match=r"modality 'a' has no file 'bloood\.csv', did you mean 'blood\.csv'"):
        open_dataset(folder, ReadOptions(modalities={"a": {"file": "bloood.csv"}}))
    np.savez(folder / "many.npz", a=np.eye(12), b=np.eye(12))
    with pytest.raises(DataError, match=r"many\.npz holds 2 arrays \('a', 'b'\)"):
        open_dataset(folder)
    assert open_dataset(folder, ReadOptions(modalities={"many": {"key": "b"}})).schema["many"].shape == (12,)
    np.save(folder / "blood.npy", np.eye(12))
    with pytest.raises(DataError, match=r"blood\.csv and blood\.npy are both modality 'blood'"):
        open_dataset(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="has no data"):
        open_dataset(tmp_path / "empty")


def test_no_shared_column(folder: Path) -> None:
    pd.read_csv(folder / "blood.csv").rename(columns={"patient": "subject"}).to_csv(folder / "blood.csv", index=False)
    with pytest.raises(DataError, match=r"no column is shared by labels\.csv, "):
        open_dataset(folder)


def test_name_that_no_module_can_have(folder: Path) -> None:
    np.save(folder / "rna.v2.npy", np.eye(12))
    with pytest.raises(DataError, match=r"modality 'rna\.v2': a name may have letters"):
        open_dataset(folder)


def test_what_looks_like_data_and_is_not_read_is_told(folder: Path) -> None:
    assert open_dataset(folder).schema.notes == ()
    ids = pd.read_csv(folder / "labels.csv")["patient"]
    for path in ("notes.md", "proteins.xlsx", "more.CSV", f"slides/{ids[0]}.tiff", "code/train.py"):
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(b"x")
    first, second, third = open_dataset(folder).schema.notes
    assert first == f"{folder}: more.CSV is not read, expected modalities ending in .csv, .tsv, .parquet, .npy, .npz"
    assert second.startswith(f"{folder}: proteins.xlsx is not read")
    assert third.startswith(f"{folder}: slides is not read, expected modalities of files ending in .wav, ")
    (folder / "dataset.yaml").write_text("modalities: {blood: {}}")
    assert open_dataset(folder).schema.notes == ()


def test_a_stated_file_of_another_kind(folder: Path) -> None:
    (folder / "notes.md").write_text("x")
    (folder / "dataset.yaml").write_text("modalities: {notes: {file: notes.md}}")
    with pytest.raises(DataError, match=r"modality 'notes' has the file 'notes\.md', expected one ending in \.csv, "):
        open_dataset(folder)


def test_ids_that_lost_their_zeros_are_shown_beside_those_of_the_samples(tmp_path: Path) -> None:
    pd.DataFrame({"id": ["001", "002"] * 2, "label": [0, 1] * 2}).drop_duplicates().to_csv(tmp_path / "labels.csv", index=False)
    pd.DataFrame({"id": [1, 2], "x": [0.5, 1]}).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(DataError, match=r"2 of its 2 ids are not among .*: '1', '2'; samples are called '001', '002'"):
        open_dataset(tmp_path)
