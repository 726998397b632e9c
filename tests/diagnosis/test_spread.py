"""The spread over runs: means and deviations of what diagnoses say, per method and data."""

from __future__ import annotations

import copy
import statistics
from typing import Any

import pytest

import equipoise
from equipoise.diagnosis.spread import CAPACITY, WHOLE, spreads
from equipoise.report.page import render
from tests.diagnosis.conftest import QUICK


@pytest.fixture(scope="module")
def several() -> list[dict[str, Any]]:
    """The same method with three seeds, and another method."""
    found = []
    for method, seed in (("joint", 0), ("ogm", 0), ("joint", 1), ("joint", 2)):
        run = equipoise.fit("wisconsin", method=method, epochs=1, seed=seed, **QUICK)
        found.append(equipoise.diagnose(run, "wisconsin", alone=None, progress=False).to_json())
    return found


def test_runs_of_a_method_are_gathered(several: list[dict[str, Any]]) -> None:
    (one,) = spreads(several)
    runs = [several[0], several[2], several[3]]
    assert (one.method, one.data, one.runs, one.seeds, one.splits) == ("joint", "wisconsin", 3, (0, 1, 2), 1)
    for place, modality in enumerate(("mean", "error", "worst")):
        for name in CAPACITY:
            values = [run["capacity"][place][name]["value"] for run in runs]
            assert one.values[modality][name].mean == pytest.approx(sum(values) / 3)
            assert one.values[modality][name].deviation == pytest.approx(statistics.stdev(values))
            assert (one.values[modality][name].low, one.values[modality][name].high) == (min(values), max(values))
        shapley = [run["coalitions"]["mask"]["shapley"][modality]["value"] for run in runs]
        assert one.values[modality]["shapley"].mean == pytest.approx(sum(shapley) / 3)
        assert sum(one.states[modality].values()) == 3
    assert set(one.values[WHOLE]) == {"balanced_accuracy", "macro_f1", "deviation"}
    assert sum(one.verdicts.values()) == 3


def test_other_settings_and_other_data_stay_apart(several: list[dict[str, Any]]) -> None:
    other = copy.deepcopy(several[2])
    other["run"]["method"]["strength"] = 2.0
    assert spreads([several[0], other]) == []
    other = copy.deepcopy(several[2])
    other["data"]["fingerprint"] = "another"
    assert spreads([several[0], other]) == []
    other = copy.deepcopy(several[2])
    other["data"]["split_hash"] = "another"
    assert spreads([several[0], other])[0].splits == 2


def test_a_page_of_several_runs_shows_it(several: list[dict[str, Any]]) -> None:
    text = render(several)
    one = spreads(several)[0].values["worst"]["encoder_gap"]
    assert "joint on wisconsin: mean ± standard deviation over 3 runs on one split" in text
    assert f"{one.mean:.3f} ± {one.deviation:.3f}" in text
    assert "standard deviation over" not in render(several[:2])
