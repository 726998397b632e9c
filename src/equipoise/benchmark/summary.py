"""From the rows of a suite to numbers: per method means, spreads, paired tests and cost; over data sets, ranks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import combinations
from math import isqrt
from statistics import mean
from typing import Any

from equipoise.evaluation.significance import (
    PairedTest,
    bayesian_signed_rank,
    corrected_paired_test,
    friedman_nemenyi,
    holm,
    mean_interval,
)

Row = Mapping[str, Any]

_Values = dict[str, dict[str, list[float]]]

COST = ("passes", "forwards", "backwards", "updates", "seconds", "parameters", "peak_memory", "trials")
"""What a run costs; see :func:`equipoise.benchmark.cost.cost`."""

_LESS_IS_BETTER = ("nll", "brier", "ece", "mse", "rmse", "mae")


@dataclass(frozen=True)
class Line:
    """What a comparison says about one method.

    Attributes:
        name: The method; with the hyper-parameters that differ, where a method stands in it more than once.
        runs: Number of runs.
        scores: Mean and standard deviation over runs (0 of a single one), by output (``fused`` and each modality) and metric.
        against: Paired tests on the fused macro-F1, by reference, with p-values adjusted for the number of methods.
        time: Mean wall time relative to the reference method; None without it.
        inert: Runs in which the method changed nothing.
        intervals: 95 % confidence intervals of the means, by output and metric, where there is more than one run.
        cost: Means over runs of what is known of :data:`COST`.
        from_best: Paired test of the fused output against the method with the best mean, the p-value adjusted for the number
            of methods; None for that method itself, and where there are no two runs to compare.
    """

    name: str
    runs: int
    scores: dict[str, dict[str, tuple[float, float]]]
    against: dict[str, PairedTest]
    time: float | None
    inert: int
    intervals: dict[str, dict[str, tuple[float, float]]] = field(default_factory=dict)
    cost: dict[str, float] = field(default_factory=dict)
    from_best: PairedTest | None = None


def lines(rows: Sequence[Row], reference: str = "joint", metric: str = "macro_f1") -> list[Line]:
    """Summarise the runs on one data set with one encoder.

    Each method is compared with the reference method and, where ``unimodal`` was run, with the modality that is best alone
    on average over all runs: a choice in favour of that reference.

    Args:
        rows: Rows of finished runs.
        reference: Name of the method to compare with.
        metric: The metric that is tested.

    Returns:
        A line per method, in the order in which methods first occur.
    """
    groups = _groups(rows)
    references = _references(groups, reference, metric)
    tests: dict[str, dict[str, PairedTest]] = {name: {} for name in groups}
    for words, scores in references.items():
        for name, test in _tests(groups, words, scores, metric).items():
            tests[name][words] = test
    best = next(iter(_best_first(groups, metric)), None)
    from_best = {} if best is None else _tests(groups, best, dict(_fused(groups[best], metric)), metric)
    base = mean(row["seconds"] for row in groups[reference]) if reference in groups else None
    found = []
    for name, group in groups.items():
        values = _values(group)
        line = Line(
            name,
            len(group),
            _scores(values),
            tests[name],
            mean(row["seconds"] for row in group) / base if base else None,
            sum(bool(row["inert"]) for row in group),
            _intervals(values, *_sizes(group[0])),
            {key: mean(row[key] for row in group) for key in COST if all(row.get(key) is not None for row in group)},
            from_best.get(name),
        )
        found.append(line)
    return found


def summarize(
    rows: Sequence[Row], reference: str = "joint", metric: str | None = None, region: float | None = None
) -> dict[str, Any]:
    """Return everything that tables, pictures and pages show of a suite, as plain data.

    Args:
        rows: Rows of all runs, those that failed among them.
        reference: Name of the method to compare with.
        metric: The metric that is tested and ranked; None takes the main metric of each data set's task.
        region: With a number, add the Bayesian signed-rank test of each pair of methods; differences up to it are none.

    Returns:
        A mapping with

        - ``metric`` (None where the data sets have different ones), ``reference``, and ``runs``, the number of finished runs;
        - ``tables``: per data set and encoder ``set``, ``encoder`` (empty where there is one), ``metric``, ``modalities``,
          ``samples`` (per part, of the first run), ``folds``, ``seeds``, and ``lines``, each a :class:`Line` as a mapping with
          ``method``, the learning ``curve`` of its first run (per epoch ``phase``, ``loss``, and the metric in validation by
          output) and ``each`` of its runs (``fold``, ``seed``, ``score``, ``passes``, ``seconds``, ``peak_memory``, ``inert``);
          and the names of the lines, ``best_first``;
        - ``best_first``: the names of all lines by their mean place in these tables;
        - ``ranking``: ``methods``, ``sets``, ``scores`` (sets x methods, mean over encoders, folds and seeds) and what
          :class:`~equipoise.evaluation.significance.Ranking` holds, ``left_out``, the methods that were not run on every data
          set, and ``bayesian`` (pairs with ``worse``, ``equal``, ``better``) where asked for; None unless two methods were run
          on two data sets;
        - ``failed``: per failed run ``set``, ``method``, ``fold``, ``seed`` and ``error``;
        - ``environment``: the different ``commit``, ``versions`` and ``hardware`` of the runs.
    """
    done, failed = [row for row in rows if "error" not in row], [row for row in rows if "error" in row]
    encoders = {id(row): row.get("options", {}).get("encoder") for row in done}
    several = len({repr(encoder) for encoder in encoders.values()}) > 1
    settings: dict[tuple[str, str], list[Row]] = {}
    for row in done:
        encoder = _words(encoders[id(row)] or "default") if several else ""
        settings.setdefault((row["set"], encoder), []).append(row)
    tables = [_table(name, encoder, group, reference, metric) for (name, encoder), group in settings.items()]
    metrics = {table["metric"] for table in tables} or {metric or "macro_f1"}
    return {
        "metric": metrics.pop() if len(metrics) == 1 else None,
        "reference": reference,
        "runs": len(done),
        "tables": tables,
        "best_first": _over_tables(tables),
        "ranking": _ranking(tables, region),
        "failed": [
            {key: row[key] for key in ("set", "fold", "seed", "error")} | {"method": row["method"]["name"]} for row in failed
        ],
        "environment": {key: _different(row.get(key) for row in done) for key in ("commit", "versions", "hardware")},
    }


def _table(name: str, encoder: str, rows: Sequence[Row], reference: str, metric: str | None) -> dict[str, Any]:
    groups = _groups(rows)
    metric = metric or next((row["metric"] for row in rows if "metric" in row), "macro_f1")
    return {
        "set": name,
        "encoder": encoder,
        "metric": metric,
        "modalities": [output for output in rows[0]["test"] if output != "fused"],
        "samples": rows[0]["samples"],
        "folds": len({row["fold"] for row in rows}),
        "seeds": len({row["seed"] for row in rows}),
        "lines": [
            {
                **vars(line),
                "against": {words: asdict(test) for words, test in line.against.items()},
                "from_best": None if line.from_best is None else asdict(line.from_best),
                "method": groups[line.name][0]["method"]["name"],
                "curve": groups[line.name][0].get("curve", []),
                "each": [_one(row, metric) for row in groups[line.name]],
            }
            for line in lines(rows, reference, metric)
        ],
        "best_first": _best_first(groups, metric),
    }


def _one(row: Row, metric: str) -> dict[str, Any]:
    known = {key: row.get(key) for key in ("fold", "seed", "passes", "seconds", "peak_memory", "inert")}
    return {**known, "score": row["test"]["fused"].get(metric)}


def _best_first(groups: Mapping[str, Sequence[Row]], metric: str) -> list[str]:
    """Order methods by their mean on the fused output, those without one last."""
    scores = {name: [score for _, score in _fused(group, metric)] for name, group in groups.items()}
    return sorted(groups, key=lambda name: (not scores[name], -_sign(metric) * mean(scores[name] or [0.0])))


def _sign(metric: str) -> int:
    """What scores are multiplied by so that more is better."""
    return -1 if metric in _LESS_IS_BETTER else 1


def _over_tables(tables: Sequence[Mapping[str, Any]]) -> list[str]:
    places: dict[str, list[float]] = {}
    for table in tables:
        for place, name in enumerate(table["best_first"]):
            places.setdefault(name, []).append(place / len(table["best_first"]))
    return sorted(places, key=lambda name: mean(places[name]))


def _ranking(tables: Sequence[Mapping[str, Any]], region: float | None) -> dict[str, Any] | None:
    """Rank the methods that were run on every data set, each data set counting once however many encoders there are."""
    scores: dict[str, dict[str, list[float]]] = {}
    signs = {table["set"]: _sign(table["metric"]) for table in tables}
    for table in tables:
        for line in table["lines"]:
            known = line["scores"].get("fused", {})
            if table["metric"] in known:
                scores.setdefault(table["set"], {}).setdefault(line["name"], []).append(known[table["metric"]][0])
    names = list(dict.fromkeys(name for known in scores.values() for name in known))
    methods = [name for name in names if all(name in known for known in scores.values())]
    if len(methods) < 2 or len(scores) < 2:
        return None
    means = [[mean(known[name]) for name in methods] for known in scores.values()]
    better = [[signs[name] * score for score in row] for name, row in zip(scores, means, strict=True)]
    found = {"methods": methods, "scores": means, **asdict(friedman_nemenyi(better)), "sets": list(scores)}
    found["left_out"] = [name for name in names if name not in methods]
    if region is not None:
        found["bayesian"] = [
            {"first": methods[i], "second": methods[j], **_compared([row[i] - row[j] for row in better], region)}
            for i, j in combinations(range(len(methods)), 2)
        ]
    return found


def _compared(differences: Sequence[float], region: float) -> dict[str, float]:
    return dict(zip(("worse", "equal", "better"), bayesian_signed_rank(differences, region=region), strict=True))


def _different(values: Iterable[Any]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        if value is not None and value not in found:
            found.append(value)
    return found


def _words(value: Any) -> str:
    """Write a component in a few words: ``mlp``, ``mlp hidden=128``."""
    if not isinstance(value, Mapping):
        return str(value)
    rest = [f"{key}={_words(item)}" for key, item in value.items() if key != "name"]
    return " ".join([*([str(value["name"])] if "name" in value else []), *rest])


def _groups(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Gather the runs of each method; its name is followed by the hyper-parameters in which runs of that name differ."""
    described = [row["method"] for row in rows]
    by_name: dict[str, list[Mapping[str, Any]]] = {}
    for method in _different(described):
        by_name.setdefault(method["name"], []).append(method)
    groups: dict[str, list[Row]] = {}
    for row, method in zip(rows, described, strict=True):
        others = by_name[method["name"]]
        differing = [key for key in method if any(other.get(key) != method[key] for other in others)]
        label = method["name"] + "".join(f" {key}={method[key]}" for key in differing)
        groups.setdefault(label, []).append(row)
    return groups


def _place(row: Row) -> tuple[int, int]:
    return row["fold"], row["seed"]


def _references(groups: Mapping[str, Sequence[Row]], reference: str, metric: str) -> dict[str, dict[tuple[int, int], float]]:
    found = {}
    if reference in groups:
        found[reference] = dict(_fused(groups[reference], metric))
    if "unimodal" in groups:
        alone = groups["unimodal"]
        known = [name for name in alone[0]["test"] if all(row["test"].get(name, {}).get(metric) is not None for row in alone)]
        modalities = [name for name in known if name != "fused"]
        if modalities:
            best = max(modalities, key=lambda name: _sign(metric) * mean(row["test"][name][metric] for row in alone))
            found[f"{best} alone"] = {_place(row): row["test"][best][metric] for row in alone}
    return found


def _sizes(row: Row) -> tuple[int, int]:
    samples = row["samples"]
    return samples["train"] + samples["validation"], samples["test"]


def _fused(group: Sequence[Row], metric: str) -> list[tuple[tuple[int, int], float]]:
    """The scores of the fused output, with their folds and seeds."""
    return [(_place(row), row["test"]["fused"][metric]) for row in group if row["test"]["fused"].get(metric) is not None]


def _tests(
    groups: Mapping[str, Sequence[Row]], words: str, scores: Mapping[tuple[int, int], float], metric: str
) -> dict[str, PairedTest]:
    """Compare all methods but the one called so with scores; p-values are adjusted for the number of methods."""
    found = {name: _test(group, scores, metric) for name, group in groups.items() if name != words}
    known = {name: test for name, test in found.items() if test is not None}
    adjusted = holm([test.p for test in known.values()])
    return {name: replace(test, p=p) for (name, test), p in zip(known.items(), adjusted, strict=True)}


def _test(group: Sequence[Row], scores: Mapping[tuple[int, int], float], metric: str) -> PairedTest | None:
    pairs = [(score, scores[place]) for place, score in _fused(group, metric) if place in scores]
    if len(pairs) < 2:
        return None
    return corrected_paired_test([pair[0] for pair in pairs], [pair[1] for pair in pairs], *_sizes(group[0]))


def _values(group: Sequence[Row]) -> _Values:
    """The values of all runs, by output and metric."""
    found: _Values = {}
    for output, metrics in group[0]["test"].items():
        for name in metrics:
            values = [row["test"][output][name] for row in group if row["test"].get(output, {}).get(name) is not None]
            if values and name != "samples":
                found.setdefault(output, {})[name] = values
    return found


def _scores(found: _Values) -> dict[str, dict[str, tuple[float, float]]]:
    return {output: {name: _mean_and_deviation(values) for name, values in metrics.items()} for output, metrics in found.items()}


def _mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    """What :func:`statistics.mean` and :func:`statistics.stdev` return, to the last bit, in a sixth of their time.

    A number is an integer over a power of two, so that over the largest of these all sums are sums of integers.
    """
    ratios = [value.as_integer_ratio() for value in values]
    count, unit = len(ratios), max(below for _, below in ratios)
    parts = [above * (unit // below) for above, below in ratios]
    total = sum(parts)
    if count == 1:
        return total / unit, 0.0
    squares = count * sum(part * part for part in parts) - total * total  # count (count - 1) unit^2 times the variance
    below = count * (count - 1)
    shift = max(0, 54 + (below.bit_length() - squares.bit_length()) // 2)  # 54 bits of the root, and one that tells of the rest
    root = isqrt((squares << 2 * shift) // below)
    exact = root * root * below == squares << 2 * shift
    return total / (count * unit), (2 * root + (not exact)) / (unit << shift + 1)


def _intervals(found: _Values, train: int, test: int) -> dict[str, dict[str, tuple[float, float]]]:
    return {
        output: {name: mean_interval(values, train, test) for name, values in metrics.items() if len(values) > 1}
        for output, metrics in found.items()
    }
