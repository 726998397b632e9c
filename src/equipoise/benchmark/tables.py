"""The numbers of a suite as tables: for the terminal, as Markdown, and as one CSV file."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from equipoise.files import write_bytes
from equipoise.report.leaderboard import many, p_value

LEADERBOARD, MARKDOWN = "leaderboard.csv", "leaderboard.md"

Summary = Mapping[str, Any]
"""What :func:`equipoise.benchmark.summary.summarize` returns, or one of its ``tables`` or ``lines``."""

_NAMES = {
    "r2": "R²",
    "macro_f1": "macro-F1",
    "balanced_accuracy": "balanced accuracy",
    "auroc": "AUROC",
    "nll": "NLL",
    "ece": "ECE",
}


@dataclass
class Table:
    """Text under column heads.

    Attributes:
        title: What the numbers are.
        columns: Column heads.
        rows: The cells.
        note: What a reader must know to judge them.
    """

    title: str
    columns: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    note: str = ""

    def markdown(self) -> str:
        """Return the table as Markdown."""
        rule = ["---", *["---:"] * (len(self.columns) - 1)]
        rows = [[cell.replace("|", "\\|") for cell in cells] for cells in (self.columns, rule, *self.rows)]
        cells = "\n".join(f"| {' | '.join(row)} |" for row in rows)
        return f"## {self.title}\n\n{cells}\n" + (f"\n{self.note}\n" if self.note else "")


def tables(summary: Summary) -> list[Table]:
    """Return the tables of a suite: three for each data set and encoder, and one of ranks over data sets.

    Args:
        summary: What :func:`~equipoise.benchmark.summary.summarize` returns.
    """
    found = []
    for item in summary["tables"]:
        found += [_scores(item), _modalities(item), _cost(item, summary["reference"])]
    return found + ([_ranking(summary["ranking"])] if summary["ranking"] else [])


def write_tables(summary: Summary, folder: Path, title: str, facts: Sequence[str]) -> None:
    """Write ``leaderboard.csv`` and ``leaderboard.md``.

    Args:
        summary: What :func:`~equipoise.benchmark.summary.summarize` returns.
        folder: Where to.
        title: The heading.
        facts: Lines on where the numbers come from.

    Raises:
        RunError: A file cannot be written.
    """
    parts = [f"# {title}\n", *(table.markdown() for table in tables(summary))]
    parts.append("\n".join(f"- {line}" for line in (*facts, *_environment(summary), *failures(summary))) + "\n")
    write_bytes(folder / MARKDOWN, "\n".join(parts).encode())
    write_bytes(folder / LEADERBOARD, leaderboard(summary).encode())


def leaderboard(summary: Summary) -> str:
    """Return one CSV row per data set, encoder and method, with all numbers in full.

    Args:
        summary: What :func:`~equipoise.benchmark.summary.summarize` returns.
    """
    rows = []
    for table in summary["tables"]:
        for line in table["lines"]:
            row: dict[str, Any] = {"set": table["set"], "encoder": table["encoder"], "method": line["name"], "runs": line["runs"]}
            for output, metrics in line["scores"].items():
                for metric, (average, spread) in metrics.items():
                    low, high = line["intervals"].get(output, {}).get(metric, ("", ""))
                    place = f"{output}.{metric}"
                    known = spread if has_spread(line, output, metric) else ""
                    row |= {place: average, f"{place}.std": known, f"{place}.low": low, f"{place}.high": high}
            for reference, test in line["against"].items():
                row |= {f"against {reference}.{key}": value for key, value in test.items()}
            rows.append({**row, "time": line["time"], "inert": line["inert"], **line["cost"]})
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def failures(summary: Summary) -> list[str]:
    """Return a sentence on each run that failed; one for all runs of a method on the same data that failed alike."""
    alike: dict[tuple[str, str, str], list[Summary]] = {}
    for row in summary["failed"]:
        alike.setdefault((row["method"], row["set"], row["error"]), []).append(row)
    found = []
    for (method, data, error), rows in alike.items():
        count = f"{len(rows)} runs, the first with " if len(rows) > 1 else ""
        found.append(f"failed: {method} on {data}, {count}fold {rows[0]['fold']}, seed {rows[0]['seed']}: {error}")
    return found


def metric_name(metric: str | None) -> str:
    """Return how tables call a metric; None stands for that of each data set."""
    return "main metric" if metric is None else _NAMES.get(metric, metric)


def set_name(table: Summary) -> str:
    """Return how a table of a data set and an encoder is called."""
    encoder = f", encoder {table['encoder']}" if table["encoder"] else ""
    return f"{table['set']}{encoder}"


def has_spread(line: Summary, output: str, metric: str) -> bool:
    """Whether there is more than one run of a method, so that their values differ from each other."""
    return metric in line["intervals"].get(output, {})


def about_spread(lines: Sequence[Summary]) -> str:
    """Return what a title says of numbers that are means of runs; nothing where each is of a single one."""
    return ", mean ± standard deviation" if any(line["runs"] > 1 for line in lines) else ""


def uneven(lines: Sequence[Summary]) -> str:
    """Return a sentence where methods were not run equally often; nothing where they were."""
    runs = {line["runs"] for line in lines}
    if len(runs) == 1:
        return ""
    return f" Methods have {min(runs)} to {max(runs)} runs: not all means are over the same folds and seeds."


def _scores(table: Summary) -> Table:
    """How good the fused output is, and against what."""
    metric, lines = table["metric"], table["lines"]
    references = dict.fromkeys(words for line in table["lines"] for words in line["against"])
    known = {item for line in table["lines"] for item in line["scores"].get("fused", {})}
    shown = [item for item in dict.fromkeys(("accuracy", metric)) if item in known or item == metric]
    name = _NAMES.get(metric, metric)
    several = any(line["runs"] > 1 for line in lines)
    heads = ["method", *(_NAMES.get(item, item) for item in shown), *(["95 %"] if several else [])]
    heads += [*(f"against {words}" for words in references), "runs"]
    found = Table(f"{set_name(table)}: fused output on the test parts{about_spread(lines)}, %", heads)
    for line in lines:
        low, high = line["intervals"].get("fused", {}).get(metric, (None, None))
        cells = [percent(line, "fused", item) for item in shown]
        if several:
            cells.append("" if low is None else f"{100 * low:.1f}\N{EN DASH}{100 * high:.1f}")
        for words in references:
            test = line["against"].get(words)
            cells.append("" if test is None else f"{100 * test['difference']:+.1f} {_chance(test['p'])}")
        inert = f" (inert in {line['inert']})" if line["inert"] else ""
        found.rows.append([line["name"] + inert, *cells, str(line["runs"])])
    over = f"{many(table['folds'], 'fold')} and {many(table['seeds'], 'seed')}"
    if several:
        found.note = f"95 %: confidence interval of the mean {name} over {over}." + uneven(lines)
    else:
        found.note = f"One run of each method ({over}): no spread, interval or test is known."
    if references:
        found.note += (
            f" against: difference of the {name} in points; p by the paired test. Interval and test are corrected for "
            "overlapping training sets (Nadeau-Bengio), p-values for the number of methods (Holm)."
        )
    return found


def _chance(p: float) -> str:
    words = p_value(p)
    return f"p{words}" if words.startswith("<") else f"p={words}"


def _modalities(table: Summary) -> Table:
    """What each modality says inside each model; alone, it is the line of the method unimodal."""
    names, metric = table["modalities"], table["metric"]
    found = Table(f"{set_name(table)}: {_NAMES.get(metric, metric)} of each modality inside the model, %", ["method", *names])
    found.rows += [[line["name"], *(percent(line, name, metric) for name in names)] for line in table["lines"]]
    return found


def _cost(table: Summary, reference: str) -> Table:
    """What a run costs."""
    heads = ["method", "passes", "forward", "backward", "seconds", "time", "weights", "memory", "trials"]
    found = Table(f"{set_name(table)}: cost of a run, mean", heads)
    for line in table["lines"]:
        cost = line["cost"]
        cells = [f"{cost[name]:.0f}" if name in cost else "-" for name in ("passes", "forwards", "backwards")]
        cells.append(f"{cost['seconds']:.1f}" if "seconds" in cost else "-")
        cells.append("-" if line["time"] is None else f"{line['time']:.2f}x")
        cells.append(f"{cost['parameters']:.0f}" if "parameters" in cost else "-")
        cells.append(f"{cost['peak_memory'] / 2**20:.0f} MiB" if "peak_memory" in cost else "-")
        cells.append(f"{cost['trials']:.0f}" if "trials" in cost else "-")
        found.rows.append([line["name"], *cells])
    found.note = (
        "passes: epochs of all phases and trials. forward, backward: in passes of joint training over the training samples, "
        "counted sample by sample, each encoder by its share of the model's work. "
        f"time: relative to {reference}. memory: most of the process, or of the GPU."
    )
    return found


def _ranking(ranking: Summary) -> Table:
    """The methods by mean rank over the data sets."""
    best = min(ranking["ranks"])
    found = Table(f"mean ranks over {len(ranking['sets'])} data sets", ["method", "mean rank", "from the best", "differs"])
    for rank, name in sorted(zip(ranking["ranks"], ranking["methods"], strict=True)):
        differs = "yes" if rank - best > ranking["critical_difference"] else "no"
        found.rows.append([name, f"{rank:.2f}", f"{rank - best:.2f}", differs])
    found.note = (
        f"Friedman: chi-squared {ranking['statistic']:.2f}, p = {ranking['p']:.3g}; F {ranking['f']:.2f}, p = "
        f"{ranking['f_p']:.3g} (Iman-Davenport). Mean ranks that differ by less than {ranking['critical_difference']:.2f} do not "
        "differ significantly (Nemenyi, 5 %)."
    )
    if ranking["left_out"]:
        found.note += f" Not ranked, as not run on every data set: {', '.join(ranking['left_out'])}."
    for pair in ranking.get("bayesian", ()):
        found.note += (
            f" {pair['first']} against {pair['second']}: worse {pair['worse']:.2f}, equal {pair['equal']:.2f}, "
            f"better {pair['better']:.2f} (Bayesian signed-rank)."
        )
    return found


def _environment(summary: Summary) -> list[str]:
    found = summary["environment"]
    versions = [", ".join(f"{name} {value}" for name, value in item.items()) for item in found["versions"]]
    hardware = [", ".join(f"{name} {value}" for name, value in item.items()) for item in found["hardware"]]
    words = {"commit": found["commit"], "versions": versions, "hardware": hardware}
    return [f"{name}: {'; '.join(values)}" for name, values in words.items() if values]


def percent(line: Summary, output: str, metric: str) -> str:
    """Return mean and, of several runs, standard deviation of a metric, in percent; a dash where it is not known."""
    if metric not in line["scores"].get(output, {}):
        return "-"
    average, spread = line["scores"][output][metric]
    return f"{100 * average:.1f}" + (f" ± {100 * spread:.1f}" if has_spread(line, output, metric) else "")
