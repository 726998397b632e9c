"""Every method copes with a frozen encoder: it stays as it is, and what is left learns."""

from __future__ import annotations

from torch import nn

from equipoise.methods.base import make_method
from equipoise.nn.multimodal import MultimodalModel, build_model
from equipoise.tasks import Classification
from tests.contract.harness import CLASSES, FEATURE_SIZE, NAMES, assert_same, brisk, train_toy, weights

SHAPES = {name: (6 - place,) for place, name in enumerate(NAMES[:3])}


def model_of(method: str) -> MultimodalModel:
    """A toy model whose first encoder is frozen; dropout would change its features if it were not in evaluation mode."""
    fusion = make_method({"name": method}).card.fusion or "concat"
    described = {name: {"name": "mlp", "hidden": 12, "dropout": 0.5, "frozen": name == NAMES[0]} for name in SHAPES}
    return build_model(SHAPES, described, {"name": fusion}, FEATURE_SIZE, Classification(CLASSES), 0)


class _Watched(nn.Module):
    """Notes whether an encoder was ever run in training mode."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.modes: set[bool] = set()
        for module in inner.modules():
            module.register_forward_pre_hook(lambda module, _: self.modes.add(module.training))


def test_a_frozen_encoder_stays_as_it_is(name: str) -> None:
    model = model_of(name)
    frozen, start = model.encoders[NAMES[0]], weights(model)
    watched = _Watched(frozen)
    trained = train_toy(name, brisk(name), model=model)
    assert_same(weights(trained.ctx.model.encoders[NAMES[0]]), weights_of(start, NAMES[0]))
    assert watched.modes == {False}
    assert all(item.grad is None for item in frozen.parameters())
    moved = [key for key, value in trained.last.items() if key in start and not value.equal(start[key])]
    assert any(key.startswith(f"encoders.of_{NAMES[1]}.") for key in moved), "the other encoders learn"


def weights_of(state: dict[str, object], modality: str) -> dict[str, object]:
    """The part of a state that belongs to one encoder."""
    prefix = f"encoders.of_{modality}."
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
