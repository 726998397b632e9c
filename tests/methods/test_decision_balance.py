"""Training is joint training; the decision layer is what the validation part says, and corrects a bias of the head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from equipoise.data.loader import MemoryPart
from equipoise.functional.decision import class_abilities, class_weights, decision_bias, logit_shares, temperatures
from equipoise.methods.base import make_method
from equipoise.nn.fusion.decision import DecisionFusion
from equipoise.nn.multimodal import MultimodalModel
from equipoise.tasks import Classification
from tests.contract.harness import NAMES, predict, toy_part, train_toy
from tests.methods.helpers import make_batch, make_context


def test_training_is_that_of_one_head_on_all_features() -> None:
    """Between the epochs the decision layer is set back, and then its probabilities are those of the sum of the heads."""
    settings = {"train": toy_part(signal=1.0, missing=0.2), "optimizer": "sgd", "learning_rate": 0.05}
    balanced, plain = train_toy("decision_balance", **settings), train_toy("joint", fusion="sum", **settings)
    for mine, theirs in zip(balanced.epochs, plain.epochs, strict=True):
        for key, value in theirs.items():
            torch.testing.assert_close(mine[key], value, rtol=1e-4, atol=1e-5)
    assert balanced.epochs[-1]["fusion.weights"].std() > 0


def test_the_decision_layer_is_what_the_validation_part_says() -> None:
    validation = toy_part(60, 1, signal=1.5, missing=0.3)
    run = train_toy("decision_balance", {"exponent": 2.0}, train=toy_part(signal=1.5, missing=0.3), validation=validation)
    fusion = run.ctx.model.fusion
    assert isinstance(fusion, DecisionFusion)
    assert validation.target is not None
    run.ctx.model.eval()
    with torch.no_grad():
        outputs = run.ctx.model(make_batch(validation.inputs, validation.target, validation.present))
    logits = torch.stack([outputs.unimodal[name] for name in NAMES[:3]])
    present = torch.stack([validation.present[name] for name in NAMES[:3]])
    expected = class_weights(class_abilities(logits, validation.target, present), 2.0)
    torch.testing.assert_close(fusion.weights, expected)
    torch.testing.assert_close(fusion.temperatures, temperatures(logits, validation.target, present).float(), rtol=1e-4, atol=0)


def half_blind(samples: int, seed: int) -> MemoryPart:
    """Four classes; ``loud`` tells the first two apart and guesses between the others, ``quiet`` the other way round."""
    random = torch.Generator().manual_seed(seed)
    target = torch.arange(samples) % 4
    inputs = {}
    for name, seen in (("loud", (0, 1)), ("quiet", (2, 3))):
        known = (target == seen[0]) | (target == seen[1])
        guess = (target // 2) * 2 + torch.randint(0, 2, (samples,), generator=random)
        shown = torch.where(known, target, guess)
        inputs[name] = 3.0 * torch.eye(4)[shown] + torch.randn(samples, 4, generator=random)
    return MemoryPart(inputs, {name: torch.ones(samples, dtype=torch.bool) for name in inputs}, target)


def hits(logits: Tensor, part: MemoryPart) -> Tensor:
    """Recall of each class."""
    assert part.target is not None
    return torch.stack([(logits.argmax(1) == c)[part.target == c].float().mean() for c in range(4)])


def test_who_recognises_a_class_decides_it_whatever_its_scale() -> None:
    """The paper's claim: with good encoders a head is biased towards the modality of larger features, also where it is blind."""
    validation, new = half_blind(400, 1), half_blind(400, 2)
    model = MultimodalModel(
        {name: nn.Identity() for name in ("loud", "quiet")},
        DecisionFusion({"loud": 4, "quiet": 4}, Classification(4)),
    )
    assert isinstance(model.fusion, DecisionFusion)
    for name, scale in (("loud", 5.0), ("quiet", 1.0)):
        head = model.fusion.heads[name]
        assert isinstance(head, nn.Linear)
        nn.init.zeros_(head.bias)
        with torch.no_grad():
            head.weight.copy_(scale * torch.eye(4))
    method = make_method({"name": "decision_balance"})
    ctx = make_context(model, method, half_blind(40, 0), validation)
    method.on_epoch_start(ctx)
    before = hits(predict(model, new), new)

    terms = torch.stack([scale * new.inputs[name] for name, scale in (("loud", 5.0), ("quiet", 1.0))])
    assert new.target is not None
    shares, abilities = logit_shares(terms), class_abilities(terms, new.target)
    assert decision_bias(shares, abilities).tolist() == [False, False, True, True]

    method.on_epoch_end(ctx)
    after = hits(predict(model, new), new)
    log = ctx.take_log()
    assert log["biased_classes"] == 0.5
    assert log["share.loud"] > 0.7
    assert log["temperature.loud"] > 3 * log["temperature.quiet"]
    assert (after[2:] > before[2:] + 0.1).all()
    assert after.mean() > before.mean() + 0.05
    weights = dict(zip(model.fusion.names, model.fusion.weights, strict=True))
    assert (weights["loud"] > weights["quiet"]).tolist() == [True, True, False, False]
