"""The only place that writes files: a file is there whole or it is as it was before, and a failure names the file and the cause.

A writer that is killed leaves at most a hidden temporary file beside its target, which the next writer of that target
overwrites. Every target has one writer at a time.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from equipoise.errors import EquipoiseError, RunError

_CAUSES = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EROFS: "the file system is read-only",
    errno.ENOTDIR: "a part of the path is a file, expected a folder",
    errno.EISDIR: "it is a folder, expected a file",
    errno.EEXIST: "it is a file, expected a folder",
    errno.ENOENT: "no such file",
}


@contextlib.contextmanager
def os_errors(action: str, path: Path, error: type[EquipoiseError] = RunError) -> Iterator[None]:
    """Turn what the operating system refuses into one sentence that names the path and the cause.

    Args:
        action: What was tried, one verb: ``"read"``.
        path: What it was tried on.
        error: The class of the error to raise.

    Raises:
        EquipoiseError: The operating system refused; of the class ``error``.

    Example:
        >>> with os_errors("read", Path("absent.csv")):
        ...     open("absent.csv")
        Traceback (most recent call last):
        equipoise.errors.RunError: cannot read absent.csv: no such file
    """
    try:
        yield
    except OSError as failure:
        cause = _CAUSES.get(failure.errno or 0, (failure.strerror or str(failure)).lower())
        raise error(f"cannot {action} {path}: {cause}") from failure


def make_folder(path: Path) -> Path:
    """Make a folder and its parents unless they are there.

    Raises:
        RunError: It cannot be made.
    """
    with os_errors("make the folder", path):
        path.mkdir(parents=True, exist_ok=True)
    return path


def write_atomic(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file so that readers see the old one or the new one, whatever happens meanwhile.

    The folder is made if need be. A symbolic link is followed, so its target is replaced and not the link.

    Args:
        path: The file to write.
        write: Writes the content to the path it is given: a new file in the same folder with the same suffix.

    Raises:
        RunError: The file cannot be written; what was there before still is.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "note.txt"
        ...     write_atomic(path, lambda new: new.write_text("balance"))
        ...     path.read_text()
        'balance'
    """
    target = Path(os.path.realpath(path))
    make_folder(target.parent)
    new = target.with_name(f".{target.stem}.new{target.suffix}")
    with os_errors("write", path):
        if target.exists() and not target.is_file():
            raise RunError(f"cannot write {path}: it is not a file")
        try:
            write(new)
            _synchronize(new)
            os.replace(new, target)
        except BaseException as failure:
            full = isinstance(failure, Exception) and _is_full(target.parent, failure)
            with contextlib.suppress(OSError):
                new.unlink(missing_ok=True)
            if full:
                raise RunError(f"cannot write {path}: {_CAUSES[errno.ENOSPC]}") from failure
            raise
        _synchronize(target.parent)


def _is_full(folder: Path, failure: Exception) -> bool:
    """Whether a write failed for want of space, which torch, safetensors and numpy do not report as the system does."""
    if os.strerror(errno.ENOSPC) in str(failure):
        return True
    try:
        return shutil.disk_usage(folder).free < 16 * 1024
    except OSError:
        return False


def _synchronize(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    if path.is_dir() and os.name == "nt":
        return  # Windows opens no folders and needs none of this
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes atomically, see :func:`write_atomic`.

    Raises:
        RunError: The file cannot be written; what was there before still is.
    """
    write_atomic(path, lambda new: new.write_bytes(content))


def finite(value: Any) -> Any:
    """Return ``value`` as JSON can hold it: NaN and the infinities become None, arrays and tensors lists or numbers.

    Args:
        value: Mappings, sequences, numbers, arrays and tensors in any nesting.

    Returns:
        The same in dictionaries, lists and plain numbers.

    Example:
        >>> finite({"loss": float("nan"), "rows": (1, 2.5)})
        {'loss': None, 'rows': [1, 2.5]}
    """
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a mapping as indented JSON, atomically and in its own order; numbers that are not finite are written as null.

    Raises:
        RunError: The file cannot be written; what was there before still is.
        TypeError: The mapping holds something that JSON cannot.
    """
    text = json.dumps(finite(value), indent=2, ensure_ascii=False, allow_nan=False)
    write_bytes(path, (text + "\n").encode())


def read_json(path: Path, what: str, error: type[EquipoiseError] = RunError) -> dict[str, Any]:
    """Read a JSON file that holds a mapping.

    Args:
        path: The file.
        what: What it is to the reader, for messages: ``"the settings of the run"``.
        error: The class of the error to raise.

    Raises:
        EquipoiseError: The file is missing, cut short or not a JSON mapping; of the class ``error``.

    Example:
        >>> read_json(Path("absent.json"), "the settings of the run")
        Traceback (most recent call last):
        equipoise.errors.RunError: cannot read absent.json: no such file (expected the settings of the run)
    """
    if not path.exists() and path.parent.is_dir():
        raise error(f"cannot read {path}: no such file (expected {what})")
    with os_errors("read", path, error):
        content = path.read_bytes()
    try:
        value = json.loads(content)
    except ValueError as failure:  # not JSON, or not text at all
        raise error(f"cannot read {path}: it is not complete JSON (expected {what}): {failure}") from failure
    if not isinstance(value, dict):
        raise error(f"cannot read {path}: it holds a {type(value).__name__}, expected {what}")
    return value


def append_line(path: Path, value: Mapping[str, Any]) -> None:
    """Append a mapping as one line of JSON; it is with the operating system when this returns, so a kill cannot lose it.

    Raises:
        RunError: The line cannot be written.
        TypeError: The mapping holds something that JSON cannot.
    """
    line = json.dumps(finite(value), ensure_ascii=False, allow_nan=False) + "\n"
    with os_errors("write", path), path.open("ab") as file:
        file.write(line.encode())


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read the mappings that :func:`append_line` wrote, without a last line that was cut short by a kill.

    Returns:
        The mappings in order; none if there is no file.

    Raises:
        RunError: The file cannot be read or a line that is not the last is not a JSON mapping.
    """
    if not path.exists():
        return []
    with os_errors("read", path):
        *lines, _cut = path.read_bytes().split(b"\n")  # a whole line ends in a newline, so what follows the last one is cut
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
        except ValueError as failure:
            raise RunError(f"cannot read {path}: line {number} is not JSON: {failure}") from failure
        if not isinstance(record, dict):
            raise RunError(f"cannot read {path}: line {number} holds a {type(record).__name__}, expected a mapping")
        records.append(record)
    return records


def truncate_lines(path: Path, keep: Callable[[dict[str, Any]], bool]) -> None:
    """Drop lines of a file that :func:`append_line` wrote, atomically; a last line cut short is dropped too.

    Used when a run resumes: what was written after the checkpoint is taken back.

    Args:
        path: The file; nothing is done if there is none.
        keep: Whether a mapping stays.

    Raises:
        RunError: The file cannot be read or written; what was there before still is.
    """
    if not path.exists():
        return
    lines = [json.dumps(record, ensure_ascii=False) + "\n" for record in read_lines(path) if keep(record)]
    write_bytes(path, "".join(lines).encode())
