"""Files that live as long as the process: temporary folders, and numbers that do not fit into memory."""

from __future__ import annotations

import atexit
import errno
import io
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from equipoise.data.memory import readable
from equipoise.data.rows import MappedRows
from equipoise.errors import DataError


def scratch_folder() -> Path:
    """Return a new folder of temporary files, which is gone when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="equipoise-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def check_room(size: int, place: str) -> None:
    """Check that temporary files of so many bytes can be written.

    Args:
        size: Number of bytes.
        place: How messages call what is copied.

    Raises:
        DataError: The disk of temporary files has too little room.
    """
    if size > shutil.disk_usage(tempfile.gettempdir()).free:
        raise _no_room(size, place)


def _no_room(size: int, place: str) -> DataError:
    folder = tempfile.gettempdir()
    return DataError(
        f"{place} does not fit into memory, and its copy of up to {readable(size)} not into {folder}, where "
        f"{readable(shutil.disk_usage(folder).free)} are free; state a folder of a larger disk by the environment variable TMPDIR"
    )


class Spool:
    """Numbers written piece by piece into a temporary file, from which rows are then read in any order.

    Args:
        rows: How many rows there will be.
        shape: Shape of one row.
        dtype: Type of the numbers in the file.
        place: How messages call them.

    Raises:
        DataError: The disk of temporary files has too little room.

    Example:
        >>> spool = Spool(3, (2,), np.float32, "numbers")
        >>> for piece in ([[1, 2], [3, 4]], [[5, 6]]):
        ...     spool.write(np.array(piece))
        >>> spool.rows()[np.array([2, 0])].tolist()
        [[5.0, 6.0], [1.0, 2.0]]
    """

    def __init__(self, rows: int, shape: tuple[int, ...], dtype: DTypeLike, place: str) -> None:
        self._dtype, self._place = np.dtype(dtype), place
        self._size = self._dtype.itemsize * rows * int(np.prod(shape))
        check_room(self._size, place)
        self._path = scratch_folder() / "rows.npy"
        header = io.BytesIO()
        description = {"descr": self._dtype.str, "fortran_order": False, "shape": (rows, *shape)}
        np.lib.format.write_array_header_1_0(header, description)
        self._append(header.getbuffer())

    def write(self, piece: NDArray[Any]) -> None:
        """Write the next rows.

        Raises:
            DataError: The disk is full.
        """
        # not through a memory map, whose pages would count as memory of this process until the file is complete
        self._append(np.ascontiguousarray(piece, dtype=self._dtype).data)

    def rows(self) -> MappedRows:
        """Return the rows, all of which must have been written."""
        return MappedRows.open(self._path)

    def _append(self, content: memoryview) -> None:
        try:
            with self._path.open("ab") as file:
                file.write(content)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise _no_room(self._size, self._place) from error
            raise DataError(f"{self._path} cannot be written: {error.strerror or error}") from error
