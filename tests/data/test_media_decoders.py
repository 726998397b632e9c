"""What each kind of file becomes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
from PIL import Image

from equipoise.data.media.audio import AudioDecoder
from equipoise.data.media.base import Decoder
from equipoise.data.media.decoders import decoder_class
from equipoise.data.media.image import ImageDecoder
from equipoise.data.media.video import VideoDecoder, frame_files, taken_frames
from equipoise.data.schema import KINDS
from equipoise.errors import DataError


def complete(decoder: Decoder, *paths: Path) -> Any:
    return decoder.completed([decoder.header(path) for path in paths])


def sound(path: Path, samples: int, rate: int, channels: int = 1) -> np.ndarray:
    values = np.random.default_rng(samples).uniform(-0.5, 0.5, (samples, channels))
    soundfile.write(path, values, rate, **({"subtype": "FLOAT"} if path.suffix == ".wav" else {}))
    return values.astype(np.float32)


def picture(path: Path, height: int, width: int, mode: str = "RGB") -> np.ndarray:
    channels = {"L": (), "RGB": (3,), "RGBA": (4,)}[mode]
    values = np.random.default_rng(height).integers(0, 256, (height, width, *channels), dtype=np.uint8)
    Image.fromarray(values).save(path)
    return values


def test_every_kind_of_files_is_a_kind() -> None:
    found = [kind for kind in KINDS if decoder_class(kind) is not None]
    assert found == ["image", "audio", "video"]


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
def test_sound_of_every_format(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    values = sound(path, 800, 8000)
    decoder = complete(AudioDecoder(features="waveform"), path)
    assert (decoder.sample_rate, decoder.seconds, decoder.shape) == (8000, 0.1, (1, 800))
    tolerance = {"wav": 0, "flac": 1e-4, "ogg": 0.6}[suffix]  # ogg keeps what a listener would notice
    np.testing.assert_allclose(decoder.decode(str(path))[0], values[:, 0], atol=tolerance)


def test_sound_is_cut_filled_mixed_and_resampled(tmp_path: Path) -> None:
    long, short, stereo, fast = (tmp_path / f"{name}.wav" for name in ("long", "short", "stereo", "fast"))
    values = {path: sound(path, *rest) for path, rest in {long: (1200, 8000), short: (300, 8000)}.items()}
    both, quick = sound(stereo, 1000, 8000, 2), sound(fast, 4000, 16000)
    decoder = AudioDecoder(sample_rate=8000, seconds=0.125, features="waveform")
    np.testing.assert_array_equal(decoder.decode(str(long))[0], values[long][:1000, 0])
    np.testing.assert_array_equal(decoder.decode(str(short))[0], np.pad(values[short][:, 0], (0, 700)))
    np.testing.assert_array_equal(decoder.decode(str(stereo))[0], both.mean(axis=1))
    np.testing.assert_array_equal(decoder.decode(str(fast))[0], soxr.resample(quick[:2000], 16000, 8000)[:1000, 0])
    two = AudioDecoder(sample_rate=8000, seconds=0.125, features="waveform", channels=2)
    np.testing.assert_array_equal(two.decode(str(stereo)), both.T)
    np.testing.assert_array_equal(two.decode(str(long)), np.repeat(values[long][:1000].T, 2, axis=0))


def test_options_of_sound_that_are_not_stated_follow_from_the_files(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.wav" for number in range(3)]
    for path, (samples, rate) in zip(paths, ((8000, 8000), (4000, 8000), (32000, 16000)), strict=True):
        sound(path, samples, rate)
    decoder = complete(AudioDecoder(), *paths)
    assert (decoder.sample_rate, decoder.seconds, decoder.n_fft, decoder.hop) == (8000, 2.0, 256, 128)
    assert decoder.shape == (1, 64, 126)
    assert complete(AudioDecoder(features="spectrogram", n_fft=64, hop=100), paths[0]).shape == (1, 33, 81)
    shapes = [complete(AudioDecoder(features=name), *paths) for name in ("logmel", "spectrogram", "waveform")]
    for item in shapes:
        assert item.decode(str(paths[0])).shape == item.shape
        assert item.decode(str(paths[0])).dtype == item.dtype


def test_a_part_of_a_recording(tmp_path: Path) -> None:
    path = tmp_path / "all.flac"
    sound(path, 5000, 8000)
    whole = soundfile.read(path, dtype="float32")[0]
    decoder = AudioDecoder(sample_rate=8000, seconds=0.1, features="waveform")
    np.testing.assert_array_equal(decoder.decode(f"{path}#1000:1500")[0], np.pad(whole[1000:1500], (0, 300)))
    np.testing.assert_array_equal(decoder.decode(f"{path}#1000:4000")[0], whole[1000:1800])
    header = decoder.header(path)
    assert decoder.part(f"{path}#1000:5000", header)["seconds"] == 0.5
    for start, stop in ((4000, 6000), (10, 10)):
        with pytest.raises(DataError, match=f"its part {start}:{stop} is not within its 5000 samples"):
            decoder.part(f"{path}#{start}:{stop}", header)


def test_sound_that_is_not_finite(tmp_path: Path) -> None:
    values = np.zeros(100)
    values[5] = np.nan
    soundfile.write(tmp_path / "a.wav", values, 8000, subtype="FLOAT")
    with pytest.raises(DataError, match="not finite"):
        AudioDecoder(sample_rate=8000, seconds=0.1).decode(str(tmp_path / "a.wav"))


def test_pictures_are_resized_and_cut(tmp_path: Path) -> None:
    wide, grey = tmp_path / "wide.png", tmp_path / "grey.png"
    values, levels = picture(wide, 20, 30), picture(grey, 40, 20, "L")
    decoder = ImageDecoder(size=20, colours="rgb")
    np.testing.assert_array_equal(decoder.decode(str(wide)), values[:, 5:25])
    assert ImageDecoder(size=10, colours="rgb").decode(str(wide)).shape == (10, 10, 3)
    only = complete(ImageDecoder(), grey)
    assert (only.size, only.colours, only.shape) == (20, "grey", (20, 20))
    np.testing.assert_array_equal(only.decode(str(grey)), levels[10:30])
    both = complete(ImageDecoder(), grey, wide)
    assert both.shape == (20, 20, 3)
    np.testing.assert_array_equal(both.decode(str(grey)), np.repeat(levels[10:30, :, None], 3, axis=2))


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_pictures_of_lossy_formats(tmp_path: Path, suffix: str) -> None:
    smooth = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint8)
    Image.fromarray(smooth).convert("RGB").save(tmp_path / f"a.{suffix}", quality=95)
    found = ImageDecoder(size=64, colours="rgb").decode(str(tmp_path / f"a.{suffix}"))
    assert np.abs(found[..., 1].astype(int) - smooth).max() < 8
    small = ImageDecoder(size=16, colours="grey").decode(str(tmp_path / f"a.{suffix}"))
    assert np.abs(small.astype(int) - smooth.reshape(16, 4, 16, 4).mean((1, 3))).max() < 8


def test_pictures_of_16_bits_and_of_palettes(tmp_path: Path) -> None:
    deep = np.linspace(0, 65535, 64).reshape(8, 8).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(ImageDecoder(size=8, colours="grey").decode(str(tmp_path / "deep.png")), deep >> 8)
    Image.fromarray(np.full((8, 8, 3), (200, 10, 30), np.uint8)).convert("P").save(tmp_path / "p.png", transparency=b"\x00\x80")
    assert ImageDecoder(size=8, colours="rgb").decode(str(tmp_path / "p.png")).shape == (8, 8, 3)


def test_the_orientation_of_a_camera_is_followed(tmp_path: Path) -> None:
    values = np.zeros((16, 16, 3), np.uint8)
    values[:8] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    Image.fromarray(values).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(ImageDecoder(size=16, colours="rgb").decode(str(tmp_path / "a.png")), values[::-1])


def test_frames_are_taken_evenly_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    folder = tmp_path / "clip"
    folder.mkdir()
    for number in range(1, 13):
        Image.fromarray(np.full((8, 8, 3), number, np.uint8)).save(folder / f"{number}.png")
    assert [path.stem for path in frame_files(folder)] == [str(number) for number in range(1, 13)]
    decoder = complete(VideoDecoder(frames=3), folder)
    assert decoder.shape == (3, 8, 8, 3)
    assert decoder.decode(str(folder))[:, 0, 0, 0].tolist() == [3, 7, 11]
    assert decoder.header(folder)["frames"] == 12
    grey = VideoDecoder(frames=14, size=8, colours="grey")
    assert grey.decode(str(folder)).shape == (14, 8, 8, 1)
    assert [taken_frames(count, count) for count in (1, 5)] == [[0], [0, 1, 2, 3, 4]]
