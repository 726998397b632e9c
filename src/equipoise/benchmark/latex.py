"""The numbers of a suite as LaTeX tables for a paper."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from math import ceil
from typing import TypeVar

from equipoise.benchmark.tables import Summary, about_spread, has_spread, metric_name, set_name, tables, uneven
from equipoise.report.leaderboard import LEVEL, best_score, ties

_T = TypeVar("_T")
_Part = tuple[str, list[str]]
"""A table's caption and the lines of its body."""

_HEADER = r"""% Tables of a benchmark, for \input. They need in the preamble:
%   \usepackage{booktabs}  % rules
%   \usepackage{graphicx}  % tables wider than the text are shrunk to it
%   \usepackage[T1]{fontenc}  % accents of names
% In two columns of text, table* in place of table takes the width of both. Other letters than Latin ones need LuaLaTeX or
% XeLaTeX, and a font that has them.
"""

_ROWS, _LETTERS = 45, 105
"""Rows, and letters across, of a table that a page holds in small print; one that is larger is cut up."""

_PENDING = 15
"""Tables after which those that wait for a place are printed: LaTeX stops with an error where too many wait."""

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
    "²": r"$^{2}$",
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

    A table of more rows or columns than a page holds is cut up. Each has a label, ``tab:leaderboard-1`` and so on.

    Args:
        summary: What :func:`~equipoise.benchmark.summary.summarize` returns.

    Returns:
        Tables to be included by ``\input``, and before them, as a comment, the packages that they need.
    """
    parts = list(_scores(summary)) if summary["tables"] else []
    for table in tables(summary):
        parts += _parts(table.title, table.note, _row(table.columns), list(map(_row, table.rows)))
    floats = []
    for number, (caption, body) in enumerate(parts, start=1):
        label = rf"\label{{tab:leaderboard-{number}}}\par\smallskip"
        floats.append("\n".join([r"\begin{table}[htbp]", r"\centering", caption, label, *body, r"\end{table}", ""]))
        if number % _PENDING == 0:
            floats.append("\\clearpage\n")
    return _HEADER + "\n" + "\n".join(floats)


def escaped(text: str) -> str:
    r"""Return a text as LaTeX that prints it.

    Example:
        >>> escaped("97 ± 1 %, aug max_heads=1, -3")
        '97 $\\pm$ 1 \\%, aug max\\_heads=1, $-$3'
    """
    minus = re.sub(r"(?<![\w.])-(?=\d)", "\N{MINUS SIGN}", re.sub(r"[\x00-\x20\x7f]+", " ", text))
    return "".join(_WORDS.get(sign, sign) for sign in minus)


def _scores(summary: Summary) -> Iterator[_Part]:
    """Methods by data sets."""
    ranking = summary["ranking"]
    ranks = dict(zip(ranking["methods"], ranking["ranks"], strict=True)) if ranking else {}
    everything = [line for item in summary["tables"] for line in item["lines"]]
    columns = []
    for item in summary["tables"]:
        best = best_score(item)
        columns.append({line["name"]: _score(line, item["metric"], best) for line in item["lines"]})
    rows = []
    for name in summary["best_first"]:
        cells = [escaped(name), *(column.get(name, "-") for column in columns)]
        rows.append([*cells, *([f"{ranks[name]:.2f}" if name in ranks else "-"] if ranking else [])])
    mixed = summary["metric"] is None
    heads = [f"{set_name(item)} ({metric_name(item['metric'])})" if mixed else set_name(item) for item in summary["tables"]]
    heads = ["method", *heads, *(["mean rank"] if ranking else [])]
    note = "Bold: the best mean"
    if any(line["from_best"] for line in everything):
        note += (
            "; a circle: not significantly worse than it (paired test over the same folds and seeds, corrected for overlapping "
            f"training sets, Nadeau-Bengio, and for the number of methods, Holm; p > {LEVEL})"
        )
    note += "." + uneven(everything)
    if ranking:
        note += (
            f" Mean ranks that differ by less than {ranking['critical_difference']:.2f} do not differ significantly (Nemenyi)."
        )
    title = f"{metric_name(summary['metric'])} of the fused output on the test parts{about_spread(everything)}"
    yield from _parts(title, note, _row(heads), rows)


def _score(line: Summary, metric: str, best: float | None) -> str:
    if metric not in line["scores"].get("fused", {}):
        return "-"
    average, spread = line["scores"]["fused"][metric]
    words = escaped(f"{average:.3f} ± {spread:.3f}" if has_spread(line, "fused", metric) else f"{average:.3f}")
    if average == best:
        return rf"\textbf{{{words}}}"
    return words + (rf"\rlap{{{escaped('°')}}}" if ties(line) else "")  # it takes no room, so that digits stay aligned


def _row(cells: Sequence[str]) -> list[str]:
    return [escaped(cell) for cell in cells]


def _parts(title: str, note: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[_Part]:
    """Yield tables that fit a page; their cells are LaTeX already, title and note are not."""
    widths = [2 + max(map(_letters, column)) for column in zip(heads, *rows, strict=True)]
    room = max(_LETTERS - widths[0], _LETTERS // 2)
    across = _even(range(1, len(heads)), ceil(sum(widths[1:]) / room))
    parts = [(columns, some) for columns in across for some in _even(rows, ceil(len(rows) / _ROWS))]
    for number, (columns, some) in enumerate(parts, start=1):
        which = f" (part {number} of {len(parts)})" if len(parts) > 1 else ""
        lines = [" & ".join(cells[place] for place in (0, *columns)) + r" \\" for cells in (heads, *some)]
        body = [r"\footnotesize\setlength{\tabcolsep}{4pt}", r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"]
        body += [rf"\begin{{tabular}}{{l{'r' * len(columns)}}}", r"\toprule", lines[0], r"\midrule", *lines[1:], r"\bottomrule"]
        body += [r"\end{tabular}}", *([rf"\par\smallskip\parbox{{\linewidth}}{{{escaped(note)}}}"] if note else [])]
        yield rf"\caption{{{escaped(f'{title}{which}.')}}}", body


def _even(things: Sequence[_T], parts: int) -> list[Sequence[_T]]:
    return [things[len(things) * part // parts : len(things) * (part + 1) // parts] for part in range(parts)]


def _letters(cell: str) -> int:
    """About how many letters wide a cell is."""
    return len(re.sub(r"\\rlap\{.*?\}\}|\\[a-zA-Z]+|[{}$\\^]", "", cell))
