from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.feature_extraction.text import TfidfVectorizer

import equipoise
from equipoise.config import PreprocessingOptions, ReadOptions
from equipoise.data import preprocessing
from equipoise.data.dataset import Dataset
from equipoise.data.describe import describe_yaml, facts
from equipoise.data.export import export
from equipoise.data.fingerprint import fingerprint
from equipoise.data.loader import Loader, make_part
from equipoise.data.partition import partition
from equipoise.data.preprocessing import Preprocessing
from equipoise.data.sources import open_dataset
from equipoise.data.splits import make_splits
from equipoise.errors import DataError
from tests.data.test_describe import assert_equal
from tests.end_to_end.harness import QUICK, call, done

MODALITIES = {"review": ["body"], "title": {"columns": ["title"], "kind": "text"}, "facts": ["age", "shop"]}


def reviews(samples: int = 60) -> pd.DataFrame:
    """Reviews whose words say the label, and short titles of which a third are missing."""
    rng = np.random.default_rng(0)
    good = np.arange(samples) % 2 == 1
    words = (["itchy", "returned", "torn", "faded"], ["lovely", "soft", "FITS", "perfectly"])
    title = np.where(good, "love it", "so sad").astype(object)
    title[::3] = None
    return pd.DataFrame(
        {
            "body": [f"Dress {i}: {', '.join(rng.choice(words[i % 2], 3))}!" for i in range(samples)],
            "title": title,
            "age": rng.normal(40, 9, samples),
            "shop": rng.choice(["town", "web"], samples),
            "label": np.where(good, "keep", "return"),
        }
    )


@pytest.fixture
def table(tmp_path: Path) -> Path:
    reviews().to_csv(tmp_path / "shop.csv", index=False)
    return tmp_path / "shop.csv"


def read(table: Path, **more: Any) -> Dataset:
    return open_dataset(table, ReadOptions(modalities=MODALITIES), **more)


def texts(values: Any) -> Dataset:
    """One modality of text."""
    return open_dataset({"m": values}, ReadOptions(modalities={"m": {"kind": "text"}}), target=np.arange(len(values)) % 2)


@pytest.mark.parametrize("features", [1000, 5])
def test_equals_scikit_learn(features: int) -> None:
    corpus = reviews()["body"].tolist()
    data = texts(corpus)
    fitted = Preprocessing.fit(data, PreprocessingOptions(text_features=features))
    reference = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2, max_features=features)
    expected = reference.fit_transform(corpus).toarray()
    found = fitted.transform(data)["m"]
    assert found.dtype == np.float32
    assert fitted.shapes == {"m": expected.shape[1:]}
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    new = ["soft soft soft", "FITS, perfectly! returned", "of other words"]
    raw = pd.DataFrame({"0": new}, dtype=object)
    np.testing.assert_allclose(fitted.transform_rows("m", raw), reference.transform(new).toarray(), rtol=1e-6)


def test_weights_by_hand() -> None:
    data = texts(["far far wet", "far wet", "far", "x far"])
    fitted = Preprocessing.fit(data)
    assert fitted.modalities["m"].terms == ("far", "far wet", "wet")
    rare = 1 + np.log(5 / 3)  # in 2 of 4 samples
    raw = np.array([1 + np.log(2), rare, rare])  # "far" is twice there, and in all samples
    np.testing.assert_allclose(fitted.transform(data)["m"][0], raw / np.linalg.norm(raw), rtol=1e-6)


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    data = texts(reviews()["body"])
    fitted = Preprocessing.fit(data)
    whole = fitted.transform(data)["m"]
    monkeypatch.setattr(preprocessing, "CHUNK", 100)
    np.testing.assert_array_equal(fitted.transform(data)["m"], whole)


def test_fitted_on_the_training_part_only(table: Path) -> None:
    data = read(table)
    split = make_splits(data)[0]
    frame = reviews()
    frame.loc[split.test, ["body", "title", "shop"]] = "an unheard voice"
    frame.to_csv(table, index=False)
    changed = read(table)
    honest, other = (partition(each, split)[0].train for each in (data, changed))
    assert Preprocessing.fit(honest).to_json() == Preprocessing.fit(other).to_json()
    assert "unheard" in Preprocessing.fit(changed).modalities["review"].terms


def test_json_round_trip_is_exact(table: Path) -> None:
    data = read(table)
    fitted = Preprocessing.fit(data)
    text = json.dumps(fitted.to_json(), allow_nan=False)
    again = Preprocessing.from_json(json.loads(text))
    assert json.dumps(again.to_json()) == text
    for name, value in fitted.transform(data).items():
        np.testing.assert_array_equal(again.transform(data)[name], value)
    before = json.loads(text)
    del before["options"]["text_features"]  # a run made before there was text
    assert Preprocessing.from_json(before).options == PreprocessingOptions()


def test_unknown_words_are_present_and_zero_and_no_words_are_absent(table: Path) -> None:
    data = read(table)
    fitted = Preprocessing.fit(data)
    reviews(7).assign(body=["zzyzx", "  ", None, "soft", "NA", "!", "007"]).to_csv(table, index=False)
    found = open_dataset(table, labelled=False, schema=data.schema)
    assert found.present["review"].tolist() == [True, False, False, True, False, True, True]
    expected = np.zeros((7, *fitted.shapes["review"]))
    expected[3, fitted.modalities["review"].terms.index("soft")] = 1.0
    np.testing.assert_allclose(fitted.transform(found)["review"], expected, rtol=1e-6)


def test_columns_of_one_modality_are_joined() -> None:
    frame = pd.DataFrame({"a": ["wet", None, "far", None], "b": ["far", "far", None, None]})
    stated = ReadOptions(modalities={"m": {"kind": "text"}, "x": {}})
    data = open_dataset({"m": frame, "x": np.eye(4)}, stated, target=[0, 1, 0, 1])
    assert data.schema["m"].shape == (2,)
    assert data.present["m"].tolist() == [True, True, True, False]
    fitted = Preprocessing.fit(data, PreprocessingOptions())
    assert fitted.modalities["m"].terms == ("far",)
    np.testing.assert_array_equal(fitted.transform(data)["m"], [[1], [1], [1], [0]])


def test_text_is_recognised(table: Path) -> None:
    data = read(table)
    assert [modality.kind for modality in data.schema.modalities] == ["text", "text", "tabular"]
    assert data.schema["facts"].categorical == ("shop",)
    assert data.schema["title"].present == 40
    assert (data.schema["review"].columns, data.schema["review"].categorical) == (("body",), ())


@pytest.mark.parametrize(
    "values", [["w1", "w2", "w3", "w4"], ["left arm", "right arm", "left leg", None], ["so it is"] * 3 + ["no"]]
)
def test_few_words_or_few_values_are_categories(values: list[str | None]) -> None:
    data = open_dataset({"m": pd.DataFrame({"c": values}), "x": np.eye(4)}, target=[0, 1, 0, 1])
    assert data.schema["m"].categorical == ("c",)


def test_free_text_may_be_stated_categorical() -> None:
    stated = ReadOptions(modalities={"m": {"categorical": ["body"]}})
    assert open_dataset({"m": reviews()[["body"]]}, stated, target=[0, 1] * 30).schema["m"].kind == "tabular"


FORMS: list[Callable[[list[Any]], Any]] = [list, np.array, pd.Series, lambda words: pd.DataFrame({"comment": words})]


@pytest.mark.parametrize("form", FORMS)
def test_text_in_memory(form: Callable[[list[Any]], Any]) -> None:
    frame = reviews()
    words = frame["body"].tolist()
    data = open_dataset({"review": form(words), "facts": frame[["age"]], "label": frame["label"].tolist(), "shop": frame["shop"]})
    assert {modality.name: modality.kind for modality in data.schema.modalities} == {"review": "text", "facts": "tabular"}
    fitted = Preprocessing.fit(data)
    for other in FORMS:  # a single text needs no name
        again = open_dataset({"review": other(words)}, labelled=False, schema=data.schema)
        np.testing.assert_array_equal(fitted.transform(again)["review"], fitted.transform(data)["review"])
    new = open_dataset({"review": ["soft", None, 5], "facts": frame[["age"]][:3]}, labelled=False, schema=data.schema)
    assert new.present["review"].tolist() == [True, False, True]
    with pytest.raises(DataError, match="modality 'review' is an array of numbers, expected text"):
        open_dataset({"review": [1.5, 2.5]}, labelled=False, schema=data.schema)


def test_text_in_a_folder_and_an_archive(tmp_path: Path) -> None:
    frame = reviews()
    folder = tmp_path / "study"
    folder.mkdir()
    frame[["label"]].rename_axis("id").to_csv(folder / "labels.csv")
    frame[["age"]].rename_axis("id").to_csv(folder / "facts.csv")
    frame[["body"]].iloc[10:].rename_axis("id").to_csv(folder / "review.csv")
    data = open_dataset(folder)
    assert (data.schema["review"].kind, data.schema["review"].present) == ("text", 50)
    (folder / "review.csv").write_text("id,body\n3,007\n")
    assert open_dataset(folder, schema=data.schema).inputs["review"]["body"][3] == "007"
    np.savez(tmp_path / "set.npz", review=frame["body"].to_numpy(str), facts=np.eye(60), label=frame["label"].to_numpy(str))
    assert open_dataset(tmp_path / "set.npz").schema["review"].kind == "text"


@pytest.mark.parametrize(
    ("modalities", "sentence"),
    [
        ({"m": ["body", "age"]}, "column 'body' is free text and 'age' not; make two modalities, .* kind: text"),
        ({"m": ["body", "shop"]}, "column 'body' is free text and 'shop' not"),
        ({"m": {"columns": ["body", "age"], "kind": "text"}}, "column 'age' holds numbers, but its kind is text; make two"),
        ({"m": {"columns": ["body"], "kind": "text", "categorical": ["body"]}}, "kind 'text' is stated, and categorical"),
        ({"m": {"columns": ["body"], "kind": "image"}}, "modality 'm': .* files cannot be used: .* \\(does not exist\\)"),
        ({"m": {"columns": ["empty"], "kind": "text"}, "facts": ["age"]}, "modality 'm': no sample has it"),
        (None, "cannot tell which columns belong to which modality .* kind: text"),
    ],
)
def test_what_is_refused(table: Path, modalities: dict[str, Any], sentence: str) -> None:
    reviews().assign(empty=" ").to_csv(table, index=False)
    with pytest.raises(DataError, match=sentence):
        open_dataset(table, ReadOptions(modalities=modalities))


def test_values_that_are_no_text() -> None:
    for values, kind in (([["a"], ["b"]], "list"), ([b"a", "b"], "bytes"), (pd.to_datetime(["2020-01-01"] * 2), "Timestamp")):
        with pytest.raises(DataError, match=f"modality 'm': column 't' holds values of type '{kind}', expected text"):
            texts(pd.DataFrame({"t": values}))
    with pytest.raises(DataError, match="modality 'm' is an array of numbers, expected text"):
        texts(np.eye(2))


def test_no_word_in_two_samples() -> None:
    with pytest.raises(DataError, match="modality 'm': no word occurs in two samples of the training part"):
        Preprocessing.fit(texts(["far", "wet"]))
    with pytest.raises(DataError, match="modality 'm': no word occurs in two samples of the training part"):
        Preprocessing.fit(texts(["!", "?"]))


def test_copies_are_equal(table: Path, tmp_path: Path) -> None:
    data = read(table)
    assert_equal(open_dataset(export(data, tmp_path / "out")), data)
    (tmp_path / "shop.dataset.yaml").write_text(describe_yaml(data))
    again = open_dataset(table)
    assert_equal(again, data)
    assert fingerprint(again) == fingerprint(data)
    reviews().replace({"love it": "loved it"}).to_csv(table, index=False)
    assert fingerprint(read(table)) != fingerprint(data)
    part = data.subset(np.array([1, 0]))
    assert part.inputs["title"]["title"].tolist() == ["love it", None]
    assert part.schema["title"].present == 1


def test_facts_count_words(table: Path) -> None:
    found = facts(read(table))["modalities"]
    words = {word for text in reviews()["body"] for word in text.lower().replace(":", "").replace(",", "").strip("!").split()}
    different = len({word for word in words if len(word) > 1})
    assert found["review"]["words"] == {"different": different, "shortest": 4, "median": 5, "longest": 5}
    assert found["title"]["words"] == {"different": 4, "shortest": 2, "median": 2, "longest": 2}
    assert "words" not in found["facts"]


def test_streamed_batches_are_those_of_memory(table: Path) -> None:
    data = read(table)
    fitted = Preprocessing.fit(data)
    memory, stream = (make_part(data, fitted, torch.device("cpu"), kind) for kind in ("memory", "stream"))
    assert "title" not in memory.complete
    for mine, theirs in zip(Loader(memory, 16).epoch(0), Loader(stream, 16).epoch(0), strict=True):
        for name, value in mine.inputs.items():
            assert torch.equal(value, theirs.inputs[name])


def test_commands(table: Path, tmp_path: Path) -> None:
    run, modalities = tmp_path / "run", json.dumps(MODALITIES)
    words = done("data", "describe", table, "--modalities", modalities)
    assert "words of title: 4 different ones, 2 per sample (median; 2 to 2)" in words
    done("fit", table, "--modalities", modalities, *QUICK, "--out", run)
    done("evaluate", run, table, "--part", "test", "--coalitions", "all", "--out", tmp_path / "metrics.json")
    loaded = equipoise.load(run)
    assert json.loads((tmp_path / "metrics.json").read_text())["metrics"]["title"] == loaded.summary["test"]["title"]
    new = reviews(9).drop(columns="label").assign(shop="abroad", body=None)
    new.to_csv(tmp_path / "new.csv", index=False)
    assert "absent: review in 9, title in 3" in done("predict", run, tmp_path / "new.csv", "--out", tmp_path / "p.csv")
    new.drop(columns="body").to_csv(tmp_path / "new.csv", index=False)
    done("predict", run, tmp_path / "new.csv", "--out", tmp_path / "q.csv")
    assert (tmp_path / "p.csv").read_bytes() == (tmp_path / "q.csv").read_bytes()
    new.assign(age="old").to_csv(tmp_path / "new.csv", index=False)
    assert "column 'age' has text" in call("predict", run, tmp_path / "new.csv", "--out", tmp_path / "r.csv").error()
