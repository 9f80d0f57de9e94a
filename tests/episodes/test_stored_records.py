import numpy as np
import pytest
import torch

from episodes import decode
from episodes.dataset import DatasetRecords
from episodes.decode import resize_normalize
from episodes.images import Images
from episodes.stored_records import StoredRecords
from episodes.stream import load_images

SIZE = 12


@pytest.fixture
def reds(tiny_records):
    return DatasetRecords(tiny_records / "reds")


@pytest.fixture
def images():
    return Images(np.array([0, 0, 2, 2, 2, 5]), np.array([1, 4, 0, 3, 9, 2]))


def test_kept_images_are_never_decoded_again(reds, images, tmp_path, monkeypatch):
    kept = StoredRecords(reds, tmp_path)
    expected = load_images(reds, images, SIZE)
    done = []
    kept.keep(images, advance=done.append)
    assert sum(done) == len(images.classes)
    monkeypatch.setattr(decode, "decode_image", lambda data: pytest.fail("decoded again"))
    monkeypatch.setattr("episodes.dataset.decode_image", decode.decode_image)
    for source in (kept, StoredRecords(reds, tmp_path)):
        assert torch.equal(load_images(source, images, SIZE), expected)


def test_images_that_are_not_kept_are_decoded(reds, images, tmp_path):
    assert torch.equal(load_images(StoredRecords(reds, tmp_path), images, SIZE), load_images(reds, images, SIZE))


def test_only_what_is_missing_is_kept(reds, images, tmp_path):
    kept = StoredRecords(reds, tmp_path)
    kept.keep(Images(images.classes[:4], images.records[:4]))
    missing = StoredRecords(reds, tmp_path).missing(images)
    assert list(zip(*map(np.ndarray.tolist, missing), strict=True)) == [(2, 9), (5, 2)]


@pytest.mark.parametrize("keep", [False, True])
def test_rounded_images_are_rounded_whether_kept_or_not(reds, images, tmp_path, keep):
    source = StoredRecords(reds, tmp_path, rounded_size=SIZE)
    if keep:
        source.keep(images)
    rounded, exact = load_images(source, images, SIZE), load_images(reds, images, SIZE)
    assert torch.equal(((rounded + 1) * 127.5).round() / 127.5 - 1, rounded) or (
        ((rounded + 1) * 127.5 - ((rounded + 1) * 127.5).round()).abs().max() < 1e-4
    )
    assert 0 < (rounded - exact).abs().max() <= 1 / 255 + 1e-6


def test_rounded_and_exact_images_never_mix(reds, images, tmp_path):
    StoredRecords(reds, tmp_path, rounded_size=SIZE).keep(images)
    assert torch.equal(load_images(StoredRecords(reds, tmp_path), images, SIZE), load_images(reds, images, SIZE))
    assert len(StoredRecords(reds, tmp_path, rounded_size=SIZE + 1).missing(images).classes) == len(images.classes)


def test_damaged_pixels_are_decoded_again(reds, images, tmp_path):
    StoredRecords(reds, tmp_path).keep(images)
    for segment in tmp_path.rglob("*.pixels"):
        content = bytearray(segment.read_bytes())
        content[10] ^= 4
        segment.write_bytes(content)
    expected = torch.stack(
        [resize_normalize(reds.encoded(*p).decode(), SIZE) for p in zip(*map(np.ndarray.tolist, images), strict=True)]
    )
    assert torch.equal(load_images(StoredRecords(reds, tmp_path), images, SIZE), expected)


def test_pixels_of_another_decoder_are_not_believed(reds, images, tmp_path, monkeypatch):
    StoredRecords(reds, tmp_path).keep(images)
    monkeypatch.setattr(decode, "VERSION", decode.VERSION + 1)
    assert len(StoredRecords(reds, tmp_path).missing(images).classes) == len(images.classes)
