"""What bad run folders and bad disks get: one sentence, and what was good before stays good."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from equipoise.errors import RunError
from equipoise.training import checkpoint
from tests.end_to_end.harness import QUICK, call, done, interrupted_after, same_end, summary

LONGER = ("--epochs", "4", "--device", "cpu", "--checkpoint-seconds", "0")


@contextlib.contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """A disk in memory at a folder; the test is skipped where none may be mounted."""
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a disk cannot be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    """A finished run that a test may spoil."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))


@pytest.fixture
def stopped(study: Path, tmp_path: Path) -> Path:
    """A run that was interrupted."""
    with interrupted_after(2):
        assert call("fit", study, *LONGER, "--out", tmp_path / "stopped").code == 130
    return tmp_path / "stopped"


@pytest.mark.parametrize("words", [["evaluate"], ["predict", "--out", "p.csv"], ["fit", "--resume"]])
def test_a_folder_that_is_no_run(study: Path, tmp_path: Path, words: list[str]) -> None:
    for folder in (tmp_path / "nowhere", study):
        command = [*words, folder] if words[-1] == "--resume" else [*words, folder, study]
        assert call(*command).error() == f"{folder} is not a run folder: it has no config.json"


def test_a_run_that_is_not_finished(study: Path, stopped: Path) -> None:
    sentence = f"{stopped}: this run is not finished; resume it with: equipoise fit --resume {stopped}"
    assert call("evaluate", stopped, study).error() == sentence
    assert call("predict", stopped, study, "--out", stopped.parent / "p.csv").error() == sentence


def test_a_run_of_a_newer_version(study: Path, copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "format": 99, "equipoise": "9.0.0"}))
    sentence = call("evaluate", copy, study).error()
    assert sentence.startswith(f"{copy}: run format 99 (equipoise 9.0.0) is not known to equipoise ")
    assert call("fit", "--resume", copy).error() == sentence


@pytest.mark.parametrize("name", ["config.json", "preprocessing.json", "split.json", "summary.json"])
def test_a_damaged_file(study: Path, copy: Path, name: str) -> None:
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[: len(content) // 2])
    assert call("evaluate", copy, study).error().startswith(f"cannot read {copy / name}: it is not complete JSON")
    (copy / name).write_text("{}")
    assert call("evaluate", copy, study).error().startswith(f"{copy / name}: ")


def test_damaged_weights(study: Path, copy: Path) -> None:
    content = (copy / "model.safetensors").read_bytes()
    for spoiled in (content[:-100], b"", b"\x00" * 100):
        (copy / "model.safetensors").write_bytes(spoiled)
        sentence = call("evaluate", copy, study).error()
        assert sentence.startswith(f"{copy / 'model.safetensors'}: the weights are damaged (")


def test_weights_of_another_model(study: Path, copy: Path, tmp_path: Path) -> None:
    done("fit", study, *QUICK, "--feature-size", "8", "--out", tmp_path / "other")
    shutil.copy(tmp_path / "other" / "model.safetensors", copy / "model.safetensors")
    sentence = call("evaluate", copy, study).error()
    assert sentence.startswith(f"{copy / 'model.safetensors'}: the weights do not fit the configuration: ")


class _Harmful:
    """A pickle that runs code when it is opened."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.mark),)


def test_a_checkpoint_that_would_run_code(stopped: Path, tmp_path: Path) -> None:
    mark = tmp_path / "harmed"
    (stopped / "checkpoint.pt").write_bytes(pickle.dumps(_Harmful(mark)))
    sentence = call("fit", "--resume", stopped).error()
    assert sentence.startswith(f"{stopped / 'checkpoint.pt'}: the checkpoint is damaged or not a checkpoint")
    assert not mark.exists()
    pickle.loads((stopped / "checkpoint.pt").read_bytes())
    assert mark.exists()  # it would have


def test_a_checkpoint_of_a_newer_version(stopped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    payload = checkpoint.load_checkpoint(stopped / "checkpoint.pt")
    monkeypatch.setattr(checkpoint, "FORMAT", 99)
    checkpoint.save_checkpoint(stopped / "checkpoint.pt", {**payload, "format": 99})
    monkeypatch.undo()
    sentence = call("fit", "--resume", stopped).error()
    assert sentence == f"{stopped / 'checkpoint.pt'}: checkpoint format 99 is not known to this version, expected 2"


def test_resuming_takes_no_options(stopped: Path) -> None:
    sentence = call("fit", "--resume", stopped, "--epochs", "9", "--method", "ogm").error()
    assert sentence == "--resume takes the options of the run; leave out --method, --epochs"


def test_an_out_folder_that_holds_something(study: Path, finished: Path, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in finished.iterdir()}
    assert call("fit", study, *QUICK, "--out", finished).error() == (
        f"{finished} already holds a run; resume it (equipoise fit --resume {finished}) or choose another folder"
    )
    assert {path.name: path.read_bytes() for path in finished.iterdir()} == before
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "me.jpg").touch()
    sentence = call("fit", study, *QUICK, "--out", tmp_path / "photos").error()
    assert sentence == f"{tmp_path / 'photos'} is not empty and not a run; choose another folder"
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["me.jpg"]


def test_an_out_folder_that_cannot_be_made(study: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    sentence = call("fit", study, *QUICK, "--out", tmp_path / "file").error()
    assert sentence == f"cannot make the folder {tmp_path / 'file'}: it is a file, expected a folder"
    sentence = call("fit", study, *QUICK, "--out", tmp_path / "file" / "run").error()
    assert sentence == f"cannot make the folder {tmp_path / 'file' / 'run'}: a part of the path is a file, expected a folder"


def test_an_out_folder_that_may_not_be_written(study: Path, tmp_path: Path) -> None:
    """Forbidden by its permissions, or to a superuser, to whom nothing is forbidden, by a disk that is read-only."""
    folder = tmp_path / "kept"
    folder.mkdir()
    if os.geteuid() == 0:
        with mounted(folder, "ro"):
            sentence = call("fit", study, *QUICK, "--out", folder / "run").error()
        assert sentence == f"cannot make the folder {folder / 'run'}: the file system is read-only"
    else:
        folder.chmod(0o500)
        sentence = call("fit", study, *QUICK, "--out", folder / "run").error()
        assert sentence == f"cannot make the folder {folder / 'run'}: permission denied"
    assert not (folder / "run").exists()


def test_a_file_that_cannot_be_written(study: Path, finished: Path, tmp_path: Path) -> None:
    (tmp_path / "p.csv").mkdir()
    sentence = call("predict", finished, study, "--out", tmp_path / "p.csv").error()
    assert sentence == f"cannot write {tmp_path / 'p.csv'}: it is not a file"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 MB, where one may be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    with mounted(folder, "size=8m"):
        yield folder


def test_a_disk_that_is_full_in_mid_training(study: Path, small_disk: Path, tmp_path: Path) -> None:
    """The last good checkpoint survives, and once there is room the run ends where it would have ended."""
    run = small_disk / "run"
    with interrupted_after(2):
        assert call("fit", study, *LONGER, "--out", run).code == 130
    good = (run / "checkpoint.pt").read_bytes()
    free = shutil.disk_usage(small_disk).free
    (small_disk / "filler").write_bytes(bytes(free - len(good) // 2))
    assert call("fit", "--resume", run).error() == f"cannot write {run / 'checkpoint.pt'}: the disk is full"
    assert (run / "checkpoint.pt").read_bytes() == good
    (small_disk / "filler").unlink()
    done("fit", "--resume", run)
    done("fit", study, *LONGER, "--out", tmp_path / "straight")
    same_end(run, tmp_path / "straight")


def test_a_write_that_fails_in_mid_training(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As above, where no disk can be mounted: the third checkpoint cannot be written."""
    run = tmp_path / "run"
    written: list[Path] = []

    def save(path: Path, payload: dict[str, object]) -> None:
        if len(written) == 2:
            raise RunError(f"cannot write {path}: the disk is full")
        written.append(path)
        checkpoint.save_checkpoint(path, payload)

    monkeypatch.setattr("equipoise.run.save_checkpoint", save)
    assert call("fit", study, *LONGER, "--out", run).error() == f"cannot write {run / 'checkpoint.pt'}: the disk is full"
    monkeypatch.undo()
    assert checkpoint.load_checkpoint(run / "checkpoint.pt")["position"] == [0, 2, 0]
    done("fit", "--resume", run)
    done("fit", study, *LONGER, "--out", tmp_path / "straight")
    same_end(run, tmp_path / "straight")
    assert summary(run)["phases"]["train"]["epochs"] == 4
