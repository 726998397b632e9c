"""Encoders of text and pretrained models: what they compute, what text they read, and runs that need nothing but their folder."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console
from torch import nn

import equipoise
from equipoise.cli.diagnose import print_diagnosis
from equipoise.config import PreprocessingOptions
from equipoise.data.preprocessing import Preprocessing
from equipoise.data.sources import open_dataset
from equipoise.diagnosis.diagnose import diagnose
from equipoise.errors import ConfigError
from equipoise.fold import Fold
from equipoise.nn.adapters import adaptable_layers, add_adapters, merge_adapters
from equipoise.nn.encoders.embedding_bag import EmbeddingBag
from equipoise.nn.encoders.transformers import Transformers
from equipoise.nn.text_forms import with_text_forms
from tests.contract.harness import assert_same, weights

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "itchy", "torn", "lovely", "soft", "dress")


def test_an_embedding_bag_is_the_naive_sum() -> None:
    encoder = EmbeddingBag((5,), 3, buckets=7, width=4)
    inputs = torch.tensor([[3.0, 9.0, 16777215.0, 0.0, 0.0], [7.0, 8.0, 0.0, 0.0, 0.0], [0.0] * 5])
    table = encoder.embeddings.weight
    for mode in ("sum", "mean"):
        encoder.embeddings.mode = mode
        for row, found in zip(inputs, encoder(inputs), strict=True):
            terms = [1 + (int(value) - 1) % 7 for value in row if value]
            total = torch.stack([table[term] for term in terms]).sum(0) if terms else torch.zeros(4)
            divisor = max(1, len(terms)) ** (0.5 if mode == "sum" else 1)
            torch.testing.assert_close(found, encoder.project(total / divisor).relu())


def test_padding_learns_nothing_and_takes_part_in_nothing() -> None:
    encoder = EmbeddingBag((4,), 3, buckets=7, width=4)
    inputs = torch.tensor([[3.0, 0.0, 0.0, 0.0]])
    encoder(inputs).sum().backward()
    assert encoder.embeddings.weight.grad is not None
    assert not encoder.embeddings.weight.grad[0].any()
    with torch.no_grad():
        before = encoder(inputs)
        encoder.embeddings.weight[0] = 99.0
        torch.testing.assert_close(encoder(inputs), before)


def test_whole_numbers_survive_half_precision() -> None:
    encoder = EmbeddingBag((2,), 3)
    inputs = torch.tensor([[16777213.0, 16777215.0]])  # the same number in bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        some = encoder(inputs)
        other = encoder(inputs.flip(0) - 1)
    assert not torch.equal(some, other)


@pytest.mark.parametrize(
    ("shape", "options", "sentence"),
    [
        ((2, 3), {}, r"needs samples of shape \(terms,\), found shape \(2, 3\)"),
        ((3,), {"buckets": 0}, "buckets = 0"),
        ((3,), {"pooling": "max"}, "pooling = 'max': expected at least 1, at least 1, mean or sum"),
    ],
)
def test_wrong_bags_are_refused(shape: tuple[int, ...], options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        EmbeddingBag(shape, 8, **options)


class Silent(nn.Module):
    """An encoder of the user's that says nothing about text."""


class Reader(nn.Module):
    """An encoder of the user's that says what it reads."""

    def text_form(self, _: object) -> dict[str, Any]:
        return {"name": "hashing", "tokens": 50}


@pytest.mark.parametrize(
    ("text", "encoder", "module", "expected"),
    [
        (None, {"name": "mlp"}, None, None),
        ("tfidf", {"name": "mlp"}, None, None),
        (None, {"name": "embedding_bag"}, None, {"name": "hashing"}),
        ({"tokens": 9}, {"name": "embedding_bag"}, None, {"name": "hashing", "tokens": 9}),
        (None, {"name": "transformers", "model": "m"}, None, {"name": "huggingface", "tokenizer": "m"}),
        ({"review": {"tokenizer": "t"}}, {"name": "transformers", "model": "m"}, None, {"name": "huggingface", "tokenizer": "t"}),
        (None, {"name": "own"}, Silent(), None),
        ("hashing", {"name": "own"}, Silent(), {"name": "hashing"}),
        (None, {"name": "own"}, Reader(), {"name": "hashing", "tokens": 50}),
        ({"tokens": 20}, {"name": "own"}, Reader(), {"name": "hashing", "tokens": 20}),
    ],
)
def test_the_encoder_decides_the_form_of_text(
    text: Any, encoder: dict[str, Any], module: nn.Module | None, expected: dict[str, Any] | None
) -> None:
    kinds = {"review": "text", "facts": "tabular"}
    described = {"review": encoder, "facts": {"name": "mlp"}}
    found = with_text_forms(PreprocessingOptions(text=text), kinds, described, {} if module is None else {"review": module})
    assert found.text == (None if expected is None else {"review": expected})


@pytest.mark.parametrize(
    ("text", "encoder", "sentence"),
    [
        ("hashing", "mlp", "is of the form hashing, but its encoder mlp reads tfidf; encoders that read hashing: embedding_bag$"),
        ("tfidf", "embedding_bag", "is of the form tfidf, but its encoder embedding_bag reads hashing; encoders that read tfidf"),
        ("huggingface", "embedding_bag", "is of the form huggingface, .*encoders that read huggingface: transformers$"),
    ],
)
def test_what_does_not_go_together_is_refused(text: str, encoder: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=f"text of modality 'review' {sentence}"):
        with_text_forms(PreprocessingOptions(text=text), {"review": "text"}, {"review": {"name": encoder}})


@pytest.mark.parametrize(
    ("text", "words"), [({"reviw": "tfidf"}, "did you mean 'review'"), ({"pic": "tfidf"}, "choose from: review")]
)
def test_a_form_of_what_is_no_text_is_refused(text: dict[str, str], words: str) -> None:
    described = {"review": {"name": "mlp"}, "pic": {"name": "cnn"}}
    with pytest.raises(ConfigError, match=f"text: {next(iter(text))!r} is no modality of text, {words}"):
        with_text_forms(PreprocessingOptions(text=text), {"review": "text", "pic": "image"}, described)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny random model of text and its tokenizer."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast
    from transformers.utils import logging

    folder = tmp_path_factory.mktemp("bert")
    tokenizer = Tokenizer(models.WordPiece({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [("[CLS]", 2), ("[SEP]", 3)]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    names = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    logging.disable_progress_bar()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=len(WORDS), max_position_embeddings=32, **sizes)).save_pretrained(folder)
    return folder


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is downloaded."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # it may have been imported before


def reviews(samples: int = 40) -> dict[str, Any]:
    """Reviews whose words say the label, of which every fifth is missing, and a table."""
    rng = np.random.default_rng(0)
    words = (["itchy", "torn"], ["lovely", "soft"])
    text = [f"Dress {' '.join(rng.choice(words[i % 2], 1 + i % 3))} number{i}" if i % 5 else None for i in range(samples)]
    return {"review": pd.DataFrame({"body": text}), "facts": rng.normal(size=(samples, 3))}


def fit(**options: Any) -> equipoise.Run:
    target = [number % 2 for number in range(40)]
    common: dict[str, Any] = {"epochs": 2, "batch_size": 8, "device": "cpu", "progress": False}
    return equipoise.fit(reviews(), target=target, **{**common, **options})


def test_tokens_are_those_of_the_tokenizer(bert: Path) -> None:
    from transformers import AutoTokenizer

    data = open_dataset(reviews(), target=[0, 1] * 20)
    fitted = Preprocessing.fit(data, PreprocessingOptions(text={"review": {"name": "huggingface", "tokenizer": str(bert)}}))
    prepared = fitted.transform(data)["review"]
    texts = reviews()["review"]["body"].fillna("").tolist()
    expected = AutoTokenizer.from_pretrained(bert)(texts, padding="longest", return_tensors="np")
    have = data.present["review"]
    np.testing.assert_array_equal(prepared[have, 0], expected["input_ids"][have])
    np.testing.assert_array_equal(prepared[have, 1], expected["attention_mask"][have])
    assert not prepared[~have].any()
    again = Preprocessing.from_json(json.loads(json.dumps(fitted.to_json())))
    np.testing.assert_array_equal(again.transform(data)["review"], prepared)
    short = Preprocessing.fit(data, PreprocessingOptions(text={"name": "huggingface", "tokenizer": str(bert), "tokens": 4}))
    assert short.shapes["review"] == (2, 4)
    assert set(short.transform(data)["review"][have, 0, 3]) <= {3.0, 0.0}, "the last token of a text that was cut is its end"


def test_features_are_pooled_over_tokens_only(bert: Path) -> None:
    inputs = torch.tensor([[[2.0, 8, 4, 3, 0, 0], [1, 1, 1, 1, 0, 0]], [[2, 5, 3, 0, 0, 0], [1, 1, 1, 0, 0, 0]]])
    mean, first = (Transformers((2, 6), 8, model=str(bert), pooling=pooling).eval() for pooling in ("mean", "cls"))
    for row in inputs:
        length = int(row[1].sum())
        hidden = mean.model(input_ids=row[:1, :length].long()).last_hidden_state[0]
        torch.testing.assert_close(mean(row[None])[0], hidden.mean(0), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(first(row[None])[0], hidden[0], rtol=1e-4, atol=1e-5)


def test_a_run_needs_neither_the_folder_of_the_model_nor_its_tokenizer(bert: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(bert, folder)
    run = fit(out=tmp_path / "run", encoder={"review": {"name": "transformers", "model": str(folder), "learning_rate": 1e-4}})
    assert run.predictor.module.encoders["review"].model.config.hidden_size == 16  # type: ignore[union-attr, index]
    shutil.rmtree(folder)
    loaded = equipoise.load(tmp_path / "run", device="cpu")
    np.testing.assert_array_equal(loaded.predict(reviews()).probabilities, run.predict(reviews()).probabilities)
    assert str(folder) not in json.dumps(loaded.config["encoders"]["review"]["config"])


def test_a_stored_configuration_names_no_code(bert: Path) -> None:
    encoder = Transformers((2, 6), 8, model=str(bert))
    config = encoder.stored_options()["config"]
    named = {
        **config,
        "auto_map": {"AutoModel": "evil.py--Net"},
        "_attn_implementation": "someone/kernels",
        "extra": [{"quantization_config": {}}],
    }
    encoder.model.config.update(named)
    kept = encoder.stored_options()["config"]
    assert kept == {**config, "extra": [{}]}
    made = Transformers((2, 6), 8, config=named)
    assert type(made.model) is type(encoder.model)
    assert made.model.config._attn_implementation != "someone/kernels"


def test_frozen_and_fine_tuned(bert: Path) -> None:
    start = weights(Transformers((2, 6), 8, model=str(bert)))
    for frozen in (True, False):
        run = fit(encoder={"review": {"name": "transformers", "model": str(bert), "frozen": frozen}})
        found = weights(run.predictor.module.encoders["review"])  # type: ignore[index, arg-type]
        if frozen:
            assert_same(found, start)
        else:
            assert not torch.equal(
                found["model.embeddings.word_embeddings.weight"], start["model.embeddings.word_embeddings.weight"]
            )


def test_linear_layers_inside_are_adapted(bert: Path) -> None:
    encoder = Transformers((2, 6), 8, model=str(bert)).eval()
    inputs = torch.tensor([[[2.0, 8, 4, 3, 0, 0], [1, 1, 1, 1, 0, 0]]])
    before, layers = encoder(inputs), adaptable_layers(encoder)
    assert {"model.encoder.layer.0.attention.self.query", "model.encoder.layer.0.output.dense"} <= set(layers)
    add_adapters(encoder, layers, rank=2)
    torch.testing.assert_close(encoder(inputs), before)
    query = encoder.get_submodule("model.encoder.layer.0.attention.self.query")
    with torch.no_grad():
        query.up += 1.0  # type: ignore[operator]
    changed = encoder(inputs)
    assert not torch.allclose(changed, before)
    merge_adapters(encoder)
    torch.testing.assert_close(encoder(inputs), changed)
    run = fit(method="mmlora", encoder={"review": {"name": "transformers", "model": str(bert)}})
    assert any(line["coefficients"].get("change.review", 0) > 0 for line in run.log)


def test_models_of_images(tmp_path: Path) -> None:
    from transformers import ViTConfig, ViTModel

    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    ViTModel(ViTConfig(image_size=8, patch_size=4, num_channels=1, **sizes)).save_pretrained(tmp_path / "vit")
    pictures = np.random.default_rng(0).normal(size=(30, 8, 8)).astype(np.float32)
    described = {"name": "transformers", "model": str(tmp_path / "vit"), "pooling": "cls", "frozen": True}
    data, target = {"scan": pictures, "x": pictures[:, 0]}, [0, 1] * 15
    run = equipoise.fit(data, target=target, encoder={"scan": described}, epochs=1, device="cpu", progress=False)
    assert run.predictor.module.fusion.sizes["scan"] == 16  # type: ignore[union-attr, index]
    with pytest.raises(ConfigError, match=r"modality 'scan' cannot take samples of shape \(1, 6, 6\)"):
        equipoise.fit({"scan": pictures[:, :6, :6]}, target=target, encoder={"scan": described}, progress=False)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "encoder transformers: model is missing, expected the folder of a model|needs a tokenizer"),
        ({"model": "nowhere/at_all"}, "the tokenizer nowhere/at_all is neither a folder here nor in the local cache"),
        ({"model": "{bert}", "pooling": "max"}, "pooling = 'max' is not valid, expected mean or cls"),
        ({"model": "{bert}", "poling": "cls"}, "unknown option 'poling', did you mean 'pooling'"),
    ],
)
def test_wrong_models_are_refused(bert: Path, options: dict[str, str], sentence: str) -> None:
    stated = {key: value.format(bert=bert) for key, value in options.items()}
    with pytest.raises(ConfigError, match=sentence) as caught:
        fit(encoder={"review": {"name": "transformers", **stated}})
    assert len(str(caught.value).splitlines()) == 1


def test_a_model_of_text_does_not_take_a_table(bert: Path) -> None:
    with pytest.raises(ConfigError, match=r"encoder of modality 'facts': encoder transformers needs tokens of text or images"):
        fit(encoder={"facts": {"name": "transformers", "model": str(bert)}})


def test_a_fold_is_prepared_in_the_form_that_the_encoder_reads() -> None:
    fold = Fold.of(open_dataset(reviews(), target=[0, 1] * 20))
    options: dict[str, Any] = {"epochs": 1, "device": "cpu", "progress": False}
    run = equipoise.fit(fold, encoder={"review": {"name": "embedding_bag", "buckets": 64}}, **options)
    assert len(run.config["shapes"]["review"]) == 1
    assert fold.preprocessing.options.text is None, "the fold that others share stays as it was"
    assert equipoise.fit(fold, **options).config["shapes"]["review"] != run.config["shapes"]["review"]


def test_no_noise_is_added_to_numbers_of_terms() -> None:
    """A term with noise would be some other term."""
    target = [number % 2 for number in range(40)]
    run = fit(encoder={"review": {"name": "embedding_bag", "buckets": 64}})
    found = diagnose(run, open_dataset(reviews(), target=target), progress=False)
    kinds = {(curve.modality, curve.kind) for curve in found.robustness}
    expected = {(name, kind) for name in ("review", "facts") for kind in ("noise", "absence", "shuffling")}
    assert kinds == expected - {("review", "noise")}
    console = Console(file=io.StringIO(), width=150)
    print_diagnosis(found, console)
    assert "review" in console.file.getvalue()  # type: ignore[attr-defined]
