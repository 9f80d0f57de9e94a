"""From encoded bytes to network input, bit for bit as the official benchmark decodes and resizes.

TensorFlow decodes JPEG with libjpeg-turbo's fast integer DCT and smooth chroma upsampling; it resizes with TF1's
`align_corners` bilinear rule, without antialiasing, squashing the image to a square (`episodes.resize`).
"""

import io
from typing import TYPE_CHECKING

import numpy as np

from episodes.errors import BadImage

if TYPE_CHECKING:
    import torch

VERSION = 2
"""Raised when the same bytes give other pixels than before: embeddings and results are kept apart by it."""
MAX_PIXELS = 2**26
"""Images that claim more pixels than this (64 million) are refused before anything is allocated."""
MAX_PIXELS_PER_BYTE = 512
"""Images that claim more, beyond FREE_PIXELS, are refused. A JPEG has a bit for 64 pixels at the very least (one of a
single colour: 171 pixels a byte), a PNG in RGB 344 pixels a byte at most; empty GIFs and 1-bit PNGs have more."""
FREE_PIXELS = 2**20
"""So many pixels cost little (16 ms), and cover those: an empty PNG of 1000 x 1000 may take 500 bytes."""
_END_OF_JPEG = b"\xff\xd9"
_PILLOW_FORMATS = ("PNG", "GIF", "BMP")


def decode_image(data: bytes) -> np.ndarray:
    """(H, W, 3) uint8 RGB of a JPEG, PNG, GIF (first frame) or BMP.

    JPEGs equal TensorFlow's default decoding bit for bit; EXIF orientation is ignored and transparency dropped, as
    there. Raises BadImage for anything undecodable, truncated, absurdly large, or too large for its bytes.
    """
    return _decode_jpeg(data) if data[:2] == b"\xff\xd8" else _decode_with_pillow(data)


def _decode_jpeg(data: bytes) -> np.ndarray:
    import simplejpeg

    if data.rfind(_END_OF_JPEG) < 0:  # or most of a large image would be decoded before that is found out
        raise BadImage("cannot decode the JPEG: Premature end of JPEG file")
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(data)
        check_size(width, height, len(data))
        return simplejpeg.decode_jpeg(data, colorspace="RGB", fastdct=True)
    except ValueError as error:
        # Strict decoding also refuses harmless warnings, which TensorFlow lets pass; a missing end it refuses too.
        if not str(error).startswith("Corrupt JPEG data"):
            raise BadImage(f"cannot decode the JPEG: {error}") from error
    try:
        return simplejpeg.decode_jpeg(data, colorspace="RGB", fastdct=True, strict=False)
    except ValueError as error:
        raise BadImage(f"cannot decode the JPEG: {error}") from error


def _decode_with_pillow(data: bytes) -> np.ndarray:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data), formats=_PILLOW_FORMATS) as image:
            check_size(*image.size, len(data))
            if image.mode.startswith("I"):  # 16-bit grey: the high byte counts, as in TensorFlow
                return np.repeat((np.asarray(image) >> 8).astype(np.uint8)[:, :, None], 3, axis=2)
            return np.array(image.convert("RGB"))
    except UnidentifiedImageError as error:
        raise BadImage(f"neither JPEG, {', '.join(_PILLOW_FORMATS[:-1])} nor {_PILLOW_FORMATS[-1]}") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise BadImage(f"cannot decode the image: {error}") from error


def check_size(width: int, height: int, encoded_bytes: int) -> None:
    """Raise BadImage when an image claims more pixels than are read, or than its bytes can hold."""
    if width * height > MAX_PIXELS:
        raise BadImage(f"the header claims {width} x {height} pixels; at most {MAX_PIXELS} are read")
    if width * height > FREE_PIXELS + MAX_PIXELS_PER_BYTE * encoded_bytes:
        raise BadImage(f"the header claims {width} x {height} pixels, too many for an image of {encoded_bytes} bytes")


def resize_normalize(image: np.ndarray, size: int) -> "torch.Tensor":
    """(H, W, 3) uint8 -> (3, size, size) float32 in [-1, 1], with channels last in memory.

    TF1's align_corners bilinear rule, squashed to a square: equal to the official benchmark's input bit for bit.
    """
    import torch

    from episodes.resize import resize_normalized

    pixels = np.empty((size, size, 3), np.float32)
    resize_normalized(np.require(image, requirements=["C"]), pixels)
    return torch.from_numpy(pixels).permute(2, 0, 1)
