"""Hashed terms of text, compared with a naive loop; and which options each form of text takes."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.utils import murmurhash3_32

from equipoise.config import PreprocessingOptions
from equipoise.data.loader import make_part
from equipoise.data.prepare_hashing import IDS, HashedText
from equipoise.data.preprocessing import Preprocessing
from equipoise.data.sources import open_dataset
from equipoise.data.text import text_form
from equipoise.errors import ConfigError, DataError

TEXTS = ["The dress is the best", "It runs LARGE, it runs large!", "a", "", "na\u00efve caf\u00e9 \u65e5\u672c\u8a9e", "torn"]


def table(texts: list[str]) -> pd.DataFrame:
    return pd.DataFrame({"body": texts}, dtype=object)


def number(term: str) -> int:
    return 1 + abs(int(murmurhash3_32(term, seed=0))) % (IDS - 1)


def naive(text: str) -> tuple[list[int], list[int]]:
    """Numbers of words and pairs, and of 3 to 5 characters within words, each in order."""
    words = re.findall(r"(?u)\b\w\w+\b", text.lower())
    pairs = [f"{first} {second}" for first, second in pairwise(words)]
    pieces = []
    for word in words:
        padded = f" {word} "
        for size in (3, 4, 5):
            pieces += [padded[start : start + size] for start in range(max(1, len(padded) - size + 1))]
    return sorted({number(term) for term in [*words, *pairs]}), sorted({number(term) for term in pieces})


def test_numbers_are_those_of_a_naive_loop() -> None:
    found = HashedText(("body",), 100).transform(table(TEXTS))
    for row, text in zip(found, TEXTS, strict=True):
        words, pieces = naive(text)
        expected = [*words, *pieces]
        assert row[: len(expected)].astype(int).tolist() == expected
        assert not row[len(expected) :].any()


def test_what_does_not_fit_is_left_out_and_words_come_first() -> None:
    whole, cut = HashedText(("body",), 100).transform(table(TEXTS)), HashedText(("body",), 4).transform(table(TEXTS))
    np.testing.assert_array_equal(cut, whole[:, :4])
    assert set(cut[0].astype(int)) <= set(naive(TEXTS[0])[0])


def test_numbers_survive_the_number_format_and_do_not_depend_on_other_samples() -> None:
    words = [f"word{place}" for place in range(3000)]
    together = HashedText(("body",), 40).transform(table(words))
    assert together.dtype == np.float32
    assert together.max() > 2**23, "large numbers are among them"
    alone = np.concatenate([HashedText(("body",), 40).transform(table([word])) for word in words[:20]])
    np.testing.assert_array_equal(together[:20], alone)
    assert [int(value) for value in together[7] if value] == [item for part in naive("word7") for item in part]


def dataset(texts: list[Any]) -> Any:
    frame = pd.DataFrame({"body": texts})
    return open_dataset({"review": frame, "x": np.arange(len(texts))[:, None] * 1.0}, target=[0, 1] * (len(texts) // 2))


def test_fitting_takes_the_longest_text_of_training_and_missing_text_is_zeros() -> None:
    texts = ["good dress for me", "bad one for me too", None, "a very good dress that is fine"]
    data = dataset(texts)
    options = PreprocessingOptions(text={"review": {"name": "hashing"}})
    fitted = Preprocessing.fit(data, options)
    words, pieces = naive(str(texts[3]))
    assert fitted.shapes["review"] == (len(words) + len(pieces),)
    prepared = fitted.transform(data)["review"]
    assert prepared[3].all()
    assert not prepared[2].any()
    again = Preprocessing.from_json(fitted.to_json())
    np.testing.assert_array_equal(again.transform(data)["review"], prepared)
    assert Preprocessing.fit(data, PreprocessingOptions(text={"name": "hashing", "tokens": 7})).shapes["review"] == (7,)


def test_streamed_numbers_are_those_in_memory() -> None:
    import torch

    data = dataset(["good dress", "bad dress", "good shoes", "bad shoes"])
    fitted = Preprocessing.fit(data, PreprocessingOptions(text="hashing"))
    device = torch.device("cpu")
    found = [
        next(iter(make_part(data, fitted, device, loader).batches([torch.arange(4)], [4]))).inputs["review"]
        for loader in ("memory", "stream")
    ]
    assert torch.equal(found[0], found[1])
    assert found[0].dtype == torch.float32


def test_text_without_a_word_is_refused() -> None:
    with pytest.raises(DataError, match="modality 'review': no sample of the training part has a word"):
        HashedText.fit(dataset(["good dress", "bad dress"]).schema.modalities[0], table(["! ?", "."]), np.ones(2, bool), _OPTIONS)


_OPTIONS = PreprocessingOptions(text="hashing")


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        (None, ("tfidf", None)),
        ("hashing", ("hashing", None)),
        ({"name": "hashing", "tokens": "64"}, ("hashing", 64)),
        ({"review": "hashing"}, ("hashing", None)),
        ({"title": "hashing"}, ("tfidf", None)),
        ({"name": "hashing", "tokens": 64, "review": {"tokens": 32}}, ("hashing", 32)),
    ],
)
def test_forms_are_stated_for_all_or_for_one(stated: Any, expected: tuple[str, int | None]) -> None:
    form = text_form(stated, "review")
    assert (form.name, form.tokens) == expected


@pytest.mark.parametrize(
    ("stated", "sentence"),
    [
        ("hashed", "text of modality 'review': name = 'hashed' is not valid, did you mean 'hashing'"),
        ({"review": {"name": "hashing", "token": 3}}, "text of modality 'review': unknown option 'token', did you mean 'tokens'"),
        ({"review": {"name": "hashing", "tokens": 0}}, "tokens = 0 is out of range, expected at least 1"),
        ({"review": {"tokens": 5}}, "text of modality 'review': tokens has no meaning for the form tfidf"),
        ({"review": {"name": "hashing", "tokenizer": "x"}}, "tokenizer has no meaning for the form hashing"),
        ({"review": 3}, "text of modality 'review': expected a name or a mapping, found 3"),
    ],
)
def test_wrong_forms_are_refused(stated: Any, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        text_form(stated, "review")
