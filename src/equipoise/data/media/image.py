"""Picture files: read, turned upright, and cut to a square of one size."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from equipoise.config import option
from equipoise.data.media.base import Decoder, Header, library
from equipoise.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

LARGEST = 224
"""Size of a picture at most where nothing is stated."""
_GREY = ("1", "L", "LA", "I", "I;16", "I;16B", "I;16L", "F")


@dataclass(frozen=True, kw_only=True)
class ImageDecoder(Decoder):
    """Decodes picture files (png, jpg, webp and whatever else Pillow reads).

    The short side is resized to ``size``, what is longer on the other one is cut off at both ends. The orientation that a
    camera noted is followed.
    """

    kind: ClassVar[str] = "image"

    size: int | None = option(None, low=4, help="height and width after resizing (default: the median short side, at most 224)")
    colours: str | None = option(None, choices=("rgb", "grey"), help="colours kept (default: grey if no file has any, else rgb)")

    @property
    def shape(self) -> tuple[int, ...]:
        assert self.size is not None
        return (self.size, self.size) if self.colours == "grey" else (self.size, self.size, 3)

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.uint8)

    @property
    def words(self) -> str:
        return f"short side resized to {self.size}, the square in the middle, {self.colours}"

    def header(self, path: Path) -> Header:
        with _opened(path) as image:
            return {"width": image.width, "height": image.height, "colours": image.mode}

    def completed(self, headers: Sequence[Header]) -> ImageDecoder:
        sides = [min(header["width"], header["height"]) for header in headers]
        size = self.size or max(4, min(LARGEST, int(statistics.median(sides))))
        grey = all(header["colours"] in _GREY for header in headers)
        return replace(self, size=size, colours=self.colours or ("grey" if grey else "rgb"))

    def decode(self, name: str) -> NDArray[np.uint8]:
        from PIL import Image, ImageOps

        assert self.size is not None
        mode = "L" if self.colours == "grey" else "RGB"
        with _opened(Path(name)) as image:
            image.draft(mode, (2 * self.size, 2 * self.size))  # a jpg is decoded no larger than it is needed
            ImageOps.exif_transpose(image, in_place=True)
            plain = _eight_bits(image)
            if plain.mode != mode:
                plain = plain.convert(mode)
            side = min(plain.size)
            left, top = ((length - side) // 2 for length in plain.size)
            square = (left, top, left + side, top + side)
            return np.asarray(plain.resize((self.size, self.size), Image.Resampling.BILINEAR, box=square))


def _opened(path: Path) -> Image:
    """An image of which only the header is read; one that would fill the memory is refused."""
    with library("Pillow", "image"):
        from PIL import Image, UnidentifiedImageError
    limit = Image.MAX_IMAGE_PIXELS
    try:
        image: Image.Image = Image.open(path)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"is too large a picture: {error}") from None
    except UnidentifiedImageError:
        raise DataError("damaged, or no picture") from None
    if limit is not None and image.width * image.height > limit:
        image.close()
        raise DataError(f"is too large a picture: {image.width} x {image.height}, expected at most {limit} pixels")
    return image


def _eight_bits(image: Image) -> Image:
    """The image in a form whose conversion loses nothing: palettes may be transparent, and 16 bits would be cut off."""
    from PIL import Image as pillow

    if image.mode == "P":
        return image.convert("RGBA")
    if image.mode.startswith("I"):
        return pillow.fromarray((np.asarray(image).astype(np.int64).clip(0, 65535) >> 8).astype(np.uint8))
    return image
