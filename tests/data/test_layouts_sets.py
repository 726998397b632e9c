"""Every published layout on a miniature that lies exactly as the set does."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from equipoise.config import ReadOptions, SplitOptions
from equipoise.data.dataset import Dataset
from equipoise.data.describe import describe_yaml
from equipoise.data.layouts import LAYOUTS
from equipoise.data.sources import open_dataset
from equipoise.data.splits import make_splits
from equipoise.errors import DataError
from tests.data.layouts import miniatures
from tests.data.layouts.miniatures import MINIATURES

SMALL = {"audio": {"seconds": 0.1, "sample_rate": 4000, "n_fft": 64, "hop": 32}, "video": {"size": 8}, "image": {"size": 8}}
"""Options of decoding that make the published sizes small."""


def small(root: Path, layout: str, **options: Any) -> Dataset:
    """Open a miniature with small pictures and short sounds, whatever its modalities."""
    kinds = KINDS.get(layout) or KINDS[layout.split(":")[0]]
    arrays = ("image",) if layout == "av_digits" else ()
    modalities = {name: {"options": SMALL.get(kind, {})} if name not in arrays else {} for name, kind in kinds.items()}
    return open_dataset(root, ReadOptions(layout=layout, **{"modalities": modalities, **options}))


AUDIO_VIDEO = {"audio": "audio", "video": "video"}
KINDS: Mapping[str, Mapping[str, str]] = {
    "av_digits": {"audio": "audio", "image": "image"},
    "ave": AUDIO_VIDEO,
    "cmu_mosei": {"text": "sequence", "audio": "sequence", "vision": "sequence"},
    "crema_d": AUDIO_VIDEO,
    "food101": {"image": "image", "text": "text"},
    "food101:eth": {"image": "image"},
    "kinetics_sounds": AUDIO_VIDEO,
    "kinetics_sounds:codes": AUDIO_VIDEO,
    "nvgesture": {"rgb": "video", "flow": "video", "depth": "video"},
    "sarcasm": {"text": "text", "image": "image"},
    "sarcasm:mmsd2": {"text": "text", "image": "image"},
    "twitter15": {"text": "text", "image": "image"},
    "ucf101": {"rgb": "video", "flow": "video"},
    "vggsound": AUDIO_VIDEO,
}
EXPECTED: Mapping[str, tuple[tuple[str, ...], dict[str, int], str]] = {
    "av_digits": (("0", "1"), {"train": 10, "validation": 2, "test": 4}, ""),
    "ave": (
        ("Bark", "Church bell", "Male speech, man speaking"),
        {"train": 10, "validation": 3, "test": 3},
        "video_id",
    ),
    "cmu_mosei": (("negative", "other"), {"train": 8, "validation": 2, "test": 2}, "video"),
    "crema_d": (("NEU", "HAP", "SAD", "FEA", "DIS", "ANG"), {"train": 18, "test": 6}, ""),
    "food101": (("apple_pie", "baklava"), {"train": 8, "test": 4}, ""),
    "food101:eth": (("apple_pie", "baklava"), {"train": 8, "test": 4}, ""),
    "kinetics_sounds": (tuple(sorted(miniatures.ACTIONS)), {"train": 12, "validation": 4, "test": 4}, "youtube"),
    "kinetics_sounds:codes": (("0", "2", "10"), {"train": 21, "test": 3}, "youtube"),
    "nvgesture": (("1", "2", "12"), {"train": 9, "test": 3}, "subject"),
    "sarcasm": (("0", "1"), {"train": 6, "validation": 2, "test": 3}, ""),
    "sarcasm:mmsd2": (("0", "1"), {"train": 6, "validation": 2, "test": 3}, ""),
    "twitter15": (("0", "1", "2"), {"train": 9, "validation": 3, "test": 3}, "picture"),
    "ucf101": (("ApplyEyeMakeup", "HandstandPushups", "TaiChi"), {"train": 21, "test": 3}, "source"),
    "vggsound": (
        ("ambulance siren, police car", "people marching", "people whistling"),
        {"train": 21, "test": 6},
        "youtube",
    ),
}


def test_every_layout_has_a_miniature() -> None:
    assert {name.split(":")[0] for name in MINIATURES} == set(LAYOUTS.names())
    assert MINIATURES.keys() == KINDS.keys() == EXPECTED.keys()


@pytest.mark.parametrize("layout", MINIATURES)
def test_reading(layout: str, tmp_path: Path) -> None:
    root = tmp_path / "set"
    MINIATURES[layout](root)
    data = small(root, layout)
    classes, parts, group = EXPECTED[layout]
    assert data.schema.classes == classes
    assert Counter(data.split.tolist()) == parts if data.split is not None else not parts
    assert data.schema.group == group
    assert {modality.name: modality.kind for modality in data.schema.modalities} == KINDS[layout]
    lacking = {"audio": 2} if layout == "cmu_mosei" else {}
    assert {name: len(data) - int(mask.sum()) for name, mask in data.present.items()} == dict.fromkeys(KINDS[layout], 0) | lacking

    notes = "\n".join(data.schema.notes)
    assert data.schema.notes[0].startswith(f"layout {data.schema.layout}: ")
    assert f"classes: {len(classes)} ({classes[0]}" in notes
    assert ("it has no validation part, which is drawn from train" in notes) == ("validation" not in parts)
    split = make_splits(data)[0]
    assert split.name == "given"
    assert len(split.test) == parts["test"]
    assert len(split.train) + len(split.validation) == len(data) - parts["test"]

    # what describe prints, put beside the data, reads them as they were
    (root / "dataset.yaml").write_text(describe_yaml(data), encoding="utf-8")
    again = open_dataset(root)
    assert again.schema == data.schema
    for name, value in data.inputs.items():
        if not hasattr(value, "iloc"):
            np.testing.assert_array_equal(again.inputs[name][slice(None)], value[slice(None)])


def test_published_preprocessing(tmp_path: Path) -> None:
    miniatures.crema_d(tmp_path)
    sound, video = open_dataset(tmp_path, ReadOptions(layout="crema_d")).schema.modalities
    assert (sound.shape, video.shape) == ((1, 257, 188), (1, 224, 224, 3))
    assert (
        sound.decode | {"sample_rate": 22050, "seconds": 3.0, "n_fft": 512, "hop": 353, "features": "spectrogram"} == sound.decode
    )
    other = open_dataset(tmp_path, ReadOptions(layout="crema_d", modalities={"video": {"options": {"frames": 3}}}))
    assert other.schema.names == ("video",)
    assert other.schema["video"].shape == (3, 224, 224, 3)  # one option is stated, the others stay
    assert "modalities of the layout that are left out, since others are stated: 'audio'" in other.schema.notes


def test_actors_are_groups_where_the_published_split_is_not_used(tmp_path: Path) -> None:
    miniatures.crema_d(tmp_path, "annotations")
    data = small(tmp_path, "crema_d")
    assert any(note.startswith("groups: 1 of 3 values of 'actor' are on two sides") for note in data.schema.notes)
    assert "lists: train annotations/train.csv, test annotations/test.csv" in data.schema.notes
    free = small(tmp_path, "crema_d", split="none")
    assert free.schema.group == "actor"
    assert free.split is None
    for split in make_splits(free, SplitOptions(folds=3)):
        assert free.group is not None
        assert not {*free.group[split.test]} & {*free.group[split.train], *free.group[split.validation]}


def test_kinetics_sounds_says_how_its_classes_differ(tmp_path: Path) -> None:
    miniatures.kinetics_sounds(tmp_path)
    notes = "\n".join(small(tmp_path, "kinetics_sounds").schema.notes)
    assert "31 are not among them: 'blowing nose', 'bowling', 'chopping wood' and 28 more" in notes
    assert "1 of other names: 'dribbling basketball'" in notes
    for name in ("my_train.txt", "my_test.txt"):
        (tmp_path / name).write_text("clip,10\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"my_train.txt, line 1: expected clip,seconds,class, found 'clip,10'"):
        small(tmp_path, "kinetics_sounds:codes")


def test_ucf101_has_three_splits_and_stacks_both_directions_of_flow(tmp_path: Path) -> None:
    miniatures.ucf101(tmp_path)
    for number in (3, 2, 1):
        data = small(tmp_path, f"ucf101:split{number}")
        assert data.split is not None
        assert {name.split("_")[2] for name in data.ids[data.split == "test"]} == {f"g{number:02}"}
    flow = data.inputs["flow"][slice(0, 1)]
    assert flow.shape == (1, 3, 8, 8, 2)
    assert flow[..., 1].mean() - flow[..., 0].mean() == pytest.approx(40, abs=2)  # v was written brighter than u
    (tmp_path / "tvl1_flow" / "v" / "v_TaiChi_g01_c01").rename(tmp_path / "lost")
    with pytest.raises(DataError, match=r"modality 'flow': 1 of 24 files cannot be used: .*v_TaiChi_g01_c01 \(does not exist\)"):
        small(tmp_path, "ucf101")


def test_nvgesture_says_where_more_than_the_gesture_was_cut_out(tmp_path: Path) -> None:
    miniatures.nvgesture(tmp_path)
    clip = "Video_data/class_01/subject13_r0"
    for name in ("nvgesture_train_correct_cvpr2016_v2.lst", "nvgesture_test_correct_cvpr2016_v2.lst"):
        lines = (tmp_path / name).read_text(encoding="utf-8").replace("color:sk_color:138:218", "color:sk_color:138:141")
        (tmp_path / name).write_text(lines, encoding="utf-8")
    assert not [note for note in small(tmp_path, "nvgesture").schema.notes if note.startswith("frames")]
    miniatures.frames(tmp_path / clip / "sk_color", 1, 5)
    (note,) = [note for note in small(tmp_path, "nvgesture").schema.notes if note.startswith("frames")]
    assert note == f"frames: 1 of 12 folders hold more than the gesture has by the list, all of which count: '{clip}/sk_color'"


def test_a_video_with_two_events_is_two_samples_and_one_group(tmp_path: Path) -> None:
    miniatures.ave(tmp_path)
    data = small(tmp_path, "ave")
    assert data.group is not None
    twice = data.ids[data.group == "train10_abcde"].tolist()
    assert twice == ["train10_abcde:Male speech, man speaking:0-10", "train10_abcde:Church bell:2-5"]
    assert "videos with several events: 1" in data.schema.notes


def test_sarcasm_labels_by_hashtag_or_by_a_person(tmp_path: Path) -> None:
    miniatures.sarcasm(tmp_path)
    person = small(tmp_path, "sarcasm")
    hashtag = open_dataset(tmp_path, ReadOptions(layout="sarcasm:hashtag"))
    assert person.target is not None
    assert hashtag.target is not None
    assert (person.target[-3:].tolist(), hashtag.target[-3:].tolist()) == ([1, 1, 1], [0, 1, 0])
    assert any(note.endswith("train 1, validation 1, test 1") for note in person.schema.notes)
    (tmp_path / "text" / "train.txt").write_text("__import__('os').system('touch ran')\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"train.txt, line 1: expected a list like"):
        small(tmp_path, "sarcasm")


def test_mosei_says_how_labels_are_cut(tmp_path: Path) -> None:
    miniatures.cmu_mosei(tmp_path)
    two, seven, number, emotions = (
        open_dataset(tmp_path, ReadOptions(layout=f"cmu_mosei:{word}"))
        for word in ("sentiment2", "sentiment7", "sentiment", "emotions")
    )
    assert two.target is not None
    assert two.target[:2].tolist() == [0, 1]  # -1.5 and 2.5
    assert seven.target is not None
    assert [seven.schema.classes[code] for code in seven.target[:2]] == ["-2", "2"]
    assert (number.schema.task, number.target[:2].tolist() if number.target is not None else []) == (
        "regression",
        [[-1.5], [2.5]],
    )
    assert (emotions.schema.task, emotions.schema.classes) == (
        "multilabel",
        ("happy", "sad", "anger", "surprise", "disgust", "fear"),
    )
    assert "target: sentiment: the number from -3 to 3, regression" in number.schema.notes
    assert "lists: standard folds of cmu_mosei_std_folds.py; videos in none of them are left out: 1" in two.schema.notes
    # four words of half a second in the first segment, six in the second; the first row of sound is infinite and counts as 0
    text = np.asarray(two.inputs["text"])
    assert np.isnan(text[0]).all(axis=1).tolist() == [False] * 4 + [True] * 2
    assert np.isfinite(np.asarray(two.inputs["audio"])[0, :4]).all()
    (tmp_path / "cmu_mosei_std_folds.py").unlink()
    free = open_dataset(tmp_path, ReadOptions(layout="cmu_mosei"))
    assert (len(free), free.split, free.schema.group) == (14, None, "video")


def test_pickles_of_mosei_are_refused(tmp_path: Path) -> None:
    (tmp_path / "mosei_senti_data.pkl").write_bytes(b"\x80\x04.")
    with pytest.raises(
        DataError, match=r"mosei_senti_data.pkl is a pickle, which is refused because it could run code; give the csd"
    ):
        open_dataset(tmp_path, ReadOptions(layout="cmu_mosei"))


def test_speakers_have_pictures_of_their_own(tmp_path: Path) -> None:
    miniatures.av_digits(tmp_path)
    data = open_dataset(tmp_path, ReadOptions(layout="av_digits:speakers"))
    assert (data.split, data.schema.group) == (None, "speaker")
    pictures = np.asarray(data.inputs["image"]).reshape(len(data), -1)
    assert data.group is not None
    ann, bob = ({row.tobytes() for row in pictures[data.group == name]} for name in ("ann", "bob"))
    assert ann
    assert not ann & bob


@pytest.mark.skipif("EQUIPOISE_DATA" not in os.environ, reason="the data sets are not there")
def test_real_av_digits() -> None:
    root = Path(os.environ["EQUIPOISE_DATA"]) / "av_digits"
    data = open_dataset(root, ReadOptions(layout="av_digits", cache_gigabytes=0.0))
    assert data.split is not None
    assert Counter(data.split.tolist()) == {"train": 2400, "validation": 300, "test": 300}
    assert data.inputs["audio"][np.arange(2)].shape == (2, 1, 40, 51)
    free = open_dataset(root, ReadOptions(layout="av_digits:speakers", cache_gigabytes=0.0))
    assert free.group is not None
    pictures = np.asarray(free.inputs["image"]).reshape(len(free), -1)
    # a handful of the pictures are the same, pixel by pixel
    seen = [{row.tobytes() for row in pictures[free.group == name]} for name in np.unique(free.group)]
    assert sum(map(len, seen)) - len(set.union(*seen)) <= 3
    assert yaml.safe_load(describe_yaml(free))["layout"] == "av_digits:speakers"
