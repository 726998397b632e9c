"""``equipoise compare`` as a user meets it."""

from __future__ import annotations

from pathlib import Path

import pytest

from equipoise.benchmark.compare import stored
from tests.end_to_end.harness import call, done, write_folder

QUICK = ("--epochs", "2", "--device", "cpu", "--processes", "1")


@pytest.mark.slow
def test_tables_are_readable_and_in_the_order_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    study = write_folder(tmp_path / "study")
    methods = "unimodal,ogm:alpha=0.5,joint,ogm"
    words = ("compare", study, "--methods", methods, "--folds", "2", "--out", tmp_path / "out", *QUICK)
    out = done(*words)
    assert max(map(len, out.splitlines())) <= 100 or str(tmp_path) in max(out.splitlines(), key=len)
    names = [line.split()[0] for line in out.splitlines() if line.strip().startswith(("unimodal", "ogm", "joint"))]
    assert names == ["unimodal", "ogm", "joint", "ogm"] * 2
    assert "ogm alpha=0.5" in out
    head = out.splitlines()
    assert any("against" in line and line.index("against") > 0 for line in head)
    fused, inside = out.index("fused output on the test parts"), out.index("macro-F1 of each modality inside the model")
    assert fused < inside
    for name in ("blood", "genes", "scan"):
        assert name in out[inside:]
    assert "1.00x" in out
    assert len(stored(tmp_path / "out")) == 8
    again = done(*words)
    assert again.startswith("8 of 8 runs were done before")
    assert again.split("\n", 1)[1] == out


@pytest.mark.slow
def test_a_method_that_fails_is_named_and_the_others_are_shown(tmp_path: Path) -> None:
    words = ("compare", "wisconsin", "--methods", "late,joint", "--fusion", "concat", "--out", tmp_path / "out", *QUICK)
    answer = call(*words)
    assert answer.code == 2
    assert "failed: late: method late needs fusion 'logit'" in answer.out
    assert " joint " in answer.out
    assert "Traceback" not in answer.err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--methods", "joint,nope"), "unknown method 'nope'"),
        (("--methods", "ogm:alpha=x"), "method ogm: alpha = 'x' is not valid"),
        (("--methods", ","), "methods: none is named"),
        (("--methods", "joint", "--seeds", "0"), "seeds = '0' is not valid"),
        (("--methods", "joint", "--processes", "two"), "processes = 'two' is not valid"),
        (("--methods", "joint", "--folds", "many"), "folds = 'many' is not valid"),
        (("--methods", "joint", "--fold", "1"), "leave out fold"),
        (("--methods", "joint", "--epochs", "0"), "epochs = 0 is out of range"),
    ],
)
def test_mistakes_are_refused_before_anything_runs(tmp_path: Path, words: tuple[str, ...], sentence: str) -> None:
    assert sentence in call("compare", "wisconsin", *words, "--out", tmp_path / "out").error()
    assert not (tmp_path / "out").exists()
