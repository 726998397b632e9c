"""The runs of a suite on a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from equipoise._version import __version__
from equipoise.benchmark.executors import ATTEMPTS, Event, Sources, died
from equipoise.benchmark.jobs import Job
from equipoise.benchmark.worker import Row, Worker
from equipoise.errors import ConfigError, RunError

_PATIENCE = 2.0
"""Seconds after which it is looked again how many cores the cluster has."""


@dataclass(frozen=True)
class RayCluster:
    """Does runs on the cores of a Ray cluster, one on each.

    Every data set is put into the object store of the cluster once and reaches each node once; each process imports once and
    keeps the data set and the fold of its last run. A run whose process or node dies is tried once more elsewhere. All nodes
    need this package, of the same version. Arrays that stay on disk must lie in a place that all nodes see.

    Attributes:
        address: Of the cluster: ``auto`` (the one of this machine), ``host:port`` or ``ray://host:port``; ``local`` starts one.

    Raises:
        ConfigError: Ray is not installed.
    """

    address: str = "auto"

    def __post_init__(self) -> None:
        try:
            import ray  # noqa: F401
        except ImportError:
            raise ConfigError("ray: it is not installed; install it by: pip install 'equipoise[ray]'") from None

    def __call__(self, jobs: Sequence[Job], sources: Sources) -> Iterator[Event]:
        """Do the runs.

        Raises:
            RunError: There is no cluster at the address, or a node lacks this package.
        """
        import ray

        try:
            ray.init(address=self.address, ignore_reinit_error=True, log_to_driver=False, configure_logging=False)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise RunError(f"ray: there is no cluster at {self.address!r}: {error}") from None
        task = ray.remote(num_cpus=1, max_retries=ATTEMPTS - 1)(_work)
        held = {name: ray.put(source.open()) for name, source in sources.items() if any(job.set == name for job in jobs)}
        waiting, running = list(reversed(jobs)), dict[Any, Job]()
        try:
            while waiting or running:
                cores = max(1, int(ray.cluster_resources().get("CPU", 0)))
                while waiting and len(running) < cores:
                    job = waiting.pop()
                    running[task.remote(job, held)] = job
                    yield job, None
                for reference in ray.wait(list(running), timeout=_PATIENCE)[0]:
                    job = running.pop(reference)
                    try:
                        row: Row = ray.get(reference)
                    except _deaths():
                        row = died(job, "the process or its node")
                    except ray.exceptions.RayError as error:  # what is wrong with a run itself is in its row
                        words = str(error).strip().splitlines()[-1]
                        raise RunError(f"ray: a node cannot do runs; all need equipoise {__version__}: {words}") from error
                    yield job, row
        finally:
            ray.shutdown()


def _deaths() -> tuple[type[Exception], ...]:
    """Return the errors that say that a process or its node died."""
    from ray import exceptions as known

    return known.WorkerCrashedError, known.NodeDiedError, known.OutOfMemoryError, known.ObjectLostError


_worker: Worker | None = None
_held: Mapping[str, Any] = {}


def _work(job: Job, held: Mapping[str, Any]) -> Row:
    """Do a run in a process of the cluster; the process keeps its worker from run to run."""
    import ray

    global _worker, _held
    _held = held
    if _worker is None:
        _worker = Worker(lambda name: ray.get(_held[name]))
        _worker.warm_up()
    return _worker.do(job)
