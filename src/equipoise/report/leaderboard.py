"""The sections of the page about a benchmark, in words, pictures and tables. Pure functions of its plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from equipoise.report import plots
from equipoise.report.blocks import Article, Block, Cell, Commands, Figure, Points, Section, Table, Words, cell, number
from equipoise.report.sections import METRICS
from equipoise.report.svg import Point

Data = Mapping[str, Any]

RUNS_SHOWN = 3000
"""Runs that are listed one by one; more would make a page that opens slowly."""

MANY = 12
"""Tables of more methods can be filtered."""

LEVEL = 0.05
"""Methods with larger adjusted p-values do not differ significantly."""

_FUSED = "fused"
_ALONE = "unimodal"
_NONE: Point = (None, None, None)


@dataclass(frozen=True)
class Origin:
    """Where the numbers of a benchmark come from.

    Attributes:
        title: What it is called.
        command: The command that made it, where it is known.
        left: Runs that were planned and are not done yet.
    """

    title: str
    command: str = ""
    left: int = 0


def opening(summary: Data, origin: Origin) -> list[Section]:
    """Return what is said of the whole benchmark: what was run, and which methods are ahead over all data.

    Args:
        summary: What :func:`equipoise.benchmark.summary.summarize` returned.
        origin: Where it comes from.
    """
    return [_overview(summary, origin), *([_ranks(summary)] if summary["ranking"] else [])]


def sets(summary: Data) -> list[Article]:
    """Return an article on each data set and encoder.

    Args:
        summary: What :func:`equipoise.benchmark.summary.summarize` returned.
    """
    return [_set(item, number, {**summary, "metric": item["metric"]}) for number, item in enumerate(summary["tables"], start=1)]


def closing(summary: Data, origin: Origin) -> list[Section]:
    """Return every run, and what they were run with.

    Args:
        summary: What :func:`equipoise.benchmark.summary.summarize` returned.
        origin: Where it comes from.
    """
    return [_runs(summary), _environment(summary, origin)]


def _overview(summary: Data, origin: Origin) -> Section:
    tables, metric = summary["tables"], _metric(summary)
    counts = [f"{summary['runs']} runs finished", f"{len(summary['failed'])} failed"]
    counts += [f"{origin.left} are not done yet"] if origin.left else []
    data = {item["set"] for item in tables} | {item["set"] for item in summary["failed"]}
    blocks: list[Block] = [
        Words(f"{many(len(summary['best_first']), 'method')} on {many(len(data), 'data set')}: {', '.join(counts)}.")
    ]
    if tables:
        named = [_name(item) + ("" if summary["metric"] else f", {_metric(item)}") for item in tables]
        heads = ("method", *named, *(["mean rank"] if summary["ranking"] else []))
        ranking = summary["ranking"]
        ranks = dict(zip(ranking["methods"], ranking["ranks"], strict=True)) if ranking else {}
        columns = [{line["name"]: _marked(line, item) for line in item["lines"]} for item in tables]
        scores = [
            (name, *(column.get(name, "-") for column in columns), *([_two(ranks.get(name))] if ranking else []))
            for name in summary["best_first"]
        ]
        blocks.append(_table(f"{metric} by method and data set", heads, scores, search=len(scores) > MANY))
        words = "* the best on these data; ° not significantly worse than that."
        if len(data) > 1 and not ranking:
            words += " There are no mean ranks: they need two methods that ran on every data set, and two data sets."
        blocks.append(Words(words))
        about = [
            (
                _name(item),
                *item["samples"].values(),
                ", ".join(item["modalities"]),
                item["folds"],
                item["seeds"],
                len(item["lines"]),
            )
            for item in tables
        ]
        parts = tuple(f"{part} samples" for part in tables[0]["samples"])
        blocks.append(_table("Data sets", ("data", *parts, "modalities", "folds", "seeds", "methods"), about))
    if summary["failed"]:
        blocks.append(_table("Runs that failed", ("data", "method", "fold", "seed", "error"), _failed(summary)))
    scored = metric if summary["metric"] else "the main metric of each data set"
    intro = (
        f"Scores are {scored} on the test parts, means over folds and seeds. Intervals are 95 % and tests paired over the same "
        "folds and seeds, both corrected for training sets that overlap (Nadeau-Bengio); p-values are adjusted for the number "
        f"of methods (Holm), and differences with p above {LEVEL} are not called significant."
    )
    return Section("overview", "Overview", intro, blocks)


def _failed(summary: Data) -> list[tuple[str, ...]]:
    """A row for all runs of a method on the same data that failed alike."""
    alike: dict[tuple[str, str, str], list[Data]] = {}
    for row in summary["failed"]:
        alike.setdefault((row["set"], row["method"], row["error"]), []).append(row)
    return [
        (data, method, *(", ".join(dict.fromkeys(str(row[key]) for row in rows)) for key in ("fold", "seed")), error)
        for (data, method, error), rows in alike.items()
    ]


def _ranks(summary: Data) -> Section:
    ranking = summary["ranking"]
    difference, sets = ranking["critical_difference"], len(ranking["sets"])
    title = f"Mean ranks over {sets} data sets"
    best = min(ranking["ranks"])
    rows = [
        (name, _two(rank), _two(rank - best), "yes" if rank - best > difference else "no")
        for rank, name in sorted(zip(ranking["ranks"], ranking["methods"], strict=True))
    ]
    shown = _table(title, ("method", "mean rank", "from the best", "differs from the best"), rows)
    seen = f"Methods under one bar do not differ significantly (Nemenyi, 5 %: less than {difference:.2f} apart)."
    drawn = plots.ranks(title, ranking["methods"], ranking["ranks"], difference)
    blocks: list[Block] = [Figure(title, drawn, shown, (), seen, wide=True)]
    found = "the methods are not all alike" if ranking["f_p"] <= LEVEL else "the methods may all be alike"
    tested = f"chi-squared {ranking['statistic']:.2f}, p = {ranking['p']:.3g}; as F (Iman and Davenport) {ranking['f']:.2f}, p = "
    blocks.append(Words(f"Friedman's test: {tested}{ranking['f_p']:.3g}: {found}."))
    if ranking["left_out"]:
        blocks.append(Words(f"Not ranked, as they did not run on every data set: {', '.join(ranking['left_out'])}."))
    if "bayesian" in ranking:
        pairs = [(pair["first"], pair["second"], pair["worse"], pair["equal"], pair["better"]) for pair in ranking["bayesian"]]
        heads = ("method", "against", "worse", "practically equal", "better")
        blocks.append(_table("Bayesian signed-rank test: probabilities", heads, pairs, search=len(pairs) > 30))
    intro = "Methods that ran on every data set, by their mean rank: 1 is best. Each data set counts once."
    return Section("ranks", "Critical differences", intro, blocks)


def _set(item: Data, place: int, summary: Data) -> Article:
    lines = {line["name"]: line for line in item["lines"]}
    ordered = [lines[name] for name in item["best_first"]]
    best, name = ordered[0], _name(item)
    equal = sum(ties(line) for line in ordered[1:])
    runs = {line["runs"] for line in ordered}
    made = (_scores, _modalities, _cost, _curves)
    sections = [section for make in made if (section := make(ordered, name, summary))]
    value = number(_point(best, _FUSED, summary["metric"])[0])
    also = f"; {many(equal, 'other method')} not significantly worse" if equal else ""
    facts = [f"samples: {', '.join(f'{count} {part}' for part, count in item['samples'].items())}"]
    facts.append(f"modalities: {', '.join(item['modalities'])}")
    facts.append(f"{many(item['folds'], 'fold')} x {many(item['seeds'], 'seed')}")
    if len(runs) > 1:
        facts.append(f"methods have {min(runs)} to {max(runs)} runs, so not all means are over the same folds and seeds")
    return Article(
        f"set-{place}",
        name,
        f"{name}: {best['name']} is first with {_metric(summary)} {value}{also}",
        "; ".join(facts),
        sections,
    )


def _scores(lines: Sequence[Data], data: str, summary: Data) -> Section:
    metric = summary["metric"]
    title = f"{data}: {_metric(summary)} of the fused output"
    points = [(line["name"], _point(line, _FUSED, metric)) for line in lines]
    shown = _table(f"{title}, drawn", ("method", "mean", "low", "high"), [(name, *point) for name, point in points])
    blocks: list[Block] = [Figure(title, plots.dots(title, points), shown, (), "Means over all runs with 95 % intervals.")]
    against_cost = _against_cost(lines, data, summary)
    blocks += [against_cost] if against_cost else []
    references = list(dict.fromkeys(words for line in lines for words in line["against"]))
    heads = ["method", "mean", "std", "low", "high", "from the best", "p"]
    heads += [head for words in references for head in (f"against {words}", f"p ({words})")] + ["runs", "inert"]
    rows = []
    for line in lines:
        average, spread = line["scores"].get(_FUSED, {}).get(metric, (None, None))
        tests = [line["from_best"], *(line["against"].get(words) for words in references)]
        tested = [value for test in tests for value in _tested(test)]
        rows.append(
            (
                line["name"],
                average,
                spread if line["runs"] > 1 else None,
                *_point(line, _FUSED, metric)[1:],
                *tested,
                line["runs"],
                line["inert"],
            )
        )
    blocks.append(_table(title, heads, rows, search=len(rows) > MANY))
    known = list(dict.fromkeys(name for line in lines for name in line["scores"].get(_FUSED, {})))
    values = [(line["name"], *(_point(line, _FUSED, name)[0] for name in known)) for line in lines]
    blocks.append(
        _table(
            f"{data}: all metrics of the fused output, means", ("method", *(METRICS.get(name, name) for name in known)), values
        )
    )
    intro = "What all modalities together reach on the test part, best first. Inert: runs in which a method changed nothing."
    return Section("scores", "Scores", intro, blocks)


def _modalities(lines: Sequence[Data], data: str, summary: Data) -> Section | None:
    """What each modality reaches inside each model, against a model of its own."""
    metric, blocks = summary["metric"], []
    alone = next((line for line in lines if line["method"] == _ALONE), None)
    for name in dict.fromkeys(output for line in lines for output in line["scores"] if output != _FUSED):
        mark = _NONE if alone is None else _point(alone, name, metric)
        points = [(line["name"], _point(line, name, metric)) for line in lines if line is not alone]
        title = f"{data}: {name} inside the model" + (" against alone" if alone else "")
        rows = [(label, *point, mark[0], _minus(point[0], mark[0])) for label, point in points]
        shown = _table(title, ("method", "inside", "low", "high", "alone", "inside minus alone"), rows)
        blocks.append(Figure(title, plots.dots(title, points, mark), shown))
    if not blocks:
        return None
    intro = f"{_metric(summary)} of each modality's own output inside the models, in the order of the fused scores. " + (
        "The dashed line is the modality trained alone (unimodal), the grey band its interval." if alone else ""
    )
    return Section("modalities", "Strength of each modality", intro.strip(), blocks)


def _against_cost(lines: Sequence[Data], data: str, summary: Data) -> Figure | None:
    relative = _relative(lines, summary)
    costs = relative or {line["name"]: line["cost"]["seconds"] for line in lines if "seconds" in line["cost"]}
    points = [
        (line["name"], costs[line["name"]], _point(line, _FUSED, summary["metric"])) for line in lines if line["name"] in costs
    ]
    if not points:
        return None
    across = f"passes of a run, relative to {summary['reference']}" if relative else "seconds of a run"
    title = f"{data}: {_metric(summary)} against cost"
    rows = [(name, cost, *point) for name, cost, point in points]
    shown = _table(title, ("method", across, _metric(summary), "low", "high"), rows)
    seen = ("A backward pass counts as two forward passes. " if relative else "") + "Upright lines are 95 % intervals."
    return Figure(title, plots.scatter(title, points, across), shown, (), seen, wide=True)


def _cost(lines: Sequence[Data], data: str, summary: Data) -> Section:
    reference, relative = summary["reference"], _relative(lines, summary)
    heads = (
        "method",
        "passes",
        "forward",
        "backward",
        f"relative to {reference}",
        "updates",
        "seconds",
        "time",
        "weights",
        "memory",
        "trials",
    )
    rows = []
    for line in lines:
        cost = line["cost"]
        cells = [_rounded(cost.get(name)) for name in ("passes", "forwards", "backwards")]
        cells += [_two(relative.get(line["name"]), "x"), _rounded(cost.get("updates")), _two(cost.get("seconds"))]
        cells += [_two(line["time"], "x"), _rounded(cost.get("parameters")), _mebibytes(cost.get("peak_memory"))]
        cells.append(_rounded(cost.get("trials")))
        rows.append((line["name"], *cells))
    shown = _table(f"{data}: cost of a run, mean", heads, rows, search=len(rows) > MANY)
    intro = (
        "Passes: epochs of all phases and trials. Forward and backward: in passes of joint training over the training samples, "
        "counted sample by sample, each encoder by its share of the model's work. "
        f"Time: seconds relative to {reference}, on this hardware. Memory: most of the process, or of the GPU."
    )
    return Section("cost", "Cost", intro, [shown])


def _curves(lines: Sequence[Data], data: str, summary: Data) -> Section | None:
    """The score on the validation part in each epoch of the first run of each method."""
    drawn = {line["name"]: line["curve"] for line in lines if line["curve"]}
    if not drawn:
        return None
    scored = _scored(next(iter(drawn.values()))[0])[0]
    outputs = list(dict.fromkeys(name for curve in drawn.values() for point in curve for name in _scored(point)[1]))
    cells, rows = [], []
    for name, curve in drawn.items():
        series = {output: [_scored(point)[1].get(output) for point in curve] for output in outputs}
        starts = [place for place in range(1, len(curve)) if curve[place]["phase"] != curve[place - 1]["phase"]]
        cells.append((name, series, [place + 1 for place in starts]))
        quarters = [round(share * (len(curve) - 1) / 4) for share in range(5)]
        fused = series.get(_FUSED, [])
        rows.append(
            (
                name,
                len(curve),
                *(fused[place] if fused else None for place in quarters),
                *(series[output][-1] for output in outputs if output != _FUSED),
            )
        )
    said = METRICS.get(scored, scored)
    title = f"{data}: {said} on the validation part in training"
    times = ("first", "quarter", "half", "three quarters", "last")
    heads = (
        "method",
        "epochs",
        *(f"{_FUSED}, {time}" for time in times),
        *(f"{name}, last" for name in outputs if name != _FUSED),
    )
    seen = "Dashed uprights: a new phase of training begins. Every method has its own horizontal axis."
    figure = Figure(title, plots.courses(title, cells), _table(title, heads, rows), tuple(outputs), seen)
    intro = f"{said} of each output in every epoch of the first run of each method, over the same range everywhere."
    return Section("curves", "Learning curves", intro, [figure])


def _scored(point: Data) -> tuple[str, Data]:
    """The metric that a learning curve shows, and its values by output."""
    return next(((key, value) for key, value in point.items() if isinstance(value, Mapping)), ("score", {}))


def _runs(summary: Data) -> Section:
    heads = ("data", "method", "fold", "seed", _metric(summary), "passes", "seconds", "memory", "inert")
    rows = [
        (
            _name(item),
            line["name"],
            run["fold"],
            run["seed"],
            _rounded(run["score"], digits=4),
            _rounded(run["passes"]),
            _two(run["seconds"]),
            _mebibytes(run["peak_memory"]),
            "inert" if run["inert"] else "",
        )
        for item in summary["tables"]
        for line in item["lines"]
        for run in line["each"]
    ]
    blocks: list[Block] = [_table("Runs", heads, rows[:RUNS_SHOWN], search=True)] if rows else []
    if len(rows) > RUNS_SHOWN:
        blocks.append(Words(f"The first {RUNS_SHOWN} of {len(rows)} runs."))
    return Section("runs", "Runs", "Every run that finished.", blocks)


def _environment(summary: Data, origin: Origin) -> Section:
    found = summary["environment"]
    points = [("commit", commit) for commit in found["commit"]]
    points += [
        (kind, ", ".join(f"{name} {value}" for name, value in item.items()))
        for kind in ("versions", "hardware")
        for item in found[kind]
    ]
    blocks: list[Block] = [Commands((origin.command,))] if origin.command else []
    blocks += [Points(tuple(points))] if points else []
    return Section("environment", "Command and environment", "How to get this again, and what it was measured on.", blocks)


def _name(item: Data) -> str:
    return f"{item['set']}, encoder {item['encoder']}" if item["encoder"] else str(item["set"])


def _metric(summary: Data) -> str:
    metric = summary["metric"]
    return "main metric" if metric is None else METRICS.get(str(metric), str(metric))


def _point(line: Data, output: str, metric: str) -> Point:
    """The mean of an output with its interval, as far as they are known."""
    average = line["scores"].get(output, {}).get(metric, (None,))[0]
    return (average, *line["intervals"].get(output, {}).get(metric, (None, None)))


def ties(line: Data) -> bool:
    """Whether a method is not significantly worse than the best one; False where there are no two runs to compare."""
    return line["from_best"] is not None and line["from_best"]["p"] > LEVEL


def best_score(item: Data) -> float | None:
    """Return the best mean on some data, which several methods may share."""
    best = next(line for line in item["lines"] if line["name"] == item["best_first"][0])
    return _point(best, _FUSED, item["metric"])[0]


def _tested(test: Data | None) -> tuple[Cell | str, Cell | str]:
    """A difference and its p-value."""
    return (_signed(test["difference"]), Cell(p_value(test["p"]), test["p"])) if test else ("-", "-")


def p_value(p: float) -> str:
    """Return a p-value as text.

    Example:
        >>> p_value(0.0213), p_value(1e-5)
        ('0.021', '<0.001')
    """
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _marked(line: Data, item: Data) -> Cell:
    value = _point(line, _FUSED, item["metric"])[0]
    if value is None:
        return Cell("-")
    mark = "*" if value == best_score(item) else "°" if ties(line) else ""
    return Cell(number(value) + mark, value)


def _relative(lines: Sequence[Data], summary: Data) -> dict[str, float]:
    """The passes of each method as a multiple of those of the reference; nothing where they are not known."""
    work = {line["name"]: found for line in lines if (found := _work(line)) is not None}
    base = work.get(summary["reference"])
    return {name: value / base for name, value in work.items()} if base else {}


def _work(line: Data) -> float | None:
    """Forward and backward passes as one number: a backward pass takes about as long as two forward passes."""
    cost = line["cost"]
    return cost["forwards"] + 2 * cost["backwards"] if "forwards" in cost and "backwards" in cost else None


def _table(caption: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], search: bool = False) -> Table:
    """Return a table whose numbers are sorted by six digits: a page of many methods holds tens of thousands of them."""
    cells = (tuple(map(cell, row)) for row in rows)
    short = (tuple(one if one.value is None else replace(one, value=float(f"{one.value:.6g}")) for one in row) for row in cells)
    return Table(caption, tuple(columns), tuple(short), search)


def _rounded(value: float | None, unit: str = "", digits: int = 0) -> Cell:
    return Cell("-") if value is None else Cell(f"{value:.{digits}f}{unit}", value)


def _two(value: float | None, unit: str = "") -> Cell:
    return _rounded(value, unit, 2)


def _mebibytes(value: float | None) -> Cell:
    return _rounded(None if value is None else value / 2**20, " MiB")


def _signed(value: float) -> Cell:
    return Cell(f"{value:+.3f}", value)


def _minus(value: float | None, other: float | None) -> Cell | None:
    return None if value is None or other is None else _signed(value - other)


def many(count: int, name: str) -> str:
    """Return a count with its noun.

    Example:
        >>> many(1, "method"), many(2, "method")
        ('1 method', '2 methods')
    """
    return f"{count} {name}" + ("" if count == 1 else "s")
