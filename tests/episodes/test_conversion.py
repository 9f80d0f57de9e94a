"""What is stored for every kind of image file: the same bytes, or what Pillow makes of them, or an error."""

import io
import struct
import tracemalloc
import warnings
import zlib

import numpy as np
import PIL
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from episodes.conversion import conversion_recipe, stored_image
from episodes.decode import decode_image
from episodes.errors import BadImage

NOISE = Image.fromarray(np.random.RandomState(0).randint(0, 256, (20, 30, 3), np.uint8))


def encoded(image, kind="PNG", **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def claiming(width, height, kind):
    """A small image whose header claims another size."""
    data = bytearray(encoded(NOISE, kind))
    if kind == "PNG":
        data[16:24] = struct.pack(">II", width, height)
        data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    else:
        start = data.index(b"\xff\xc0") + 5
        data[start : start + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def turned():
    exif = Image.Exif()
    exif[274] = 6  # orientation: to be turned by 90 degrees
    return exif


@pytest.mark.parametrize(
    "data",
    [
        encoded(NOISE, "JPEG"),
        encoded(NOISE, "JPEG", quality=95, subsampling=0, progressive=True),
        encoded(NOISE, "JPEG", exif=turned()),
        encoded(NOISE.resize((1, 1)), "JPEG"),
        encoded(NOISE, "JPEG") + b"trailing",
    ],
    ids=["plain", "progressive", "EXIF", "1x1", "trailing bytes"],
)
def test_a_jpeg_in_rgb_is_stored_as_it_is(data):
    assert stored_image(data) == data


OTHERS = {
    "PNG": (NOISE, encoded(NOISE)),
    "EXIF": (NOISE, encoded(NOISE, exif=turned())),
    "grey JPEG": (None, encoded(NOISE.convert("L"), "JPEG")),
    "CMYK JPEG": (None, encoded(NOISE.convert("CMYK"), "JPEG")),
    "CMYK TIFF": (NOISE.convert("CMYK"), encoded(NOISE.convert("CMYK"), "TIFF")),
    "several pictures": (None, encoded(NOISE, "MPO", save_all=True, append_images=[NOISE.convert("L").convert("RGB")])),
    "palette": (NOISE.convert("P"), encoded(NOISE.convert("P"))),
    "transparent palette": (NOISE.convert("P"), encoded(NOISE.convert("P"), transparency=bytes(range(9)))),
    "alpha": (NOISE, encoded(Image.merge("RGBA", [*NOISE.split(), NOISE.convert("L")]))),
    "grey with alpha": (NOISE.convert("LA"), encoded(NOISE.convert("LA"))),
    "black and white": (NOISE.convert("1"), encoded(NOISE.convert("1"))),
    "1x1": (NOISE.resize((1, 1)), encoded(NOISE.resize((1, 1)))),
    "BMP": (NOISE, encoded(NOISE, "BMP")),
    "PPM": (NOISE, encoded(NOISE, "PPM")),
    "WebP": (NOISE, encoded(NOISE, "WEBP", lossless=True)),
    "GIF": (None, encoded(NOISE, "GIF", save_all=True, append_images=[Image.new("RGB", NOISE.size)])),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_anything_else_is_stored_as_pillows_jpeg_of_its_rgb(kind):
    image, data = OTHERS[kind]
    with warnings.catch_warnings(record=True) as shown:
        stored = stored_image(data)
    assert not shown
    opened = (image or Image.open(io.BytesIO(data))).convert("RGB")
    assert stored == encoded(opened, "JPEG")
    assert decode_image(stored).shape == (opened.height, opened.width, 3)


def test_what_is_stored_is_told_apart_by_the_version_of_pillow(monkeypatch):
    here = conversion_recipe()
    monkeypatch.setattr(PIL, "__version__", "0.1")
    assert conversion_recipe() != here


def test_of_a_gif_the_first_frame_is_stored():
    red, blue = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    pixels = decode_image(stored_image(encoded(red, "GIF", save_all=True, append_images=[blue])))
    assert pixels[..., 0].min() > 200 and pixels[..., 2].max() < 50


def test_eight_bits_of_a_16_bit_colour_image_are_kept():
    data = b"P6 1 1 65535\n" + struct.pack(">HHH", 0x8000, 0x8000, 0x8000)
    assert abs(int(decode_image(stored_image(data)).mean()) - 128) <= 1


DEEP = Image.fromarray(np.full((4, 4), 40_000, np.uint16))
BAD = {
    "nothing": (b"", "the file is empty"),
    "text": (b"hello", r"not an image of a format that is read here \(JPEG, PNG"),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image of a format that is read"),
    "16-bit PNG": (encoded(DEEP), "grey of more than 8 bits.*clip to 0..255 and not scale; store it with 8 bits"),
    "16-bit TIFF": (encoded(DEEP, "TIFF"), "grey of more than 8 bits"),
    "16-bit PGM": (b"P5 2 2 65535\n" + bytes(8), "grey of more than 8 bits"),
    "float TIFF": (encoded(Image.new("F", (3, 3), 0.5), "TIFF"), "grey of more than 8 bits"),
    "cut JPEG": (encoded(NOISE, "JPEG")[:-300], "cannot decode the JPEG: Premature end"),
    "JPEG without end": (encoded(NOISE, "JPEG")[:-2], "cannot decode the JPEG: Premature end"),
    "cut grey JPEG": (encoded(NOISE.convert("L"), "JPEG")[:-200], "cannot decode the image: image file is truncated"),
    "cut PNG": (encoded(NOISE)[:-200], "cannot decode the image: image file is truncated"),
    "cut GIF": (encoded(NOISE, "GIF")[:-200], "cannot decode the image: "),
    "JPEG header": (b"\xff\xd8\xff\xe0", "not an image of a format|cannot decode"),
    "large PNG": (claiming(9000, 9000, "PNG"), "the header claims 9000 x 9000 pixels"),
    "absurd PNG": (claiming(65000, 65000, "PNG"), "cannot decode the image: Image size"),
    "large JPEG": (claiming(9000, 9000, "JPEG"), "the header claims 9000 x 9000 pixels"),
    "absurd JPEG": (claiming(65000, 65000, "JPEG"), "cannot decode the image: Image size"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_cannot_be_stored_is_refused_with_the_reason_and_little_memory(kind):
    data, reason = BAD[kind]
    tracemalloc.start()
    try:
        with pytest.raises(BadImage, match=reason) as caught:
            stored_image(data)
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value) and "0x" not in str(caught.value)


@given(
    st.sampled_from([encoded(NOISE, kind) for kind in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM")]),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=8),
    st.floats(0, 1),
)
def test_a_damaged_image_is_stored_readably_or_refused(data, changes, kept):
    damaged = bytearray(data)
    for position, value in changes:
        damaged[int(position * len(damaged))] = value
    with warnings.catch_warnings(record=True) as shown:
        try:
            stored = stored_image(bytes(damaged[: int(kept * len(damaged)) or len(damaged)]))
        except BadImage:
            stored = None
    assert not shown
    assert stored is None or decode_image(stored).ndim == 3
