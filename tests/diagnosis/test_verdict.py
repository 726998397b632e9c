"""The rules, on numbers made for each of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from equipoise.diagnosis.capacity import Capacity, state_of
from equipoise.diagnosis.coalitions import Contributions
from equipoise.diagnosis.dynamics import Dynamics
from equipoise.diagnosis.generalisation import Generalisation
from equipoise.diagnosis.material import Estimate
from equipoise.diagnosis.verdict import REMEDIES, Verdict, judge
from equipoise.methods.base import METHODS

CHANCE = 0.5
NAMES = ("sound", "image")
FINE = Generalisation(0.9, Estimate(0.88, 0.8, 0.95), 0.3, 0.4, Estimate(-0.29, -0.35, -0.2), 0.69)


def near(value: float, reach: float = 0.02) -> Estimate:
    """A number with a narrow interval."""
    return Estimate(value, value - reach, value + reach)


def capacity(name: str, alone: float = 0.9, gap: Estimate | None = None, reach: float = 0.02) -> Capacity:
    """A modality of some ability alone whose encoder lost something."""
    gap = gap or near(0.0)
    score, inside = near(alone, reach), near(alone - gap.value, reach)
    return Capacity(name, 100, score, score, inside, inside, gap, gap, {}, state_of(gap, alone, CHANCE))


def contributions(**removal: Estimate) -> Contributions:
    """What is lost without each modality; by default much."""
    lost = {name: removal.get(name, near(0.1)) for name in NAMES}
    return Contributions((), lost, (), lost, near(0.2), None)


def verdict(
    *capacities: Capacity,
    lost: Contributions | None = None,
    new: dict[str, Generalisation] | None = None,
    dynamics: Dynamics | None = None,
) -> Verdict:
    fit = dict.fromkeys(("fused", *NAMES), FINE) | (new or {})
    return judge(capacities or [capacity(name) for name in NAMES], lost or contributions(), fit, CHANCE, dynamics)


def gradients(*cosines: float | None) -> Dynamics:
    """A log of the cosines of one modality."""
    return Dynamics((), (), {}, {}, {}, (), {"image": {"cosine": cosines}})


def test_balanced() -> None:
    found = verdict()
    assert found.headline == "balanced"
    assert found.findings == found.unclear == ()


def test_starved() -> None:
    found = verdict(capacity("sound"), capacity("image", gap=near(0.1)))
    assert found.headline == "starved: image"
    (finding,) = found.findings
    assert finding.evidence[0].estimate == near(0.1)
    assert finding.methods == REMEDIES["starved"]
    assert "image" in found.text
    assert "0.100 (95 %: 0.080 to 0.120)" in found.text
    assert "joint_unimodal" in found.text


def test_too_few_samples_are_no_verdict() -> None:
    found = verdict(capacity("sound"), capacity("image", gap=Estimate(0.1, -0.1, 0.3)))
    assert found.headline == "balanced"
    assert [item.modality for item in found.unclear] == ["image"]
    assert "Too few samples" in found.text


def test_over_fed_is_said_and_is_no_fault() -> None:
    found = verdict(capacity("sound"), capacity("image", gap=near(-0.1)))
    assert found.headline == "balanced"
    assert "Learned more inside than alone: image" in found.text


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        (near(0.51), "at chance"),
        (near(0.4), "at chance"),
        (near(0.53), "balanced"),  # tells a little
        (near(0.55, 0.1), "balanced"),  # may tell much: too few samples
    ],
)
def test_a_model_that_knows_nothing_is_not_balanced(score: Estimate, expected: str) -> None:
    found = verdict(new={"fused": replace(FINE, score=score)})
    assert found.headline == expected
    assert ("look at data, encoders and learning rate" in found.text) == (expected == "at chance")


def test_numbers_are_introduced_by_the_finding_only_where_there_are_several() -> None:
    one = verdict(capacity("sound"), capacity("image", gap=near(0.1)))
    assert one.text.startswith("Starved: image. By these numbers: image: ")
    two = verdict(capacity("sound"), capacity("image", gap=near(0.1)), lost=contributions(image=near(-0.1)))
    assert "Starved by these numbers: image: " in two.text
    assert "Conflicting by these numbers: image: " in two.text


def test_uninformative() -> None:
    nothing = contributions(image=near(0.0))
    found = verdict(capacity("sound"), capacity("image", alone=0.51), lost=nothing)
    assert found.headline == "uninformative: image"


@pytest.mark.parametrize(
    ("image", "lost"),
    [
        (capacity("image", alone=0.51), contributions(image=near(0.1))),  # known only together with the other
        (capacity("image", alone=0.55), contributions(image=near(0.0))),  # tells a little
        (capacity("image", alone=0.55, reach=0.1), contributions(image=near(0.0))),  # may tell much: too few samples
    ],
)
def test_informative_or_not_known_not_to_be(image: Capacity, lost: Contributions) -> None:
    assert verdict(capacity("sound"), image, lost=lost).headline == "balanced"


def test_what_tells_nothing_cannot_starve() -> None:
    starving = replace(capacity("image", alone=0.51), state="starved")
    assert verdict(capacity("sound"), starving, lost=contributions(image=near(0.0))).headline == "uninformative: image"


def test_conflicting() -> None:
    found = verdict(lost=contributions(image=near(-0.05)))
    assert found.headline == "conflicting"
    assert found.findings[0].modalities == ("image",)
    assert verdict(lost=contributions(image=near(-0.005, 0.001))).headline == "balanced"
    assert verdict(lost=contributions(image=Estimate(-0.05, -0.2, 0.1))).headline == "balanced"


def test_conflicting_gradients() -> None:
    assert verdict(dynamics=gradients(-0.5, None, -0.4, -0.6, -0.5, -0.4)).headline == "conflicting"
    assert verdict(dynamics=gradients(-0.5, 0.5, -0.4, 0.6, -0.1)).headline == "balanced"
    assert verdict(dynamics=gradients(-0.5, -0.4, -0.6, -0.5, None)).headline == "balanced"  # too few


def test_one_modality_conflicts_with_nobody() -> None:
    assert verdict(capacity("image"), lost=contributions(image=near(-0.05))).headline == "balanced"


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, "over-fitted: image"),
        ({"train_loss": 0.8}, "balanced"),  # never learned
        ({"excess": Estimate(0.3, -0.1, 0.7)}, "balanced"),  # perhaps no worse than the frequencies
        ({"score": Estimate(0.9, 0.8, 1.0)}, "balanced"),  # wrong about how sure it is, not about the class
    ],
)
def test_over_fitted(changed: dict[str, object], expected: str) -> None:
    bad = Generalisation(0.99, Estimate(0.6, 0.5, 0.7), 0.1, 1.0, Estimate(0.31, 0.1, 0.5), 0.69)
    assert verdict(new={"image": replace(bad, **changed)}).headline == expected  # type: ignore[arg-type]


def test_several_findings_stand_beside_each_other() -> None:
    found = verdict(capacity("sound", gap=near(0.1)), capacity("image", gap=near(0.2)), lost=contributions(image=near(-0.1)))
    assert found.headline == "starved: sound, image; conflicting"
    assert [finding.kind for finding in found.findings] == ["starved", "conflicting"]


def test_every_remedy_is_a_method() -> None:
    assert {name for remedies in REMEDIES.values() for name, _ in remedies} <= set(METHODS.names())
    assert all(REMEDIES[kind] for kind in ("starved", "conflicting", "uninformative", "over-fitted"))
