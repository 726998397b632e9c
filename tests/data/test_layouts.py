"""What holds for every published layout: how it is chosen and shown, what is missing, and that models train on it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

import equipoise
from equipoise.config import ReadOptions
from equipoise.data.export import export
from equipoise.data.layouts import LAYOUTS, open_layout
from equipoise.data.sources import open_dataset
from equipoise.errors import ConfigError, DataError
from tests.data.layouts import miniatures
from tests.data.layouts.miniatures import MINIATURES
from tests.end_to_end.harness import ROOT, call, done, summary

TINY = (
    "--modalities.audio.options.seconds=0.1",
    "--modalities.audio.options.n_fft=64",
    "--modalities.audio.options.hop=32",
    "--modalities.video.options.size=8",
)


@pytest.fixture
def crema_d(tmp_path: Path) -> Path:
    """A miniature of CREMA-D."""
    miniatures.crema_d(tmp_path / "crema")
    return tmp_path / "crema"


@pytest.mark.parametrize("name", LAYOUTS.names())
def test_facts_are_stated(name: str) -> None:
    layout = open_layout(name)
    assert all(len(text) > 20 for text in (layout.title, layout.reference, layout.licence, layout.tree, layout.choices))
    assert any(mark.split("/")[-1].split("_")[0] in layout.tree for mark in layout.marks)


def test_layouts_are_listed_and_shown() -> None:
    listed = done("data", "layouts")
    assert all(name in listed for name in LAYOUTS.names())
    shown = done("data", "layouts", "ucf101")
    assert "ucfTrainTestlist/classInd.txt" in shown
    assert "--layout ucf101:split1  trainlist01.txt and testlist01.txt [the default]" in shown
    assert "did you mean 'crema_d'" in call("data", "layouts", "cremad").error()


def test_unknown_layouts_and_variants() -> None:
    for word, expected in (
        ("cremad", "unknown layout 'cremad', did you mean 'crema_d'"),
        ("ucf101:split4", "layout 'ucf101' has no variant 'split4', did you mean 'split"),
        ("crema_d:3fps", "layout 'crema_d' has no variants"),
    ):
        with pytest.raises(ConfigError, match=expected):
            open_layout(word)


@pytest.mark.parametrize("layout", MINIATURES)
def test_another_folder_is_told_what_was_expected(layout: str, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("id,label\na,b\n", encoding="utf-8")
    words = call("data", "describe", tmp_path, "--layout", layout).error()
    name = layout.split(":")[0]
    assert words.startswith(f"{tmp_path} is not in layout {name!r}: it has none of {open_layout(layout).marks[0]}")
    assert words.endswith(f"equipoise data layouts {name})")


def test_a_list_that_is_missing_and_a_source_that_is_no_folder(crema_d: Path, tmp_path: Path) -> None:
    (crema_d / "test.csv").unlink()
    with pytest.raises(DataError, match=r"has no test.csv or annotations/test.csv, a list of layout 'crema_d'"):
        open_dataset(crema_d, ReadOptions(layout="crema_d"))
    with pytest.raises(DataError, match=r"train.csv: layout 'crema_d' is stated, which is one of folders"):
        open_dataset(crema_d / "train.csv", ReadOptions(layout="crema_d"))
    with pytest.raises(DataError, match="data in memory: layout 'crema_d' is stated"):
        open_dataset({"a": [[1.0]]}, ReadOptions(layout="crema_d"))


def test_missing_files_are_counted_per_modality(crema_d: Path) -> None:
    for clip in ("1001_IEO_NEU_XX", "1002_ITS_ANG_XX"):
        (crema_d / "AudioWAV" / f"{clip}.wav").unlink()
    shutil.rmtree(crema_d / "Image-01-FPS" / "1002_ITS_ANG_XX")
    words = call("fit", crema_d, "--layout", "crema_d", "--out", crema_d / "run").error()
    assert words == (
        f"modality 'audio': 2 of 24 files are missing in {crema_d}: AudioWAV/1001_IEO_NEU_XX.wav, AudioWAV/1002_ITS_ANG_XX.wav; "
        f"modality 'video': 1 of 24 files are missing in {crema_d}: Image-01-FPS/1002_ITS_ANG_XX; "
        "to treat their samples as absent, set skip_damaged"
    )
    answer = call("data", "describe", crema_d, "--layout", "crema_d", "--skip-damaged", "true", *TINY)
    assert answer.code == 0
    assert "modality 'audio': 2 of 24 files are missing" in answer.err
    assert "AudioWAV/1002_ITS_ANG_XX.wav; they are absent" in answer.out
    assert "crema_d: 23 samples" in answer.out  # one has neither, which is said too
    assert "1 sample has no modality at all: '1002_ITS_ANG_XX'; they are left out" in answer.err


def test_a_modality_without_any_file(crema_d: Path, tmp_path: Path) -> None:
    (crema_d / "AudioWAV").rename(tmp_path / "AudioWAV")
    with pytest.raises(
        DataError, match=r"'audio': 24 of 24 files are missing in .* and 21 more; expected AudioWAV/\*.wav; another folder"
    ):
        open_dataset(crema_d, ReadOptions(layout="crema_d", skip_damaged=True))
    # the media of the lists may lie elsewhere
    (crema_d / "Image-01-FPS").rename(tmp_path / "Image-01-FPS")
    data = open_dataset(crema_d, ReadOptions(layout="crema_d", root=str(tmp_path), cache_gigabytes=0.0))
    assert [modality.present for modality in data.schema.modalities] == [24, 24]


def test_describe_states_classes_lists_and_frames(crema_d: Path) -> None:
    out = done("data", "describe", crema_d, "--layout", "crema_d", *TINY)
    assert "lists: train train.csv, test test.csv" in out
    assert "classes: 6 (NEU, HAP, SAD, FEA, DIS, ANG), in the order of the code of OGM-GE" in out
    assert "decoded of video: 1 frames, the middle ones of 1 equal parts of the folder" in out
    assert "split: published, train 18, test 6; it has no validation part" in out
    assert "layout: crema_d" in out


def test_one_option_of_decoding_is_stated_beside_the_published_ones(crema_d: Path) -> None:
    words = ("--modalities", "{audio: {}, video: {}}", "--modalities.video.options.frames", "2", *TINY)
    out = done("data", "describe", crema_d, "--layout", "crema_d", *words)
    assert "decoded of video: 2 frames, the middle ones of 2 equal parts of the folder; of each short side resized to 8" in out
    assert "decoded of audio: the first 0.1 s (silence after shorter ones) in 1 channel at 22050 Hz" in out


def test_a_layout_is_chosen_never_guessed(crema_d: Path) -> None:
    with pytest.raises(DataError, match=r"has no labels\.csv"):
        open_dataset(crema_d)
    (crema_d / "dataset.yaml").write_text(yaml.safe_dump({"layout": "crema_d"}), encoding="utf-8")
    assert open_dataset(crema_d).schema.layout == "crema_d"
    with pytest.raises(DataError):
        open_dataset(crema_d, ReadOptions(layout="none"))


def test_train_and_predict_from_the_shell(crema_d: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    out = done(
        "fit", crema_d, "--config", ROOT / "configs" / "published" / "cremad.yaml", "--method", "ogm", "--epochs", "1",
        "--feature-size", "8", "--device", "cpu", *TINY, "--out", run,
    )  # fmt: skip
    assert "ogm on crema_d: test part, 6 samples" in out
    notes = summary(run)["notes"]
    assert "lists: train train.csv, test test.csv" in notes
    # the folder that the run knows needs no word, and other data are read as they are
    (crema_d / "train.csv").write_text("1001_IEO_NEU_XX,NEU\n", encoding="utf-8")
    table = tmp_path / "predictions.csv"
    done("predict", run, crema_d, "--out", table)
    assert len(pd.read_csv(table)) == 7
    manifest = crema_d / "new.csv"
    manifest.write_text("id,audio,video\na,AudioWAV/1001_IEO_NEU_XX.wav,Image-01-FPS/1001_IEO_NEU_XX\n", encoding="utf-8")
    done("predict", run, manifest, "--out", table)
    assert pd.read_csv(table)["id"].tolist() == ["a"]


@pytest.mark.parametrize("layout", ["twitter15", "ucf101", "cmu_mosei"])
def test_models_train(layout: str, tmp_path: Path) -> None:
    MINIATURES[layout](tmp_path / "set")
    sizes = {"twitter15": {"text": {}, "image": 8}, "ucf101": {"rgb": 8, "flow": 8}, "cmu_mosei": {}}[layout]
    modalities = {name: {"options": {"size": size}} if size else {} for name, size in sizes.items()}
    options = {"modalities": modalities} if modalities else {}
    run = equipoise.fit(tmp_path / "set", layout=layout, epochs=1, device="cpu", progress=False, batch_size=8, **options)
    assert run.metrics["fused"]["samples"] == (2 if layout == "cmu_mosei" else 3)


def test_an_exported_set_is_a_folder_of_its_own(crema_d: Path, tmp_path: Path) -> None:
    data = open_dataset(crema_d, ReadOptions(layout="crema_d"))
    copy = open_dataset(export(data, tmp_path / "copy"))
    assert (copy.schema.format, copy.schema.layout) == ("folder", "")
    assert copy.schema.classes == data.schema.classes
    assert copy.ids.tolist() == data.ids.tolist()
