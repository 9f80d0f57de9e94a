import os
import struct
import subprocess
import sys

import pytest

from episodes.errors import BadExample, CorruptRecord
from episodes.tfrecord import RecordFile, parse_example, write_records


@pytest.fixture
def three(tmp_path):
    """A file of three short records."""
    path = tmp_path / "0.tfrecords"
    write_records(path, [(b"a" * n, n) for n in (5, 1, 9)])
    return path


def read_all(path):
    file = RecordFile(path)
    return [parse_example(file[i]) for i in range(len(file))]


def test_what_is_written_is_read(three):
    assert read_all(three) == [(b"aaaaa", 5), (b"a", 1), (b"a" * 9, 9)]


def test_records_are_read_in_any_order(three):
    file = RecordFile(three)
    assert [parse_example(file[i])[1] for i in (2, 0, 1, 2)] == [9, 5, 1, 9]


def test_a_file_of_the_official_writer_is_read(golden):
    file = RecordFile(golden / "episodes/records/flat_tiny/7.tfrecords")
    examples = [parse_example(file[i]) for i in range(len(file))]
    assert [label for _, label in examples] == [7] * 12
    assert all(image.startswith(b"\xff\xd8\xff") for image, _ in examples)


def test_an_empty_file_has_no_records(tmp_path):
    (tmp_path / "0.tfrecords").touch()
    assert len(RecordFile(tmp_path / "0.tfrecords")) == 0


def test_a_record_that_is_not_there_is_named(three):
    with pytest.raises(IndexError, match="no record 3; the file has 3"):
        RecordFile(three)[3]


def test_every_flipped_bit_is_found_with_path_and_offset(three):
    good = three.read_bytes()
    starts = RecordFile(three).index.starts.tolist()
    for position in range(len(good)):
        start = max(s for s in starts if s <= position)
        for bit in range(8):
            data = bytearray(good)
            data[position] ^= 1 << bit
            three.write_bytes(data)
            with pytest.raises(CorruptRecord) as caught:
                read_all(three)
            assert (caught.value.path, caught.value.offset) == (three, start)


def test_every_cut_inside_a_record_is_found(three):
    good = three.read_bytes()
    boundaries = {0, *RecordFile(three).index.starts.tolist()}
    for length in set(range(len(good))) - boundaries:
        three.write_bytes(good[:length])
        with pytest.raises(CorruptRecord, match="truncated|CRC"):
            read_all(three)


def test_a_length_beyond_the_file_allocates_nothing(tmp_path):
    from google_crc32c import value

    from episodes.record_index import mask_crc

    header = struct.pack("<Q", 2**60)
    path = tmp_path / "0.tfrecords"
    path.write_bytes(header + struct.pack("<I", mask_crc(value(header))) + b"x" * 20)
    with pytest.raises(CorruptRecord, match="truncated"):
        RecordFile(path)


def test_the_index_is_built_once_and_again_when_the_file_changes(three, tmp_path, monkeypatch):
    from episodes import record_index

    scans = []
    real = record_index.scan
    monkeypatch.setattr(record_index, "scan", lambda path, data: scans.append(path) or real(path, data))
    cache = tmp_path / "cache"
    assert len(RecordFile(three, cache)) == len(RecordFile(three, cache)) == 3
    assert len(scans) == 1
    write_records(three, [(b"new", 0)])
    assert len(RecordFile(three, cache)) == 1
    assert len(scans) == 2


def test_a_damaged_index_is_made_again(three, tmp_path):
    cache = tmp_path / "cache"
    RecordFile(three, cache)
    (index,) = (cache / "index").iterdir()
    index.write_bytes(index.read_bytes()[:100])
    assert len(RecordFile(three, cache)) == 3


def test_the_fingerprint_follows_the_content_not_the_path(three, tmp_path):
    copy = tmp_path / "elsewhere.tfrecords"
    copy.write_bytes(three.read_bytes())
    other = tmp_path / "other.tfrecords"
    write_records(other, [(b"a" * n, n) for n in (5, 1, 8)])
    assert RecordFile(copy).fingerprint == RecordFile(three).fingerprint != RecordFile(other).fingerprint


@pytest.mark.parametrize("payload", [b"", b"\x0a\x00", b"not protobuf \xff\xff", b"\x0a\x05ab"])
def test_a_payload_that_is_not_an_example_is_refused(payload):
    with pytest.raises(BadExample):
        parse_example(payload)


def test_the_same_examples_give_the_same_bytes_in_every_process(tmp_path):
    code = (
        "import sys; from pathlib import Path; from episodes.tfrecord import write_records; "
        "write_records(Path(sys.argv[1]), [(b'image', 3)] * 2)"
    )
    contents = set()
    for run in range(3):
        path = tmp_path / f"{run}.tfrecords"
        environment = {**os.environ, "PYTHONHASHSEED": str(run), "PYTHONPATH": os.pathsep.join(sys.path)}
        subprocess.run([sys.executable, "-c", code, str(path)], check=True, env=environment)
        contents.add(path.read_bytes())
    assert len(contents) == 1
