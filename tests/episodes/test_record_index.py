import hashlib
import os
import shutil
import struct
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from google_crc32c import value as crc32c
from hypothesis import given, settings
from hypothesis import strategies as st

from episodes import record_index
from episodes.errors import CorruptRecord
from episodes.record_index import known_identity, mask_crc, scan
from episodes.tfrecord import RecordFile, write_records


@pytest.fixture
def three(tmp_path):
    """A file of three short records."""
    path = tmp_path / "0.tfrecords"
    write_records(path, [(b"a" * n, n) for n in (5, 1, 9)])
    return path


@pytest.fixture
def cached(three, tmp_path):
    """The index file that the cache holds of it, and the cache."""
    cache = tmp_path / "cache"
    RecordFile(three, cache)
    (file,) = (cache / "index").iterdir()
    return file, cache


def framed(payloads):
    """TFRecord bytes, written here once more by hand."""
    out = b""
    for payload in payloads:
        length = struct.pack("<Q", len(payload))
        out += length + struct.pack("<I", mask_crc(crc32c(length)))
        out += payload + struct.pack("<I", mask_crc(crc32c(payload)))
    return out


def one_by_one(data):
    """Starts of the records, or (offset, reason) of the first fault: the plainest way of walking a file."""
    starts, position = [], 0
    while position < len(data):
        if len(data) - position < 12:
            return position, "truncated"
        length, length_crc = struct.unpack_from("<QI", data, position)
        if mask_crc(crc32c(data[position : position + 8])) != length_crc:
            return position, "length CRC"
        if position + length + 16 > len(data):
            return position, "truncated"
        starts.append(position)
        position += length + 16
    return starts


def assert_scanned_as_one_by_one(data):
    expected = one_by_one(data)
    if isinstance(expected, list):
        assert scan("file", data).starts.tolist() == expected
        return
    with pytest.raises(CorruptRecord) as caught:
        scan("file", data)
    assert (caught.value.offset, caught.value.reason[: len(expected[1])]) == expected


payload_lists = st.lists(st.binary(max_size=40), max_size=9)


@settings(max_examples=150)
@given(payloads=payload_lists, data=st.data(), block=st.sampled_from([1, 2, 3, 2048]))
def test_a_damaged_file_is_found_where_a_plain_walk_finds_it(payloads, data, block):
    content = bytearray(framed(payloads))
    if content:
        for position in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=3)):
            content[position] ^= data.draw(st.integers(1, 255))
        del content[data.draw(st.integers(0, len(content))) :]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record_index, "_BLOCK", block)
        assert_scanned_as_one_by_one(bytes(content))


@settings(max_examples=100)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_scanned_as_by_a_plain_walk(content):
    assert_scanned_as_one_by_one(content)


@pytest.mark.parametrize("length", [2**31, 2**40, 2**63 - 1, 2**63, 2**64 - 1])
def test_a_length_with_a_right_checksum_may_still_lie(length):
    header = struct.pack("<Q", length)
    lie = header + struct.pack("<I", mask_crc(crc32c(header))) + b"x" * 20
    with pytest.raises(CorruptRecord, match=rf"byte 27: truncated: the record needs {length + 16 - 32} more bytes"):
        scan("file", framed([b"hello world"]) + lie)


def test_a_file_of_zeros_is_corrupt_at_its_first_byte():
    with pytest.raises(CorruptRecord, match="byte 0: length CRC"):
        scan("file", bytes(100_000))


def test_an_index_tells_where_records_lie_and_what_they_are():
    payloads = [b"", b"abc", b"\0" * 300]
    index = scan("file", framed(payloads))
    assert index.starts.tolist() == [0, 16, 35]
    assert index.lengths.tolist() == [0, 3, 300]
    assert index.crcs.tolist() == [mask_crc(crc32c(payload)) for payload in payloads]


def test_the_fingerprint_is_the_hash_of_lengths_then_checksums():
    index = scan("file", framed([b"abc", b"de"]))
    content = np.array([3, 2], "<i8").tobytes() + index.crcs.astype("<u4").tobytes()
    assert index.fingerprint == hashlib.sha256(content).hexdigest()
    assert scan("file", b"").fingerprint == hashlib.sha256(b"").hexdigest()


def test_what_the_cache_holds_is_what_a_scan_gives(three, cached):
    stored, scanned = RecordFile(three, cached[1]).index, RecordFile(three).index
    np.testing.assert_array_equal(stored.bounds, scanned.bounds)
    np.testing.assert_array_equal(stored.crcs, scanned.crcs)
    assert stored.fingerprint == scanned.fingerprint
    assert (stored.bounds.dtype, stored.crcs.dtype) == (scanned.bounds.dtype, scanned.crcs.dtype) == ("i8", "u4")


def test_the_identity_of_a_file_is_known_without_opening_it(three, cached, monkeypatch):
    monkeypatch.setattr(record_index, "scan", None)
    assert known_identity(three, cached[1]) == (3, scan(three, three.read_bytes()).fingerprint)


def test_the_identity_of_a_file_never_indexed_is_not_known(three, tmp_path):
    assert known_identity(three, tmp_path / "other") is None
    assert known_identity(three, None) is None


def test_every_flipped_bit_of_an_index_is_found_and_mended(three, cached):
    file, cache = cached
    good, truth = file.read_bytes(), RecordFile(three).index
    for position in range(len(good)):
        damaged = bytearray(good)
        damaged[position] ^= 1 << position % 8
        file.write_bytes(damaged)
        assert known_identity(three, cache) in (None, (3, truth.fingerprint))
        np.testing.assert_array_equal(RecordFile(three, cache).index.bounds, truth.bounds)
        assert file.read_bytes() == good


def test_an_index_cut_anywhere_or_grown_is_mended(three, cached):
    file, cache = cached
    good = file.read_bytes()
    for damaged in [*(good[:n] for n in range(len(good))), good + b"\0"]:
        file.write_bytes(damaged)
        assert len(RecordFile(three, cache)) == 3
        assert file.read_bytes() == good


def test_a_stale_index_is_not_believed(three, cached):
    status = three.stat()
    os.utime(three, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert known_identity(three, cached[1]) is None
    write_records(three, [(b"new", 0)])
    assert known_identity(three, cached[1]) is None
    assert len(RecordFile(three, cached[1])) == 1
    assert known_identity(three, cached[1]).records == 1


@pytest.mark.parametrize("replace", [os.replace, shutil.copyfile])
def test_a_replacement_of_the_same_size_and_time_is_not_taken_for_the_file(three, cached, tmp_path, replace):
    """As archives, image layers and `cp -p` leave behind."""
    os.utime(three, ns=(1, 1))
    assert len(RecordFile(three, cached[1])) == 3
    write_records(tmp_path / "new", [(b"a" * n, n) for n in (1, 9, 5)])
    assert (tmp_path / "new").stat().st_size == three.stat().st_size
    before = three.stat()
    replace(tmp_path / "new", three)
    os.utime(three, ns=(1, 1))
    while three.stat()[:2] == before[:2] and three.stat().st_ctime_ns == before.st_ctime_ns:
        os.utime(three, ns=(1, 1))  # the kernel's clock ticks every few milliseconds
    assert known_identity(three, cached[1]) is None
    assert RecordFile(three, cached[1]).fingerprint == RecordFile(three).fingerprint


def test_of_a_file_that_became_unreadable_no_index_stays(three, cached):
    three.write_bytes(b"x" * 200)
    with pytest.raises(CorruptRecord):
        RecordFile(three, cached[1])
    assert not cached[0].exists()


def test_an_index_that_the_file_contradicts_when_it_is_read_is_dropped(three, cached):
    file = RecordFile(three, cached[1])
    with three.open("r+b") as other:  # in place, under the open file
        other.write(framed([b"other", b"bytes"]))
    with pytest.raises(CorruptRecord, match="byte 0: length CRC"):
        file[0]
    assert not cached[0].exists()


def test_a_record_that_is_whole_but_not_the_one_that_was_indexed_is_refused(three, cached):
    file = RecordFile(three, cached[1])
    payload = file[0]
    with three.open("r+b") as other:
        other.write(framed([payload[::-1]]))
    with pytest.raises(CorruptRecord, match="byte 0: the file was changed after it was indexed; start again"):
        file[0]
    assert not cached[0].exists()
    with pytest.raises(CorruptRecord, match="the file was changed"):  # without a cache there is nothing to drop
        without = RecordFile(three)
        with three.open("r+b") as other:
            other.write(framed([payload]))
        without[0]


def test_a_file_that_is_gone_is_not_known(three, cached):
    three.unlink()
    assert known_identity(three, cached[1]) is None


def test_many_may_index_one_file_at_once(three, tmp_path):
    with ThreadPoolExecutor(8) as pool:
        files = list(pool.map(lambda _: RecordFile(three, tmp_path / "cache"), range(32)))
    assert {file.fingerprint for file in files} == {RecordFile(three).fingerprint}
    assert [path.suffix for path in (tmp_path / "cache/index").iterdir()] == [".index"]


def test_a_link_and_its_file_share_an_index(three, cached, tmp_path):
    (tmp_path / "link.tfrecords").symlink_to(three)
    assert known_identity(tmp_path / "link.tfrecords", cached[1]).records == 3
