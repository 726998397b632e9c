"""Real data sets as they arrive; skipped where their folder is not there."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from equipoise.config import ReadOptions, SplitOptions
from equipoise.data.dataset import Dataset
from equipoise.data.partition import partition
from equipoise.data.preprocessing import Preprocessing
from equipoise.data.sources import open_dataset
from equipoise.data.splits import make_splits


def prepare(data: Dataset) -> dict[str, np.ndarray]:
    fit, _ = partition(data, make_splits(data)[0])
    return Preprocessing.fit(fit.train).transform(fit.train)


def test_multi_omics_folder(shared_data: Path) -> None:
    import pandas as pd

    folder = shared_data / "tcga_brca_cnv_mrna_rppa"
    open_dataset(folder)  # imports and caches
    start = time.perf_counter()
    data = open_dataset(folder)
    prepared = prepare(data)
    assert time.perf_counter() - start < 1.0
    assert (data.schema.target, data.schema.id, data.schema.split) == ("label", "patient", "split")
    assert {name: value.shape for name, value in prepared.items()} == {"cnv": (368, 515), "mrna": (368, 260), "rppa": (368, 164)}
    labels = pd.read_csv(folder / "labels.csv")
    assert data.target is not None
    assert data.target.tolist() == labels["label"].tolist()
    np.testing.assert_array_equal(
        data.inputs["mrna"], pd.read_parquet(folder / "mrna.parquet").set_index("patient").loc[labels["patient"]]
    )


def test_wide_table_of_gestures(shared_data: Path) -> None:
    modalities = {"position": {"prefix": "pos_"}, "velocity": {"prefix": "vel"}, "acceleration": {"prefix": "acc"}}
    data = open_dataset(shared_data / "gesture_phase", ReadOptions(group="video", modalities=modalities))
    assert {modality.name: modality.shape for modality in data.schema.modalities} == {
        "position": (18,),
        "velocity": (16,),
        "acceleration": (16,),
    }
    split = make_splits(data)[0]
    assert data.group is not None
    assert set(data.group[split.test]) == {"a3", "b3", "c3"}
    assert all(np.isfinite(value).all() for value in prepare(data).values())


def test_archive_of_six_views(shared_data: Path) -> None:
    data = open_dataset(shared_data / "mfeat")
    assert data.schema.names == ("fac", "fou", "kar", "mor", "pix", "zer")
    assert len(data.schema.classes) == 10
    assert [len(part) for part in (make_splits(data)[0].train, make_splits(data)[0].test)] == [1200, 600]


def test_paired_audio_and_images(shared_data: Path) -> None:
    folder = shared_data / "av_digits"
    audio, images, pairs = (dict(np.load(folder / f"{name}.npz")) for name in ("audio", "images", "pairs"))
    values = {"audio": audio["logmel"], "image": images["image"][pairs["image_row"]]}
    values |= {name: audio[name] for name in ("label", "speaker", "split")}
    data = open_dataset(values)
    assert [modality.kind for modality in data.schema.modalities] == ["image", "image"]
    assert {name: value.shape[1:] for name, value in prepare(data).items()} == {"audio": (1, 32, 32), "image": (1, 8, 8)}
    del values["split"]
    unseen = open_dataset(values, ReadOptions(group="speaker"))
    assert len(make_splits(unseen, SplitOptions(folds=6))) == 6


def test_columns_of_a_mixed_table(shared_data: Path) -> None:
    columns = {"numbers": ["age", "positive_feedback"], "shop": ["division", "class_name"]}
    data = open_dataset(shared_data / "clothing_reviews", ReadOptions(target="recommended", modalities=columns))
    assert data.schema["shop"].categorical == ("division", "class_name")
    assert prepare(data)["shop"].shape[1] > 10


def test_reviews_with_missing_titles(shared_data: Path) -> None:
    file = shared_data / "clothing_reviews" / "clothing_reviews.parquet"
    columns = ["age", "positive_feedback", "division", "department", "class_name"]
    modalities = {"review": ["review_text"], "title": ["title"], "tabular": columns}
    data = open_dataset(file, ReadOptions(target="recommended", modalities=modalities))
    assert [modality.kind for modality in data.schema.modalities] == ["text", "text", "tabular"]
    assert [modality.present for modality in data.schema.modalities] == [22628, 19662, 22628]
    assert data.schema.classes == ("0", "1")
    start = time.perf_counter()
    prepared = prepare(data)
    assert time.perf_counter() - start < 20.0
    assert {name: value.shape for name, value in prepared.items()} == {
        "review": (15839, 2000),
        "title": (15839, 2000),
        "tabular": (15839, 2 + 3 + 6 + 20),
    }
    np.testing.assert_allclose(np.linalg.norm(prepared["review"], axis=1), 1.0, rtol=1e-5)
