"""Every registered fusion, with one to four modalities: absent ones have no say, parts add up, coalitions cost one pass."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import pytest
import torch
from torch import Tensor

from equipoise.errors import ConfigError
from equipoise.nn.fusion import FUSIONS, AdditiveFusion, Fusion, build_fusion
from equipoise.nn.fusion.late import LogitFusion
from equipoise.seeding import forked
from equipoise.tasks import Classification
from tests.contract.harness import CLASSES, NAMES

ROWS, WIDTH = 7, 8
ADDITIVE = ["concat", "sum"]


def make(name: str, count: int) -> Fusion:
    with forked(0):
        return build_fusion({"name": name}, dict.fromkeys(NAMES[:count], WIDTH), Classification(CLASSES))


def features_of(count: int) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(count)
    return {name: torch.randn(ROWS, WIDTH, generator=random) for name in NAMES[:count]}


def presence(count: int) -> dict[str, Tensor]:
    """Each sample has at least one modality; some modality is missing in some sample unless there is only one."""
    random = torch.Generator().manual_seed(10 + count)
    mask = torch.rand(ROWS, count, generator=random) < 0.6
    mask[:, 0] |= ~mask.any(1)
    return {name: mask[:, place] for place, name in enumerate(NAMES[:count])}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", FUSIONS.names())
    if "count" in metafunc.fixturenames:
        metafunc.parametrize("count", [1, 2, 3, 4])


def test_logits_have_their_shape_and_depend_on_every_modality(name: str, count: int) -> None:
    fusion, features = make(name, count), features_of(count)
    for value in features.values():
        value.requires_grad_()
    logits = fusion(features, {})
    assert logits.shape == (ROWS, CLASSES)
    logits.square().sum().backward()
    for key, value in features.items():
        assert value.grad is not None
        assert bool((value.grad != 0).any(1).all()), key
    gradients = [item.grad for item in fusion.parameters() if item.grad is not None]
    assert any(bool((gradient != 0).any()) for gradient in gradients)
    assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients)


def test_an_absent_modality_is_like_one_that_was_never_there(name: str, count: int) -> None:
    """Masked sample by sample or left out of the features: the logits are those of the modalities that are there."""
    fusion, features, present = make(name, count), features_of(count), presence(count)
    logits = fusion(features, present)
    for row in range(ROWS):
        alone = {key: value[row : row + 1] for key, value in features.items() if bool(present[key][row])}
        torch.testing.assert_close(fusion(alone, {})[0], logits[row], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("placeholder", [1e6, -1e6])
def test_features_of_absent_samples_have_no_say(name: str, count: int, placeholder: float) -> None:
    features, present = features_of(count), presence(count)
    found = []
    for value in (0.0, placeholder):
        fusion = make(name, count)
        filled = {
            key: torch.where(present[key][:, None], item, torch.tensor(value)).requires_grad_() for key, item in features.items()
        }
        logits = fusion(filled, present)
        (logits.square().sum() + sum(item.square().sum() for item in fusion.contributions(filled, present).values())).backward()
        found.append((logits, filled, fusion))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-6, atol=1e-6)
    for key, item in found[1][1].items():
        assert item.grad is not None
        assert bool((item.grad[~present[key]] == 0).all())
        torch.testing.assert_close(item.grad, found[0][1][key].grad, rtol=1e-5, atol=1e-6)
    for first, second in zip(found[0][2].parameters(), found[1][2].parameters(), strict=True):
        torch.testing.assert_close(first.grad, second.grad, rtol=1e-5, atol=1e-5)


def test_order_of_features_does_not_matter(name: str, count: int) -> None:
    fusion, features, present = make(name, count), features_of(count), presence(count)
    turned = dict(reversed(features.items()))
    torch.testing.assert_close(fusion(turned, present), fusion(features, present), rtol=1e-5, atol=1e-6)
    first, second = fusion.contributions(features, present), fusion.contributions(turned, present)
    assert list(second) == list(turned)
    for key, value in first.items():
        torch.testing.assert_close(second[key], value, rtol=1e-5, atol=1e-6)


def test_contributions_are_zero_where_the_modality_is_absent(name: str, count: int) -> None:
    fusion, features, present = make(name, count), features_of(count), presence(count)
    found = fusion.contributions(features, present)
    assert list(found) == list(features)
    for key, value in found.items():
        assert value.shape == (ROWS, CLASSES)
        assert bool((value[~present[key]] == 0).all())
        assert bool((value[present[key]] != 0).any(1).all())


@pytest.mark.parametrize("missing", [False, True])
def test_known_contributions_give_the_same_logits(name: str, count: int, missing: bool) -> None:
    fusion, features = make(name, count), features_of(count)
    present = presence(count) if missing else {}
    known = fusion.contributions(features, present)
    torch.testing.assert_close(fusion.fuse(features, present, lambda: known), fusion(features, present))
    some = {NAMES[0]: features[NAMES[0]]}
    mask = {key: value for key, value in present.items() if key in some}
    torch.testing.assert_close(fusion.fuse(some, mask, lambda: fusion.contributions(some, mask)), fusion(some, mask))


def test_contributions_are_the_fusion_of_the_modality_alone(name: str, count: int) -> None:
    """Unless the fusion has a better answer: an exact split, or heads of the modalities' own."""
    fusion, features, present = make(name, count), features_of(count), presence(count)
    if type(fusion).contributions is not Fusion.contributions:
        pytest.skip("it has an answer of its own")
    for key, value in fusion.contributions(features, present).items():
        torch.testing.assert_close(value[present[key]], fusion({key: features[key]}, {})[present[key]], rtol=1e-5, atol=1e-6)


def test_concat_shares_its_bias_among_present_modalities(count: int) -> None:
    fusion, features, present = make("concat", count), features_of(count), presence(count)
    weight, bias = fusion.linear.weight, fusion.linear.bias
    for row in range(ROWS):
        have = [key for key in features if bool(present[key][row])]
        for place, key in enumerate(features):
            naive = features[key][row] @ weight[:, place * WIDTH : (place + 1) * WIDTH].T + bias / len(have)
            found = fusion.contributions(features, present)[key][row]
            torch.testing.assert_close(found, naive if key in have else torch.zeros(CLASSES), rtol=1e-5, atol=1e-6)


def test_weights_of_samples_are_shares(name: str, count: int) -> None:
    fusion, features, present = make(name, count), features_of(count), presence(count)
    found = fusion.sample_weights(features, present)
    if found is None:
        pytest.skip("it weighs no modalities")
    have = torch.stack([present[key] for key in fusion.names])
    assert found.shape == (count, ROWS)
    assert bool((found[~have] == 0).all())
    assert bool((found[have] > 0).all())
    torch.testing.assert_close(found.sum(0), torch.ones(ROWS))


@pytest.mark.parametrize("additive", ADDITIVE)
@pytest.mark.parametrize("missing", [False, True])
def test_contributions_of_linear_fusions_sum_to_the_logits(additive: str, count: int, missing: bool) -> None:
    fusion, features = make(additive, count), features_of(count)
    present = presence(count) if missing else {}
    total = torch.stack(list(fusion.contributions(features, present).values())).sum(0)
    torch.testing.assert_close(total, fusion(features, present), rtol=1e-5, atol=1e-6)
    some = {key: features[key] for key in list(features)[: max(1, count - 1)]}  # a coalition
    have = {key: mask for key, mask in present.items() if key in some}
    rows = torch.stack([have.get(key, torch.ones(ROWS, dtype=torch.bool)) for key in some]).any(0)
    total = torch.stack(list(fusion.contributions(some, have).values())).sum(0)
    torch.testing.assert_close(total[rows], fusion(some, have)[rows], rtol=1e-5, atol=1e-6)


def test_linear_fusions_of_unequal_widths() -> None:
    """The split of one block at a time equals that of all blocks at once."""
    sizes = {"alpha": 3, "beta": 5}
    features = {key: torch.randn(ROWS, size) for key, size in sizes.items()}
    for additive in ADDITIVE:
        fusion = build_fusion({"name": additive}, sizes, Classification(CLASSES))
        assert isinstance(fusion, AdditiveFusion)
        total = torch.stack(list(fusion.contributions(features, {}).values())).sum(0)
        torch.testing.assert_close(total, fusion(features, {}), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("missing", [False, True])
def test_coalitions_equal_a_loop_over_subsets(name: str, count: int, missing: bool) -> None:
    fusion, features = make(name, count), features_of(count)
    present = presence(count) if missing else {}
    members = torch.tensor([row for row in product([False, True], repeat=count) if any(row)])
    found = fusion.coalitions(features, present, members)
    assert found.shape == (2**count - 1, ROWS, CLASSES)
    for row, logits in zip(members.tolist(), found, strict=True):
        chosen = {key: features[key] for key, member in zip(NAMES, row, strict=False) if member}
        masks = {key: mask for key, mask in present.items() if key in chosen}
        torch.testing.assert_close(logits, fusion(chosen, masks), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found[-1], fusion(features, present), rtol=1e-6, atol=1e-6)


def test_half_precision_takes_features_of_mixed_types(name: str, count: int) -> None:
    """A modality that no sample of a batch has gives features of full precision beside those of half precision."""
    fusion, features = make(name, count), features_of(count)
    mixed = {key: value.bfloat16() if place else value * 0 for place, (key, value) in enumerate(features.items())}
    present = {NAMES[0]: torch.zeros(ROWS, dtype=torch.bool)} if count > 1 else {}
    with torch.autocast("cpu", torch.bfloat16):
        logits = fusion(mixed, present)
        alone = fusion.contributions(mixed, present)
    assert bool(torch.isfinite(logits).all())
    full = fusion({key: value.float() for key, value in mixed.items()}, present)
    torch.testing.assert_close(logits.float(), full, rtol=0.05, atol=0.05)
    assert all(bool(torch.isfinite(value).all()) for value in alone.values())


def test_a_sample_without_any_modality_gives_no_nan(name: str, count: int) -> None:
    fusion, features = make(name, count), features_of(count)
    nothing = {key: torch.zeros(ROWS, dtype=torch.bool) for key in features}
    logits = fusion(features, nothing)
    assert bool(torch.isfinite(logits).all())
    logits.sum().backward()
    assert all(bool(torch.isfinite(item.grad).all()) for item in fusion.parameters() if item.grad is not None)


def test_logit_weights() -> None:
    fusion = make("logit", 3)
    assert isinstance(fusion, LogitFusion)
    features, present = features_of(3), presence(3)
    shares = {"alpha": 1.0, "beta": 3.0, "gamma": 0.5}
    fusion.set_weights(shares)
    logits = fusion(features, present)
    for row in range(ROWS):
        have = [key for key in features if bool(present[key][row])]
        said = [shares[key] * fusion.heads[key](features[key][row]).log_softmax(0) for key in have]
        torch.testing.assert_close(logits[row], torch.stack(said).sum(0) / sum(shares[key] for key in have), rtol=1e-5, atol=1e-6)
    for wrong in ({"alpha": 1.0}, {**shares, "beta": -1.0}, dict.fromkeys(shares, 0.0), {**shares, "more": 1.0}):
        with pytest.raises(ConfigError, match="weights"):
            fusion.set_weights(wrong)


@pytest.mark.parametrize(
    ("description", "words"),
    [
        ({"name": "concatt"}, "did you mean 'concat'"),
        ({"name": "gated", "hiden": 4}, "did you mean 'hidden'"),
        ({"name": "gated", "hidden": 0}, "hidden = 0"),
        ({"name": "film", "hidden": 0}, "hidden = 0"),
        ({"name": "gated", "hidden": "wide"}, "expected a value like 64"),
        ({"name": "gated", "hidden": True}, "expected a value like 64"),
        ({"name": "attention", "heads": 3}, "must divide"),
    ],
)
def test_what_does_not_fit_is_refused(description: Mapping[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build_fusion(description, {"a": 4, "b": 4}, Classification(2))


def test_a_shared_head_needs_one_width() -> None:
    with pytest.raises(ConfigError, match="one width in all modalities, found a 4, b 5"):
        build_fusion({"name": "entropy_gate"}, {"a": 4, "b": 5}, Classification(2))
