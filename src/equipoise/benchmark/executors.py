"""Where the runs of a suite are done: in this process, in a pool of local processes, or on a Ray cluster."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

import torch

from equipoise.benchmark.jobs import Job, Source
from equipoise.benchmark.worker import Row, Worker, identity
from equipoise.errors import ConfigError, RunError
from equipoise.training.loop import Interrupted

ATTEMPTS = 2
"""How often a run is tried whose process died before it is recorded as failed."""

Sources = Mapping[str, Source]
"""Where the data are, by the names of the sets."""

Event = tuple[Job, Row | None]
"""A run, and its row when it ends; None when it starts."""

Executor = Callable[[Sequence[Job], Sources], Iterator[Event]]
"""Does runs in about the order given, and tells what happens."""


def died(job: Job, where: str) -> Row:
    """Return the row of a run whose process died in every attempt."""
    words = f"{where} died during this run in each of {ATTEMPTS} attempts (out of memory?); fewer processes may help"
    return {**identity(job), "error": words}


@dataclass(frozen=True)
class ThisProcess:
    """Does one run after the other in this process."""

    def __call__(self, jobs: Sequence[Job], sources: Sources) -> Iterator[Event]:
        """Do the runs."""
        worker, threads = Worker(lambda name: sources[name].open()), torch.get_num_threads()
        try:
            worker.warm_up()
            for job in jobs:
                yield job, None
                yield job, worker.do(job)
        finally:
            torch.set_num_threads(threads)


@dataclass
class _Process:
    """A worker process as its parent sees it."""

    process: SpawnProcess
    connection: Connection
    job: Job | None = field(default=None)


@dataclass(frozen=True)
class LocalPool:
    """Does runs in a pool of local processes, each with one thread.

    Each process imports once, opens a data set once and prepares a fold once; it holds one of each at a time, so the memory of
    the pool is bounded by the number of processes times that of the largest run. A process that dies is replaced; its run is
    tried once more at the end.

    Attributes:
        processes: Number of processes.

    Raises:
        ConfigError: ``processes`` is not positive.
    """

    processes: int

    def __post_init__(self) -> None:
        if self.processes < 1:
            raise ConfigError(f"processes = {self.processes} is out of range, expected at least 1")

    def __call__(self, jobs: Sequence[Job], sources: Sources) -> Iterator[Event]:
        """Do the runs.

        Raises:
            RunError: A process died before it could begin.
        """
        waiting, lost = deque(jobs), Counter[str]()
        pool: list[_Process] = []
        try:
            while waiting or any(item.job for item in pool):
                pool += [_start(sources) for _ in range(min(self.processes - len(pool), len(waiting)))]
                for connection in wait([item.connection for item in pool]):
                    item = next(item for item in pool if item.connection is connection)
                    job, item.job = item.job, None
                    try:
                        row: Row | None = item.connection.recv()
                    except (EOFError, ConnectionError):
                        pool.remove(item)
                        if job is None:
                            raise RunError("a process ended before it could begin with a run (out of memory?)") from None
                        lost[job.key] += 1
                        if lost[job.key] < ATTEMPTS:
                            waiting.append(job)
                        else:
                            yield job, died(job, "the process")
                        continue
                    if waiting:
                        item.job = waiting.popleft()
                        with contextlib.suppress(ConnectionError):  # it has died: the connection says so when it is next read
                            item.connection.send(item.job)
                    else:
                        pool.remove(item)
                        item.connection.close()
                    if job is not None and row is not None:
                        yield job, row
                    if item.job is not None:
                        yield item.job, None
        finally:
            for item in pool:
                item.process.kill()
                item.process.join()


def _start(sources: Sources) -> _Process:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(sources, theirs))  # no daemon: it may start loaders of its own
    process.start()
    theirs.close()  # so that its end is the end of the connection
    return _Process(process, ours)


def _serve(sources: Sources, connection: Connection) -> None:
    """Do what a worker process does: say that it is ready, then run after run until nobody asks for more."""
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its workers
    worker = Worker(lambda name: sources[name].open())
    worker.warm_up()
    connection.send(None)
    try:
        while True:
            connection.send(worker.do(connection.recv()))
    except (EOFError, ConnectionError, Interrupted):
        return


def _leave_with_parent() -> None:
    """End this process when the one that started it is gone, killed perhaps: its results have no reader."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
