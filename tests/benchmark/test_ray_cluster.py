"""A suite on a Ray cluster of two nodes, one of which is killed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from equipoise.benchmark.jobs import Source, plan
from equipoise.benchmark.ray_cluster import RayCluster
from equipoise.benchmark.runner import run_jobs
from equipoise.benchmark.store import Store
from equipoise.data.sources import open_dataset
from equipoise.errors import ConfigError


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"equipoise\[ray\]"):
        RayCluster()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_a_node_dies_in_mid_suite_and_every_run_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2] / "src"))  # for the processes of the nodes
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        node = cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        jobs = plan(open_dataset("wisconsin"), ["joint", "ogm", "late", "aug"], 1, {"epochs": 20, "folds": 3, "device": "cpu"})
        done = 0
        for _, row in run_jobs(jobs, {"wisconsin": Source("wisconsin")}, Store(tmp_path), RayCluster(cluster.address)):
            done += row is not None
            if done == 4 and node is not None:
                cluster.remove_node(node, allow_graceful=False)
                node = None
    finally:
        cluster.shutdown()
    rows = Store(tmp_path).attempts()
    assert sorted(row["key"] for row in rows) == sorted(job.key for job in jobs)
    assert [row["error"] for row in rows if "error" in row] == []
