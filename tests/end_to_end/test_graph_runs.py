"""Runs whose encoders use the sample graph: every method, missing modalities, interruption, processes, and the run folder."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

import equipoise
from equipoise.batch import Neighbours
from equipoise.errors import ConfigError, RunError
from equipoise.methods.base import METHODS
from equipoise.nn.encoders.base import GraphEncoder
from tests.contract.harness import brisk
from tests.end_to_end.harness import (
    ENVIRONMENT,
    QUICK,
    SAMPLES,
    call,
    columns,
    done,
    interrupted_after,
    labels,
    log,
    mapping,
    same_end,
    summary,
)

GCN = ("--encoder", "gcn", *QUICK)
SHORT: dict[str, Any] = {"epochs": 2, "device": "cpu", "progress": False, "target": labels()}


@pytest.fixture(scope="module")
def finished_graph(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on the sample graph; a third of the samples lack one modality."""
    run = tmp_path_factory.mktemp("graph") / "run"
    done("fit", study, *GCN, "--graph.neighbours", "6", "--out", run)
    return run


def test_the_graph_is_found_again(study: Path, finished_graph: Path, tmp_path: Path) -> None:
    run = equipoise.load(finished_graph)
    assert run.evaluate(study) == run.metrics
    assert run.config["graph"] == {
        "neighbours": 6,
        "mu": 0.5,
        "iterations": 20,
        "nodes": "train",
        "source": "fused",
        "self_loop": 1.0,
        "norm": "symmetric",
        "form": "dense",
    }
    assert run.config["encoders"]["genes"] == {"name": "gcn"}
    with safe_open(finished_graph / "graph.safetensors", "pt") as file:
        assert file.get_tensor("features: genes").shape == (42, 5)  # the training samples, and no others
    done("predict", finished_graph, study, "--out", tmp_path / "predictions.csv")
    assert "blood+genes+scan" in done("evaluate", finished_graph, study, "--coalitions", "all", "--part", "all")
    first = run.predict(study)
    again = equipoise.fit(study, encoder="gcn", graph={"neighbours": 6}, epochs=2, device="cpu", progress=False)
    np.testing.assert_array_equal(again.predict(study).probabilities, first.probabilities)


def test_training_samples_get_the_same_answer_whoever_comes_with_them(study: Path, finished_graph: Path) -> None:
    run = equipoise.load(finished_graph)
    dataset = run.predictor.read(study)
    rows = np.array(run.config["split"]["train"])
    every, some, one = (run.predict(dataset.subset(chosen)).probabilities for chosen in (np.arange(60), rows, rows[:1]))
    np.testing.assert_allclose(every[rows], some, rtol=1e-5)
    np.testing.assert_allclose(one, some[:1], rtol=1e-5)
    new = np.array(run.config["split"]["test"])
    np.testing.assert_allclose(run.predict(dataset.subset(new[:1])).probabilities, every[new[:1]], rtol=1e-4)


def test_new_samples_without_a_modality(finished_graph: Path) -> None:
    found = equipoise.load(finished_graph).predict({"blood": columns("b", 4, 3.0, 9)})
    assert np.isfinite(found.probabilities).all()
    assert not found.present["genes"].any()


@pytest.mark.parametrize("name", METHODS.names())
def test_every_method_trains_on_the_graph(name: str, tmp_path: Path) -> None:
    """With a graph encoder beside another one, and samples that lack a modality; the run is found again."""
    samples = 2 * SAMPLES
    lacking = np.arange(samples) % 5 == 0
    table = columns("", 5, 2.0, 2, samples).to_numpy()
    data = {"a": columns("", 4, 3.0, 1, samples), "b": np.where(lacking[:, None], np.nan, table), "c": table[:, :3] + 1}
    method = {"name": name, **brisk(name)}
    options: dict[str, Any] = {**SHORT, "target": labels(samples), "encoder": {"a": "gcn", "b": "gcn", "c": "mlp"}}
    if name == "aim":  # it modulates blocks inside an encoder
        with pytest.raises(ConfigError, match="uses the sample graph; expected another encoder"):
            equipoise.fit(data, method=method, batch_size=24, **options)
        return
    run = equipoise.fit(data, method=method, batch_size=24, out=tmp_path / "run", **options)
    assert all(np.isfinite(line["validation"]["fused"]["loss"]) for line in log(tmp_path / "run"))
    found = equipoise.load(tmp_path / "run", device="cpu")
    np.testing.assert_array_equal(found.predict(data).probabilities, run.predict(data).probabilities)


@pytest.mark.parametrize(
    "graph",
    [{"nodes": "all"}, {"source": "own"}, {"form": "sparse"}, {"norm": "row", "self_loop": 0.5, "mu": 0.3, "iterations": 3}],
    ids=str,
)
def test_options_of_the_graph(graph: dict[str, Any], tmp_path: Path) -> None:
    plain = equipoise.fit(mapping(), encoder="gcn", **SHORT)
    run = equipoise.fit(mapping(), encoder="gcn", graph=graph, out=tmp_path / "run", **SHORT)
    assert graph.items() <= run.config["graph"].items()
    assert not np.allclose(run.predict(mapping()).probabilities, plain.predict(mapping()).probabilities)
    found = equipoise.load(tmp_path / "run").predict(mapping()).probabilities
    np.testing.assert_array_equal(found, run.predict(mapping()).probabilities)
    transductive = [note for note in run.summary["notes"] if note.startswith("transductive: ")]
    assert len(transductive) == (graph.get("nodes") == "all")
    assert run.predictor.graph is not None
    assert len(run.predictor.graph) == (60 if graph.get("nodes") == "all" else 42)


def test_full_batches_and_mini_batches_agree() -> None:
    """Plain gradient descent by one step per epoch, the parts of a batch accumulated or not, ends at the same weights."""
    options: dict[str, Any] = {**SHORT, "optimizer": "sgd", "batch_size": 64, "encoder": {"name": "gcn", "dropout": 0.0}}
    whole, parts = (equipoise.fit(mapping(), accumulate=number, **options).predictor.module.state_dict() for number in (1, 40))
    for key, value in whole.items():
        torch.testing.assert_close(parts[key], value, rtol=1e-4, atol=1e-5, msg=key)


def test_a_single_modality_and_fewer_samples_than_neighbours() -> None:
    data = {"a": columns("", 5, 2.0, 2).to_numpy()[:18]}
    run = equipoise.fit(data, encoder="gcn", graph={"neighbours": 50}, **{**SHORT, "target": labels(18)})
    assert np.isfinite(run.predict(data).probabilities).all()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*script.*is deprecated:DeprecationWarning")
def test_compiling_changes_nothing_but_speed() -> None:
    data = {"a": columns("", 5, 2.0, 2).to_numpy()}
    options: dict[str, Any] = {**SHORT, "encoder": {"name": "gcn", "dropout": 0.0}, "batch_size": 24}
    plain, compiled = (equipoise.fit(data, compile=flag, **options).predict(data).probabilities for flag in (False, True))
    np.testing.assert_allclose(compiled, plain, rtol=1e-3, atol=1e-4)


def test_the_test_part_reaches_training_only_where_the_user_says_so() -> None:
    split = np.array(["train"] * 40 + ["validation"] * 8 + ["test"] * 12)
    random = np.random.default_rng(0)
    data = {"a": random.normal(size=(SAMPLES, 5)), "b": random.normal(size=(SAMPLES, 3)), "split": split}
    moved = {**data, "a": data["a"] + 0.5 * (split == "test")[:, None]}
    for nodes, same in (("train", True), ("all", False)):
        runs = [equipoise.fit(item, encoder="gcn", graph={"nodes": nodes}, **SHORT) for item in (data, moved)]
        first, second = (run.predictor.module.state_dict() for run in runs)
        assert all(torch.equal(value, second[key]) for key, value in first.items()) is same


class Around(GraphEncoder):
    """A graph encoder as a user writes one."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(10, 6)

    def forward(self, inputs: Tensor, neighbours: Neighbours) -> Tensor:
        near = (neighbours.table[neighbours.nodes] * neighbours.weights[..., None]).sum(1)
        features: Tensor = self.layer(torch.cat([inputs, near], 1)).relu()
        return features


def test_an_encoder_of_the_users_own(tmp_path: Path) -> None:
    data = {"a": columns("", 5, 2.0, 2).to_numpy(), "b": columns("", 4, 2.0, 3).to_numpy()}
    run = equipoise.fit(data, encoders={"a": Around()}, graph={"neighbours": 4}, out=tmp_path / "run", **SHORT)
    found = equipoise.load(tmp_path / "run", encoders={"a": Around()}).predict(data)
    np.testing.assert_array_equal(found.probabilities, run.predict(data).probabilities)


def test_an_interrupted_run_ends_where_the_straight_one_does(study: Path, tmp_path: Path) -> None:
    options = ("--encoder", "gcn", "--epochs", "6", "--device", "cpu", "--checkpoint-seconds", "0", "--batch-size", "16")
    done("fit", study, *options, "--graph.nodes", "all", "--out", tmp_path / "straight")
    with interrupted_after(2):
        assert call("fit", study, *options, "--graph.nodes", "all", "--out", tmp_path / "run").code == 130
    done("fit", "--resume", tmp_path / "run")
    same_end(tmp_path / "run", tmp_path / "straight")
    assert (tmp_path / "run" / "graph.safetensors").read_bytes() == (tmp_path / "straight" / "graph.safetensors").read_bytes()
    assert summary(tmp_path / "run")["notes"] == summary(tmp_path / "straight")["notes"]


def test_two_processes_give_the_run_of_one(study: Path, tmp_path: Path) -> None:
    # Dropout draws apart in each process, as in every encoder; without it the runs are equal up to rounding.
    words = ["--encoder", "gcn", "--encoder.dropout", "0", "--epochs", "3", "--batch-size", "16", "--device", "cpu"]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "equipoise.cli.main"]
    whole = [*command, "fit", str(study), *words, "--out", str(tmp_path / "two")]
    answer = subprocess.run(whole, capture_output=True, text=True, env=ENVIRONMENT, timeout=120, check=False)
    assert answer.returncode == 0, answer.stderr[-3000:]
    done("fit", study, *words, "--out", tmp_path / "one")
    for mine, theirs in zip(log(tmp_path / "one"), log(tmp_path / "two"), strict=True):
        assert theirs["losses"] == pytest.approx(mine["losses"], rel=1e-4)
    for name, values in summary(tmp_path / "one")["test"].items():
        assert summary(tmp_path / "two")["test"][name] == pytest.approx(values, rel=1e-3, abs=1e-4)


def test_benchmark(study: Path, tmp_path: Path) -> None:
    out = done(
        "benchmark", study, "--methods", "joint,ogm", "--encoder", "gcn", "--graph.source", "own", "--epochs", "1",
        "--seeds", "1", "--processes", "1", "--out", tmp_path / "results",
    )  # fmt: skip
    assert "ogm" in out


def test_a_run_without_its_graph_or_with_a_damaged_one(finished_graph: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished_graph, run)
    path = run / "graph.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(RunError, match=r"graph.safetensors: the sample graph is damaged"):
        equipoise.load(run)
    path.write_bytes((run / "model.safetensors").read_bytes())
    with pytest.raises(RunError, match=r"graph.safetensors: the sample graph is damaged"):
        equipoise.load(run)
    path.unlink()
    with pytest.raises(RunError, match=r"graph.safetensors is missing, which holds the sample graph of blood, genes, scan"):
        equipoise.load(run)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--graph.neighbors", "3"], "graph: unknown option 'neighbors', did you mean 'neighbours'?"),
        (["--graph.neighbours", "0"], "graph: neighbours = 0 is out of range, expected at least 1"),
        (["--graph.nodes", "al"], "graph: nodes = 'al' is not valid, did you mean 'all'?"),
        (["--graph.form", "spare"], "graph: form = 'spare' is not valid, did you mean 'sparse'?"),
        (["--graph.source", "x"], "graph: source = 'x' is not valid, choose from: fused, own"),
        (["--graph.norm", "3"], "graph: norm = '3' is not valid, choose from: row, symmetric"),
        (["--graph.self-loop", "3"], "graph: unknown option 'self-loop', did you mean 'self_loop'?"),
        (["--graph", "sparse"], "option: graph = 'sparse' is not valid, expected a mapping or none"),
        (
            ["--encoder", "mlp", "--graph.neighbours", "3"],
            "graph: no modality has an encoder that uses the sample graph, expected one such as encoder = 'gcn'",
        ),
        (
            ["--loader", "stream"],
            "loader = 'stream': the sample graph of mean, error, worst needs the data in memory, expected memory or auto",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes(tmp_path: Path, options: list[str], sentence: str) -> None:
    encoder = [] if "mlp" in options else ["--encoder", "gcn"]
    assert call("fit", "wisconsin", *encoder, *options, "--out", tmp_path / "run").error() == sentence
    assert not (tmp_path / "run").exists()


def test_the_option_must_be_a_mapping() -> None:
    with pytest.raises(ConfigError, match="graph = 3 is not valid, expected a mapping or none"):
        equipoise.fit(mapping(), encoder="gcn", graph=3, **SHORT)
