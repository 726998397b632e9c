"""Runs on sounds, pictures and videos from files."""

from __future__ import annotations

import runpy
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import equipoise
from equipoise.data.loader import Loader
from equipoise.nn.encoders.base import build_encoder
from equipoise.nn.encoders.frames import FrameAverage
from equipoise.training.loop import Interrupted
from tests.end_to_end.harness import ROOT, call, done, interrupted_after, same_end, summary

AUGMENTED = {"augment": {"picture": "flip,crop", "sound": "time,frequency"}}
BRISK: dict[str, Any] = {
    "epochs": 4,
    "device": "cpu",
    "progress": False,
    "patience": None,
    "learning_rate": 3e-3,
    "batch_size": 8,
}


def test_from_the_shell(media: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = ("--epochs", "12", "--batch-size", "8", "--learning-rate", "3e-3", "--patience", "none", "--test-fraction", "0.25")
    out = done("fit", media / "manifest.csv", *options, "--augment.picture", "flip,crop", "--augment.sound=time", "--out", run)
    assert "joint on manifest: test part, 6 samples" in out
    assert summary(run)["phases"]["train"]["epochs"] == 12
    described = done("data", "describe", media / "manifest.csv")
    assert "sample rate of sound: 8000 (12 samples), 16000 (9 samples)" in described
    assert "decoded of picture: short side resized to 12, the square in the middle, rgb" in described

    # new samples of other rates and sizes, one without a sound, one whose sound is damaged
    new = tmp_path / "new"
    shutil.copytree(media, new)
    Image.open(new / "picture" / "c3.png").resize((60, 40)).save(new / "picture" / "c3.jpg")
    frame = pd.read_csv(new / "manifest.csv").drop(columns="label")
    frame.loc[3, "picture"] = "picture/c3.jpg"
    frame.loc[5, "sound"] = None
    frame.to_csv(new / "manifest.csv", index=False)
    (new / "audio" / "c6.wav").write_bytes(b"")
    table = tmp_path / "predictions.csv"
    words = call("predict", run, new / "manifest.csv", "--out", table).error()
    assert "modality 'sound': 1 of 20 files cannot be used: " in words
    answer = call("predict", run, new / "manifest.csv", "--skip-damaged", "true", "--out", table)
    assert answer.code == 0
    assert "1 of 20 files cannot be used" in answer.err
    predictions = pd.read_csv(table)
    assert predictions.loc[~predictions["sound.present"], "id"].tolist() == ["c1", "c5", "c6", "c9", "c17"]

    answer = call("fit", media / "manifest.csv", "--augment.sound", "flip", "--out", tmp_path / "other")
    assert answer.error().startswith("augment: sound = 'flip' does not apply to kind 'audio'")


def test_what_was_left_out_stands_in_the_summary(media: Path) -> None:
    (media / "audio" / "c0.wav").write_bytes(b"")
    run = equipoise.fit(media / "manifest.csv", skip_damaged=True, **{**BRISK, "epochs": 1})
    (note,) = run.summary["notes"]
    assert "modality 'sound': 1 of 21 files cannot be used" in note
    assert note.endswith("c0.wav (is empty); they are left out")


@pytest.mark.parametrize("loader", ["memory", "stream"])
def test_a_run_that_is_stopped_ends_where_it_would_have(media: Path, tmp_path: Path, loader: str) -> None:
    options = {**BRISK, **AUGMENTED, "loader": loader, "workers": 0, "method": "ogm", "checkpoint_seconds": 0.0}
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    equipoise.fit(media / "manifest.csv", out=straight, **options)
    with interrupted_after(2), pytest.raises(Interrupted):
        equipoise.fit(media / "manifest.csv", out=stopped, **options)
    equipoise.resume(stopped, progress=False)
    same_end(stopped, straight)


def test_streaming_and_memory_train_the_same(media: Path) -> None:
    memory, stream = (
        equipoise.fit(media / "manifest.csv", loader=kind, workers=0, **AUGMENTED, **BRISK) for kind in ("memory", "stream")
    )
    assert memory.log == stream.log
    other = equipoise.fit(media / "manifest.csv", **BRISK)
    assert other.log[0]["losses"] != memory.log[0]["losses"]


def test_validation_is_never_augmented(media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    ordered = Loader.ordered

    def watched(self: Loader) -> Any:
        for batch in ordered(self):
            for name, value in batch.inputs.items():
                assert torch.equal(value, self.part.inputs[name][batch.index])  # type: ignore[attr-defined]
            seen.append(len(batch))
            yield batch

    monkeypatch.setattr(Loader, "ordered", watched)
    equipoise.fit(media / "manifest.csv", **AUGMENTED, **BRISK)
    assert len(seen) > 4


def test_prediction_decodes_as_training_did(media: Path, tmp_path: Path) -> None:
    modalities = {
        "sound": {"columns": ["sound"], "options": {"seconds": 0.2, "mels": 24}},
        "picture": {"columns": ["picture"], "kind": "image", "options": {"size": 10, "colours": "grey"}},
    }
    run = equipoise.fit(media / "manifest.csv", modalities=modalities, out=tmp_path / "run", **BRISK)
    every = run.predict(media / "manifest.csv")
    alone = tmp_path / "alone"
    shutil.copytree(media, alone)
    frame = pd.read_csv(alone / "manifest.csv").drop(columns="label").iloc[[1]]  # 16000 Hz, picture only
    frame.to_csv(alone / "manifest.csv", index=False)
    one = equipoise.load(tmp_path / "run").predict(alone / "manifest.csv")
    np.testing.assert_allclose(one.probabilities[0], every.probabilities[1], rtol=1e-5)
    assert not one.present["sound"].any()


@pytest.mark.parametrize("encoder", ["cnn", "resnet", "mlp"])
def test_encoders_of_media(encoder: str) -> None:
    shapes: dict[str, tuple[int, ...]] = {"image": (3, 16, 16), "logmel": (1, 24, 20), "video": (4, 3, 16, 16), "wave": (1, 400)}
    for name, shape in shapes.items():
        if encoder == "resnet" and name == "wave":
            continue  # its convolutions are those of pictures
        module = build_encoder({"name": encoder}, shape, 8, name)
        assert module(torch.zeros(3, *shape)).shape == (3, 8)


@pytest.mark.parametrize("encoder", ["cnn", "resnet"])
def test_a_video_is_the_mean_of_its_frames(encoder: str) -> None:
    module = build_encoder({"name": encoder}, (3, 16, 16), 8, "clip").eval()
    videos = torch.rand(2, 5, 3, 16, 16)
    expected = torch.stack([module(frames) for frames in videos.unbind(1)]).mean(0)
    torch.testing.assert_close(FrameAverage(module)(videos), expected)
    torch.testing.assert_close(module(videos), expected)


def test_videos_and_waveforms_train(media: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(media / "manifest.csv")
    folder = tmp_path / "study"
    shutil.copytree(media / "audio", folder / "audio")
    for number, name in enumerate(frame["id"]):
        clip = folder / "clip" / name
        clip.mkdir(parents=True)
        for frame_number in range(3):
            values = np.full((8, 8, 3), 60 * (number % 3) + 10 * frame_number, np.uint8)
            Image.fromarray(values).save(clip / f"{frame_number}.png")
    frame[["id", "label"]].to_csv(folder / "labels.csv", index=False)
    modalities = {"audio": {"options": {"features": "waveform"}}, "clip": {"kind": "video", "options": {"frames": 2}}}
    run = equipoise.fit(folder, modalities=modalities, augment={"clip": "flip"}, **BRISK)
    assert run.config["shapes"] == {"audio": [1, 2000], "clip": [2, 3, 8, 8]}
    assert {name: item["name"] for name, item in run.config["encoders"].items()} == {"audio": "cnn", "clip": "cnn"}


def test_example_of_av_digits(shared_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example = runpy.run_path(str(ROOT / "examples" / "av_digits.py"))
    run = example["main"](shared_data / "av_digits", epochs=6, every=10)
    assert run.config["schema"]["modalities"][0]["decode"]["sample_rate"] == 8000
    assert run.config["schema"]["group"] == "speaker"
    assert run.metrics["fused"]["accuracy"] > 0.5
    assert "samples of speakers never heard" in capsys.readouterr().out
