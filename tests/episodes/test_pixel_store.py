import logging
import resource

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from processes import open_files

from episodes import pixel_store
from episodes.pixel_store import PixelStore
from results.errors import WriteError


def image(record):
    shape = (1 + record % 9, 1 + record % 7, 3)
    return np.random.RandomState(record).randint(0, 256, shape).astype(np.uint8)


def add(store, fingerprint, records):
    store.add(fingerprint, np.array(records, np.int64), map(image, records))


@settings(max_examples=30)
@given(adds=st.lists(st.lists(st.integers(0, 60), unique=True, min_size=1, max_size=15), max_size=4))
def test_what_is_stored_comes_back_and_nothing_else(tmp_path_factory, adds):
    root = tmp_path_factory.mktemp("pixels")
    store = PixelStore(root)
    for records in adds:
        add(store, "ab", records)
    stored = set().union(*adds)
    for reader in (store, PixelStore(root)):
        for record in range(61):
            pixels = reader.get("ab", record)
            assert (pixels is not None) == (record in stored)
            assert pixels is None or np.array_equal(pixels, image(record))
        assert reader.missing("ab", np.arange(61)).tolist() == sorted(set(range(61)) - stored)
        assert reader.get("cd", 0) is None


def test_the_same_images_added_twice_lie_there_once(tmp_path):
    for _ in range(2):
        add(PixelStore(tmp_path), "ab", [3, 1, 2])
    assert len(list((tmp_path / "ab").iterdir())) == 1


def test_a_flipped_bit_anywhere_is_found_and_its_images_are_missing_afterwards(tmp_path, caplog):
    add(PixelStore(tmp_path), "ab", [1, 2])
    (segment,) = (tmp_path / "ab").iterdir()
    sound = segment.read_bytes()
    for at in range(len(sound)):
        damaged = bytearray(sound)
        damaged[at] ^= 1 << at % 8
        segment.write_bytes(damaged)
        store = PixelStore(tmp_path)
        with caplog.at_level(logging.WARNING):
            found = [store.get("ab", record) for record in (1, 2)]
        assert any(pixels is None for pixels in found)
        assert all(pixels is None or np.array_equal(pixels, image(r)) for r, pixels in zip((1, 2), found, strict=True))
        assert str(segment) in caplog.text
        assert PixelStore(tmp_path).missing("ab", np.array([1, 2])).tolist() == [1, 2]


def test_a_cut_segment_counts_as_absent(tmp_path):
    add(PixelStore(tmp_path), "ab", [1, 2])
    (segment,) = (tmp_path / "ab").iterdir()
    sound = segment.read_bytes()
    for length in range(0, len(sound), 5):
        segment.write_bytes(sound[:length])
        assert PixelStore(tmp_path).get("ab", 1) is None


def test_an_image_that_fails_while_a_segment_is_written_leaves_nothing(tmp_path):
    def images():
        yield image(1)
        raise RuntimeError("stopped")

    store = PixelStore(tmp_path)
    with pytest.raises(RuntimeError, match="stopped"):
        store.add("ab", np.array([1, 2]), images())
    assert list((tmp_path / "ab").glob("*.pixels")) == []
    assert store.missing("ab", np.array([1, 2])).tolist() == [1, 2]


def test_a_full_disk_is_one_line_and_keeps_what_was_there(tmp_path, monkeypatch):
    store = PixelStore(tmp_path)
    add(store, "ab", [1])

    def full(record):
        raise OSError(28, "No space left on device")

    with pytest.raises(WriteError, match="ab.*No space left on device"):
        store.add("ab", np.array([2]), map(full, [2]))
    assert np.array_equal(PixelStore(tmp_path).get("ab", 1), image(1))


def mapped(folder):
    """Segments under `folder` that this process has open; tests before may have left others."""
    return [name for name in open_files(".pixels") if name.startswith(str(folder))]


def test_a_bounded_number_of_segments_is_mapped_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(pixel_store, "_MAX_OPEN_SEGMENTS", 4)
    store = PixelStore(tmp_path)
    for fingerprint in "abcdef":
        add(store, fingerprint, [5])
        add(store, fingerprint, [6])
    for fingerprint in "abcdefabc":
        assert np.array_equal(store.get(fingerprint, 6), image(6))
        assert len(mapped(tmp_path)) <= 4
    assert len(mapped(tmp_path)) == 4


def test_a_sound_segment_is_kept_when_no_more_files_can_be_opened(tmp_path):
    add(PixelStore(tmp_path), "ab", [1])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            pixel_store._read(next(tmp_path.rglob("*.pixels")))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert np.array_equal(PixelStore(tmp_path).get("ab", 1), image(1))
