"""Combinations of methods: what each part does is done, and what cannot be combined is refused with the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import equipoise
from equipoise.benchmark.jobs import parse_method
from equipoise.errors import ConfigError
from equipoise.methods.base import make_method
from tests.contract.harness import assert_same, encoder_or_fusion, train_toy


def test_each_part_does_what_it_does() -> None:
    both = train_toy("joint_unimodal+ogm", {"ogm": {"start": 0}})
    plain = train_toy("joint_unimodal")
    assert {key for line in both.lines for key in line["coefficients"]} > {
        key for line in plain.lines for key in line["coefficients"]
    }
    assert set(both.lines[0]["losses"]) == set(plain.lines[0]["losses"])


def test_a_neutral_part_changes_nothing() -> None:
    both = train_toy("joint_unimodal+ogm", {"ogm": {"alpha": 0.0, "noise": False}})
    alone = train_toy("joint_unimodal")
    assert_same(
        {k: v for k, v in both.last.items() if encoder_or_fusion(k)},
        {k: v for k, v in alone.last.items() if encoder_or_fusion(k)},
    )


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("late+joint_unimodal", {}, "late and joint_unimodal both decide the losses"),
        ("aug+iibalance", {}, "both decide the phases of training"),
        ("ogm+ogm", {}, "named twice"),
        ("ogm+ogn", {}, "unknown method 'ogn', did you mean 'ogm'"),
        ("ogm+relearning", {"ogn": {}}, "unknown option 'ogn'"),
        ("ogm+relearning", {"alpha": 0.5}, "unknown option 'alpha'"),
        ("ogm+relearning", {"ogm": 0.5}, "ogm = 0.5 is not valid"),
        ("ogm+relearning", {"ogm": {"alpha": -1.0}}, "method ogm: alpha = -1.0 is out of range"),
    ],
)
def test_what_cannot_be_combined_is_refused(name: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make_method({"name": name, **options})


def test_what_compares_modalities_needs_them_in_one_update() -> None:
    with pytest.raises(ConfigError, match="ogm compares the modalities of one update, but mla updates them one at a time"):
        train_toy("mla+ogm")


def test_a_run_is_saved_and_loaded(tmp_path: Path) -> None:
    method = parse_method("modality_dropout+ogm:ogm.alpha=0.7")
    run = equipoise.fit("wisconsin", method=method, epochs=2, out=tmp_path / "run", progress=False)
    loaded = equipoise.load(tmp_path / "run")
    assert loaded.config["options"]["method"]["ogm"]["alpha"] == 0.7
    assert loaded.evaluate("wisconsin")["fused"] == run.metrics["fused"]
