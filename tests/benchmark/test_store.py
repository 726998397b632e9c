"""The table of results: rows stay, once each, whatever is killed."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from equipoise.benchmark.jobs import Job
from equipoise.benchmark.store import RESULTS, Store
from equipoise.errors import RunError

WRITER = """
import sys
from pathlib import Path
from equipoise.benchmark.store import Store
with Store(Path(sys.argv[1])).writing() as store:
    start = len(store.attempts())
    print("ready", flush=True)
    for number in range(start, 100000):
        store.add({"key": str(number), "method": {"name": "joint"}, "fold": 0, "seed": number, "curve": [number] * 200})
        print(number, flush=True)
"""


def row(key: str, **changes: Any) -> dict[str, Any]:
    return {"key": key, "set": "digits", "method": {"name": "ogm", "alpha": 0.3}, "fold": 1, "seed": 2, **changes}


def test_what_is_added_is_read_back(tmp_path: Path) -> None:
    whole = row("a", options={"epochs": 3}, test={"fused": {"accuracy": 0.5, "auroc": float("nan")}}, seconds=1.5, commit="abc")
    with Store(tmp_path).writing() as store:
        store.add(whole)
        assert Store(tmp_path).rows() == store.rows()  # while it is written to, others may read
    found = Store(tmp_path).rows()[0]
    assert found.pop("finished").endswith("Z")
    assert found == {**whole, "test": {"fused": {"accuracy": 0.5, "auroc": None}}}
    assert Store(tmp_path / "nothing").rows() == []


def test_an_error_is_kept_and_gives_way_to_what_finishes(tmp_path: Path) -> None:
    with Store(tmp_path).writing() as store:
        store.add(row("a", error="first"))
        store.add(row("b", seconds=1.0))
        store.add(row("a", error="second"))
        assert [(item["key"], item.get("error")) for item in store.rows()] == [("a", "second"), ("b", None)]
        store.add(row("a", seconds=2.0))
        assert [(item["key"], item.get("error")) for item in store.rows()] == [("a", None), ("b", None)]
        assert len(store.attempts()) == 4
        with pytest.raises(RunError, match="cannot write"):
            store.add(row("a", seconds=3.0))  # no run is there twice


def test_rows_of_some_runs_come_in_their_order_and_with_their_names(tmp_path: Path) -> None:
    jobs = [Job({"name": name}, 0, 0, {}, "data", "split", set="new name") for name in ("late", "joint", "ogm")]
    with Store(tmp_path).writing() as store:
        for job in (jobs[2], jobs[0]):
            store.add(row(job.key, method=job.method))
        store.add(row("of another suite"))
    assert [(item["method"]["name"], item["set"]) for item in Store(tmp_path).of(jobs)] == [
        ("late", "new name"),
        ("ogm", "new name"),
    ]


def test_a_part_of_each_row_can_be_read_alone(tmp_path: Path) -> None:
    with Store(tmp_path).writing() as store:
        store.add(row("a", seconds=1.5, curve=[1, 2]))
        store.add(row("b", error="first"))
    first, second = Store(tmp_path).rows(("configuration", "cost"))
    assert (first["method"]["alpha"], first["seconds"], first["set"]) == (0.3, 1.5, "digits")
    assert "curve" not in first
    assert "error" not in first
    assert (second["key"], second["error"]) == ("b", "first")
    assert [set(item) for item in Store(tmp_path).rows(())] == [
        {"key", "set", "fold", "seed", "finished"},
        {"key", "set", "fold", "seed", "finished", "error"},
    ]


def test_there_is_one_writer(tmp_path: Path) -> None:
    with Store(tmp_path).writing(), pytest.raises(RunError, match="another process"), Store(tmp_path).writing():
        pass
    with Store(tmp_path).writing():
        pass


def test_a_file_that_is_no_table_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / RESULTS).write_text("this is no table at all, it is only some text that somebody put here" * 50)
    with pytest.raises(RunError, match=r"results\.sqlite: file is not a database"):
        Store(tmp_path).rows()
    with pytest.raises(RunError, match=r"results\.sqlite: file is not a database"), Store(tmp_path).writing():
        pass


def test_a_table_before_its_first_row_is_empty(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / RESULTS).execute("PRAGMA journal_mode = WAL").connection.close()
    assert Store(tmp_path).rows() == []


def test_killed_while_writing_nothing_said_to_be_written_is_lost(tmp_path: Path) -> None:
    said = -1
    for lines in (1, 3, 40, 7):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for line, _ in zip(process.stdout, range(lines), strict=False):
            said = max(said, int(line)) if line.strip().isdigit() else said
        os.kill(process.pid, signal.SIGKILL)
        rest, _ = process.communicate()
        said = max([said, *(int(word) for word in rest.splitlines()[:-1] if word.isdigit())])
        keys = [int(item["key"]) for item in Store(tmp_path).attempts()]
        assert keys == list(range(len(keys)))  # none is missing, none is there twice
        assert len(keys) > said
    assert said > 40
