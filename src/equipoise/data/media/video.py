"""Videos as folders of frames."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from equipoise.config import option
from equipoise.data.media.base import IMAGES, Header
from equipoise.data.media.image import ImageDecoder
from equipoise.errors import DataError


@dataclass(frozen=True, kw_only=True)
class VideoDecoder(ImageDecoder):
    """Decodes folders of frames, each of which is a picture.

    The frames in the order of their names (``10`` after ``9``) are divided into as many equal parts as are wanted, and the
    one in the middle of each is taken; a folder of fewer frames gives some of them several times. Optical flow has a folder
    for each direction, ``flow/u/clip`` and ``flow/v/clip``: with ``folders: [u, v]`` the path of the one stands for both, whose
    frames are stacked as channels.
    """

    kind: ClassVar[str] = "video"

    frames: int = option(8, low=1, help="frames taken of each folder, evenly")
    folders: tuple[str, ...] | None = option(
        None, help="folders, in the place of the one before the last in the path, whose frames are the channels (u, v of flow)"
    )

    @property
    def shape(self) -> tuple[int, ...]:
        assert self.size is not None
        return (self.frames, self.size, self.size, (1 if self.colours == "grey" else 3) * len(self.folders or "_"))

    @property
    def words(self) -> str:
        stacked = f"{' and '.join(self.folders)} stacked as channels, " if self.folders else ""
        taken = f"{self.frames} frames, the middle ones of {self.frames} equal parts of the folder; {stacked}of each"
        return f"{taken} {super().words}"

    def header(self, path: Path) -> Header:
        headers = [super(VideoDecoder, self).header(frame) for frame in self.contents(path)]
        return {"frames": len(frame_files(path)), **headers[0]}

    def contents(self, path: Path) -> list[Path]:
        return [frame for folder in self._folders(path) for frame in self._taken(folder)]

    def _folders(self, path: Path) -> list[Path]:
        return [path.parents[1] / name / path.name for name in self.folders] if self.folders else [path]

    def _taken(self, folder: Path) -> list[Path]:
        every = frame_files(folder)
        if not every:
            raise DataError(f"holds no frames, expected files ending in {', '.join(IMAGES)}")
        return [every[number] for number in taken_frames(len(every), self.frames)]

    def decode(self, name: str) -> NDArray[np.uint8]:
        frames = self.contents(Path(name))
        decoded = {frame: super(VideoDecoder, self).decode(str(frame)) for frame in dict.fromkeys(frames)}
        channels = 1 if self.colours == "grey" else 3
        stacked = np.stack([decoded[frame] for frame in frames]).reshape(-1, *self.shape[:3], channels)
        return np.ascontiguousarray(np.moveaxis(stacked, 0, -2)).reshape(self.shape)


def frame_files(folder: Path) -> list[Path]:
    """Return the frames in a folder in the order of their names, numbers in them by their value."""
    files = [path for path in folder.iterdir() if path.suffix.lower() in IMAGES and not path.name.startswith(".")]
    return sorted(files, key=_in_order)


def _in_order(path: Path) -> list[tuple[int, str]]:
    return [(int(part) if part.isdecimal() else -1, part) for part in re.split(r"(\d+)", path.name)]


def taken_frames(count: int, wanted: int) -> list[int]:
    """Return which frames are taken: the middle one of each of ``wanted`` equal parts.

    Args:
        count: Frames there are.
        wanted: Frames to take.

    Example:
        >>> taken_frames(30, 3), taken_frames(2, 4)
        ([5, 15, 25], [0, 0, 1, 1])
    """
    return [(2 * number + 1) * count // (2 * wanted) for number in range(wanted)]
