from __future__ import annotations

import gzip
import pickle
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

from equipoise.config import PreprocessingOptions, ReadOptions
from equipoise.data import hdf5, prepare_table
from equipoise.data.describe import describe_yaml, facts
from equipoise.data.export import export
from equipoise.data.fingerprint import fingerprint
from equipoise.data.hdf5 import StoredMatrix
from equipoise.data.loader import Loader, StreamPart, make_part
from equipoise.data.named_rows import NamedRows
from equipoise.data.preprocessing import Preprocessing
from equipoise.data.sources import open_dataset
from equipoise.errors import DataError

REAL = Path(__file__).parent / "containers" / "mudata.h5mu.gz"


@pytest.fixture
def real(tmp_path: Path) -> Path:
    """The file that mudata wrote."""
    path = tmp_path / "real.h5mu"
    path.write_bytes(gzip.decompress(REAL.read_bytes()))
    return path


def write_frame(group: Any, table: pd.DataFrame) -> None:
    group.attrs.update(
        {"encoding-type": "dataframe", "_index": "_index", "column-order": np.array(list(table.columns), dtype="S")}
    )
    group["_index"] = np.array(table.index, dtype="S")
    for name in table.columns:
        values = table[name]
        group[name] = values.to_numpy() if values.dtype.kind in "ifb" else [str(value) for value in values]


def write_matrix(parent: Any, name: str, matrix: Any) -> None:
    if isinstance(matrix, np.ndarray):
        parent.create_dataset(name, data=matrix, chunks=True)
        return
    group = parent.create_group(name)
    group.attrs.update({"encoding-type": f"{matrix.format}_matrix", "shape": matrix.shape})
    group["data"], group["indices"], group["indptr"] = matrix.data, matrix.indices, matrix.indptr


def write(path: Path, matrix: Any, obs: pd.DataFrame, variables: list[str] | None = None) -> Path:
    """Write an h5ad file as its format is documented."""
    with h5py.File(path, "w") as file:
        file.attrs["encoding-type"] = "anndata"
        write_matrix(file, "X", matrix)
        write_frame(file.create_group("obs"), obs)
        names = variables or [f"g{number}" for number in range(matrix.shape[1])]
        write_frame(file.create_group("var"), pd.DataFrame(index=names))
    return path


def obs_of(samples: int) -> pd.DataFrame:
    return pd.DataFrame({"label": [f"c{row % 2}" for row in range(samples)]}, index=[f"s{row}" for row in range(samples)])


def counts(samples: int = 40, columns: int = 12) -> Any:
    return sparse.random(samples, columns, density=0.3, format="csr", dtype=np.float32, rng=np.random.default_rng(0))


@pytest.fixture
def no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing fits into memory."""
    monkeypatch.setattr(hdf5, "fits", lambda size: False)
    monkeypatch.setattr(hdf5, "free_bytes", lambda: 2000)
    monkeypatch.setattr(hdf5, "_PIECE", 200)
    monkeypatch.setattr(prepare_table, "CHUNK", 30)  # blocks of three columns


def test_modalities_of_mudata_are_joined_by_sample(real: Path) -> None:
    data = open_dataset(real)
    assert data.schema.names == ("rna", "prot")
    assert (data.schema.target, data.schema.classes, data.schema.split) == ("label", ("u", "v", "w"), "split")
    assert data.ids.tolist() == [f"s{number}" for number in range(12)]
    assert data.present["rna"].all()
    assert data.present["prot"].tolist() == [True] * 9 + [False] * 3
    rna, prot = data.inputs["rna"], data.inputs["prot"]
    assert isinstance(rna, NamedRows)
    assert isinstance(prot, NamedRows)
    assert hasattr(rna.matrix, "indptr")
    assert rna.columns == ("g0", "g1", "g2", "g3", "g4")
    np.testing.assert_array_equal(rna[:], np.arange(60).reshape(12, 5) % 4)
    np.testing.assert_array_equal(prot[:][:, 0], [*range(9), np.nan, np.nan, np.nan])
    assert data.split is not None
    assert data.split.tolist() == ["train"] * 6 + ["validation"] * 3 + ["test"] * 3


def test_whatever_else_the_file_holds_is_stated(real: Path) -> None:
    modalities = {
        "genes": {"key": "rna/var/feature_types/Gene"},
        "counts": {"key": "rna/layers/counts"},
        "pca": {"key": "rna/obsm/X_pca"},
        "raw": {"key": "rna/raw/X"},
        "patient": ["rna:age", "rna:batch", "rna:stage"],
    }
    data = open_dataset(real, ReadOptions(modalities=modalities))
    matrix = np.arange(60).reshape(12, 5) % 4
    np.testing.assert_array_equal(np.asarray(data.inputs["genes"][:]), matrix[:, :3])
    np.testing.assert_array_equal(np.asarray(data.inputs["counts"][:]), 2 * matrix)
    np.testing.assert_array_equal(np.asarray(data.inputs["raw"][:]), matrix)
    assert data.schema["pca"].shape == (3,)
    assert data.schema["patient"].categorical == ("rna:batch",)
    table = data.inputs["patient"]
    assert isinstance(table, pd.DataFrame)
    np.testing.assert_array_equal(table["rna:stage"].to_numpy(float), [1, np.nan] * 6)
    (real.parent / "real.dataset.yaml").write_text(describe_yaml(data), encoding="utf-8")
    again = open_dataset(real)
    assert again.schema == data.schema
    assert fingerprint(again) == fingerprint(data)


def test_roles_come_from_obs(real: Path) -> None:
    data = open_dataset(real, ReadOptions(target="rna:batch", group="label", split="none"))
    assert data.schema.classes == ("b1", "b2")
    assert data.group is not None
    assert data.group.tolist() == ["u", "v", "w"] * 4
    assert data.split is None


@pytest.mark.parametrize("matrix", [counts(), counts().tocsc(), counts().toarray()], ids=["by rows", "by columns", "dense"])
def test_every_form_of_a_matrix_reads_alike(tmp_path: Path, matrix: Any) -> None:
    data = open_dataset(write(tmp_path / "a.h5ad", matrix, obs_of(40)))
    rows = data.inputs["X"]
    assert isinstance(rows, NamedRows)
    np.testing.assert_array_equal(rows[:], counts().toarray())
    chosen = np.array([7, 3, 3])
    np.testing.assert_array_equal(rows.take(chosen)[:], counts().toarray()[chosen])
    np.testing.assert_array_equal(rows.select(["g5", "g1"])[chosen], counts().toarray()[chosen][:, [5, 1]])


@pytest.mark.parametrize("matrix", [counts(), counts().toarray()], ids=["sparse", "dense"])
def test_what_does_not_fit_stays_on_disk_and_equals_what_fits(
    tmp_path: Path, matrix: Any, request: pytest.FixtureRequest
) -> None:
    path = write(tmp_path / "a.h5ad", matrix, obs_of(40))
    whole = open_dataset(path)
    request.getfixturevalue("no_memory")
    data = open_dataset(path)
    rows = data.inputs["X"]
    assert isinstance(rows, NamedRows)
    assert isinstance(rows.matrix, StoredMatrix)
    assert len(pickle.dumps(rows.take(np.arange(2)))) < 3000
    assert fingerprint(data) == fingerprint(whole)
    assert facts(data)["modalities"] == facts(whole)["modalities"]
    options = PreprocessingOptions(top_variance=5)
    fitted = Preprocessing.fit(data, options)
    assert fitted.to_json() == Preprocessing.fit(whole, options).to_json()
    table = open_dataset({"X": pd.DataFrame(counts().toarray())}, target=whole.target)
    expected = Preprocessing.fit(table, options).transform(table)["X"]
    np.testing.assert_allclose(fitted.transform(data)["X"], expected, atol=1e-6)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("stored", [False, True], ids=["in memory", "on disk"])
def test_sparse_rows_stream(tmp_path: Path, stored: bool, workers: int, request: pytest.FixtureRequest) -> None:
    path = write(tmp_path / "a.h5ad", counts(), obs_of(40))
    if stored:
        request.getfixturevalue("no_memory")
    data = open_dataset(path)
    fitted = Preprocessing.fit(data)
    memory, stream = (make_part(data, fitted, torch.device("cpu"), kind, workers) for kind in ("memory", "stream"))
    assert isinstance(stream, StreamPart)
    for mine, theirs in zip(Loader(stream, 16).epoch(0), Loader(memory, 16).epoch(0), strict=True):
        assert torch.equal(mine.inputs["X"], theirs.inputs["X"])


def test_no_row_of_another_part_can_be_reached(tmp_path: Path) -> None:
    data = open_dataset(write(tmp_path / "a.h5ad", counts(), obs_of(40)))
    rows = data.subset(np.array([4, 9])).inputs["X"]
    assert isinstance(rows, NamedRows)
    assert rows.matrix.shape == (2, 12)


def test_a_trained_run_meets_other_columns_and_lacks_a_modality(real: Path, tmp_path: Path) -> None:
    schema = open_dataset(real).schema
    matrix = np.arange(24, dtype=np.float32).reshape(4, 6)
    names = ["g4", "other", "g0", "g1", "g2", "g3"]
    path = write(tmp_path / "rna.h5ad", matrix, pd.DataFrame(index=list("abcd")), names)
    data = open_dataset(path, ReadOptions(modalities={"rna": {"key": "X"}}), labelled=False, schema=schema)
    np.testing.assert_array_equal(np.asarray(data.inputs["rna"][:]), matrix[:, [2, 3, 4, 5, 0]])
    assert not data.present["prot"].any()
    lacking = write(tmp_path / "less.h5ad", matrix[:, :5], pd.DataFrame(index=list("abcd")), names[:5])
    with pytest.raises(DataError, match=r"less.h5ad: modality 'rna': column 'g3' is missing \(1 of the 5"):
        open_dataset(lacking, ReadOptions(modalities={"rna": {"key": "X"}}), labelled=False, schema=schema)


def test_exported_names_of_variables_stay(tmp_path: Path, real: Path) -> None:
    data = open_dataset(real)
    again = open_dataset(export(data, tmp_path / "folder"))
    assert again.schema["rna"].columns == data.schema["rna"].columns
    np.testing.assert_array_equal(np.asarray(again.inputs["rna"]), np.asarray(data.inputs["rna"][:]))
    np.testing.assert_array_equal(again.present["prot"], data.present["prot"])


def edited(path: Path, edit: Callable[[Any], None]) -> Path:
    with h5py.File(path, "r+") as file:
        edit(file)
    return path


def replace_indices(file: Any) -> None:
    file["X/indices"][0] = 99


def cut_indptr(file: Any) -> None:
    del file["X/indptr"]
    file["X/indptr"] = np.arange(7)


def link_outside(file: Any) -> None:
    del file["X"]
    file["X"] = h5py.ExternalLink("/etc/hostname", "/X")


def store_outside(file: Any) -> None:
    del file["X"]
    file.create_dataset("X", (40, 12), "f4", external=[("elsewhere.bin", 0, 40 * 12 * 4)])


def store_objects(file: Any) -> None:
    del file["X"]
    file["X"] = np.zeros((40, 12), dtype=[("a", "f4"), ("b", "i4")])


def old_frame(file: Any) -> None:
    del file["obs"]
    file["obs"] = np.zeros(40, dtype=[("index", "S4")])


def missing_label(file: Any) -> None:
    del file["obs/label"]
    group = file["obs"].create_group("label")
    group.attrs["encoding-type"] = "categorical"
    group["categories"], group["codes"] = ["c0", "c1"], np.array([0, 1, -1, -1] * 10)


def wrong_code(file: Any) -> None:
    missing_label(file)
    file["obs/label/codes"][0] = 7


def fewer_rows(file: Any) -> None:
    del file["X"]
    write_matrix(file, "X", counts(39))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (replace_indices, r"a.h5ad: X is damaged: it has values beyond its 12 columns"),
        (cut_indptr, r"a.h5ad: X is damaged: its rows and its values differ in number"),
        (link_outside, r"a.h5ad: 'X' is a link to another file \('/etc/hostname'\), which is refused"),
        (store_outside, r"a.h5ad: X is stored in other files, which is refused"),
        (store_objects, r"a.h5ad: X holds objects of type .*, which are refused; expected numbers or text"),
        (old_frame, r"a.h5ad: obs is no table as anndata 0.7 and later write them"),
        (missing_label, r"a.h5ad.*column 'label'.*20 of 40 samples have no label: 's2', 's3', 's6' and 17 more"),
        (wrong_code, r"a.h5ad: obs/label is damaged: it has codes beyond its 2 categories"),
        (fewer_rows, r"a.h5ad: 'X' has 39 rows, expected one for each of its 40 samples"),
    ],
)
def test_a_bad_file_is_one_sentence(tmp_path: Path, edit: Callable[[Any], None], message: str) -> None:
    path = edited(write(tmp_path / "a.h5ad", counts(), obs_of(40)), edit)
    with pytest.raises(DataError, match=message):
        open_dataset(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "diagnosis"}, r"real.h5mu: obs has no target column 'diagnosis', choose from: label"),
        ({"target": "batch"}, r"real.h5mu: obs has no target column 'batch', did you mean 'rna:batch'"),
        ({"id": "patient"}, r"real.h5mu: obs has no id column 'patient'"),
        ({"modalities": {"x": {"key": "rna/layers/raw"}}}, r"real.h5mu: mod/rna/layers has no 'raw', choose from: counts"),
        ({"modalities": {"x": {"key": "atac"}}}, r"real.h5mu has no modality 'atac'"),
        ({"modalities": {"x": {"key": "rna/var/feature_types/Genes"}}}, r"has no group 'Genes', did you mean 'Gene'"),
        ({"modalities": {"x": {"key": "rna/uns"}}}, r"'uns' is no matrix, expected X, raw/X, layers/..., obsm/..."),
        ({"modalities": {"x": {"key": "rna/layers/../../obs"}}}, r"has no '..', choose from: counts"),
        ({"modalities": {"x": {"key": "rna", "columns": ["label"]}}}, r"states both a key and columns of obs"),
        ({"modalities": {"x": ["label"]}}, r"column 'label' is the id, target, split or group"),
    ],
)
def test_what_is_stated_and_not_there_is_one_sentence(real: Path, options: Mapping[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_dataset(real, ReadOptions(**options))


def test_names_must_differ(tmp_path: Path) -> None:
    twice = obs_of(40).set_axis(["s0", "s0", *(f"s{row}" for row in range(2, 40))])
    with pytest.raises(DataError, match=r"obs: sample 's0' occurs more than once"):
        open_dataset(write(tmp_path / "a.h5ad", counts(), twice))
    with pytest.raises(DataError, match=r"var: variable 'TP53' occurs more than once"):
        open_dataset(write(tmp_path / "b.h5ad", counts(), obs_of(40), ["TP53", "TP53", *"abcdefghij"]))


def test_damaged_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5ad", counts(), obs_of(40))
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(DataError, match=r"a.h5ad cannot be read as an HDF5 file \(h5ad\): .*truncated"):
        open_dataset(path)
    (tmp_path / "b.h5mu").write_bytes(pickle.dumps({"X": 1}))
    with pytest.raises(DataError, match=r"b.h5mu cannot be read as an HDF5 file \(h5mu\)"):
        open_dataset(tmp_path / "b.h5mu")


@pytest.mark.usefixtures("no_memory")
def test_a_large_matrix_by_columns_says_what_to_do(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5ad", counts().tocsc(), obs_of(40))
    with pytest.raises(DataError, match=r"40 x 12 stored by columns .* KiB .*2.0 KiB of memory are free.*adata.X.tocsr\(\)"):
        open_dataset(path)


def test_without_h5py(real: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(DataError, match=r"real.h5mu needs the package h5py to be read; .* pip install 'equipoise\[omics\]'"):
        open_dataset(real)


def test_a_trained_run_meets_a_file_of_other_modalities(real: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5ad", counts(), obs_of(40))
    with pytest.raises(DataError, match=r"has none of the modalities 'rna', 'prot'; state where they are, .*rna: \{key: X\}"):
        open_dataset(path, labelled=False, schema=open_dataset(real).schema)
