"""TFRecord files: random access through a memory map, both checksums verified on every read.

Framing of a record: length (8 bytes, little endian), masked CRC32C of those 8 bytes (4), payload, masked CRC32C of the
payload (4). The payload of a Meta-Dataset record is a `tf.train.Example` with one encoded `image` and one `label`.
"""

import functools
import mmap
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import google_crc32c

from episodes.errors import BadExample, CorruptRecord
from episodes.record_index import HEADER_BYTES, RecordIndex, load_or_scan, mask_crc

_HEADER = struct.Struct("<QI")
_FOOTER = struct.Struct("<I")


class RecordFile:
    """One `.tfrecords` file, opened read-only; `file[i]` is the payload of its i-th record.

    `path`: the file. `cache`: folder for its index; without one the file is scanned at every opening.
    Raises CorruptRecord, with the byte offset, for anything that is not a whole and intact record.
    """

    def __init__(self, path: Path, cache: Path | None = None) -> None:
        self.path = Path(path)
        with self.path.open("rb") as file:
            empty = self.path.stat().st_size == 0
            self._bytes = b"" if empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.index: RecordIndex = load_or_scan(self.path, self._bytes, cache)

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, i: int) -> bytes:
        """The payload of record i (0 <= i < len), after checking both of its checksums."""
        if not 0 <= i < len(self):
            raise IndexError(f"{self.path}: no record {i}; the file has {len(self)}")
        start, length = int(self.index.starts[i]), int(self.index.lengths[i])
        data = self._bytes
        stored_length, length_crc = _HEADER.unpack_from(data, start)
        if stored_length != length or mask_crc(google_crc32c.value(data[start : start + 8])) != length_crc:
            raise CorruptRecord(self.path, start, "length CRC does not match")
        payload = data[start + HEADER_BYTES : start + HEADER_BYTES + length]
        (payload_crc,) = _FOOTER.unpack_from(data, start + HEADER_BYTES + length)
        if mask_crc(google_crc32c.value(payload)) != payload_crc:
            raise CorruptRecord(self.path, start, "payload CRC does not match")
        return payload

    @property
    def fingerprint(self) -> str:
        """Hash of all payload lengths and checksums: the identity of the file's content, wherever it lies."""
        return self.index.fingerprint

    def close(self) -> None:
        """Release the memory map; the file cannot be read afterwards."""
        if isinstance(self._bytes, mmap.mmap):
            self._bytes.close()


def parse_example(payload: bytes) -> tuple[bytes, int]:
    """(encoded image, label) of a record payload. Raises BadExample when either is missing or not single."""
    protobuf = _example_module()
    try:
        features = protobuf.Example.FromString(payload).features.feature
    except protobuf.DecodeError as error:
        raise BadExample(f"the payload is not a tf.train.Example: {error}") from error
    # Protobuf maps create missing keys on access, so ask first.
    images = list(features["image"].bytes_list.value) if "image" in features else []
    labels = list(features["label"].int64_list.value) if "label" in features else []
    if len(images) != 1 or len(labels) != 1:
        raise BadExample(
            f"an example holds one 'image' and one 'label'; this one has {len(images)} and {len(labels)} "
            f"(features: {', '.join(sorted(features)) or 'none'})"
        )
    return images[0], labels[0]


def write_records(path: Path, examples: Iterable[tuple[bytes, int]]) -> None:
    """Write (encoded image, label) pairs as one TFRecord file; the same pairs give the same bytes.

    Not atomic by itself: see `episodes.writing`.
    """
    from tfrecord.writer import TFRecordWriter

    with path.open("wb") as file:
        for image, label in examples:
            payload = _serialize(image, label)
            length = struct.pack("<Q", len(payload))
            for part in (length, TFRecordWriter.masked_crc(length), payload, TFRecordWriter.masked_crc(payload)):
                file.write(part)


def _serialize(image: bytes, label: int) -> bytes:
    """The Example of an image; `tfrecord` itself leaves the order of the two features to chance."""
    from tfrecord.example_pb2 import BytesList, Example, Feature, Features, Int64List

    feature = {
        "image": Feature(bytes_list=BytesList(value=[image])),
        "label": Feature(int64_list=Int64List(value=[label])),
    }
    return Example(features=Features(feature=feature)).SerializeToString(deterministic=True)


@functools.cache
def _example_module() -> Any:
    """The Example message and its decoding error (imported late: the package brings torch with it)."""
    from types import SimpleNamespace

    from google.protobuf.message import DecodeError
    from tfrecord.example_pb2 import Example

    return SimpleNamespace(Example=Example, DecodeError=DecodeError)
