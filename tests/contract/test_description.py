"""What every method must say about itself, and which hyper-parameters it must refuse."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import Any

import pytest

from equipoise.errors import ConfigError
from equipoise.methods.base import METHODS, make_method
from equipoise.nn.fusion import FUSIONS

KINDS = {"loss", "gradient", "update", "phase", "batch", "epoch", "baseline"}


def test_card_is_complete(name: str) -> None:
    cls = METHODS.get(name)
    card = cls.card
    assert cls.name == name
    for text in (card.title, card.summary, card.formula):
        assert text.strip()
    assert card.summary.endswith(".")
    assert card.kind in KINDS
    assert min(card.forwards, card.backwards) > 0
    assert cls.__doc__
    assert cls.__module__.rpartition(".")[2] == name or not cls.__module__.startswith("equipoise.")
    if card.fusion:
        assert card.fusion in FUSIONS.names()
    if card.authors:
        cited = re.fullmatch(r"\d{4}\.\d{5}", card.arxiv) if card.arxiv else card.link.startswith("https://")
        assert cited, "a method by somebody cites it by its arXiv id, or by a link where there is none"
        assert re.search(r"\b(19|20)\d\d\b", card.venue)
        assert card.differs, "say how it departs from the paper or its published code"
    else:
        assert not card.arxiv
        assert not card.link
    if card.neutral is not None:
        make_method({"name": name, **card.neutral})


def test_hyperparameters_say_what_they_are(name: str) -> None:
    for item in dataclasses.fields(METHODS.get(name)):
        if not item.init:
            continue
        assert len(item.metadata.get("help", "")) > 10, f"{item.name} is not made by hparam(..., help=...)"
        if type(item.default) in (int, float):
            assert any(item.metadata[key] is not None for key in ("low", "above")), f"{item.name} has no lower bound"
        if type(item.default) is str:
            assert item.metadata["choices"], f"{item.name} has no list of words"
        if item.metadata["search"] and type(item.default) in (int, float):
            low, high = item.metadata["search"]
            assert low < high
            for value in (low, high):
                make_method({"name": name, item.name: value})


def test_what_is_out_of_range_is_refused(name: str) -> None:
    for option, value in _wrong(name):
        with pytest.raises(ConfigError, match=rf"method {name}: {option} = "):
            make_method({"name": name, option: value})
    with pytest.raises(ConfigError, match="unknown option 'nonsense'"):
        make_method({"name": name, "nonsense": 1})


def _wrong(name: str) -> Iterator[tuple[str, Any]]:
    for item in dataclasses.fields(METHODS.get(name)):
        if "help" not in item.metadata:
            continue
        bounds = item.metadata
        if bounds["choices"]:
            yield item.name, "nonsense"
        elif bounds["low"] is not None or bounds["above"] is not None:
            yield item.name, "nonsense"
            yield item.name, True
        for key, step in (("low", -1), ("high", 1), ("above", 0), ("below", 0)):
            if bounds[key] is not None:
                yield item.name, type(bounds[key])(bounds[key] + step)
        if type(item.default) is float:
            yield item.name, float("nan")
        if type(item.default) is bool:
            yield item.name, 0.5
