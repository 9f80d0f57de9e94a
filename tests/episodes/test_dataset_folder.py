"""A data set's folder as others may have left it: links, holes and images that lie about themselves."""

import io
import json
import os
import struct
import subprocess
import sys
import zlib

import pytest
from PIL import Image
from tiny_images import images_of

from episodes import dataset
from episodes.dataset import DatasetRecords
from episodes.errors import BadImage, BadSpec
from episodes.record_index import scan
from episodes.tfrecord import RecordFile, write_records

COUNTS = (3, 4, 5)


@pytest.fixture
def folder(tmp_path, flat_spec):
    """A data set of three test classes."""
    return write_folder(tmp_path / "set", flat_spec("set", (0, 0, 3), COUNTS), map(images_of, range(3), COUNTS))


def write_folder(folder, spec, classes):
    folder.mkdir()
    for class_id, images in enumerate(classes):
        write_records(folder / f"{class_id}.tfrecords", ((image, class_id) for image in images))
    (folder / "dataset_spec.json").write_text(json.dumps(spec))
    return folder


# --- links -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["../outside.tfrecords", "../nothing", "/dev/zero", "../set 2/1.tfrecords"])
def test_a_class_file_that_links_out_of_the_folder_is_refused_unopened(folder, tmp_path, monkeypatch, target):
    (folder / "1.tfrecords").rename(tmp_path / "outside.tfrecords")
    (folder / "1.tfrecords").symlink_to(target)
    data = DatasetRecords(folder, tmp_path / "cache")
    monkeypatch.setattr(dataset, "RecordFile", None)
    monkeypatch.setattr(dataset, "known_identity", None)
    for use in (data.class_file, data.fingerprint, lambda class_id: data.encoded(class_id, 0)):
        with pytest.raises(BadSpec, match=r"1\.tfrecords: a link to .*, out of the data set's folder"):
            use(1)


def test_a_known_class_file_that_became_a_link_is_refused(folder, tmp_path):
    whole = DatasetRecords(folder, tmp_path / "cache").split_fingerprint("test")
    (folder / "1.tfrecords").rename(tmp_path / "1.tfrecords")
    (folder / "1.tfrecords").symlink_to(tmp_path / "1.tfrecords")
    with pytest.raises(BadSpec, match="out of the data set's folder"):
        DatasetRecords(folder, tmp_path / "cache").split_fingerprint("test")
    (folder / "1.tfrecords").unlink()
    (tmp_path / "1.tfrecords").rename(folder / "1.tfrecords")
    assert DatasetRecords(folder, tmp_path / "cache").split_fingerprint("test") == whole


def test_the_folder_itself_may_be_a_link_and_files_may_link_within_it(folder, tmp_path):
    whole = DatasetRecords(folder).split_fingerprint("test")
    (folder / "1.tfrecords").rename(folder / "one")
    (folder / "1.tfrecords").symlink_to("one")
    (tmp_path / "link").symlink_to(folder)
    data = DatasetRecords(tmp_path / "link", tmp_path / "cache")
    assert data.split_fingerprint("test") == whole
    assert data.encoded(1, 3).decode().shape == (16, 16, 3)


def test_a_class_file_that_is_no_file_is_missing(folder):
    (folder / "1.tfrecords").unlink()
    os.mkfifo(folder / "1.tfrecords")
    with pytest.raises(BadSpec, match=r"1\.tfrecords: missing"):
        DatasetRecords(folder).class_file(1)


# --- identities without opening --------------------------------------------------------------------------------------


def test_a_split_once_indexed_is_identified_without_reading_its_files(folder, tmp_path, monkeypatch):
    first = DatasetRecords(folder, tmp_path / "cache").split_fingerprint("test")
    each = [RecordFile(folder / f"{i}.tfrecords").fingerprint for i in range(3)]
    monkeypatch.setattr(dataset, "RecordFile", None)
    data = DatasetRecords(folder, tmp_path / "cache")
    assert data.split_fingerprint("test") == first
    assert [data.fingerprint(i) for i in range(3)] == each


def test_a_known_class_file_still_has_to_be_there_and_to_have_its_count(folder, tmp_path, flat_spec):
    DatasetRecords(folder, tmp_path / "cache").split_fingerprint("test")
    (folder / "dataset_spec.json").write_text(json.dumps(flat_spec("set", (0, 0, 3), (3, 4, 6))))
    with pytest.raises(BadSpec, match=r"2\.tfrecords: 5 records, but the spec says class 2 has 6"):
        DatasetRecords(folder, tmp_path / "cache").split_fingerprint("test")
    (folder / "1.tfrecords").unlink()
    with pytest.raises(BadSpec, match=r"1\.tfrecords: missing"):
        DatasetRecords(folder, tmp_path / "cache").split_fingerprint("test")


def test_a_cut_between_two_records_is_found_with_and_without_a_cache(folder, tmp_path):
    DatasetRecords(folder, tmp_path / "cache").split_fingerprint("test")
    content = (folder / "2.tfrecords").read_bytes()
    for records, cut in enumerate(scan(folder, content).starts.tolist()):
        (folder / "2.tfrecords").write_bytes(content[:cut])
        for cache in (None, tmp_path / "cache"):
            with pytest.raises(BadSpec, match=f"{records} records, but the spec says class 2 has 5"):
                DatasetRecords(folder, cache).split_fingerprint("test")


def test_a_class_file_is_opened_once_while_it_is_in_use(folder, monkeypatch):
    data, opened = DatasetRecords(folder), []

    def counted(path, cache):
        opened.append(path.name)
        return RecordFile(path, cache)

    monkeypatch.setattr(dataset, "RecordFile", counted)
    for class_id in (0, 1, 0, 2, 0, 1):
        data.encoded(class_id, 0)
    assert opened == [f"{i}.tfrecords" for i in (0, 1, 2)]


# --- images that lie -------------------------------------------------------------------------------------------------


def encoded(kind, side=64):
    out = io.BytesIO()
    Image.effect_noise((side, side), 50).convert("RGB").save(out, kind)
    return out.getvalue()


def forged_jpeg():
    data = bytearray(encoded("JPEG"))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", 65000, 65000)
    return bytes(data)


def forged_png():
    data = bytearray(encoded("PNG"))
    data[16:24] = struct.pack(">II", 65000, 65000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


def forged_gif():
    data = bytearray(encoded("GIF"))
    data[6:10] = struct.pack("<HH", 65000, 65000)
    return bytes(data)


def forged_bmp():
    data = bytearray(encoded("BMP"))
    data[18:26] = struct.pack("<ii", 65000, 65000)
    return bytes(data)


LIES = {
    "forged jpeg": forged_jpeg(),
    "forged png": forged_png(),
    "forged gif": forged_gif(),
    "forged bmp": forged_bmp(),
    "nothing": b"",
    "zero bytes": bytes(5000),
    "zeros after a jpeg's start": b"\xff\xd8\xff\xe0" + bytes(5000),
    "zeros after a png's start": b"\x89PNG\r\n\x1a\n" + bytes(5000),
    "half a jpeg": encoded("JPEG")[:-600],
    "half a png": encoded("PNG")[:-600],
    "half a header": encoded("JPEG")[:9],
}

READ_ALL = """
import sys
from pathlib import Path
from episodes.dataset import DatasetRecords
from episodes.errors import BadImage

def peak():  # of this program alone; getrusage would begin with what the test runner has
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) >> 10

data = DatasetRecords(Path(sys.argv[1]))
data.encoded(1, 0).decode(), data.encoded(1, 1).decode()
before = peak()
for record in range(int(sys.argv[2])):
    try:
        data.encoded(0, record).decode()
    except BadImage as error:
        print(error)
print(peak() - before)
"""


def test_images_that_lie_cost_a_typed_error_and_little_memory(tmp_path, flat_spec):
    lies, true = list(LIES.values()), [encoded("JPEG"), encoded("PNG")]
    spec = flat_spec("set", (0, 0, 2), (len(lies), len(true)))
    folder = write_folder(tmp_path / "set", spec, [lies, true])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", READ_ALL, str(folder), str(len(lies))]
    *errors, grown_mib = subprocess.run(
        command, check=True, capture_output=True, text=True, env=environment
    ).stdout.splitlines()
    names = [error.split(": ")[:2] for error in errors]
    assert names == [[str(folder / "0.tfrecords"), f"record {i}"] for i in range(len(lies))]
    assert int(grown_mib) < 100


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_an_image_that_lies_names_its_file_and_record_in_one_line(tmp_path, flat_spec, lie):
    folder = write_folder(tmp_path / "set", flat_spec("set", (0, 0, 1), (1,)), [[lie]])
    with pytest.raises(BadImage, match=r"^[^\n]*0\.tfrecords: record 0: [^\n]+$"):
        DatasetRecords(folder).encoded(0, 0).decode()
