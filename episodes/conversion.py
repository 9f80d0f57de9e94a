"""From an image file's bytes to the bytes of a record, as the official converter makes them.

JPEGs in RGB are copied as they are; everything else is decoded by Pillow, converted to RGB and saved as a JPEG with
Pillow's defaults (google-research/meta-dataset, `dataset_conversion/dataset_to_records.py`). EXIF is ignored there.
"""

import io
import warnings
from typing import TYPE_CHECKING

from episodes.decode import MAX_PIXELS, decode_image
from episodes.errors import BadImage

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
"""What is read, by Pillow's names. Not everything that Pillow opens: for some formats it starts other programs."""


def stored_image(data: bytes) -> bytes:
    """The encoded image to store for an image file's content.

    Raises BadImage for what cannot be decoded, is truncated, claims more than MAX_PIXELS, or would lose its content:
    grey of more than 8 bits, which Pillow's conversion to RGB clips to 0..255 (16-bit images turn white).
    """
    import PIL.Image

    if not data:
        raise BadImage("the file is empty")
    try:
        # Pillow warns of large images, odd palettes and broken EXIF; what matters is refused below.
        with warnings.catch_warnings(action="ignore"), PIL.Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check(image.size, image.mode)
            as_it_is = image.format == "JPEG" and image.mode == "RGB"
            stored = data if as_it_is else _as_jpeg(image)
    except BadImage:
        raise
    except PIL.UnidentifiedImageError as error:
        raise BadImage(f"not an image of a format that is read here ({', '.join(FORMATS)})") from error
    except Exception as error:  # on damaged files Pillow's readers raise anything, from struct.error to SyntaxError
        raise BadImage(f"cannot decode the image: {error or type(error).__name__}") from error
    if as_it_is:
        decode_image(stored)  # what is copied must be readable later
    return stored


def conversion_recipe() -> str:
    """What the stored bytes depend on besides the image: re-encoded JPEGs differ between versions of Pillow."""
    import PIL

    return f"Pillow {PIL.__version__}"


def _check(size: tuple[int, int], mode: str) -> None:
    width, height = size
    if width * height > MAX_PIXELS:
        raise BadImage(f"the header claims {width} x {height} pixels; at most {MAX_PIXELS} are read")
    if mode.startswith(("I", "F")):
        raise BadImage(
            f"grey of more than 8 bits (Pillow's mode {mode}), which the official conversion would clip to 0..255 and "
            "not scale; store it with 8 bits"
        )


def _as_jpeg(image: "Image") -> bytes:
    out = io.BytesIO()
    image.convert("RGB").save(out, format="JPEG")
    return out.getvalue()
