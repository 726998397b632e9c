"""Random changes of training samples."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from equipoise.batch import Batch
from equipoise.data.augment import Augmentation, crop, flip, mask
from equipoise.data.loader import Loader, MemoryPart
from equipoise.data.schema import Modality, Schema
from equipoise.errors import ConfigError
from equipoise.seeding import keyed_uniform

SCHEMA = Schema(
    name="data",
    samples=40,
    modalities=(
        Modality(name="picture", kind="image", shape=(8, 10, 3)),
        Modality(name="sound", kind="audio", shape=(1, 20, 30)),
        Modality(name="wave", kind="audio", shape=(1, 30)),
        Modality(name="clip", kind="video", shape=(2, 8, 8, 1)),
    ),
)
SHAPES = {"picture": (3, 8, 10), "sound": (1, 20, 30), "wave": (1, 30), "clip": (2, 1, 8, 8)}


def part(samples: int = 40) -> MemoryPart:
    random = torch.Generator().manual_seed(0)
    inputs = {name: torch.rand((samples, *shape), generator=random) + 1 for name, shape in SHAPES.items()}
    return MemoryPart(inputs, {name: torch.ones(samples, dtype=torch.bool) for name in inputs}, None)


def draws(samples: int) -> torch.Tensor:
    return keyed_uniform(torch.arange(samples), 2, "draws")


def test_flip_mirrors_some() -> None:
    pictures = part().inputs["picture"]
    changed = flip(pictures, draws(40))
    mirrored = (draws(40)[:, 0] < 0.5).tolist()
    assert 5 < sum(mirrored) < 35
    for before, after, turned in zip(pictures, changed, mirrored, strict=True):
        assert torch.equal(after, before.flip(-1) if turned else before)


@pytest.mark.parametrize("name", ["picture", "clip"])
def test_crop_moves(name: str) -> None:
    pictures = part(200).inputs[name]
    changed = crop(pictures, draws(200))
    height, width = pictures.shape[-2:]
    seen = set()
    for before, after in zip(pictures, changed, strict=True):
        padded = torch.nn.functional.pad(before, (1, 1, 1, 1))
        places = {(top, left): padded[..., top : top + height, left : left + width] for top in range(3) for left in range(3)}
        (place,) = (place for place, wanted in places.items() if torch.equal(after, wanted))
        seen.add(place)
    assert len(seen) == 9


@pytest.mark.parametrize(("dim", "most"), [(-1, 6), (-2, 4)])
def test_mask_makes_one_gap(dim: int, most: int) -> None:
    sounds = part(300).inputs["sound"]
    changed = mask(sounds, draws(300), dim)
    widths = set()
    for before, after in zip(sounds, changed, strict=True):
        zeros = (after == 0).all(dim=tuple({0, 1, 2} - {dim % 3 if dim >= 0 else 3 + dim}))
        place = zeros.nonzero().flatten()
        widths.add(len(place))
        assert len(place) == 0 or int(place[-1] - place[0]) == len(place) - 1
        assert torch.equal(torch.where(after == 0, before, after), before)
    assert widths == set(range(most + 1))


def augmentation(seed: int = 0) -> Augmentation:
    found = Augmentation.of({"picture": "flip,crop", "sound": ["time", "frequency"], "clip": "flip, crop"}, SCHEMA, SHAPES, seed)
    assert found is not None
    return found


def test_a_sample_is_changed_by_seed_epoch_and_sample_alone() -> None:
    samples = part()
    (whole,) = samples.batches([torch.arange(40)], [40])
    (some,) = samples.batches([torch.tensor([7, 3, 30])], [3])
    changed = augmentation()(whole, ("main", 0, 2))
    for name, value in augmentation()(some, ("main", 0, 2)).inputs.items():
        assert torch.equal(value, changed.inputs[name][[7, 3, 30]])
    assert torch.equal(changed.inputs["wave"], whole.inputs["wave"])
    for other in (augmentation()(whole, ("main", 0, 3)), augmentation(1)(whole, ("main", 0, 2))):
        for name in ("picture", "sound", "clip"):
            assert not torch.equal(other.inputs[name], changed.inputs[name])
            assert torch.equal(whole.inputs[name], samples.inputs[name])  # nothing was changed in place


def epoch(rank: int = 0, world: int = 1, skip: int = 0) -> list[Batch]:
    return list(Loader(part(), 8, 0, rank, world, augment=augmentation()).epoch(("main", 0, 1), skip=skip))


def test_two_processes_equal_one_and_a_restart_changes_nothing() -> None:
    for whole, first, second in zip(epoch(), epoch(0, 2), epoch(1, 2), strict=True):
        for name, value in whole.inputs.items():
            assert torch.equal(value, torch.cat([first.inputs[name], second.inputs[name]]))
    for wanted, found in zip(epoch()[3:], epoch(skip=3), strict=True):
        assert all(torch.equal(value, found.inputs[name]) for name, value in wanted.inputs.items())


def test_only_training_epochs_are_changed() -> None:
    loader = Loader(part(), 8, augment=augmentation())
    (ordered,) = loader.ordered()
    assert all(torch.equal(value, part().inputs[name]) for name, value in ordered.inputs.items())


def test_nothing_stated_is_nothing() -> None:
    assert Augmentation.of(None, SCHEMA, SHAPES, 0) is None
    assert Augmentation.of({}, SCHEMA, SHAPES, 0) is None


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        ({"pictur": "flip"}, "augment: unknown modality 'pictur', did you mean 'picture'"),
        ({"picture": "flop"}, "picture = 'flop' does not apply to kind 'image' .* did you mean 'flip'"),
        ({"picture": "time"}, "picture = 'time' does not apply to kind 'image'"),
        ({"wave": "time"}, r"wave = 'time' .* samples of shape \(1, 30\), nothing can be changed at random in it"),
        ({"picture": 3}, "picture = 3 is not valid, expected names such as 'flip,crop'"),
    ],
)
def test_mistakes(stated: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Augmentation.of(stated, SCHEMA, SHAPES, 0)


def test_a_table_has_nothing_to_change() -> None:
    schema = replace(SCHEMA, modalities=(Modality(name="blood", kind="tabular", shape=(3,)),))
    with pytest.raises(ConfigError, match="nothing can be changed"):
        Augmentation.of({"blood": "flip"}, schema, {"blood": (3,)}, 0)
