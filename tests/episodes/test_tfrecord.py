import os
import struct
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


def test_every_cut_between_records_leaves_the_records_before_it(three):
    good, starts = three.read_bytes(), RecordFile(three).index.starts.tolist()
    for count, cut in enumerate(starts):
        three.write_bytes(good[:cut])
        assert len(read_all(three)) == count


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


def test_a_closed_file_is_not_read_and_can_be_opened_again(three):
    file = RecordFile(three)
    file.close()
    with pytest.raises(ValueError, match="closed"):
        file[0]
    assert parse_example(RecordFile(three)[0]) == (b"aaaaa", 5)


def test_a_record_changed_after_it_was_indexed_is_found(three, tmp_path):
    RecordFile(three, tmp_path / "cache")
    status, data = three.stat(), bytearray(three.read_bytes())
    for position in (0, 9, 14, len(data) // 3 - 1):
        changed = bytearray(data)
        changed[position] ^= 1
        three.write_bytes(changed)
        os.utime(three, ns=(status.st_atime_ns, status.st_mtime_ns))  # as a failing disk would
        with pytest.raises(CorruptRecord, match="byte 0: (length|payload) CRC"):
            RecordFile(three, tmp_path / "cache")[0]


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


# --- the Example parser ----------------------------------------------------------------------------------------------


def field(number, content):
    """A length-delimited protobuf field."""
    size, length = b"", len(content)
    while length > 127:
        size, length = size + bytes([length & 127 | 128]), length >> 7
    return bytes([number << 3 | 2]) + size + bytes([length]) + content


def bytes_feature(*values):
    return field(1, b"".join(field(1, value) for value in values))


def packed_ints(*values):
    return field(3, field(1, bytes(values)))


def unpacked_ints(*values):
    return field(3, b"".join(bytes([8, value]) for value in values))


def example(*features):
    """An Example of (name, feature) pairs, in their order, repetitions and all."""
    entries = (field(1, field(1, name) + field(2, feature)) for name, feature in features)
    return field(1, b"".join(entries))


IMAGE, LABEL = (b"image", bytes_feature(b"pixels")), (b"label", packed_ints(7))


@settings(max_examples=200)
@given(st.binary(max_size=300))
def test_arbitrary_bytes_parse_or_are_refused(payload):
    try:
        image, label = parse_example(payload)
    except BadExample as error:
        assert "\n" not in str(error)
    else:
        assert isinstance(image, bytes)
        assert isinstance(label, int)


@settings(max_examples=200)
@given(data=st.data())
def test_a_damaged_example_parses_or_is_refused(data):
    payload = bytearray(example(IMAGE, LABEL))
    for position in data.draw(st.lists(st.integers(0, len(payload) - 1), min_size=1, max_size=4)):
        payload[position] = data.draw(st.integers(0, 255))
    try:
        parse_example(bytes(payload))
    except BadExample as error:
        assert "\n" not in str(error)


@settings(max_examples=60)
@given(examples=st.lists(st.tuples(st.binary(max_size=400), st.integers(-(2**63), 2**63 - 1)), max_size=4))
def test_any_image_and_label_survive_writing_and_reading(tmp_path_factory, examples):
    path = tmp_path_factory.mktemp("round") / "0.tfrecords"
    write_records(path, examples)
    assert read_all(path) == examples


@pytest.mark.parametrize(
    "payload",
    [
        example(LABEL, IMAGE),
        example(IMAGE, (b"label", unpacked_ints(7))),
        example(IMAGE) + example(LABEL),  # protobuf merges messages that follow each other
        example(IMAGE, LABEL) + field(9, b"of a later version"),
    ],
)
def test_an_example_may_be_encoded_in_any_valid_way(payload):
    assert parse_example(payload) == (b"pixels", 7)


@pytest.mark.parametrize(
    ("features", "words"),
    [
        ([], "features: none"),
        ([IMAGE], "features: 'image'"),
        ([LABEL], "features: 'label'"),
        ([IMAGE, (b"labels", packed_ints(1))], "features: 'image', 'labels'"),
        ([(b"image", packed_ints(1)), LABEL], "has 0 and 1"),
        ([IMAGE, (b"label", bytes_feature(b"7"))], "has 1 and 0"),
        ([(b"image", bytes_feature(b"a", b"b")), LABEL], "has 2 and 1"),
        ([IMAGE, (b"label", packed_ints(1, 2))], "has 1 and 2"),
        ([IMAGE, (b"label", unpacked_ints(1, 2))], "has 1 and 2"),
        ([(b"image", b""), LABEL], "has 0 and 1"),
        ([IMAGE, LABEL, LABEL], "a feature stands twice"),
        ([IMAGE, (b"image", bytes_feature(b"other!")), LABEL], "a feature stands twice"),
        ([(b"line\nbreak", packed_ints(1)), *[(b"%d" % i, packed_ints(1)) for i in range(9)]], ", ..."),
    ],
)
def test_an_example_of_anything_else_is_refused_in_one_line(features, words):
    with pytest.raises(BadExample) as caught:
        parse_example(example(*features))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("saved", range(1, 40))
def test_what_stands_twice_is_found_whatever_the_encoding_saves_elsewhere(saved):
    """An integer that is not packed takes a byte or two less: the size as a whole may be the canonical one."""
    others = [(b"%02d" % i, unpacked_ints(1)) for i in range(saved)]
    with pytest.raises(BadExample, match="a feature stands twice"):
        parse_example(example(IMAGE, (b"image", bytes_feature(b"other")), LABEL, *others))


def test_a_feature_that_stands_twice_in_two_messages_is_refused():
    with pytest.raises(BadExample, match="a feature stands twice"):
        parse_example(example(IMAGE, LABEL) + example(LABEL))
