"""The numbers of a suite as LaTeX tables that need no package."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from equipoise.benchmark.tables import Summary, metric_name, set_name, tables
from equipoise.report.leaderboard import LEVEL, ties

_WORDS = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "±": r"$\pm$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "°": r"$^{\circ}$",
    "≤": r"$\le$",
    "≥": r"$\ge$",
    "µ": r"$\mu$",
    "…": r"\ldots{}",
    "\N{EN DASH}": "--",
    "\N{EM DASH}": "---",
    "\N{MINUS SIGN}": "$-$",
    "\xa0": "~",
    **{sign: f"{{{sign}}}" for sign in "[]*"},  # at the start of a row they would be read as options of the line break before
    **{sign: f"\\{sign}" for sign in "{}$&#%_"},
}


def latex(summary: Summary) -> str:
    r"""Return all tables of a suite as LaTeX: methods by data sets first, the best in bold, then those of :func:`tables`.

    Args:
        summary: What :func:`~equipoise.benchmark.summary.summarize` returns.

    Returns:
        Tables to be included by ``\input``; letters of other scripts than Latin need LuaLaTeX or XeLaTeX.
    """
    parts = [_scores(summary)] if summary["tables"] else []
    parts += [_table(table.title, table.note, _row(table.columns), map(_row, table.rows)) for table in tables(summary)]
    return "% Tables of a benchmark, for \\input. They need no package.\n\n" + "\n".join(parts)


def escaped(text: str) -> str:
    r"""Return a text as LaTeX that prints it.

    Example:
        >>> escaped("97 ± 1 %, aug max_heads=1")
        '97 $\\pm$ 1 \\%, aug max\\_heads=1'
    """
    return "".join(_WORDS.get(sign, sign) for sign in re.sub(r"[\x00-\x20\x7f]+", " ", text))


def _scores(summary: Summary) -> str:
    """Methods by data sets."""
    metric, ranking = summary["metric"], summary["ranking"]
    ranks = dict(zip(ranking["methods"], ranking["ranks"], strict=True)) if ranking else {}
    lines = [{line["name"]: line for line in item["lines"]} for item in summary["tables"]]
    rows = []
    for name in summary["best_first"]:
        cells = [escaped(name)]
        for item, known in zip(summary["tables"], lines, strict=True):
            cells.append(_score(known.get(name), metric, name == item["best_first"][0]))
        rows.append([*cells, *([f"{ranks[name]:.2f}" if name in ranks else "-"] if ranking else [])])
    heads = ["method", *map(set_name, summary["tables"]), *(["mean rank"] if ranking else [])]
    note = (
        "Bold: the best mean; a circle: not significantly worse than it (paired test over the same folds and seeds, corrected "
        f"for overlapping training sets, Nadeau-Bengio, and for the number of methods, Holm; p > {LEVEL})."
    )
    if ranking:
        note += (
            f" Mean ranks that differ by less than {ranking['critical_difference']:.2f} do not differ significantly (Nemenyi)."
        )
    return _table(
        f"{metric_name(metric)} of the fused output on the test parts, mean ± standard deviation", note, _row(heads), rows
    )


def _score(line: Summary | None, metric: str, best: bool) -> str:
    if line is None or metric not in line["scores"].get("fused", {}):
        return "-"
    average, spread = line["scores"]["fused"][metric]
    words = escaped(f"{average:.3f} ± {spread:.3f}" if line["runs"] > 1 else f"{average:.3f}")
    return rf"\textbf{{{words}}}" if best else words + (escaped("°") if ties(line) else "")


def _row(cells: Sequence[str]) -> list[str]:
    return [escaped(cell) for cell in cells]


def _table(title: str, note: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a floating table; its cells are LaTeX already, title and note are not."""
    lines = [r"\begin{table}", r"\centering", rf"\caption{{{escaped(f'{title}. {note}'.strip())}}}"]
    lines += [rf"\begin{{tabular}}{{l{'r' * (len(heads) - 1)}}}", r"\hline"]
    lines += [" & ".join(heads) + r" \\", r"\hline", *(" & ".join(row) + r" \\" for row in rows), r"\hline"]
    return "\n".join([*lines, r"\end{tabular}", r"\end{table}", ""])
