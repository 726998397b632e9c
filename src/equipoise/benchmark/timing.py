"""How long the runs of a suite take: from those that are done, or from short trials before any is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

from equipoise.benchmark.executors import Sources
from equipoise.benchmark.jobs import Job
from equipoise.benchmark.worker import Worker


class Clock:
    """Says how long runs will take, by what others took.

    A run takes as long as runs of the same method on the same data did; else as long as other methods on these data, times how
    the method compares with them on other data; else as long as runs do on average.

    Args:
        rows: Rows of finished runs.
    """

    def __init__(self, rows: Iterable[Mapping[str, Any]] = ()) -> None:
        self._seen: dict[tuple[str, str], list[float]] = {}
        self._means: dict[tuple[str, str], float] = {}
        for row in rows:
            self.add(row)

    def add(self, row: Mapping[str, Any]) -> None:
        """Take a finished run into account; one that failed says nothing."""
        if row.get("seconds") is not None:
            place = row["set"], row["method"]["name"]
            seen = self._seen.setdefault(place, [])
            seen.append(float(row["seconds"]))
            self._means[place] = fmean(seen)

    def seconds(self, job: Job) -> float | None:
        """Return the seconds that a run will take; None while nothing is known."""
        return self._seconds(job.set, job.method["name"])

    def _seconds(self, place: str, name: str) -> float | None:
        times = self._means
        if (place, name) in times:
            return times[place, name]
        here = {other: value for (data, other), value in times.items() if data == place}
        guesses = [
            value * times[data, name] / times[data, other]
            for other, value in here.items()
            for data in {data for data, _ in times}
            if (data, name) in times and (data, other) in times
        ]
        guesses = guesses or list((here or times).values())
        return fmean(guesses) if guesses else None

    def left(self, jobs: Sequence[Job], processes: int) -> float | None:
        """Return the seconds until some runs are done, all processes being busy; None while nothing is known."""
        alike = Counter((job.set, job.method["name"]) for job in jobs)  # thousands of runs, asked for as each of them ends
        times = [(count, self._seconds(*place)) for place, count in alike.items()]
        known = [count * time for count, time in times if time is not None]
        return sum(known) / processes if len(known) == len(times) else None


def longest(jobs: Sequence[Job], sources: Sources, samples: Mapping[str, int]) -> Clock:
    """Return a clock by short trials of one and three epochs: of every method on the smallest data, of one on the others.

    It says how long runs take that stop at no epoch early, so most take less.

    Args:
        jobs: The runs.
        sources: Where their data are, by the names of the sets.
        samples: Number of samples of each data set.
    """
    clock, worker = Clock(), Worker(lambda name: sources[name].open())
    worker.warm_up()
    smallest = min({job.set for job in jobs}, key=lambda name: samples[name])
    tried = {(job.set, job.method["name"] if job.set == smallest else ""): job for job in reversed(jobs)}
    for job in sorted(tried.values(), key=lambda job: job.set):
        short, longer = (worker.do(replace(job, options={**job.options, "epochs": epochs}, trials=0)) for epochs in (1, 3))
        if "error" not in short and "error" not in longer:
            epoch = max(0.0, (longer["seconds"] - short["seconds"]) / 2)
            whole = short["seconds"] + epoch * (job.options["epochs"] - 1)
            clock.add({"set": job.set, "method": job.method, "seconds": whole * (job.trials + 1)})
    return clock


def duration(seconds: float) -> str:
    """Return a time in words.

    Example:
        >>> [duration(value) for value in (3, 190, 7400)]
        ['3 s', '3 min 10 s', '2 h 3 min']
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"
