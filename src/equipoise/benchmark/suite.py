"""A suite: which methods run on which data, with which encoders, on how many folds, with how many seeds and trials."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from equipoise.benchmark.executors import Sources
from equipoise.benchmark.jobs import Job, Source, described_methods, plan
from equipoise.config import FitConfig, option_sections
from equipoise.errors import ConfigError, suggest
from equipoise.tasks import main_metric
from equipoise.yaml_text import NotYaml, parse_yaml

_OWN = ("data", "methods", "encoders", "seeds", "search")


@dataclass(frozen=True)
class SuiteData:
    """One data set of a suite.

    Attributes:
        name: How tables call it.
        source: A path or the name of an embedded set.
        options: Options of the runs on it, ``seeds`` and ``search`` among them.
    """

    name: str
    source: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """What a suite comes to.

    Attributes:
        jobs: All runs, data set by data set and fold by fold.
        sources: Where the data are, by the names of the sets.
        samples: Number of samples of each data set.
    """

    jobs: list[Job]
    sources: Sources
    samples: dict[str, int]


@dataclass(frozen=True)
class Suite:
    """Methods x data x encoders x folds x seeds.

    Attributes:
        data: The data sets.
        methods: Words for :func:`~equipoise.benchmark.jobs.parse_method`, or mappings with ``name``; ``all`` is every method.
        encoders: Values of the option ``encoder``; every method runs with each.
        seeds: Seeds per fold.
        search: Trials of the search for hyper-parameters of each run; 0 takes published defaults.
        options: Options of all runs; those of a data set win.

    Example:
        >>> suite = Suite.from_mapping({"data": ["wisconsin"], "methods": ["joint", "ogm"], "folds": 2, "epochs": 1})
        >>> len(suite.plan().jobs)
        4
    """

    data: tuple[SuiteData, ...]
    methods: tuple[str | Mapping[str, Any], ...]
    encoders: tuple[Any, ...] = (None,)
    seeds: int = 1
    search: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_mapping(cls, value: Mapping[str, Any], over: Mapping[str, Any] | None = None) -> Suite:
        """Make a suite from plain values.

        Args:
            value: ``data`` (names and paths, or a mapping from names to options with ``source``), ``methods``, ``encoders``,
                ``seeds``, ``search``, and any option of a run.
            over: What wins over all of that, the options of single data sets too: what the command line says.

        Raises:
            ConfigError: A key is unknown, or a value has the wrong form.
        """
        over = dict(over or {})
        options = [name for name in option_sections() if name != "fold"]
        merged = {**value, **over}
        for name in merged:
            if name not in (*_OWN, *options):
                raise ConfigError(f"suite: unknown option {name!r}, {suggest(name, [*_OWN, *options])}")
        if "encoder" in merged and "encoders" in merged:
            raise ConfigError("suite: both encoder and encoders are given, expected one of them")
        stated = {name: item for name, item in over.items() if name not in ("data", "methods", "encoders")}
        return cls(
            tuple(_data_sets(merged.get("data", []), ["source", "seeds", "search", *options], stated)),
            tuple(_listed(merged.get("methods", "all"), "methods")),
            tuple(_listed(merged.get("encoders", [None]), "encoders")),
            _count(merged.get("seeds", 1), "seeds", 1),
            _count(merged.get("search", 0), "search", 0),
            {name: item for name, item in merged.items() if name not in _OWN},
        )

    def plan(self) -> Plan:
        """Open the data, and return all runs.

        Raises:
            ConfigError: A method or an option is wrong; said before any data are opened.
            DataError: Something is wrong with the data.
        """
        described_methods(self.methods)
        for item in self.data:
            for encoder in self.encoders:
                FitConfig.from_options(self._options(item, encoder))
        jobs: list[Job] = []
        sources: dict[str, Source] = {}
        samples: dict[str, int] = {}
        tasks: dict[str, str] = {}
        for item in self.data:
            seeds = _count(item.options.get("seeds", self.seeds), "seeds", 1)
            trials = _count(item.options.get("search", self.search), "search", 0)
            config = FitConfig.from_options(self._options(item, None))
            read = dataclasses.asdict(config.read)
            if config.splitting.folds and read["split"] is None:
                read["split"] = "none"  # folds were asked for, so a split that the data state is left unused
            source = Source(item.source, read)
            dataset = source.open()
            planned = [
                plan(dataset, self.methods, seeds, self._options(item, encoder), trials=trials, set=item.name)
                for encoder in self.encoders
            ]
            # fold by fold over all encoders, since they share what is prepared
            jobs += sorted((job for part in planned for job in part), key=lambda job: job.fold)
            sources[item.name] = source
            samples[item.name] = len(dataset)
            tasks[item.name] = dataset.schema.task
        if len({main_metric(task) for task in tasks.values()}) > 1:
            found = ", ".join(f"{name}: {task} ({main_metric(task)})" for name, task in tasks.items())
            raise ConfigError(f"suite: methods are compared by one metric, found data of several ({found}); make a suite of each")
        return Plan(jobs, sources, samples)

    def _options(self, item: SuiteData, encoder: Any) -> dict[str, Any]:
        options = {**self.options, **{name: value for name, value in item.options.items() if name not in _OWN}}
        return options if encoder is None else {**options, "encoder": encoder}


def load_suite(name: str) -> dict[str, Any]:
    """Return the plain values of a suite: one that comes along, such as ``core``, or a YAML file.

    Environment variables in the sources of data (``$EQUIPOISE_DATA/study``) are put in.

    Raises:
        ConfigError: There is no such suite, it is not YAML, or a variable is not set.

    Example:
        >>> list(load_suite("core")["data"])
        ['wisconsin', 'digits', 'gaussian']
    """
    place = _builtin(name) if _builtin(name).is_file() else Path(name)
    try:
        value = parse_yaml(place.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{name}: the suite cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name}: the suite is not UTF-8 (byte 0x{error.object[error.start]:02x})") from None
    except NotYaml as error:
        raise ConfigError(f"{name}: this is not YAML ({error})") from None
    if not isinstance(value, dict):
        raise ConfigError(f"{name}: expected a mapping with data and methods, found {type(value).__name__}")
    return value


def is_suite(word: str) -> bool:
    """Whether a word of the command line names a suite and not data."""
    return Path(word).suffix in (".yaml", ".yml") or _builtin(word).is_file()


def _builtin(name: str) -> Traversable:
    return resources.files("equipoise.benchmark") / "suites" / f"{name}.yaml"


def _data_sets(value: Any, known: Sequence[str], over: Mapping[str, Any]) -> list[SuiteData]:
    listed = [] if isinstance(value, Mapping) else [(Path(word).stem, {"source": word}) for word in _listed(value, "data")]
    named = value.items() if isinstance(value, Mapping) else listed
    found: dict[str, SuiteData] = {}
    for name, options in named:
        options = {} if options is None else options
        if not isinstance(options, Mapping):
            raise ConfigError(f"suite: data {name}: expected options such as source and target, found {options!r}")
        for key in options:
            if key not in known:
                raise ConfigError(f"suite: data {name}: unknown option {key!r}, {suggest(key, known)}")
        if name in found:
            raise ConfigError(f"suite: two data sets are called {name!r}; give them names in a YAML file")
        own = {key: item for key, item in options.items() if key != "source"} | dict(over)
        found[name] = SuiteData(str(name), _expanded(str(options.get("source", name))), own)
    if not found:
        raise ConfigError("suite: no data are named, expected at least one set")
    return list(found.values())


def _expanded(source: str) -> str:
    words = os.path.expandvars(source)
    missing = re.search(r"\$\{?(\w+)", words)
    if missing:
        raise ConfigError(f"suite: data {source!r}: the environment variable {missing[1]} is not set")
    return words


def _listed(value: Any, name: str) -> list[Any]:
    if isinstance(value, str):
        return [word.strip() for word in value.split(",") if word.strip()]
    if not isinstance(value, Sequence):
        raise ConfigError(f"suite: {name} = {value!r} is not valid, expected a list")
    return list(value)


def _count(value: Any, name: str, low: int) -> int:
    if isinstance(value, bool) or not str(value).isdigit() or int(value) < low:
        raise ConfigError(f"option: {name} = {value!r} is not valid, expected a whole number of at least {low}")
    return int(value)
