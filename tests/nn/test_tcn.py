"""Temporal convolution: padding says nothing, and every real step is seen."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from equipoise.errors import ConfigError
from equipoise.nn.encoders.base import build_encoder
from equipoise.nn.encoders.tcn import TCN, views


def prepared(*sequences: Tensor, length: int) -> Tensor:
    """Sequences of shape (channels, time) as they are prepared: with a channel that is 1 where a step is real."""
    batch = torch.zeros(len(sequences), len(sequences[0]) + 1, length)
    for row, sequence in enumerate(sequences):
        batch[row, :-1, : sequence.shape[1]] = sequence
        batch[row, -1, : sequence.shape[1]] = 1
    return batch


@pytest.mark.parametrize("pooling", ["mean+maximum+last", "last", "maximum+mean"])
@pytest.mark.parametrize("blocks", [1, 3])
def test_padding_has_no_influence(blocks: int, pooling: str) -> None:
    encoder = TCN((4, 9), 5, width=6, blocks=blocks, pooling=pooling)
    assert encoder.project.in_features == 6 * len(pooling.split("+"))
    sequences = [torch.randn(3, time) for time in (1, 4, 9)]
    features = encoder(prepared(*sequences, length=9))
    torch.testing.assert_close(encoder(prepared(*sequences, length=40)), features)
    for row, sequence in enumerate(sequences):  # the sequence by itself, without any padding
        torch.testing.assert_close(encoder(prepared(sequence, length=sequence.shape[1])), features[row : row + 1])
    noisy = prepared(*sequences, length=9)
    noisy[:, :-1] += 5 * torch.randn(3, 3, 9) * (1 - noisy[:, -1:])
    torch.testing.assert_close(encoder(noisy), features)


def test_padding_has_no_gradient_and_real_steps_have_one() -> None:
    inputs = prepared(torch.randn(2, 6), torch.randn(2, 10), length=10).requires_grad_()
    TCN((3, 10), 5, width=8).double()(inputs.double()).square().sum().backward()
    assert inputs.grad is not None
    assert (inputs.grad[0, :, 6:] == 0).all()
    assert (inputs.grad[0, :-1, :6] != 0).any(0).all()
    assert (inputs.grad[1, :-1] != 0).any(0).all()


def test_a_step_sees_as_far_back_as_stated() -> None:
    encoder = TCN((2, 40), 4, width=8, blocks=3, kernel=2).double()
    reach = 1 + 2 * (2 - 1) * (2**3 - 1)
    inputs = torch.randn(1, 40, 8, dtype=torch.float64).requires_grad_()
    real = torch.ones(1, 40, 1, dtype=torch.float64)
    hidden = inputs
    for block in encoder.blocks:
        hidden = block(hidden, real)
    hidden[0, 30].sum().backward()
    assert inputs.grad is not None
    seen = (inputs.grad[0] != 0).any(1).nonzero().squeeze(1)
    assert (int(seen.min()), int(seen.max())) == (30 - reach + 1, 30)


def test_features_do_not_depend_on_the_batch_and_no_step_gives_finite_ones() -> None:
    encoder = TCN((4, 12), 5)
    batch = prepared(*[torch.randn(3, time) for time in (3, 12, 7)], length=12)
    torch.testing.assert_close(encoder(batch)[1:], encoder(batch[1:]))
    assert encoder(torch.zeros(2, 4, 12)).isfinite().all()
    assert not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in encoder.modules())


def test_sizes() -> None:
    encoder = TCN((4, 12), 5, width=6, blocks=2, kernel=4, dropout=0.2)
    convolutions = [module for module in encoder.modules() if isinstance(module, nn.Conv1d)]
    assert [(item.kernel_size[0], item.dilation[0]) for item in convolutions] == [(4, 1), (4, 1), (4, 2), (4, 2)]
    batch = torch.ones(3, 4, 12)
    assert encoder(batch).shape == (3, 5)
    assert not torch.equal(encoder(batch), encoder(batch))
    assert torch.equal(encoder.eval()(batch), encoder(batch))


@pytest.mark.parametrize(
    ("options", "shape", "words"),
    [
        ({}, (5,), r"encoder tcn needs sequences .* found shape \(5,\); state kind: sequence"),
        ({}, (1, 5), r"found shape \(1, 5\)"),
        ({"width": 0}, (3, 5), "width = 0"),
        ({"blocks": 0}, (3, 5), "blocks = 0"),
        ({"kernel": 0}, (3, 5), "kernel = 0"),
        ({"dropout": 1.0}, (3, 5), "dropout = 1.0"),
        ({"pooling": "median"}, (3, 5), "pooling = 'median' is not valid, expected some of mean, maximum, last joined by +"),
        ({"pooling": "last+last"}, (3, 5), "pooling = 'last\\+last' is not valid"),
    ],
)
def test_what_does_not_fit_is_refused(options: dict[str, object], shape: tuple[int, ...], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build_encoder({"name": "tcn", **options}, shape, 8, "encoder of modality 'a'")


def test_views_are_of_real_steps_alone() -> None:
    hidden = torch.tensor([[[1.0], [5.0], [2.0], [0.0]], [[3.0], [0.0], [0.0], [0.0]], [[0.0]] * 4])
    real = torch.tensor([[[1.0], [1.0], [1.0], [0.0]], [[1.0], [0.0], [0.0], [0.0]], [[0.0]] * 4])
    found = {name: value.squeeze(1).tolist() for name, value in views(hidden, real).items()}
    assert found == {"mean": [pytest.approx(8 / 3), 3, 0], "maximum": [5, 3, 0], "last": [2, 3, 0]}
