"""Categories among numbers: from a table to the inputs of a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from equipoise.config import ReadOptions
from equipoise.data.preprocessing import Preprocessing
from equipoise.data.sources import open_dataset
from equipoise.errors import DataError

STATED = ReadOptions(modalities={"facts": ["age", "shop", "code"], "other": ["x"]})


def frame(**columns: object) -> pd.DataFrame:
    values = {"age": [30.0, 40, 50, 60], "shop": ["web", "town", None, "web"], "code": [True, False, True, True]}
    return pd.DataFrame({**values, "x": [1.0, 2.0, 3.0, 4.0], "label": list("uvuv"), **columns})


def test_codes_of_new_rows(tmp_path: Path) -> None:
    frame().to_csv(tmp_path / "train.csv", index=False)
    data = open_dataset(tmp_path / "train.csv", STATED)
    assert data.schema["facts"].categorical == ("shop", "code")
    fitted = Preprocessing.fit(data)
    assert fitted.modalities["facts"].outputs == ("age", "shop=town", "shop=web", "code=False", "code=True")
    frame(shop=["town", "abroad", None, " web"], age=[45.0] * 4).drop(columns="label").to_csv(tmp_path / "new.csv", index=False)
    new = open_dataset(tmp_path / "new.csv", labelled=False, schema=data.schema)
    expected = [[0, 1, 0, 0, 1], [0, 0, 0, 1, 0], [0, 0, 0, 0, 1], [0, 0, 1, 0, 1]]
    np.testing.assert_allclose(fitted.transform(new)["facts"], expected)
    assert new.present["facts"].all()


def test_missing_and_wrong_columns(tmp_path: Path) -> None:
    frame().to_csv(tmp_path / "train.csv", index=False)
    schema = open_dataset(tmp_path / "train.csv", STATED).schema
    frame(shop=None).to_csv(tmp_path / "new.csv", index=False)
    assert open_dataset(tmp_path / "new.csv", schema=schema).inputs["facts"]["shop"].isna().all()
    frame().drop(columns="shop").to_csv(tmp_path / "new.csv", index=False)
    with pytest.raises(DataError, match="modality 'facts': column 'shop' is missing"):
        open_dataset(tmp_path / "new.csv", schema=schema)
    lists = frame(shop=[["a"], ["b"], ["c"], None])
    for categorical in ((), ("shop",)):
        stated = ReadOptions(modalities={"facts": {"categorical": categorical}, "other": {}})
        with pytest.raises(DataError, match="modality 'facts': column 'shop' holds lists, expected numbers or categories"):
            open_dataset({"facts": lists[["shop"]], "other": lists[["x"]]}, stated, target=lists["label"])
