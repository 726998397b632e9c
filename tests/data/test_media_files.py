"""Media files as modalities: how they are stated and found, what is wrong with them, and what is made of them."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
import yaml
from PIL import Image

from equipoise.config import ReadOptions
from equipoise.data.dataset import Dataset
from equipoise.data.describe import describe_yaml, facts
from equipoise.data.export import export
from equipoise.data.fingerprint import fingerprint
from equipoise.data.loader import Loader, make_part
from equipoise.data.media.files import FileRows
from equipoise.data.preprocessing import Preprocessing
from equipoise.data.schema import Schema
from equipoise.data.sources import open_dataset
from equipoise.errors import ConfigError, DataError


def values(dataset: Dataset, name: str) -> np.ndarray:
    return np.asarray(dataset.inputs[name][dataset.present[name]])


def equal(first: Dataset, second: Dataset) -> bool:
    names = list(first.present)
    return names == list(second.present) and all(
        np.array_equal(first.present[name], second.present[name]) and np.array_equal(values(first, name), values(second, name))
        for name in names
    )


def stated(**modalities: Any) -> ReadOptions:
    return ReadOptions(modalities=modalities)


def test_columns_of_files_are_recognised(media: Path) -> None:
    data = open_dataset(media / "manifest.csv")
    sound, picture = data.schema.modalities
    assert (sound.name, sound.kind, sound.shape, sound.present) == ("sound", "audio", (1, 64, 16), 21)
    assert (picture.name, picture.kind, picture.shape, picture.present) == ("picture", "image", (12, 12, 3), 21)
    assert sound.decode["sample_rate"] == 8000  # twelve files have 16000 Hz, one of which is missing more than of the others
    assert data.present["sound"].tolist() == [number % 8 != 1 for number in range(24)]
    pixels = np.asarray(Image.open(media / "picture" / "c5.png"))[:, 1:13]
    np.testing.assert_array_equal(data.inputs["picture"][np.array([5])][0], pixels)


def test_options_of_decoding(media: Path) -> None:
    options = {"sample_rate": 16000, "seconds": 0.5, "mels": 20}
    data = open_dataset(
        media / "manifest.csv",
        stated(sound={"columns": ["sound"], "kind": "audio", "options": options}, picture={"columns": ["picture"]}),
    )
    assert data.schema["sound"].shape == (1, 20, 32)
    assert Schema.from_json(data.schema.to_json()) == data.schema


def test_the_same_as_a_folder_and_in_memory(media: Path) -> None:
    table = open_dataset(media / "manifest.csv")
    frame = pd.read_csv(media / "manifest.csv")
    frame[["id", "label"]].to_csv(media / "labels.csv", index=False)
    folder = media.parent / "study"
    shutil.copytree(media, folder, ignore=shutil.ignore_patterns("manifest.csv"))
    sorted_names = dict(zip(["audio", "picture"], ["sound", "picture"], strict=True))
    by_folder = open_dataset(folder)
    assert by_folder.schema.names == tuple(sorted_names)
    for name, other in sorted_names.items():
        np.testing.assert_array_equal(values(by_folder, name), values(table, other))
        np.testing.assert_array_equal(by_folder.present[name], table.present[other])
    paths = {name: [media / path if isinstance(path, str) else None for path in frame[name]] for name in ("sound", "picture")}
    assert equal(open_dataset({**paths, "label": frame["label"]}), table)
    text = frame["picture"].where(frame["picture"].isna(), str(media) + "/" + frame["picture"])
    assert equal(
        open_dataset({"sound": paths["sound"], "picture": text, "label": frame["label"]}),
        table,
    )


def test_videos_in_a_folder(tmp_path: Path) -> None:
    rows = ["id,label"]
    for number in range(6):
        rows.append(f"v{number},{'ab'[number % 2]}")
        for frame in range(1, 12):
            folder = tmp_path / "clip" / f"v{number}"
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((9, 9, 3), 10 * number + frame, np.uint8)).save(folder / f"{frame}.png")
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    options = {"clip": {"options": {"frames": 4}}}
    data = open_dataset(tmp_path, stated(**options))
    assert (data.schema["clip"].kind, data.schema["clip"].shape) == ("video", (4, 9, 9, 3))
    assert data.inputs["clip"][np.array([2])][0, :, 0, 0, 0].tolist() == [22, 25, 27, 30]
    found = facts(data)["modalities"]["clip"]["files"]
    assert found["frames"] == "11 (6 samples)"
    assert found["decoded"].startswith("4 frames, the middle ones of 4 equal parts")
    prepared = Preprocessing.fit(data).transform(data)["clip"]
    assert prepared.shape == (6, 4, 3, 9, 9)
    raw = data.inputs["clip"][np.arange(6)].astype(np.float64)
    expected = (raw - raw.mean((0, 1, 2, 3))) / raw.std((0, 1, 2, 3))
    np.testing.assert_allclose(prepared, expected.transpose(0, 1, 4, 2, 3), rtol=1e-5)
    for frame in (tmp_path / "clip/v3").iterdir():
        frame.unlink()
    with pytest.raises(DataError, match=r"modality 'clip': 1 of 6 files cannot be used: .*v3 \(holds no frames"):
        open_dataset(tmp_path, stated(**options))


def test_what_is_described_reads_the_same(media: Path, tmp_path: Path) -> None:
    data = open_dataset(media / "manifest.csv")
    text = describe_yaml(data)
    assert yaml.safe_load(text)["modalities"]["picture"] == {
        "columns": ["picture"],
        "kind": "image",
        "options": {"size": 12, "colours": "rgb"},
    }
    (media / "manifest.dataset.yaml").write_text(text)
    again = open_dataset(media / "manifest.csv")
    assert again.schema == data.schema
    assert fingerprint(again) == fingerprint(data)
    written = export(data, tmp_path / "written")
    assert equal(open_dataset(written), data)


def test_inspection_states_what_was_found(media: Path) -> None:
    found = facts(open_dataset(media / "manifest.csv"))["modalities"]
    assert found["sound"]["files"]["sample rate"] == "8000 (12 samples), 16000 (9 samples)"
    assert found["sound"]["files"]["channels"] == "1 (21 samples)"
    assert "mixed" not in found["sound"]["files"]["decoded"]
    assert found["picture"]["files"]["width"] == "15 (21 samples)"


def test_the_fingerprint_is_that_of_the_content(media: Path, tmp_path: Path) -> None:
    first = fingerprint(open_dataset(media / "manifest.csv"))
    shutil.copytree(media, tmp_path / "moved")
    assert fingerprint(open_dataset(tmp_path / "moved" / "manifest.csv")) == first
    path = tmp_path / "moved" / "picture" / "c0.png"
    Image.fromarray(np.zeros((12, 15, 3), np.uint8)).save(path)
    assert fingerprint(open_dataset(tmp_path / "moved" / "manifest.csv")) != first


def test_rows_are_small_to_pickle(media: Path) -> None:
    rows = open_dataset(media / "manifest.csv").inputs["picture"]
    assert isinstance(rows, FileRows)
    data = pickle.dumps(rows)
    assert len(data) < 200 * len(rows)
    np.testing.assert_array_equal(pickle.loads(data)[slice(0, 9)], rows[slice(0, 9)])
    np.testing.assert_array_equal(rows.take(np.array([5, 7]))[slice(None)], rows[np.array([5, 7])])


@pytest.mark.parametrize(("workers", "gigabytes"), [(0, 0), (2, 0), (2, 1)])
def test_streamed_batches_are_those_of_memory(media: Path, workers: int, gigabytes: float) -> None:
    data = open_dataset(media / "manifest.csv", ReadOptions(cache_gigabytes=gigabytes))
    preprocessing = Preprocessing.fit(data)
    memory, stream = (
        Loader(make_part(data, preprocessing, torch.device("cpu"), kind, workers), 7) for kind in ("memory", "stream")
    )
    for mine, theirs in zip(memory.epoch(0), stream.epoch(0), strict=True):
        for name in data.schema.names:
            assert torch.equal(mine.inputs[name], theirs.inputs[name])
            assert torch.equal(mine.present[name], theirs.present[name])


def break_files(folder: Path) -> None:
    (folder / "audio" / "c0.wav").write_bytes(b"")
    (folder / "audio" / "c2.wav").write_bytes(b"RIFF but not really")
    (folder / "audio" / "c3.wav").unlink()
    (folder / "picture" / "c4.png").write_bytes((folder / "picture" / "c4.png").read_bytes()[:150])


def test_damaged_files_are_named_and_counted(media: Path) -> None:
    break_files(media)
    with pytest.raises(DataError) as caught:
        open_dataset(media / "manifest.csv")
    text = str(caught.value)
    assert "modality 'sound': 3 of 21 files cannot be used" in text
    for words in ("c0.wav (is empty)", "c2.wav (damaged: ", "c3.wav (does not exist)", "set skip_damaged"):
        assert words in text


@pytest.mark.parametrize("gigabytes", [0, 1])
def test_damaged_files_are_left_out_if_told_so(media: Path, gigabytes: float, capsys: pytest.CaptureFixture[str]) -> None:
    whole = open_dataset(media / "manifest.csv", ReadOptions(cache_gigabytes=0))
    break_files(media)
    data = open_dataset(media / "manifest.csv", ReadOptions(skip_damaged=True, cache_gigabytes=gigabytes))
    # c2 never had a picture: without its sound nothing is left of it
    assert data.ids.tolist() == [name for name in whole.ids.tolist() if name != "c2"]
    whole = whole.subset(np.delete(np.arange(24), 2))
    assert whole.ids[whole.present["sound"] & ~data.present["sound"]].tolist() == ["c0", "c3"]
    assert whole.ids[whole.present["picture"] & ~data.present["picture"]].tolist() == ["c4"]  # its header is whole
    shown = capsys.readouterr().err
    assert "1 sample has no modality at all: 'c2'; they are left out" in shown
    assert "3 of 21 files cannot be used" in shown
    assert "c4.png (damaged: image file is truncated" in shown
    assert data.schema["sound"].notes[0] in shown
    kept = data.present["sound"]
    np.testing.assert_array_equal(values(data, "sound"), whole.inputs["sound"][kept])


def test_a_damaged_file_that_its_header_does_not_show(media: Path) -> None:
    path = media / "picture" / "c4.png"
    path.write_bytes(path.read_bytes()[:150])
    with pytest.raises(DataError, match=r"'picture': 1 of 21 files cannot be used: .*c4.png \(damaged: image file is truncated"):
        open_dataset(media / "manifest.csv")
    data = open_dataset(media / "manifest.csv", ReadOptions(cache_gigabytes=0))  # only headers are read
    with pytest.raises(DataError, match=r"c4.png cannot be used: damaged: image file is truncated.*skip_damaged"):
        Preprocessing.fit(data)


def remove(path: Path) -> None:
    path.unlink()


def rewrite(path: Path) -> None:
    os.utime(path, ns=(0, 0))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(("change", "words"), [(remove, "does not exist"), (rewrite, "was changed since it was checked")])
def test_a_file_that_breaks_while_training(media: Path, workers: int, change: Callable[[Path], None], words: str) -> None:
    data = open_dataset(media / "manifest.csv", ReadOptions(cache_gigabytes=0))
    part = make_part(data, Preprocessing.fit(data), torch.device("cpu"), "stream", workers)
    change(media / "picture" / "c5.png")
    with pytest.raises(DataError) as caught:
        list(Loader(part, 8).ordered())
    assert str(caught.value).startswith(f"{media / 'manifest.csv'}: modality 'picture': {media / 'picture' / 'c5.png'} cannot")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["../secret.png", "/etc/secret.png", "picture/../../secret.png"])
def test_a_path_that_leaves_the_folder(media: Path, name: str, edit: Callable[..., None]) -> None:
    edit(media / "manifest.csv", 3, "picture", name)
    Image.new("RGB", (8, 8)).save(media.parent / "secret.png")
    with pytest.raises(DataError, match=r"modality 'picture': the path '.*secret.png' leads out of .*clips; state .* by root"):
        open_dataset(media / "manifest.csv", ReadOptions(skip_damaged=True))


def test_a_root_elsewhere(media: Path, tmp_path: Path) -> None:
    table = tmp_path / "lists" / "train.csv"
    table.parent.mkdir()
    shutil.copy(media / "manifest.csv", table)
    data = open_dataset(media / "manifest.csv")
    assert equal(open_dataset(table, ReadOptions(root=str(media))), data)
    with pytest.raises(DataError, match=r"21 of 21 files cannot be used: .* and 16 more"):
        open_dataset(table)
    with pytest.raises(ConfigError, match=r"option: root = 'nowhere' is no folder"):
        open_dataset(table, ReadOptions(root="nowhere"))


def test_a_root_of_the_description(media: Path, tmp_path: Path) -> None:
    study = tmp_path / "lists"
    shutil.copytree(media, study / "media" / "clips")
    shutil.move(study / "media" / "clips" / "manifest.csv", study / "all.csv")
    description = study / "all.dataset.yaml"
    description.write_text("root: media/clips")
    data = open_dataset(study / "all.csv")
    assert equal(data, open_dataset(media / "manifest.csv"))
    description.write_text(describe_yaml(data))
    assert equal(open_dataset(study / "all.csv"), data)
    description.write_text("root: nowhere")
    assert equal(open_dataset(study / "all.csv", ReadOptions(root=str(media))), data)  # the option wins
    with pytest.raises(DataError, match=r"all.dataset.yaml: root 'nowhere' is no folder in .*lists"):
        open_dataset(study / "all.csv")
    for root in ("..", str(media), "media/../../clips"):
        description.write_text(f"root: {root}")
        with pytest.raises(DataError, match=rf"all.dataset.yaml: root '{root}' leads out of .*lists; .* by the option root"):
            open_dataset(study / "all.csv")


def test_a_root_leaves_the_folders_of_the_data_alone(media: Path) -> None:
    frame = pd.read_csv(media / "manifest.csv")
    frame[["id", "label"]].to_csv(media / "labels.csv", index=False)
    frame[["id", "sound"]].assign(sound=frame["sound"].str.removeprefix("audio/")).to_csv(media / "heard.csv", index=False)
    (media / "manifest.csv").unlink()
    (media / "dataset.yaml").write_text("{root: audio, modalities: {heard: {}, picture: {}}}")
    data = open_dataset(media)
    assert [(item.kind, item.present) for item in data.schema.modalities] == [("audio", 21), ("image", 21)]


def test_a_picture_that_would_fill_the_memory(media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 12 * 15)
    open_dataset(media / "manifest.csv")
    for width in (20, 100):  # Pillow itself warns of the one and refuses the other
        Image.fromarray(np.zeros((12, width, 3), np.uint8)).save(media / "picture" / "c0.png")
        with pytest.raises(DataError, match=rf"c0.png \(is too large a picture: .*{12 * width}"):
            open_dataset(media / "manifest.csv")


def test_a_part_that_is_not_in_the_recording(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "all.flac", np.random.default_rng(0).uniform(-1, 1, 3000), 8000)
    parts = [f"{tmp_path}/all.flac#{start}:{start + 1000}" for start in (0, 1000, 2000)]
    data = open_dataset({"sound": parts, "label": ["a", "b", "a"]}, stated(sound={"options": {"mels": 8}}))
    assert data.schema["sound"].present == 3
    assert data.schema["sound"].decode["seconds"] == 0.125  # that of the parts, not of the recording
    assert len(np.unique(data.inputs["sound"][slice(None)][:, 0, 0, 0])) == 3
    parts[1] = f"{tmp_path}/all.flac#2500:3500"
    with pytest.raises(DataError, match=r"1 of 3 files cannot be used: .*#2500:3500 \(its part 2500:3500 is not within its 3000"):
        open_dataset({"sound": parts, "label": ["a", "b", "a"]})


def test_mistakes_in_what_is_stated(media: Path) -> None:
    table = media / "manifest.csv"
    cases: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"columns": ["picture"], "options": {"sise": 8}}, ConfigError, "options: unknown option 'sise', did you mean 'size'"),
        ({"columns": ["picture"], "options": {"size": 2}}, ConfigError, "size = 2 is out of range, expected at least 4"),
        ({"columns": ["picture"], "options": [8]}, DataError, "expected a mapping of options"),
        ({"columns": ["picture"], "kind": "audio"}, DataError, "21 of 21 files cannot be used"),
        ({"columns": ["picture", "sound"], "kind": "image"}, DataError, "kind 'image' is stated, but it is a table"),
        ({"columns": ["picture"], "kind": "tabular", "options": {"size": 8}}, DataError, "does not hold names of media files"),
    ]
    for own, error, words in cases:
        with pytest.raises(error, match=words):
            open_dataset(table, stated(picture=own))


def test_a_folder_of_mixed_files(media: Path) -> None:
    frame = pd.read_csv(media / "manifest.csv")
    frame[["id", "label"]].to_csv(media / "labels.csv", index=False)
    (media / "manifest.csv").unlink()
    shutil.copy(media / "audio" / "c2.wav", media / "picture" / "c2.wav")
    with pytest.raises(DataError, match=r"picture holds files of several kinds \(audio, image\), expected one"):
        open_dataset(media)
    (media / "picture" / "c2.wav").unlink()
    shutil.copy(media / "picture" / "c3.png", media / "picture" / "other.png")
    with pytest.raises(DataError, match=r"picture: 1 of its 22 ids are not among the 24 samples of .*'other'"):
        open_dataset(media)


def test_a_missing_package(media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "soundfile", None)
    with pytest.raises(ConfigError, match=r"files of audio need soundfile .*pip install 'equipoise\[audio\]'"):
        open_dataset(media / "manifest.csv")
