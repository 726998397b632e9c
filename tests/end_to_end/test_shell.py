"""How commands behave: which setting wins, what the tables show, and what goes where when nobody watches."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from equipoise.methods.base import METHODS
from tests.end_to_end.harness import QUICK, call, done, finish, interrupted_after, log, start, summary


def options(run: Path) -> dict[str, object]:
    """The settings of a run."""
    found: dict[str, object] = json.loads((run / "config.json").read_text())["options"]
    return found


def test_the_command_line_wins_over_the_file_and_the_file_over_the_defaults(study: Path, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(
        f"""
data: {study}
out: {tmp_path / "first"}
method: {{name: ogm, alpha: 0.7, start: 1}}
encoder: {{name: mlp, hidden: 16, scan: {{name: cnn, width: 4}}}}
epochs: 9
learning_rate: 1e-3
seed: 3
"""
    )
    done("fit", "--config", tmp_path / "c.yaml", "--epochs", "2", "--method.alpha", "0.1", "--encoder.scan.width", "8")
    found = options(tmp_path / "first")
    assert found["method"] == {"name": "ogm", "alpha": 0.1, "noise": True, "start": 1, "stop": None}
    assert (found["epochs"], found["learning_rate"], found["seed"], found["batch_size"]) == (2, 1e-3, 3, 64)
    encoders = json.loads((tmp_path / "first" / "config.json").read_text())["encoders"]
    assert encoders["blood"] == {"name": "mlp", "hidden": 16}
    assert encoders["scan"]["name"] == "cnn"
    assert int(encoders["scan"]["width"]) == 8
    done("fit", "--config", tmp_path / "c.yaml", "--epochs=1", "--method", "joint", "--out", tmp_path / "second")
    assert options(tmp_path / "second")["method"] == {"name": "joint"}


def test_the_configuration_of_a_run_makes_the_same_run(study: Path, finished: Path, tmp_path: Path) -> None:
    """JSON is YAML: the options that a run remembers are a configuration file."""
    (tmp_path / "c.yaml").write_text(json.dumps(options(finished)))
    done("fit", study, "--config", tmp_path / "c.yaml", "--out", tmp_path / "again")
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (finished / "model.safetensors").read_bytes()


def test_option_names_in_both_spellings(study: Path, tmp_path: Path) -> None:
    done("fit", study, *QUICK, "--batch_size", "8", "--learning-rate=0.01", "--method=late", "--out", tmp_path / "run")
    found = options(tmp_path / "run")
    assert (found["batch_size"], found["learning_rate"], found["method"]) == (8, 0.01, {"name": "late"})


def test_options_may_stand_before_the_data(study: Path, tmp_path: Path) -> None:
    done("fit", "--method", "ogm", "--method.alpha", "0.5", *QUICK, "--encoder.blood.name=mlp", study, "--out", tmp_path / "run")
    assert options(tmp_path / "run")["method"]["alpha"] == 0.5  # type: ignore[index]


def test_the_closing_table_shows_what_each_modality_reaches_alone(study: Path, tmp_path: Path) -> None:
    """Where a run of each modality alone on the same split stands beside the run."""
    out = done("fit", study, *QUICK, "--out", tmp_path / "joint")
    assert "alone" not in out
    done("fit", study, *QUICK, "--method", "unimodal", "--out", tmp_path / "alone")
    out = done("fit", study, *QUICK, "--method", "late", "--out", tmp_path / "late")
    assert "alone" in out
    for name in ("blood", "genes", "scan"):
        (row,) = [line for line in out.splitlines() if line.split()[:1] == [name]]
        assert row.split()[-1] == f"{summary(tmp_path / 'alone')['test'][name]['macro_f1']:.3f}"
    out = done("fit", study, *QUICK, "--split-seed", "1", "--out", tmp_path / "other")
    assert "alone" not in out


def test_nothing_but_text_where_output_is_no_terminal(study: Path, tmp_path: Path) -> None:
    """No control characters, no progress bar, results on one stream and nothing on the other, paths in one piece."""
    run = tmp_path / ("a_folder_with_a_long_name_" * 4)
    answer = finish(start("fit", study, *QUICK, "--out", run))
    assert answer.code == 0, answer.err
    assert answer.err == ""
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", answer.out)
    assert f"run: {run}\n" in answer.out


def test_names_of_outputs_are_never_cut_short(finished: Path, study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    out = done("evaluate", finished, study, "--coalitions", "all")
    assert "[blood+genes+scan]" in "".join(line.split()[0] for line in out.splitlines() if line.strip())


def test_a_path_with_brackets_is_printed_as_it_is(study: Path, tmp_path: Path) -> None:
    run = tmp_path / "[bold]run[/bold]"
    assert f"run: {run}\n" in done("fit", study, *QUICK, "--out", run)


def test_methods_lists_every_method_and_shows_its_card() -> None:
    out = done("methods")
    for name in METHODS.names():
        assert re.search(rf"^\W*{name}\b", out, re.MULTILINE), name
    out = done("methods", "ogm")
    assert "arXiv 2203.15332" in out
    assert "--method.alpha" in out
    assert ">= 0" in out


def test_data_list_names_the_embedded_sets() -> None:
    out = done("data", "list")
    for words in ("wisconsin", "569", "digits", "1797", "gaussian"):
        assert words in out


def test_what_describe_prints_can_be_put_beside_the_data(study: Path, tmp_path: Path) -> None:
    out = done("data", "describe", study)
    assert "classes: a 20, b 20, c 20" in out
    text = out[out.index("name: study") :]
    (tmp_path / "copy").mkdir()
    for path in study.iterdir():
        (tmp_path / "copy" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "copy" / "dataset.yaml").write_text(text)
    assert done("data", "describe", tmp_path / "copy") == out


def test_version_and_help() -> None:
    assert re.fullmatch(r"equipoise \d+\.\d+\.\d+\n", call("--version").out)
    for words in ([], ["--help"], ["data"]):
        assert "usage: equipoise" in done(*words)


def test_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo, with the training part of a minute cut down to seconds; stopped in the middle, it goes on."""
    from equipoise.cli import demo

    monkeypatch.setattr(demo, "fit", lambda *words, **more: _fit(*words, **more, epochs=3, progress=False))
    with interrupted_after(9):
        answer = call("demo", "--out", tmp_path / "demo")
    assert answer.code == 130
    assert answer.err.endswith(f"equipoise demo --out {tmp_path / 'demo'}\n")
    out = done("demo", "--out", tmp_path / "demo")
    assert len(log(tmp_path / "demo" / "joint")) == 3
    for words in ("alone", "inside joint", "lower_right", "fused"):
        assert words in out
    assert re.search(r"reaches\s+\d+%", out)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "unimodal").mkdir()
    (tmp_path / "other" / "unimodal" / "x").touch()
    assert call("demo", "--out", tmp_path / "other").error().endswith("give another folder: equipoise demo --out FOLDER")


def _fit(*words: object, **more: object) -> object:
    from equipoise.run import fit

    return fit(*words, **more)  # type: ignore[arg-type]
