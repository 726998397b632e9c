from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from equipoise.config import PreprocessingOptions
from equipoise.data import prepare_table, preprocessing, rows
from equipoise.data.dataset import Dataset
from equipoise.data.partition import partition
from equipoise.data.preprocessing import Preprocessing
from equipoise.data.sources import open_dataset
from equipoise.data.splits import make_splits
from equipoise.errors import DataError

Options = PreprocessingOptions


def one(value: Any, **more: Any) -> Dataset:
    return open_dataset({"m": value, **more}, target=[0, 1] * (len(value) // 2))


@pytest.fixture
def gaps() -> np.ndarray:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(40, 6)) * [1, 10, 0.1, 5, 1, 1] + [0, 3, 0, 100, 1, 0]
    values[rng.random((40, 6)) < 0.2] = np.nan
    values[:, 4] = 7.3
    return values


@pytest.mark.parametrize("impute", ["median", "mean", "zero"])
@pytest.mark.parametrize("frame", [True, False])
def test_equals_scikit_learn(gaps: np.ndarray, impute: str, frame: bool) -> None:
    data = one(pd.DataFrame(gaps) if frame else gaps)
    fitted = Preprocessing.fit(data, Options(impute=impute, clip=None))
    strategy = {"strategy": "constant", "fill_value": 0.0} if impute == "zero" else {"strategy": impute}
    expected = make_pipeline(SimpleImputer(**strategy), StandardScaler()).fit_transform(np.delete(gaps, 4, axis=1))
    np.testing.assert_allclose(fitted.transform(data)["m"], expected, rtol=1e-5, atol=1e-6)
    assert fitted.modalities["m"].constant == ("4",)
    assert fitted.shapes == {"m": (5,)}
    assert fitted.transform(data)["m"].dtype == np.float32


def test_column_blocks_change_nothing(gaps: np.ndarray, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    data = one(gaps)
    whole = Preprocessing.fit(data)
    expected = whole.transform(data)["m"]
    for module in (prepare_table, preprocessing, rows):
        monkeypatch.setattr(module, "CHUNK", 20)
    parts = Preprocessing.fit(data)
    assert parts.to_json() == whole.to_json()
    np.testing.assert_array_equal(parts.transform(data)["m"], expected)
    np.save(tmp_path / "m.npy", gaps)
    pd.DataFrame({"label": [0, 1] * 20}).to_csv(tmp_path / "labels.csv", index=False)
    mapped = open_dataset(tmp_path)
    assert Preprocessing.fit(mapped).to_json() == whole.to_json()
    np.testing.assert_array_equal(parts.transform(mapped)["m"], expected)


def test_categories() -> None:
    train = one(pd.DataFrame({"c": ["u", "v", None, "u"], "x": [1.0, 2.0, 3.0, 4.0], "d": ["k"] * 4}))
    fitted = Preprocessing.fit(train)
    table = fitted.modalities["m"]
    assert table.outputs == ("x", "c=u", "c=v")
    assert table.constant == ("d",)
    expected = OneHotEncoder(categories=[["u", "v"]], handle_unknown="ignore").fit([["u"]])
    new = pd.DataFrame({"c": ["v", "new", None, "u"], "x": [1.0] * 4, "d": ["k"] * 4})
    found = fitted.transform_rows("m", new)[:, 1:]
    np.testing.assert_array_equal(found, expected.transform(new[["c"]].to_numpy()).toarray())


def test_top_variance() -> None:
    values = np.random.default_rng(0).normal(size=(100, 5)) * [1, 5, 2, 0, 4]
    fitted = Preprocessing.fit(one(values), Options(top_variance=2)).modalities["m"]
    assert fitted.numeric == ("1", "4")
    assert fitted.unselected == ("0", "2")
    assert fitted.constant == ("3",)
    assert Preprocessing.fit(one(values), Options(top_variance=9)).shapes == {"m": (4,)}


def test_clip_and_no_standardisation() -> None:
    values = np.zeros((100, 1))
    values[0] = 1000.0
    values[1] = -1.0
    data = one(values)
    assert Preprocessing.fit(data, Options(clip=2.0)).transform(data)["m"].max() == 2.0
    raw = Preprocessing.fit(data, Options(standardize=False)).transform(data)["m"]
    np.testing.assert_array_equal(raw, values)


@pytest.mark.parametrize(
    ("shape", "prepared", "axes"),
    [
        ((5, 6), (1, 5, 6), (0, 1, 2)),
        ((3, 5, 6), (3, 5, 6), (0, 2, 3)),
        ((5, 6, 3), (3, 5, 6), (0, 1, 2)),
        ((2, 5, 6, 2), (2, 5, 6, 2), (0, 1, 2, 3, 4)),
    ],
)
def test_images_and_arrays(
    shape: tuple[int, ...], prepared: tuple[int, ...], axes: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "CHUNK", 100)
    values = np.random.default_rng(0).normal(3.0, 2.0, size=(20, *shape)).astype(np.float32)
    data = one(values)
    fitted = Preprocessing.fit(data)
    expected = (values - values.astype(np.float64).mean(axes, keepdims=True)) / values.astype(np.float64).std(axes, keepdims=True)
    if shape == (5, 6, 3):
        expected = np.moveaxis(expected, -1, 1)
    assert fitted.shapes == {"m": prepared}
    np.testing.assert_allclose(fitted.transform(data)["m"], expected.reshape(20, *prepared), rtol=1e-4, atol=1e-5)


def test_missing_pixels_become_the_mean() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, size=(20, 4, 4))
    values[0, 0, 0] = np.nan
    data = one(values)
    fitted = Preprocessing.fit(data)
    np.testing.assert_allclose(fitted.modalities["m"].mean, [np.nanmean(values)])
    np.testing.assert_allclose(fitted.modalities["m"].scale, [np.nanstd(values)])
    assert fitted.transform(data)["m"][0, 0, 0, 0] == 0.0
    zero = Preprocessing.fit(data, Options(impute="zero", standardize=False)).transform(data)["m"]
    assert zero[0, 0, 0, 0] == 0.0


def test_absent_samples_are_zeros_and_teach_nothing() -> None:
    rng = np.random.default_rng(0)
    present = np.arange(20) % 4 != 0
    table, image = rng.normal(5.0, 1.0, (20, 3)), rng.normal(5.0, 1.0, (20, 4, 4))
    more = {"t": table, "t_present": present, "m_present": present, "always": rng.normal(size=(20, 2))}
    first = Preprocessing.fit(one(image, **more))
    image[~present], table[~present] = 1e6, 1e6
    data = one(image, **more)
    assert Preprocessing.fit(data).to_json() == first.to_json()
    prepared = first.transform(data)
    for value in (prepared["t"], prepared["m"]):
        assert not value[~present].any()
        assert value[present].any(axis=tuple(range(1, value.ndim))).all()


def test_json_round_trip_is_exact(folder: Path) -> None:
    data = open_dataset(folder)
    fitted = Preprocessing.fit(data, Options(impute="mean"))
    text = json.dumps(fitted.to_json(), allow_nan=False)
    again = Preprocessing.from_json(json.loads(text))
    assert json.dumps(again.to_json()) == text
    assert again.options == fitted.options
    for name, value in fitted.transform(data).items():
        np.testing.assert_array_equal(again.transform(data)[name], value)
    with pytest.raises(DataError, match="preprocessing has format None, expected 1"):
        Preprocessing.from_json({})
    with pytest.raises(DataError, match="preprocessing is damaged"):
        Preprocessing.from_json({"format": 1, "modalities": {"m": {"kind": "os.system"}}, "options": {}})


def test_nothing_to_learn_from() -> None:
    with pytest.raises(DataError, match="modality 'm': every column is constant in the training part: '0', '1'"):
        Preprocessing.fit(one(np.ones((4, 2))))
    with pytest.raises(DataError, match="modality 'm': every number is the same in the training part"):
        Preprocessing.fit(one(np.ones((4, 2, 2))))
    data = one(np.eye(4), m_present=[True, False, False, False], o=np.eye(4))
    with pytest.raises(DataError, match="modality 'm': no sample of the training part has it"):
        Preprocessing.fit(data.subset(np.array([1, 2])))
    words = pd.DataFrame({"c": [f"w{number}" for number in range(2000)]})
    with pytest.raises(DataError, match="column 'c' has 2000 different words"):
        Preprocessing.fit(one(words))


def planted() -> Dataset:
    """Data whose test samples have other means, spreads, gaps and words than the training samples."""
    rng = np.random.default_rng(0)
    test = np.arange(60) % 4 == 0
    table = pd.DataFrame({"x": rng.normal(size=60), "c": rng.choice(["u", "v"], 60)})
    table.loc[test, "x"] = 1e6
    table.loc[test, "c"] = "leak"
    image = rng.normal(size=(60, 4, 4))
    image[test] += 1e6
    split = np.where(test, "test", "train")
    return open_dataset({"table": table, "image": image, "split": split}, target=rng.permutation([0, 1] * 30))


def honest(data: Dataset) -> Preprocessing:
    fit, _ = partition(data, make_splits(data)[0])
    return Preprocessing.fit(fit.train)


def leaking(data: Dataset) -> Preprocessing:
    return Preprocessing.fit(replace(data, split=None))


@pytest.mark.parametrize(("fit", "leaks"), [(honest, False), (leaking, True)])
def test_statistics_are_those_of_train_only(fit: Callable[[Dataset], Preprocessing], leaks: bool) -> None:
    data = planted()
    train = make_splits(data)[0].train
    fitted = fit(data)
    table, image = fitted.modalities["table"], fitted.modalities["image"]
    same = (
        np.allclose(table.mean, data.inputs["table"]["x"].iloc[train].mean())
        and np.allclose(image.mean, data.inputs["image"][train].mean())
        and table.categories["c"] == ("u", "v")
    )
    assert same is not leaks


@pytest.mark.parametrize("shape", [(5, 6), (5, 6, 3), (4, 2)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_samples_are_prepared_in_place_in_any_order(
    shape: tuple[int, ...], dtype: type[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = np.random.default_rng(0).integers(0, 256, (20, *shape)).astype(dtype)
    data = one(raw, n=np.arange(20.0)[:, None])
    data = replace(data, present={**data.present, "m": np.arange(20) % 7 != 3})
    fitted = Preprocessing.fit(data)
    whole = fitted.transform(data)
    assert (whole["m"][3] == 0).all()
    rows = np.array([5, 3, 3, 19, 0, 5, 6])
    for chunk in (preprocessing.CHUNK, 2 * int(np.prod(shape))):
        monkeypatch.setattr(preprocessing, "CHUNK", chunk)
        np.testing.assert_array_equal(fitted.transform(data)["m"], whole["m"])
        place = np.full((7, *fitted.shapes["m"]), np.nan, dtype=np.float32)
        fitted.fill(data, rows, {"m": place})
        np.testing.assert_array_equal(place, whole["m"][rows])
    assert set(fitted.transform(data, ["n"])) == {"n"}


def test_what_was_fitted_before_is_taken_as_it_is() -> None:
    data = one(np.random.default_rng(0).normal(size=(20, 3)), n=np.arange(20.0)[:, None])
    first = Preprocessing.fit(data)
    again = Preprocessing.fit(data, Options(), [first])
    assert all(again.modalities[name] is first.modalities[name] for name in ("m", "n"))
    other = Preprocessing.fit(data, Options(clip=1.0), [first])
    assert all(other.modalities[name] is not first.modalities[name] for name in ("m", "n"))
    assert other.to_json() == Preprocessing.fit(data, Options(clip=1.0)).to_json()
