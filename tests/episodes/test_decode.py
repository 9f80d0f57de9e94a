import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from official import check_decoding
from PIL import Image
from torch.nn.functional import interpolate

from episodes.decode import decode_image, resize_normalize
from episodes.errors import BadImage
from episodes.resize import resize_rounded


def encoded(pixels, kind="PNG", mode="RGB"):
    out = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(out, kind)
    return out.getvalue()


@pytest.fixture
def pixels():
    return np.random.RandomState(0).randint(0, 256, size=(20, 30, 3)).astype(np.uint8)


def test_jpegs_decode_and_resize_as_tensorflow_does(golden):
    with np.load(golden / "episodes/decode_84.npz") as vectors:
        check_decoding(vectors, 2)


def test_pngs_decode_exactly(pixels):
    np.testing.assert_array_equal(decode_image(encoded(pixels)), pixels)


def test_of_16_bit_grey_the_high_byte_counts():
    out = io.BytesIO()
    Image.fromarray(np.array([[0, 1, 128, 255]], np.uint16) * 257).save(out, "PNG")
    assert decode_image(out.getvalue())[0, :, 0].tolist() == [0, 1, 128, 255]


def test_transparency_is_dropped_not_blended():
    image = np.full((4, 4, 4), (200, 100, 50, 0), np.uint8)
    assert decode_image(encoded(image, mode="RGBA"))[0, 0].tolist() == [200, 100, 50]


@pytest.mark.parametrize(
    ("kind", "mode"), [("PNG", "L"), ("PNG", "P"), ("JPEG", "L"), ("JPEG", "CMYK"), ("BMP", "RGB")]
)
def test_every_mode_becomes_three_channels(pixels, kind, mode):
    image = decode_image(encoded(pixels, kind, mode))
    assert image.shape == (20, 30, 3)
    assert image.dtype == np.uint8


def test_a_harmless_jpeg_warning_does_not_refuse_the_image(pixels):
    data = encoded(pixels, "JPEG")
    np.testing.assert_array_equal(decode_image(data[:-2] + b"\0" * 9 + data[-2:]), decode_image(data))


def _claiming(kind, side):
    """A tiny image whose header claims another size."""
    data = bytearray(encoded(np.zeros((8, 8, 3), np.uint8), kind, mode="P" if kind == "GIF" else "RGB"))
    at, shape = {
        "JPEG": (data.find(b"\xff\xc0") + 5, ">HH"),
        "PNG": (16, ">II"),
        "GIF": (6, "<HH"),
        "BMP": (18, "<ii"),
    }[kind]
    data[at : at + struct.calcsize(shape)] = struct.pack(shape, side, side)
    if kind == "PNG":
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


@pytest.mark.parametrize("data", [b"", b"hello", b"\xff\xd8", b"\xff\xd8\xff\xe0" + b"\0" * 50, b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_image_is_refused(data):
    with pytest.raises(BadImage):
        decode_image(data)


@pytest.mark.parametrize("side", [8000, 65000])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP"])
def test_an_absurd_size_is_refused_before_it_is_allocated(kind, side, monkeypatch):
    data = _claiming(kind, side)
    monkeypatch.setattr(simplejpeg, "decode_jpeg", lambda *args, **options: pytest.fail("decoded"))
    monkeypatch.setattr(Image.Image, "convert", lambda *args: pytest.fail("decoded"))
    with pytest.raises(BadImage, match=f"{side} x {side} pixels|decompression bomb"):
        decode_image(data)


def test_a_jpeg_without_its_end_is_refused_before_it_is_decoded(pixels, monkeypatch):
    data = encoded(pixels, "JPEG")
    monkeypatch.setattr(simplejpeg, "decode_jpeg_header", lambda data: pytest.fail("decoded"))
    with pytest.raises(BadImage, match="Premature end of JPEG file"):
        decode_image(data[:-1])


@pytest.mark.parametrize("side", [84, 1000, 3000])
@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [
        ("JPEG", "RGB", {"optimize": True, "progressive": True}),
        ("JPEG", "L", {"optimize": True}),
        ("PNG", "RGB", {"optimize": True}),
        ("BMP", "RGB", {}),
    ],
)
def test_an_image_of_one_colour_is_read_however_small_it_becomes(kind, mode, options, side):
    out = io.BytesIO()
    Image.new(mode, (side, side), "white").save(out, kind, **options)
    image = decode_image(out.getvalue())
    assert image.shape == (side, side, 3)
    assert image.min() == 255


@pytest.mark.parametrize(("kind", "mode"), [("GIF", "P"), ("PNG", "1"), ("PNG", "L")])
def test_drawings_of_one_colour_are_read_up_to_a_million_pixels(kind, mode):
    out = io.BytesIO()
    Image.new(mode, (1000, 1000)).save(out, kind, optimize=True)
    assert decode_image(out.getvalue()).shape == (1000, 1000, 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_truncated_image_is_refused(pixels, kind):
    data = encoded(pixels, kind)
    for length in range(0, len(data) - 20, 37):
        with pytest.raises(BadImage):
            decode_image(data[:length])


@settings(max_examples=30)
@given(height=st.integers(1, 40), width=st.integers(1, 40), size=st.sampled_from([1, 2, 16, 84]))
def test_the_corners_of_a_resized_image_are_the_corners_of_the_image(height, width, size):
    image = np.random.RandomState(height * 41 + width).randint(0, 256, size=(height, width, 3)).astype(np.uint8)
    out = resize_normalize(image, size)
    assert out.shape == (3, size, size)
    assert out.abs().max() <= 1
    np.testing.assert_allclose(out[:, 0, 0].numpy(), 2 * (image[0, 0] / 255 - 0.5), atol=1e-5)
    if size > 1:
        np.testing.assert_allclose(out[:, -1, -1].numpy(), 2 * (image[-1, -1] / 255 - 0.5), atol=1e-5)


@settings(max_examples=30)
@given(height=st.integers(1, 200), width=st.integers(1, 200), size=st.integers(1, 90))
def test_resizing_is_the_textbook_interpolation_with_aligned_corners(height, width, size):
    """Against PyTorch's own, in double precision."""
    image = np.random.RandomState(height * 201 + width).randint(0, 256, size=(height, width, 3)).astype(np.uint8)
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].double()
    expected = interpolate(pixels, size=(size, size), mode="bilinear", align_corners=True)[0] / 127.5 - 1
    assert (resize_normalize(image, size) - expected).abs().max() < 1e-4  # positions are float32, as in TensorFlow


def test_an_image_of_the_networks_size_is_only_scaled():
    image = np.random.RandomState(0).randint(0, 256, size=(84, 84, 3)).astype(np.uint8)
    expected = np.float32(2) * (image / np.float32(255) - np.float32(0.5))
    np.testing.assert_array_equal(resize_normalize(image, 84).permute(1, 2, 0).numpy(), expected.astype(np.float32))


def test_rounding_to_8_bits_is_off_by_half_a_grey_level_at_most():
    image = np.random.RandomState(0).randint(0, 256, size=(97, 141, 3)).astype(np.uint8)
    rounded = np.empty((84, 84, 3), np.uint8)
    resize_rounded(image, rounded)
    difference = resize_normalize(rounded, 84) - resize_normalize(image, 84)
    assert 3e-3 < difference.abs().max() <= 1 / 255 + 1e-6


def test_without_a_place_to_keep_compiled_code_images_are_resized_all_the_same(golden):
    script = f"""
import numpy as np
from official import check_decoding
check_decoding(np.load({str(golden / "episodes/decode_84.npz")!r}), 1)
"""
    path = os.pathsep.join(map(str, (Path(__file__).parents[1] / "support", Path(__file__).parents[2])))
    environment = {**os.environ, "NUMBA_CACHE_DIR": "/dev/null/nowhere", "PYTHONPATH": path}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment)
