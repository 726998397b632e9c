"""Information fusion: both kinds against naive loops; weights come from outside and get no gradient."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from equipoise.errors import ConfigError
from equipoise.nn.fusion import build_fusion
from equipoise.nn.fusion.information import InformationFusion
from equipoise.tasks import Classification

SIZES = {"a": 3, "b": 5, "c": 2}
SHARES = {"a": 0.6, "b": 0.3, "c": 0.1}
ROWS, CLASSES = 6, 4


def make(kind: str, **options: object) -> InformationFusion:
    fusion = build_fusion({"name": "information", "kind": kind, **options}, SIZES, Classification(CLASSES))
    assert isinstance(fusion, InformationFusion)
    return fusion


def samples() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    random = torch.Generator().manual_seed(0)
    features = {name: torch.randn(ROWS, size, generator=random) for name, size in SIZES.items()}
    present = {name: torch.rand(ROWS, generator=random) < 0.6 for name in SIZES}
    present["b"] |= ~torch.stack(list(present.values())).any(0)
    return features, present


def test_concat_is_an_mlp_on_gated_features() -> None:
    fusion = make("concat", dropout=0.0, hidden=7)
    fusion.set_weights(SHARES)
    assert isinstance(fusion.mlp, nn.Sequential)
    first, last = fusion.mlp[0], fusion.mlp[-1]
    features, present = samples()
    found = fusion(features, present)
    for row in range(ROWS):
        gated = [3 * SHARES[name] * features[name][row] * float(present[name][row]) for name in SIZES]
        hidden = torch.nn.functional.elu(first.weight @ torch.cat(gated) + first.bias)
        torch.testing.assert_close(found[row], last.weight @ hidden + last.bias)
    assert first.weight.shape == (7, 10)


def test_logit_is_the_weighted_mean_of_log_probabilities_of_what_is_there() -> None:
    fusion = make("logit")
    fusion.set_weights(SHARES)
    features, present = samples()
    found = fusion(features, present)
    for row in range(ROWS):
        have = [name for name in SIZES if bool(present[name][row])]
        said = sum(SHARES[name] * fusion.heads[name](features[name][row]).log_softmax(-1) for name in have)
        torch.testing.assert_close(found[row], said / sum(SHARES[name] for name in have))


@pytest.mark.parametrize("kind", ["logit", "concat"])
def test_equal_weights_at_first_and_no_gradient_through_them(kind: str) -> None:
    fusion = make(kind)
    assert fusion.weights.tolist() == pytest.approx([1 / 3] * 3)
    assert "weights" not in dict(fusion.named_parameters())
    assert "weights" in fusion.state_dict()
    features, _ = samples()
    fusion.eval()
    before = fusion(features, {})
    fusion.set_weights(SHARES)
    assert not torch.allclose(fusion(features, {}), before)
    assert {name: value.shape for name, value in fusion.contributions(features, {}).items()} == dict.fromkeys(
        SIZES, (ROWS, CLASSES)
    )


@pytest.mark.parametrize("kind", ["logit", "concat"])
def test_coalitions_are_fusions_of_their_members(kind: str) -> None:
    fusion = make(kind).eval()
    features, present = samples()
    members = torch.tensor([[True, False, False], [True, False, True], [True, True, True]])
    found = fusion.coalitions(features, present, members)
    for row, chosen in enumerate(members.tolist()):
        names = [name for name, member in zip(SIZES, chosen, strict=True) if member]
        alone = fusion({name: features[name] for name in names}, {name: present[name] for name in names})
        torch.testing.assert_close(found[row], alone)


def test_the_mlp_follows_from_its_seed_and_goes_with_its_kind() -> None:
    fusion = make("logit")
    assert fusion.mlp is None
    state = torch.get_rng_state()
    starts = []
    for seed in (1, 1, 2):
        fusion.use("concat", seed)
        starts.append(next(fusion.mlp.parameters()).detach().clone())  # type: ignore[union-attr]
    assert torch.equal(starts[0], starts[1])
    assert not torch.equal(starts[0], starts[2])
    assert torch.equal(torch.get_rng_state(), state)
    fusion.use("logit", 1)
    assert not any("mlp" in name for name in fusion.state_dict())


@pytest.mark.parametrize(
    ("options", "message"),
    [({"kind": "nonsense"}, "kind = 'nonsense'"), ({"hidden": 0}, "hidden = 0"), ({"dropout": 1.0}, "dropout = 1.0")],
)
def test_what_does_not_fit_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=f"fusion information: {message}"):
        make(**{"kind": "concat", **options})
