"""LaTeX tables have the right numbers in the right number of columns, and no character that LaTeX would take for a command."""

from __future__ import annotations

import re

import pytest

from equipoise.benchmark.latex import escaped, latex
from equipoise.benchmark.summary import summarize
from equipoise.benchmark.tables import tables
from tests.benchmark.test_tables import failed, row, rows


def tabulars(text: str) -> list[list[list[str]]]:
    """The cells of all tables; refuses one whose rows are not as long as its columns are many."""
    found = []
    for columns, body in re.findall(r"\\begin\{tabular\}\{(l[lr]*)\}\n(.*?)\\end\{tabular\}", text, re.DOTALL):
        lines = [line for line in body.splitlines() if line != r"\hline"]
        assert all(line.endswith(r" \\") for line in lines)
        cells = [re.split(r"(?<!\\) ?& ?", line.removesuffix(r" \\")) for line in lines]
        assert {len(line) for line in cells} == {len(columns)}
        found.append(cells)
    return found


def test_the_best_is_bold_and_its_equals_are_marked() -> None:
    summary = summarize(rows())
    first = tabulars(latex(summary))[0]
    assert first[0] == ["method", "x", "y", "mean rank"]
    assert first[1] == ["late", r"\textbf{0.765 $\pm$ 0.021}", r"\textbf{0.765 $\pm$ 0.021}", "1.00"]
    lines = {line["name"]: line for line in summary["tables"][0]["lines"]}
    assert {lines[cells[0]]["from_best"]["p"] > 0.05 for cells in first[2:]} == {True}
    assert first[2] == ["joint", *[r"0.720 $\pm$ 0.028$^{\circ}$"] * 2, "2.00"]


def test_one_that_is_worse_is_not_marked() -> None:
    shift = {"late": 0.0, "joint": 0.001, "unimodal": -0.3}
    close = [
        {**row("x", name, 0), "fold": fold, "test": {"fused": {"macro_f1": 0.7 + fold / 50 + shift[name] * (1 + 0.01 * fold)}}}
        for name in ("joint", "late")
        for fold in range(3)
    ]
    worse = [{**item, "method": {"name": "far"}, "test": {"fused": {"macro_f1": 0.3 + item["fold"] / 49}}} for item in close[:3]]
    cells = {line[0]: line[1] for line in tabulars(latex(summarize(close + worse)))[0]}
    assert cells["joint"].startswith(r"\textbf{0.721")
    assert cells["far"] == r"0.320 $\pm$ 0.020"


def test_all_tables_are_there_whole() -> None:
    summary = summarize([*rows(), failed()])
    text = latex(summary)
    found = tabulars(text)
    assert len(found) == 1 + len(tables(summary)) == text.count(r"\begin{table}") == text.count(r"\end{table}")
    for cells, table in zip(found[1:], tables(summary), strict=True):
        assert len(cells) == 1 + len(table.rows)
    assert found[3][2][1:4] == ["10", "10", "20"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a_b & 5 % of #1 {x} $2", r"a\_b \& 5 \% of \#1 \{x\} \$2"),
        ("\\input{/etc}~^", r"\textbackslash{}input\{/etc\}\textasciitilde{}\textasciicircum{}"),
        ("[1] *", "{[}1{]} {*}"),
        ("1 ± 2 ° … <|>", r"1 $\pm$ 2 $^{\circ}$ \ldots{} \textless{}\textbar{}\textgreater{}"),
        ("two\n\nlines\t\x00", "two lines "),
        ("Ströbel", "Ströbel"),
    ],
)
def test_escaping(text: str, expected: str) -> None:
    assert escaped(text) == expected


def test_names_cannot_break_a_table() -> None:
    evil = r"[a]_&%\\#{$~^ *" + "\n"
    named = [{**item, "set": evil, "method": {"name": evil + item["method"]["name"]}} for item in rows(("x",))]
    text = latex(summarize(named))
    assert len(tabulars(text)) == 4
    bare = re.sub(r"\\(?:[a-zA-Z]+(?:\{\})?|[{}$&#%_\\])", "", text.split("\n", 1)[1])
    assert not re.search(r"[#%~^_]", bare.replace("$^{}$", "").replace("$^{", ""))
    for line in text.splitlines():
        kept = re.sub(r"\\[{}]|\\\\", "", line)
        assert kept.count("{") == kept.count("}")
        assert not re.match(r"\s*[\[*]", line)


def test_nothing_finished() -> None:
    assert "tabular" not in latex(summarize([failed()]))
