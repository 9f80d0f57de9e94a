import shutil

import pytest
from processes import open_files

from episodes.dataset import MAX_OPEN_FILES, DatasetRecords
from episodes.errors import BadImage, BadSpec, CorruptRecord
from episodes.tfrecord import write_records
from episodes.writing import write_images


@pytest.fixture
def reds(tiny_records, tmp_path):
    """A copy of one data set that a test may spoil."""
    shutil.copytree(tiny_records / "reds", tmp_path / "reds")
    return tmp_path / "reds"


def test_images_are_read_by_class_and_record(reds):
    assert DatasetRecords(reds).encoded(3, 2).decode().shape == (16, 16, 3)


def test_a_missing_class_file_is_named(reds):
    (reds / "3.tfrecords").unlink()
    with pytest.raises(BadSpec, match=r"3\.tfrecords: missing; the spec of 'reds' lists class 3"):
        DatasetRecords(reds).split_fingerprint("test")


def test_a_spec_that_disagrees_with_its_files_is_named(reds):
    write_records(reds / "3.tfrecords", [(b"x", 3)])
    with pytest.raises(BadSpec, match=r"3\.tfrecords: 1 records, but the spec says class 3 has 15"):
        DatasetRecords(reds).class_file(3)


def test_a_cut_between_two_records_is_found_by_the_count(reds):
    file = DatasetRecords(reds).class_file(0)
    cut = int(file.index.starts[-1])
    (reds / "0.tfrecords").write_bytes((reds / "0.tfrecords").read_bytes()[:cut])
    with pytest.raises(BadSpec, match="11 records, but the spec says class 0 has 12"):
        DatasetRecords(reds).class_file(0)


def test_a_flipped_bit_in_an_image_names_file_and_offset(reds):
    path = reds / "0.tfrecords"
    data = bytearray(path.read_bytes())
    data[200] ^= 4
    path.write_bytes(bytes(data))
    with pytest.raises(CorruptRecord, match=r"0\.tfrecords: byte 0: payload CRC"):
        DatasetRecords(reds).encoded(0, 0)


def test_an_undecodable_image_names_file_and_record(reds):
    write_records(reds / "0.tfrecords", [(b"no image", 0)] * 12)
    with pytest.raises(BadImage, match=r"0\.tfrecords: record 4: "):
        DatasetRecords(reds).encoded(0, 4).decode()


def test_however_many_classes_and_data_sets_few_files_are_open(tmp_path, flat_spec):
    n = MAX_OPEN_FILES - 10
    for name in "ab":
        write_images(tmp_path / name, flat_spec(name, (0, 0, n), [1] * n), [[b"x"]] * n)
    sets, most = [DatasetRecords(tmp_path / name) for name in "ab"], 0
    for i in range(4 * n):
        data = sets[i // n % 2]
        assert (data.encoded(i % n, 0).data, len(data.fingerprint(i % n))) == (b"x", len(data.fingerprint(0)))
        most = max(most, len(open_files(".tfrecords")))
    assert n < most <= MAX_OPEN_FILES
