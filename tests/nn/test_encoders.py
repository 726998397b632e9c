"""Encoders: shapes, sizes, and names that nearly fit."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from equipoise.errors import ConfigError
from equipoise.nn.encoders.base import DEFAULT_ENCODERS, ENCODERS, build_encoder
from equipoise.nn.encoders.cnn import CNN
from equipoise.nn.encoders.mlp import MLP
from equipoise.nn.encoders.resnet import ResNet


@pytest.mark.parametrize("shape", [(5,), (3, 4), (2, 3, 4), (1,)])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_mlp(shape: tuple[int, ...], layers: int) -> None:
    encoder = MLP(shape, 7, hidden=6, layers=layers, dropout=0.1)
    assert encoder(torch.randn(4, *shape)).shape == (4, 7)
    linear = [module for module in encoder.modules() if isinstance(module, nn.Linear)]
    assert [module.out_features for module in linear] == [6] * (layers - 1) + [7]
    assert sum(isinstance(module, nn.Dropout) for module in encoder.modules()) == layers - 1


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 17), (2, 1, 1)])
@pytest.mark.parametrize("blocks", [1, 2])
def test_cnn(shape: tuple[int, ...], blocks: int) -> None:
    encoder = CNN(shape, 7, width=6, blocks=blocks)
    inputs = torch.randn(4, *shape)
    assert encoder(inputs).shape == (4, 7)
    # 1 at the start, 2 per block, a shortcut in the two stages that widen
    assert sum(isinstance(module, nn.Conv2d) for module in encoder.modules()) == 1 + 6 * blocks + 2


@pytest.mark.parametrize(("depth", "parameters"), [(18, 11_176_512), (34, 21_284_672)])
def test_resnet_is_the_published_network_without_its_classifier(depth: int, parameters: int) -> None:
    encoder = ResNet((3, 64, 64), 512, depth=depth)
    assert sum(item.numel() for item in encoder.parameters()) == parameters
    assert encoder(torch.randn(2, 3, 64, 64)).shape == (2, 512)


def test_resnet_averages_frames() -> None:
    encoder = ResNet((4, 3, 32, 32), 7, norm="group").eval()
    frames = torch.randn(2, 4, 3, 32, 32)
    each = torch.stack([encoder(frames[:, number : number + 1]) for number in range(4)])
    torch.testing.assert_close(encoder(frames), each.mean(0), rtol=1e-4, atol=1e-5)


def test_features_of_a_sample_do_not_depend_on_its_batch() -> None:
    for encoder, shape in (
        (MLP((5,), 3), (5,)),
        (CNN((2, 8, 8), 3, width=4), (2, 8, 8)),
        (ResNet((2, 32, 32), 3, norm="group"), (2, 32, 32)),
    ):
        inputs = torch.randn(6, *shape)
        torch.testing.assert_close(encoder(inputs)[2:4], encoder(inputs[2:4]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("description", "shape", "words"),
    [
        ({"name": "mpl"}, (5,), "unknown encoder 'mpl', did you mean 'mlp'"),
        ({"name": "mlp", "hiden": 3}, (5,), "unknown option 'hiden', did you mean 'hidden'"),
        ({"name": "mlp", "hidden": 0}, (5,), "hidden = 0"),
        ({"name": "mlp", "layers": 0}, (5,), "layers = 0"),
        ({"name": "mlp", "dropout": 1.0}, (5,), "dropout = 1.0"),
        ({"name": "mlp", "hidden": 2.5}, (5,), "hidden = 2.5 is not valid, expected a value like 64"),
        ({"name": "cnn"}, (5,), r"found shape \(5,\)"),
        ({"name": "cnn", "width": 0}, (1, 8, 8), "width = 0"),
        ({"name": "cnn", "blocks": 0}, (1, 8, 8), "blocks = 0"),
        ({"name": "resnet"}, (8, 8), r"found shape \(8, 8\)"),
        ({"name": "resnet", "depth": 50}, (1, 8, 8), "depth = 50"),
        ({"name": "resnet", "norm": "layer"}, (1, 8, 8), "norm = 'layer'"),
    ],
)
def test_what_does_not_fit_is_refused(description: dict[str, object], shape: tuple[int, ...], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build_encoder(description, shape, 8, "encoder of modality 'a'")


def test_width_of_features_can_be_set_per_modality() -> None:
    assert build_encoder({"name": "mlp", "feature_size": 3}, (5,), 8, "encoder")(torch.zeros(2, 5)).shape == (2, 3)
    assert build_encoder({"name": "mlp", "dropout": 0}, (5,), 8, "encoder")(torch.zeros(2, 5)).shape == (2, 8)


def test_each_kind_of_modality_has_an_encoder() -> None:
    assert set(DEFAULT_ENCODERS.values()) <= set(ENCODERS.names())
