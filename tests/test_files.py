"""Files are written whole or not at all, and what goes wrong is said in one sentence."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from equipoise import files
from equipoise.errors import DataError, RunError


def refuse(number: int) -> Callable[..., NoReturn]:
    """A stand-in for a call to the operating system that fails with the given error number."""

    def call(*_arguments: object, **_options: object) -> NoReturn:
        raise OSError(number, os.strerror(number))

    return call


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB, where one may be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    files.write_bytes(path, b"old")
    files.write_bytes(path, b"new")
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["model.bin"]


def test_missing_folders_are_made(tmp_path: Path) -> None:
    files.write_bytes(tmp_path / "a" / "b" / "model.bin", b"new")
    assert (tmp_path / "a" / "b" / "model.bin").read_bytes() == b"new"


def test_the_writer_sees_the_suffix(tmp_path: Path) -> None:
    files.write_atomic(tmp_path / "x.npy", lambda new: np.save(new, np.arange(3)))
    assert np.load(tmp_path / "x.npy").tolist() == [0, 1, 2]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to(tmp_path / "real.txt")
    files.write_bytes(tmp_path / "link.txt", b"new")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "real.txt").read_text() == "new"


def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    files.write_bytes(tmp_path / "atomic", b"")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("failure", [RuntimeError("no"), KeyboardInterrupt()])
def test_a_failing_writer_leaves_the_old_file(tmp_path: Path, failure: BaseException) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(b"old")

    def write(new: Path) -> None:
        new.write_bytes(b"half")
        raise failure

    with pytest.raises(type(failure)):
        files.write_atomic(path, write)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["model.bin"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize(
    ("number", "cause"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "the disk quota is used up"),
        (errno.EROFS, "the file system is read-only"),
        (errno.EIO, "input/output error"),
    ],
)
def test_a_refusing_system_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int, cause: str
) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, call, refuse(number))
    with pytest.raises(RunError, match=rf"^cannot write .*model\.bin: {cause}$"):
        files.write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["model.bin"]


def test_a_full_disk_leaves_the_old_file(tiny_disk: Path) -> None:
    path = tiny_disk / "model.bin"
    files.write_bytes(path, b"old")
    with pytest.raises(RunError, match=r"^cannot write .*model\.bin: the disk is full$"):
        files.write_bytes(path, bytes(200_000))
    assert path.read_bytes() == b"old"
    assert names(tiny_disk) == ["model.bin"]
    files.write_bytes(path, b"new")
    assert path.read_bytes() == b"new"


LIBRARIES: dict[str, Callable[[Path], object]] = {
    "model.safetensors": lambda new: save_file({"weight": torch.zeros(100_000)}, new),
    "optimizer.pt": lambda new: torch.save(torch.zeros(100_000), new),
    "features.npy": lambda new: np.save(new, np.zeros(100_000)),
    "table.csv": lambda new: pd.DataFrame(np.zeros((20_000, 4))).to_csv(new),
}


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_full_disk_is_named_whatever_library_writes(tiny_disk: Path, name: str) -> None:
    with pytest.raises(RunError, match=rf"^cannot write .*{name}: the disk is full$"):
        files.write_atomic(tiny_disk / name, LIBRARIES[name])
    assert names(tiny_disk) == []


def test_a_full_disk_stops_a_log(tiny_disk: Path) -> None:
    path = tiny_disk / "metrics.jsonl"
    files.append_line(path, {"epoch": 0})
    with pytest.raises(RunError, match="the disk is full"):
        files.append_line(path, {"epoch": 1, "text": "x" * 200_000})
    assert files.read_lines(path) == [{"epoch": 0}]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_device_is_named() -> None:
    with pytest.raises(RunError, match=r"^cannot write /dev/full: the disk is full$"):
        files.append_line(Path("/dev/full"), {"epoch": 0})


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with pytest.raises(RunError, match=r"run: it is not a file$"):
        files.write_bytes(tmp_path / "run", b"")
    (tmp_path / "note").write_text("")
    with pytest.raises(RunError, match=r"note: (it is a file|a part of the path is a file), expected a folder$"):
        files.write_bytes(tmp_path / "note" / "model.bin", b"")
    with pytest.raises(RunError, match=r"^cannot make the folder .*note: it is a file, expected a folder$"):
        files.make_folder(tmp_path / "note")


def test_a_killed_writer_leaves_the_old_file_and_the_next_one_cleans_up(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(b"old")
    program = (
        "import os, sys, pathlib; from equipoise import files\n"
        "files.write_atomic(pathlib.Path(sys.argv[1]), lambda new: (new.write_bytes(b'half'), os.kill(os.getpid(), 9)))"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", program, str(path)], env=environment, check=False)
    assert done.returncode == -9
    assert path.read_bytes() == b"old"
    files.write_bytes(path, b"new")
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["model.bin"]


def test_json_returns_as_it_was(tmp_path: Path) -> None:
    value = {"b": [1, 2.5, None], "a": {"name": "Gewicht ½", "on": True}}
    files.write_json(tmp_path / "x.json", value)
    assert files.read_json(tmp_path / "x.json", "a test") == value
    text = (tmp_path / "x.json").read_text(encoding="utf-8")
    assert text.endswith("}\n")
    assert text.index('"b"') < text.index('"a"')
    assert "½" in text


def test_numbers_that_json_lacks_become_null(tmp_path: Path) -> None:
    value = {
        "nan": float("nan"),
        "list": [1.0, float("inf")],
        "tuple": (float("-inf"), 2),
        "numpy": np.float32("nan"),
        "array": np.array([[1, 2]]),
        "tensor": torch.tensor([0.5, float("nan")]),
    }
    files.write_json(tmp_path / "x.json", value)
    assert json.loads((tmp_path / "x.json").read_text()) == {
        "nan": None,
        "list": [1.0, None],
        "tuple": [None, 2],
        "numpy": None,
        "array": [[1, 2]],
        "tensor": [0.5, None],
    }


def test_what_json_cannot_hold_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        files.write_json(tmp_path / "x.json", {"x": object()})
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"a": 1', "it is not complete JSON"),
        (b"", "it is not complete JSON"),
        (b"\xff\xfe\x00", "it is not complete JSON"),
        (b"[1]", "it holds a list"),
    ],
)
def test_a_broken_json_file_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(RunError, match=rf"^cannot read .*config\.json: {words}.*expected the settings"):
        files.read_json(tmp_path / "config.json", "the settings")


def test_a_missing_json_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^cannot read .*config\.json: no such file \(expected the settings\)$"):
        files.read_json(tmp_path / "config.json", "the settings", error=DataError)
    with pytest.raises(RunError, match=r"no such file"):
        files.read_json(tmp_path / "absent" / "config.json", "the settings")
    with pytest.raises(RunError, match="it is a folder, expected a file"):
        files.read_json(tmp_path, "the settings")


def test_an_unreadable_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "config.json"
    path.write_text("{}")
    monkeypatch.setattr(Path, "read_bytes", refuse(errno.EACCES))
    with pytest.raises(RunError, match=r"config\.json: permission denied$"):
        files.read_json(path, "the settings")


def test_lines_return_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert files.read_lines(path) == []
    for epoch in range(3):
        files.append_line(path, {"epoch": epoch, "loss": float("nan"), "note": "a\nb"})
    assert files.read_lines(path) == [{"epoch": epoch, "loss": None, "note": "a\nb"} for epoch in range(3)]


@pytest.mark.parametrize("cut", [b'{"epo', b'{"epoch": 9}', b"\xc3"])
def test_resuming_takes_back_what_came_after_the_checkpoint(tmp_path: Path, cut: bytes) -> None:
    path = tmp_path / "metrics.jsonl"
    for epoch in range(4):
        files.append_line(path, {"epoch": epoch})
    whole = path.read_bytes()
    path.write_bytes(whole + cut)
    assert files.read_lines(path) == [{"epoch": epoch} for epoch in range(4)]
    files.truncate_lines(path, lambda record: record["epoch"] < 3)
    assert path.read_bytes() == whole[: whole.rindex(b'{"epoch": 3}')]
    files.append_line(path, {"epoch": 3})
    assert path.read_bytes() == whole


def test_taking_back_lines_of_no_file_is_nothing(tmp_path: Path) -> None:
    files.truncate_lines(tmp_path / "metrics.jsonl", lambda _record: True)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "words"), [(b'{"a": 1}\n{"a"\n{}\n', "line 2 is not JSON"), (b"[]\n", "line 1 holds a list")]
)
def test_a_broken_line_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "metrics.jsonl").write_bytes(content)
    with pytest.raises(RunError, match=rf"metrics\.jsonl: {words}"):
        files.read_lines(tmp_path / "metrics.jsonl")
