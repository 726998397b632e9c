"""Miniatures of published data sets, exactly in their layouts: a few tiny files of each."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import h5py
import numpy as np
import soundfile
from PIL import Image

RATE = 4000


def write(path: Path, *lines: str) -> None:
    """Write a list file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def sound(path: Path, number: int) -> None:
    """Write a tenth of a second of a tone that tells classes apart."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.3 * np.sin(np.arange(RATE // 10) * 0.2 * (1 + number)), RATE)


def picture(path: Path, number: int) -> None:
    """Write a picture whose brightness tells classes apart."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((10, 12, 3), 20 + 40 * (number % 5), np.uint8)).save(path)


def frames(folder: Path, number: int, count: int = 4, name: str = "{:06d}.jpg") -> None:
    """Write a folder of frames."""
    for frame in range(1, count + 1):
        picture(folder / name.format(frame), number + frame)


def crema_d(root: Path, lists: str = "") -> None:
    """Three actors, of whom one is in both parts; every emotion three times in train and once in test."""
    rows: dict[str, list[str]] = {"train": [], "test": []}
    for number, emotion in enumerate(("NEU", "HAP", "SAD", "FEA", "DIS", "ANG")):
        for part, actor, sentence in (
            ("train", 1001, "IEO"),
            ("train", 1002, "DFA"),
            ("train", 1003, "TIE"),
            ("test", 1002, "ITS"),
        ):
            clip = f"{actor}_{sentence}_{emotion}_XX"
            rows[part].append(f"{clip},{emotion}")
            sound(root / "AudioWAV" / f"{clip}.wav", number)
            frames(root / "Image-01-FPS" / clip, number, 2)
    for part, lines in rows.items():
        write(root / lists / f"{part}.csv", *lines)


ACTIONS = ("playing accordion", "tap dancing", "typing", "dribbling basketball")


def kinetics_sounds(root: Path) -> None:
    """Four actions, one of them of a name that the documented list does not have."""
    number = 0
    for part, count in (("train", 3), ("valid", 1), ("test", 1)):
        lines = ["label,youtube_id,time_start,time_end,split"]
        for label, action in enumerate(ACTIONS):
            for _ in range(count):
                clip = f"{number:011}_000002_000012"
                number += 1
                lines.append(f"{action},{clip},2,12,{part}")
                folder = "train" if part == "valid" else part  # there are no folders of their own for valid.csv
                sound(root / f"{folder}_wav" / f"{clip}.wav", label)
                frames(root / f"{folder}_img" / "Image-01-FPS" / clip, label)
        write(root / "annotations" / f"{part}.csv", *lines)


def kinetics_sounds_codes(root: Path) -> None:
    """Lists of numbers, sound and frames in one folder per clip."""
    for part, count in (("train", 7), ("test", 1)):
        lines = []
        for label in (0, 2, 10):
            for number in range(count):
                clip = f"-{part[:2]}{label:02}{number:06}_{7 * label}"
                lines.append(f"{clip},10,{label}")
                sound(root / part / clip / f"{clip}.wav", label)
                frames(root / part / clip, label, name="frame_{:05d}.jpg")
        write(root / f"my_{part}.txt", *lines)


def vggsound(root: Path) -> None:
    """Two spellings of seconds and of folders; a label with a comma."""
    lines = []
    for part, count in (("train", 7), ("test", 2)):
        for label, name in enumerate(("people marching", "people whistling", "ambulance siren, police car")):
            for number in range(count):
                video, second = f"-{part[:2]}{label}{number}_abcdef", 10 * number
                lines.append(f'{video},{second},"{name}",{part}')
                clip = f"{video}_{second:06}" if number % 2 else f"{video}_{second}"
                sound(root / f"{part}-audios" / f"{part}-set" / f"{clip}.wav", label)
                folder = root / f"{part}-videos" / f"{part}-set-img" / "Image-01-FPS"
                frames(folder / (clip if number == 1 else f"{clip}.mp4"), label)
    write(root / "vggsound.csv", *lines)


def ave(root: Path) -> None:
    """The official lists; one video has two events."""
    events = ("Church bell", "Male speech, man speaking", "Bark")
    for part, count in (("train", 3), ("val", 1), ("test", 1)):
        lines = []
        for label, event in enumerate(events):
            for number in range(count):
                video = f"{part}{label}{number}_abcde"
                lines.append(f"{event}&{video}&good&0&10")
                sound(root / "audio" / f"{video}.wav", label)
                frames(root / "visual" / video, label)
        if part == "train":
            lines.append(f"{events[0]}&{part}10_abcde&good&2&5")
        write(root / f"{part}Set.txt", *lines)


def ucf101(root: Path) -> None:
    """Three actions, one of which is spelled in two ways; groups of source videos; three splits."""
    actions = ("ApplyEyeMakeup", "HandstandPushups", "TaiChi")
    write(root / "ucfTrainTestlist" / "classInd.txt", *(f"{number} {name}" for number, name in enumerate(actions, 1)))
    for split in (1, 2, 3):
        lines: dict[str, list[str]] = {"train": [], "test": []}
        for label, action in enumerate(actions):
            spelled = action.replace("HandstandPushups", "HandStandPushups")
            for group in range(1, 9):
                video = f"v_{spelled}_g{group:02}_c01"
                part = "test" if group == split else "train"
                lines[part].append(f"{action}/{video}.avi" + (f" {label + 1}" if part == "train" else ""))
                name = f"v_{action}_g{group:02}_c01"
                frames(root / "jpegs_256" / name, label, 2, name="frame{:06d}.jpg")
                for number, direction in enumerate("uv"):
                    frames(root / "tvl1_flow" / direction / name, label + number, 2, name="frame{:06d}.jpg")
        for part, found in lines.items():
            write(root / "ucfTrainTestlist" / f"{part}list0{split}.txt", *found)


def nvgesture(root: Path) -> None:
    """Three gestures of four people; the list names the windows of the videos."""
    for part, people in (("train", (13, 14, 15)), ("test", (16,))):
        lines = []
        for label in (1, 2, 12):
            for person in people:
                clip = f"Video_data/class_{label:02}/subject{person}_r0"
                lines.append(
                    f"path:./{clip} depth:sk_depth:138:218 color:sk_color:138:218 duo_left:duo_left:161:254 label:{label} "
                )
                for sensor in ("sk_color", "sk_depth", "u/sk_color", "v/sk_color"):
                    frames(root / clip / sensor, label, 3)
        write(root / f"nvgesture_{part}_correct_cvpr2016_v2.lst", *lines)


def twitter15(root: Path) -> None:
    """Three sentiments; quotes in the tweets; two targets of one tweet."""
    for part, count in (("train", 9), ("dev", 3), ("test", 3)):
        lines = ["index\t#1 Label\t#2 ImageID\t#3 String\t#3 String"]
        for number in range(count):
            image = f"{part}_{number // 2 if part == 'train' else number}.jpg"
            tweet = f'RT @ who : " a {("bad", "plain", "good")[number % 3]} day for $T$'
            lines.append(f"{number + 3}\t{number % 3}\t{image}\t{tweet}\tNew York {number}")
            picture(root / "twitter2015_images" / image, number % 3)
        write(root / "twitter2015" / f"{part}.tsv", *lines)


def sarcasm(root: Path) -> None:
    """Lists of Python lists with two labels in validation and test, and the JSON files of MMSD 2.0."""
    number = 682716753374351360
    for part, count in (("train", 6), ("valid2", 2), ("test2", 3)):
        lines, objects = [], []
        for row in range(count):
            number += 1
            text = f"so {'great' if row % 2 else 'calm'} a day it's \" number {number % 100}"
            hashtag, human = row % 2, 1 if part == "test2" else row % 2
            lines.append(str([str(number), text, hashtag, *([human] if part != "train" else [])]))
            objects.append({"image_id": number, "text": text, "label": hashtag})
            picture(root / "dataset_image" / f"{number}.jpg", row)
        lines.append(str(["1", "what a joke this is", 1, 1]))
        write(root / "text" / f"{part}.txt", *lines)
        write(root / "text_json_final" / f"{part.rstrip('2')}.json", json.dumps(objects))


def food101(root: Path) -> None:
    """UPMC's titles and folders."""
    for part, count in (("train", 4), ("test", 2)):
        lines = []
        for label, dish in enumerate(("apple_pie", "baklava")):
            for number in range(count):
                name = f"{dish}_{part}{number}.jpg"
                lines.append(f'{name},"{dish.replace("_", " ")}, the best recipe {number}",{dish}')
                picture(root / "images" / part / dish / name, label)
        write(root / "texts" / f"{part}_titles.csv", *lines)


def food101_eth(root: Path) -> None:
    """ETH's lists and folders."""
    write(root / "meta" / "classes.txt", "apple_pie", "baklava")
    for part, count in (("train", 4), ("test", 2)):
        names = [f"{dish}/{1000 * (part == 'test') + number}" for dish in ("apple_pie", "baklava") for number in range(count)]
        write(root / "meta" / f"{part}.txt", *names)
        for name in names:
            picture(root / "images" / f"{name}.jpg", name.startswith("b"))


def cmu_mosei(root: Path) -> None:
    """Computational sequences of seven videos of two segments, one without sound, one in no standard fold."""
    root.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    videos = [f"-video{number}" for number in range(7)]
    kinds = {
        "Labels": ("All Labels", 7),
        "TimestampedWordVectors": ("glove_vectors", 5),
        "COVAREP": ("COVAREP", 4),
        "VisualFacet42": ("FACET 4.2", 3),
    }
    for kind, (name, width) in kinds.items():
        with h5py.File(root / f"CMU_MOSEI_{kind}.csd", "w") as file:
            for number, video in enumerate(videos):
                if kind == "COVAREP" and number == 3:
                    continue
                if kind == "Labels":
                    intervals = np.array([[0.0, 2.0], [2.0, 5.0]])
                    features = np.array([[-1.5, 0, 1, 0, 0, 0, 2], [2.5, 1, 0, 0, 1, 0, 0]], np.float32)
                    features[:, 1:] = (features[:, 1:] + number) % 2
                else:
                    step = 0.5 if kind == "TimestampedWordVectors" else 0.1
                    starts = np.arange(0.0, 5.0, step)
                    intervals = np.stack([starts, starts + step], axis=1)
                    features = rng.normal(size=(len(starts), width))
                    if kind == "COVAREP":
                        features[0] = -np.inf
                group = file.create_group(f"{name}/data/{video}")
                group["features"], group["intervals"] = features, intervals
            file.create_group(f"{name}/metadata")
    lists = {"train": videos[:4], "valid": videos[4:5], "test": videos[5:6]}
    write(root / "cmu_mosei_std_folds.py", *(f"standard_{part}_fold = {names!r}" for part, names in lists.items()))


def av_digits(root: Path) -> None:
    """Two digits of two speakers in one recording, six pictures."""
    root.mkdir(parents=True, exist_ok=True)
    size, count = 400, 16
    label, speaker = np.arange(count) % 2, np.array(["ann", "bob"])[np.arange(count) // 2 % 2]
    tone = [0.3 * np.sin(np.arange(size) * 0.1 * (1 + item)) for item in label]
    soundfile.write(root / "recordings_8k_mono.flac", np.concatenate(tone), 8000)
    write(root / "recordings_offsets.csv", "start,stop", *(f"{row * size},{(row + 1) * size}" for row in range(count)))
    split = np.array(["train"] * 10 + ["val"] * 2 + ["test"] * 4)
    np.savez(root / "audio.npz", logmel=np.zeros((count, 2, 2)), speaker=speaker, label=label, split=split)
    np.savez(root / "images.npz", image=np.arange(6 * 64, dtype=np.uint8).reshape(6, 8, 8) // 24, label=np.arange(6) % 2)
    np.savez(root / "pairs.npz", image_row=label)


MINIATURES: Mapping[str, Callable[[Path], None]] = {
    "av_digits": av_digits,
    "ave": ave,
    "cmu_mosei": cmu_mosei,
    "crema_d": crema_d,
    "food101": food101,
    "food101:eth": food101_eth,
    "kinetics_sounds": kinetics_sounds,
    "kinetics_sounds:codes": kinetics_sounds_codes,
    "nvgesture": nvgesture,
    "sarcasm": sarcasm,
    "sarcasm:mmsd2": sarcasm,
    "twitter15": twitter15,
    "ucf101": ucf101,
    "vggsound": vggsound,
}
"""How the folder of each layout is made."""
