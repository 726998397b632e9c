"""Doing what a suite still lacks, and storing each run as it ends."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from equipoise.benchmark.executors import Event, Executor, Sources
from equipoise.benchmark.jobs import Job
from equipoise.benchmark.store import Store


def missing(jobs: Sequence[Job], store: Store, retry: bool = False) -> list[Job]:
    """Return the runs that are not in a store, and those that failed where they shall be tried again."""
    known = {row["key"] for row in store.rows(()) if not (retry and "error" in row)}
    return [job for job in jobs if job.key not in known]


def run_jobs(jobs: Sequence[Job], sources: Sources, store: Store, executor: Executor, *, retry: bool = False) -> Iterator[Event]:
    """Do the runs that are not stored yet, and yield each as it starts and, once it is stored, as it ends.

    A run that was stored is never done again, and one that was not when this process was killed is done by the next call. A
    run that fails is stored with its error and does not stop the others.

    Args:
        jobs: The runs.
        sources: Where their data are, by the names of the sets.
        store: Where the results are.
        executor: Does them.
        retry: Whether to try again what failed before.

    Raises:
        RunError: The results cannot be written, or workers cannot be started.
    """
    with store.writing():
        todo = missing(jobs, store, retry)
        for job, row in executor(todo, sources) if todo else ():
            if row is not None:
                row["commit"] = commit()
                store.add(row)
            yield job, row


@cache
def commit() -> str | None:
    """Return the commit that this code is of, marked where files were changed since; None outside a clone."""
    here = Path(__file__)

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(here.parent), *words], capture_output=True, text=True, check=False)
        except OSError:
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    # A clone that merely holds an installation of this package says nothing about it.
    tracked = git("ls-files", "--error-unmatch", here.name) is not None
    return git("describe", "--always", "--dirty") if tracked else None
