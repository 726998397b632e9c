"""Which decoder reads files of which kind."""

from __future__ import annotations

from equipoise.data.media.audio import AudioDecoder
from equipoise.data.media.base import Decoder
from equipoise.data.media.image import ImageDecoder
from equipoise.data.media.video import VideoDecoder

DECODERS: tuple[type[Decoder], ...] = (AudioDecoder, ImageDecoder, VideoDecoder)


def decoder_class(kind: str) -> type[Decoder] | None:
    """Return the decoder of a kind of modality; None if no files are of this kind."""
    return next((found for found in DECODERS if found.kind == kind), None)
