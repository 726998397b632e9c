"""The page says what the JSON says, in valid HTML that loads nothing and lets no name of the user's be markup."""

from __future__ import annotations

import copy
import json
import shlex
from typing import Any

import numpy as np
import pytest

import equipoise
from equipoise.cli.main import _parser
from equipoise.cli.options import gather, separate
from equipoise.config import FitConfig
from equipoise.report.page import render
from equipoise.report.sections import EPOCHS_SHOWN, METRICS
from tests.diagnosis.conftest import QUICK
from tests.report.conftest import SCRIPT, Page


def shown(estimate: dict[str, float]) -> str:
    return f"{estimate['value']:.3f} ({estimate['low']:.3f} to {estimate['high']:.3f})"


def value(number: float | None) -> str:
    return "-" if number is None else f"{number:.3f}"


def test_the_verdict_stands_first(page: Page, found: dict[str, Any]) -> None:
    verdict = found["verdict"]
    assert f"ogm: {verdict['headline']}" in page.text
    assert page.text.index(verdict["text"]) < page.text.index("Capacity gaps", page.text.index("State of each modality"))
    assert [row[:2] for row in page.cells("State of each modality")] == [
        [item["modality"], item["state"]] for item in found["capacity"]
    ]


def test_findings_stand_with_evidence_and_what_to_do(found: dict[str, Any]) -> None:
    estimate = {"value": 0.25, "low": 0.125, "high": 0.5}
    ill = copy.deepcopy(found)
    evidence = [{"modality": "m1", "words": "score that its encoder lost", "estimate": estimate}]
    finding = {"kind": "starved", "modalities": ["m1"], "evidence": evidence, "methods": [["aug", "more classifiers"]]}
    ill["verdict"] |= {"headline": "starved: m1", "findings": [finding], "unclear": evidence}
    page = Page(render([ill]))
    assert page.cells("Evidence: starved") == [["m1", "score that its encoder lost", "0.250 (0.125 to 0.500)"]]
    assert page.cells("Too few samples to decide") == page.cells("Evidence: starved")
    assert "aug" in page.text
    assert "more classifiers" in page.text
    assert "equipoise fit DATA --method aug" in page.text


def test_metrics(page: Page, found: dict[str, Any]) -> None:
    assert page.cells("Metrics on the test part") == [
        [name, str(item["samples"]), *(value(item["metrics"][key]) for key in METRICS)] for name, item in found["outputs"].items()
    ]
    whole = [item["metrics"]["accuracy"] for item in found["outputs"].values()]
    assert page.values("Metrics on the test part", 2) == whole  # not rounded


def test_capacity(page: Page, found: dict[str, Any]) -> None:
    for words, keys in {
        "own output": ("alone", "inside", "gap"),
        "linear probe": ("alone_probe", "inside_probe", "encoder_gap"),
    }.items():
        assert page.cells(f"Alone and inside the model, by {words}") == [
            [item["modality"], *(shown(item[key]) for key in keys), item["state"]] for item in found["capacity"]
        ]


def test_coalitions(page: Page, found: dict[str, Any]) -> None:
    ways = found["coalitions"]
    assert page.cells("Shapley value of each modality") == [
        [name, *(shown(ways[way]["shapley"][name]) for way in ways), shown(ways["mask"]["removal"][name])]
        for name in found["data"]["modalities"]
    ]
    rows = {name: (score, loss) for name, score, loss in page.cells("Score of coalitions, the others absent by mask")}
    assert rows == {
        " + ".join(item["modalities"]): (shown(item["score"]), value(item["loss"])) for item in ways["mask"]["scores"]
    }
    assert page.cells("Shapley interaction of pairs") == [
        [one, two, shown(estimate)] for one, two, estimate in ways["mask"]["interactions"]
    ]


def test_information(page: Page, found: dict[str, Any]) -> None:
    told = found["information"]
    rows = page.cells("Information of each output about the class, in nats")
    assert [row[:3] for row in rows] == [
        [name, shown(item["budget"]), value(item["neighbours"])]
        for name, item in {"fused": told["fused"], **told["modalities"]}.items()
    ]
    keys = ("redundant", "unique_first", "unique_second", "synergistic")
    assert page.cells("What pairs tell: said twice, by one alone, or only together (nats)") == [
        [f"{pair['first']}, {pair['second']}", way, *(value(parts[key]) for key in keys)]
        for pair in told["pairs"]
        for way, parts in pair["parts"].items()
    ]


def test_learning_curves(page: Page, found: dict[str, Any]) -> None:
    course = found["dynamics"]
    names = {name.partition(".")[0] for name in course["coefficients"]}
    assert names
    for name in names:
        members = [key for key in course["coefficients"] if key.partition(".")[0] == name]
        caption = f"Coefficient of the method: {name}"
        for column, key in enumerate(members, start=3):
            for row, expected in zip(page.tables[caption][1:], course["coefficients"][key], strict=True):
                assert float(row[column][0]) == pytest.approx(expected, abs=5e-4)
    assert [row[1:3] for row in page.cells("Loss in training")] == [
        [phase, str(epoch)] for phase, epoch in zip(course["phases"], course["epochs"], strict=True)
    ]


def test_long_training_is_thinned_in_tables_alone(found: dict[str, Any]) -> None:
    long = copy.deepcopy(found)
    rates = [1 / (1 + place) for place in range(1000)]
    long["dynamics"] = {
        "phases": ["train"] * 1000,
        "epochs": list(range(1, 1001)),
        "losses": {"fused": rates},
        "validation": {},
        "coefficients": {},
        "learning_rate": rates,
        "gradients": {},
    }
    page = Page(render([long]))
    rows = page.cells("Loss in training")
    assert len(rows) <= EPOCHS_SHOWN + 1
    assert rows[-1][2] == "1000"
    assert "one in 17 of the epochs" in page.text


def test_confusion_and_classes(page: Page, found: dict[str, Any]) -> None:
    for name, item in found["outputs"].items():
        rows = page.cells(f"Confusion of {name}")
        assert [[int(count) for count in row[1:]] for row in rows] == item["confusion"]
    outputs = list(found["outputs"].values())
    assert page.cells("Classes: the fused output, and each modality's own") == [
        [row["class"], str(row["support"]), value(row["precision"]), value(row["recall"])]
        + [value(item["classes"][place]["f1"]) for item in outputs]
        for place, row in enumerate(outputs[0]["classes"])
    ]


def test_calibration_and_robustness(page: Page, found: dict[str, Any]) -> None:
    for name, item in found["calibration"].items():
        bins = zip(item["confidence"], item["accuracy"], item["samples"], strict=True)
        assert page.cells(f"Reliability of {name}") == [
            [value(sure), value(right), str(count)] for sure, right, count in bins if count
        ]
    noise = [item for item in found["robustness"] if item["kind"] == "noise"]
    assert [row[1:] for row in page.cells("Score when one modality gets noisy")] == [
        [shown(item["scores"][level]) for item in noise] for level in range(len(noise[0]["levels"]))
    ]


def test_samples(page: Page, found: dict[str, Any]) -> None:
    rows = page.cells("Samples of most disagreement")
    told = found["samples"]["samples"]
    assert [row[:3] for row in rows] == [[item["id"], item["label"], item["predicted"]] for item in told]
    assert page.values("Samples of most disagreement", 6) == [item["disagreement"] for item in told]
    assert any("absent" in row for row in rows)
    modalities = found["data"]["modalities"]
    for place, name in enumerate(modalities):
        assert page.values("Samples of most disagreement", 7 + len(modalities) + place) == [
            item["contributions"][name] for item in told
        ]


def test_data_and_configuration(page: Page, found: dict[str, Any]) -> None:
    facts = dict(page.cells("Data and split"))
    assert facts["fingerprint"] == found["data"]["fingerprint"]
    assert facts["samples for train"] == str(found["data"]["samples"]["train"])
    options = dict(page.cells("Options"))
    assert options.keys() == found["run"]["options"].keys()
    assert json.loads(options["epochs"]) == 3
    assert dict(page.cells("Versions and machine"))["torch"] == found["run"]["versions"]["torch"]


def test_names_stay_text(text: str, page: Page) -> None:
    assert SCRIPT not in text
    assert SCRIPT in page.text
    assert "<img src=x onerror=alert(2)>" in page.text
    assert page.names("img") == []
    assert len(page.names("script")) == 1
    assert any(SCRIPT in row[0] for row in page.cells("Confusion of fused"))


def test_modalities_stay_text(found: dict[str, Any]) -> None:
    page = Page(render([json.loads(json.dumps(found).replace('"m1"', json.dumps("\"'><script>alert(3)</script>")))]))
    assert len(page.names("script")) == 1
    assert page.cells("State of each modality")[1][0] == "\"'><script>alert(3)</script>"
    assert not [given for _, given in page.elements if any(name.startswith("on") for name in given)]


def test_nothing_is_loaded(text: str, page: Page) -> None:
    assert "http" not in text.replace("http-equiv", "")
    assert "url(" not in text
    assert "@import" not in text
    assert [given for _, given in page.elements if "src" in given] == []
    links = {given["href"] or "" for _, given in page.elements if "href" in given} - {"data:,"}
    names = [given["id"] for _, given in page.elements if "id" in given]
    assert len(names) == len(set(names))
    assert {link.removeprefix("#") for link in links} <= set(names)
    assert len(text) < 500_000


def test_each_picture_has_words_and_a_table(page: Page) -> None:
    pictures = page.names("svg")
    assert len(pictures) == len(page.names("figure")) > 20
    assert all(given["role"] == "img" and given["aria-label"] for given in pictures)
    assert len([path for path, _ in page.elements if path[-3:] == ("details", "div", "table")]) == len(pictures)
    labels = [given.get("aria-labelledby") for given in page.names("section")]
    assert len(labels) == 12
    assert {given.get("id") for given in page.names("h3")} == set(labels)
    assert all(given.get("scope") in ("row", "col") for given in page.names("th"))


def test_one_modality_and_no_log() -> None:
    rng = np.random.default_rng(0)
    data, target = {"only": rng.standard_normal((80, 3)).astype(np.float32)}, rng.integers(0, 2, 80)
    run = equipoise.fit(data, target=target, epochs=1, **QUICK)
    found = equipoise.diagnose(run, data, target=target, progress=False).to_json()
    page = Page(render([found | {"dynamics": None}]))
    assert [row[0] for row in page.cells("State of each modality")] == ["only"]
    assert "Learning curves" in Page(render([found])).text
    assert "Learning curves" not in page.text
    assert "Shapley interaction of pairs" not in page.tables


def test_many_modalities_and_classes_stay_small() -> None:
    rng = np.random.default_rng(0)
    data = {f"modality_{number}": rng.standard_normal((400, 3)).astype(np.float32) for number in range(7)}
    target = np.arange(400) % 40
    run = equipoise.fit(data, target=target, epochs=1, **QUICK)
    text = render([equipoise.diagnose(run, data, target=target, progress=False).to_json()])
    assert len(text) < 3_000_000
    page = Page(text)
    assert "105 coalitions between one modality and all but one are left out here" not in page.text
    assert "112 coalitions between one modality and all but one are left out here" in page.text
    assert len(page.cells("Score of coalitions, the others absent by mask")) == 15
    assert "Confusion of fused: the most frequent mistakes" in page.tables


def test_runs_side_by_side(found: dict[str, Any]) -> None:
    other = copy.deepcopy(found)
    other["run"]["method"] = {"name": "joint"}
    other["data"]["split_hash"] = "another"
    other["capacity"] = other["capacity"][:1]
    text = render([found, other])
    assert "3 runs" not in text
    assert "2 runs side by side" in text
    assert "The runs differ in their data or split" in text
    assert text.count("<article") == 2
    rows = [line for line in text.splitlines() if '<th scope="row">joint</th>' in line]
    assert rows
    assert "The runs differ in their data or split" not in render([found, found])
    folder = "ogm (" + found["run"]["folder"].replace("<", "&lt;").replace(">", "&gt;") + ")"
    assert folder in render([found, found])


def test_the_command_trains_the_same_again(found: dict[str, Any]) -> None:
    given = {
        "method": {"name": "ogm", "alpha": 0.75},
        "encoder": {"m0": {"name": "mlp", "hidden": 32}, "m1": "linear"},
        "epochs": 7,
        "learning_rate": 0.01,
        "standardize": False,
        "patience": None,
        "target": "the class",
    }
    options = FitConfig.from_options(given).to_options()
    other = copy.deepcopy(found)
    other["run"] |= {"options": options, "folder": "runs/a b"}
    page = Page(render([other]))
    (line,) = [line for line in page.text.splitlines() if line.startswith("equipoise fit") and "runs/a b" in line]
    words, apart = separate(shlex.split(line)[1:])
    arguments, unknown = _parser()[0].parse_known_args(words)
    assert (arguments.data, arguments.out) == ("DATA", "runs/a b")
    found_again = FitConfig.from_options(gather(arguments, [*unknown, *apart])).to_options()
    # the numbers of components are read later, by the component
    words_of_components = {
        "method": {"name": "ogm", "alpha": "0.75"},
        "encoder": {"m0": {"name": "mlp", "hidden": "32"}, "m1": "linear"},
    }
    assert found_again == options | words_of_components
