"""LaTeX tables have the right numbers in the right number of columns, and no character that LaTeX would take for a command."""

from __future__ import annotations

import re
from itertools import accumulate

import pytest

from equipoise.benchmark.latex import escaped, latex
from equipoise.benchmark.summary import summarize
from equipoise.benchmark.tables import tables
from tests.benchmark.test_tables import failed, row, rows


def tabulars(text: str) -> list[list[list[str]]]:
    """The cells of all tables; refuses one whose rows are not as long as its columns are many."""
    found = []
    for columns, body in re.findall(r"\\begin\{tabular\}\{(l[lr]*)\}\n(.*?)\\end\{tabular\}", text, re.DOTALL):
        lines = [line for line in body.splitlines() if line not in (r"\toprule", r"\midrule", r"\bottomrule")]
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
    assert first[2] == ["joint", *[r"0.720 $\pm$ 0.028\rlap{$^{\circ}$}"] * 2, "2.00"]


def test_equal_means_are_all_bold_and_a_single_run_has_no_spread() -> None:
    single = [{**item, "test": {"fused": {"macro_f1": 0.5}}} for item in rows() if item["fold"] == 0]
    text = latex(summarize(single))
    assert [cells[1] for cells in tabulars(text)[0][1:]] == [r"\textbf{0.500}"] * 3
    assert "circle" not in text
    assert "standard deviation" not in text
    assert "pm$" not in text


def test_what_is_too_large_for_a_page_is_cut_up_and_nothing_is_lost() -> None:
    names, sets = [f"method_number_{place}" for place in range(100)], [f"data_set_of_some_length_{place}" for place in range(9)]
    single = row("x", "joint", 0)
    many = [{**single, "set": data, "method": {"name": name}} for data in sets for name in names]
    text = latex(summarize(many))
    cut = [cells for cells in tabulars(text) if cells[0][1].startswith("data")]
    assert max(map(len, cut)) <= 1 + 45
    assert max(sum(max(map(len, column)) for column in zip(*cells, strict=True)) for cells in cut) < 160
    shown = {(line[0], head): value for cells in cut for line in cells[1:] for head, value in zip(cells[0], line, strict=True)}
    heads = {escaped(name) for name in [*sets, "method", "mean rank"]}
    assert set(shown) == {(escaped(name), head) for name in names for head in heads}
    assert f"(part {len(cut)} of {len(cut)})" in text
    labels = re.findall(r"\\label\{(.*?)\}", text)
    assert len(set(labels)) == len(labels) == text.count(r"\begin{table}")


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
        ("-0.5 +3 [-1, 2-1] 1e-05", r"$-$0.5 +3 {[}$-$1, 2-1{]} 1e-05"),
        ("R² 3\N{EN DASH}4", "R$^{2}$ 3--4"),
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
    body = text.split("\n\n", 1)[1].replace("{!}{%", "{!}{")
    bare = re.sub(r"\\(?:[a-zA-Z]+(?:\{\})?|[{}$&#%_\\])", "", body)
    assert not re.search(r"[#%~^_]", bare.replace("$^{}$", "").replace("$^{", ""))
    for part in body.split(r"\end{table}"):
        depths = list(accumulate({"{": 1, "}": -1}.get(sign, 0) for sign in re.sub(r"\\[{}]|\\\\", "", part)))
        assert min(depths) == depths[-1] == 0
    for line in text.splitlines():
        assert not re.match(r"\s*[\[*]", line)


def test_nothing_finished() -> None:
    assert "tabular" not in latex(summarize([failed()]))
