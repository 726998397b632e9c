"""What bad options get: one sentence that names the option, before anything is trained, and no run folder left behind."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.end_to_end.harness import call


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--epohs", "3"], "unknown option '--epohs', did you mean '--epochs'?"),
        (["--batch_sise=3"], "unknown option '--batch-sise', did you mean '--batch-size'?"),
        (["--epochs"], "argument --epochs: expected one argument; see: equipoise fit --help"),
        (["--epochs", "0"], "option: epochs = 0 is out of range, expected at least 1"),
        (["--epochs", "many"], "option: epochs = 'many' is not valid, expected a whole number"),
        (["--learning-rate", "0"], "option: learning_rate = 0.0 is out of range, expected more than 0"),
        (["--learning-rate", "nan"], "option: learning_rate = nan is not a number"),
        (["--test-fraction", "1"], "option: test_fraction = 1.0 is out of range, expected less than 1"),
        (["--optimizer", "adamm"], "option: optimizer = 'adamm' is not valid, did you mean 'adamw'?"),
        (["--standardize", "perhaps"], "option: standardize = 'perhaps' is not valid, expected true or false"),
        (["--method", "ogmm"], "unknown method 'ogmm', did you mean 'ogm'?"),
        (["--method", "ogm", "--method.alhpa", "0.5"], "method ogm: unknown option 'alhpa', did you mean 'alpha'?"),
        (["--method", "ogm", "--method.alpha", "-1"], "method ogm: alpha = -1.0 is out of range, expected at least 0"),
        (["--method", "ogm", "--method.alpha", "much"], "method ogm: alpha = 'much' is not valid, expected a number"),
        (["--method", "ogm", "--method.alpha"], "option --method.alpha needs a value"),
        (["--method.alpha", "1"], "method: found options ('alpha') but no name, expected --method NAME (in YAML: name: NAME)"),
        (["--fusion", "gatde"], "unknown fusion 'gatde', did you mean 'gated'?"),
        (
            ["--method", "mla", "--fusion", "gated"],
            "method mla needs fusion 'entropy_gate', found fusion = 'gated'; leave it out",
        ),
        (["--encoder", "mpl"], "unknown encoder 'mpl', did you mean 'mlp'?"),
        (
            ["--encoder", "mlp", "--encoder.hiden", "9"],
            "encoder of modality 'mean' (mlp): unknown option 'hiden', did you mean 'hidden'?",
        ),
        (
            ["--encoder", "mlp", "--encoder.hidden", "wide"],
            "encoder of modality 'mean' (mlp): hidden = 'wide' is not valid, expected a value like 64",
        ),
        (
            ["--encoder.worst", "cnn"],
            "encoder of modality 'worst': encoder cnn needs samples of shape (channels, samples), (channels, height, width) or "
            "(frames, channels, height, width), found shape (10,)",
        ),
        (
            ["--modalities", "{a: ["],
            "option modalities: '{a: [' is not YAML (expected the node content, but found '<stream end>')",
        ),
        (["--device", "gpu"], "device = 'gpu' is not valid, expected auto, cpu, cuda or cuda:0"),
        (["--folds", "1"], "option: folds = 1 is no cross-validation, expected 0 for one split or at least 2"),
        (["--folds", "5", "--fold", "5"], "option: fold = 5 is out of range, there are 5 splits, counted from 0"),
        (["surplus"], "unexpected word 'surplus'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_in_options(tmp_path: Path, options: list[str], sentence: str) -> None:
    assert call("fit", "wisconsin", *options, "--out", tmp_path / "run").error() == sentence
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_without_cuda(tmp_path: Path) -> None:
    sentence = call("fit", "wisconsin", "--device", "cuda", "--out", tmp_path / "run").error()
    assert sentence == "device = 'cuda': this machine has no usable CUDA device; use cpu"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("epochs: [1\n", "FILE, line 2: this is not YAML (expected ',' or ']', but got '<stream end>')"),
        ("\tepochs: 1\n", "FILE, line 1: this is not YAML (a tab stands where blanks are expected)"),
        ("epochs: 1\nepochs: 2\n", "FILE, line 2: this is not YAML (key 'epochs' is stated twice)"),
        ("seed: 2024-13-45\n", "FILE: this is not YAML (month must be in 1..12)"),
        ("- epochs\n", "FILE: expected a mapping of options, found list"),
        ("1: 2\n", "FILE: expected a mapping of options, found dict"),
        ("epohs: 1\n", "FILE: unknown option 'epohs', did you mean 'epochs'?"),
        ("epochs: many\n", "option: epochs = 'many' is not valid, expected a whole number"),
        ("method: {nam: ogm}\n", "method: found options ('nam') but no name, expected --method NAME (in YAML: name: NAME)"),
        ("method: [ogm]\n", "method: expected a name or a mapping with a name, found ['ogm']"),
        ("method: {name: ogm, alhpa: 1}\n", "method ogm: unknown option 'alhpa', did you mean 'alpha'?"),
        ("encoder: {wosrt: {name: mlp}}\n", "encoder: unknown modality 'wosrt', did you mean 'worst'?"),
        ("encoder: {wosrt: my_nets.Bands}\n", "encoder: unknown modality 'wosrt', did you mean 'worst'?"),
        (
            "x: !!python/object/apply:os.getcwd []\n",
            "FILE, line 1: this is not YAML (could not determine a constructor for the tag",
        ),
    ],
)
def test_mistakes_in_a_configuration_file(tmp_path: Path, content: str, sentence: str) -> None:
    (tmp_path / "c.yaml").write_text(content)
    found = call("fit", "wisconsin", "--config", tmp_path / "c.yaml", "--out", tmp_path / "run").error()
    assert found.replace(str(tmp_path / "c.yaml"), "FILE").startswith(sentence)
    assert not (tmp_path / "run").exists()


def test_a_configuration_file_that_cannot_be_read(tmp_path: Path) -> None:
    found = call("fit", "wisconsin", "--config", tmp_path / "c.yaml", "--out", tmp_path / "run").error()
    assert found == f"cannot read the configuration file {tmp_path / 'c.yaml'}: no such file"
    (tmp_path / "c.yaml").write_bytes(b"\xff\xfe")
    found = call("fit", "wisconsin", "--config", tmp_path / "c.yaml", "--out", tmp_path / "run").error()
    assert found == f"{tmp_path / 'c.yaml'}: the configuration file is not UTF-8 (byte 0xff)"
    assert call("fit", "wisconsin", "--config", tmp_path, "--out", tmp_path / "run").error() == (
        f"cannot read the configuration file {tmp_path}: it is a folder, expected a file"
    )


def test_what_a_command_needs() -> None:
    assert call("fit").error() == "which data? give a folder, a file or the name of an embedded set (equipoise data list)"
    assert call("fit", "digits").error() == "where should the run be stored? give --out RUN"
    assert (
        call("predict", "run", "digits").error() == "the following arguments are required: --out; see: equipoise predict --help"
    )
    assert call("fitt").error() == "unknown command 'fitt', did you mean 'fit'?"
    assert call("methods", "ogmm").error() == "unknown method 'ogmm', did you mean 'ogm'?"
    assert call("data", "lst").error().startswith("argument ACTION: invalid choice: 'lst'")
    assert call("--verison").error() == "unknown option '--verison', did you mean '--version'?"


def test_options_of_another_command(tmp_path: Path) -> None:
    for words in (
        ["evaluate", tmp_path, "digits"],
        ["predict", tmp_path, "digits", "--out", "p.csv"],
        ["data", "describe", "digits"],
    ):
        for option in ("--encoder.hidden", "--method.alpha", "--epochs"):
            assert call(*words, option, "3").error().startswith(f"unknown option '{option}', ")
    for words in (["methods"], ["demo"], ["data", "list"]):
        assert call(*words, "--epochs", "3").error() == "unknown option '--epochs', choose from: --help"


def test_kinds_of_files_for_predictions(tmp_path: Path) -> None:
    found = call("predict", tmp_path, "digits", "--out", tmp_path / "p.txt").error()
    assert found == f"{tmp_path / 'p.txt'}: unknown kind of file '.txt', expected .csv or .parquet"
