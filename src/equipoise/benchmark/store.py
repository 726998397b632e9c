"""The results of a suite: one append-only SQLite table that no kill can harm."""

from __future__ import annotations

import contextlib
import fcntl
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from equipoise.benchmark.jobs import Job
from equipoise.errors import RunError
from equipoise.files import finite, make_folder, os_errors

RESULTS, LOCK = "results.sqlite", "results.lock"

_GROUPS = {
    "configuration": ("method", "options", "trials", "data", "split", "search"),
    "metrics": ("test", "metric", "samples", "phases", "inert", "curve"),
    "cost": ("passes", "forwards", "backwards", "updates", "seconds", "parameters", "peak_memory"),
    "environment": ("commit", "versions", "hardware"),
}
"""The columns that hold JSON, and the entries of a row in each."""
PARTS = tuple(_GROUPS)
_PLAIN = ("key", "set", "fold", "seed", "error")
_SCHEMA = (
    'CREATE TABLE IF NOT EXISTS runs (key TEXT NOT NULL, "set" TEXT, name TEXT, fold INTEGER, seed INTEGER, error TEXT, '
    "configuration TEXT NOT NULL, metrics TEXT NOT NULL, cost TEXT NOT NULL, environment TEXT NOT NULL, "
    "finished TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now')))",
    "CREATE UNIQUE INDEX IF NOT EXISTS finished_once ON runs (key) WHERE error IS NULL",
)


class Store:
    """The table of a folder of results.

    A row is a run that finished, at most one for each identity, or an attempt that failed, with its error. Rows are only
    ever added, each in a transaction of its own that is on the disk when :meth:`add` returns: whenever a writer is killed, the
    table holds what was added, whole. It may be read at any time; there is one writer (SQLite keeps a log beside the table,
    so the folder must not be on a network file system).

    Args:
        folder: The folder; it is made when something is written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, Store(Path(folder)).writing() as store:
        ...     store.add({"key": "a", "method": {"name": "joint"}, "fold": 0, "seed": 0, "test": {}})
        ...     [row["method"]["name"] for row in store.rows()]
        ['joint']
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / RESULTS
        self._writer: sqlite3.Connection | None = None

    @contextlib.contextmanager
    def writing(self) -> Iterator[Store]:
        """Be the writer.

        Raises:
            RunError: Somebody else is, or the folder cannot be written to.
        """
        make_folder(self.folder)
        with os_errors("write", self.folder / LOCK):
            lock = (self.folder / LOCK).open("ab")
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the system lets go of it when this process ends, however
            except OSError:
                raise RunError(
                    f"{self.folder}: another process is adding results here; wait for it, or take another folder"
                ) from None
            with self._errors("write"):
                self._writer = sqlite3.connect(self.path, isolation_level=None)
                for words in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", *_SCHEMA):
                    self._writer.execute(words)
            try:
                yield self
            finally:
                self._writer.close()
                self._writer = None

    def add(self, row: Mapping[str, Any]) -> None:
        """Add the row of a run.

        Args:
            row: Its entries, as :class:`~equipoise.benchmark.worker.Worker` gives them.

        Raises:
            RunError: It cannot be written; what was there before still is.
        """
        assert self._writer is not None, "only inside writing()"
        values = [row.get(name) for name in _PLAIN] + [row["method"]["name"]]
        values += [json.dumps(finite({name: row[name] for name in names if name in row})) for names in _GROUPS.values()]
        columns = ", ".join(f'"{name}"' for name in (*_PLAIN, "name", *_GROUPS))
        with self._errors("write"):
            self._writer.execute(f"INSERT INTO runs ({columns}) VALUES ({', '.join('?' * len(values))})", values)

    def rows(self, parts: Sequence[str] = PARTS) -> list[dict[str, Any]]:
        """Return a row for each run: the one that finished, or the last attempt that failed.

        Args:
            parts: What is read of each, of :data:`PARTS`, beside its identity, place and error; less is faster.

        Raises:
            RunError: The table cannot be read.
        """
        found: dict[str, dict[str, Any]] = {}
        for row in self.attempts(parts):
            if "error" in found.setdefault(row["key"], row):
                found[row["key"]] = row
        return list(found.values())

    def attempts(self, parts: Sequence[str] = PARTS) -> list[dict[str, Any]]:
        """Return all rows in the order in which they were added.

        Args:
            parts: See :meth:`rows`.

        Raises:
            RunError: The table cannot be read.
        """
        if not self.path.exists():
            return []
        with self._errors("read"), contextlib.closing(sqlite3.connect(self.path)) as connection:
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'runs'").fetchone():
                return []  # killed before the first row
            plain = (*_PLAIN, "finished")
            columns = ", ".join(f'"{name}"' for name in (*plain, *parts))
            found = connection.execute(f"SELECT {columns} FROM runs ORDER BY rowid").fetchall()
        rows = []
        for line in found:
            row = {name: value for name, value in zip(plain, line, strict=False) if name != "error" or value is not None}
            for text in line[len(plain) :]:
                row |= json.loads(text)
            rows.append(row)
        return rows

    def of(self, jobs: Sequence[Job]) -> list[dict[str, Any]]:
        """Return the rows of some runs that were done or tried, in the order of the runs and with their names."""
        return self.named({job.key: job.set for job in jobs})

    def named(self, sets: Mapping[str, str]) -> list[dict[str, Any]]:
        """Return the rows of some runs that were done or tried, in their order.

        Args:
            sets: How the data of each run are called, by the identity of the run.
        """
        known = {row["key"]: row for row in self.rows()}
        return [{**known[key], "set": name} for key, name in sets.items() if key in known]

    @contextlib.contextmanager
    def _errors(self, action: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise RunError(f"cannot {action} {self.path}: {error} (expected a table of results)") from error
