"""TFRecord files: random access through a memory map, both checksums verified on every read.

Framing of a record: length (8 bytes, little endian), masked CRC32C of those 8 bytes (4), payload, masked CRC32C of the
payload (4). The payload of a Meta-Dataset record is a `tf.train.Example` with one encoded `image` and one `label`.
"""

import functools
import mmap
import os
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from google_crc32c import value as crc32c

from episodes.errors import BadExample, CorruptRecord
from episodes.record_index import FOOTER_BYTES, FRAME_BYTES, HEADER_BYTES, RecordIndex, load_or_scan, mask_crc

_LENGTH = struct.Struct("<Q")
_CRC = struct.Struct("<I")


class RecordFile:
    """One `.tfrecords` file, opened read-only; `file[i]` is the payload of its i-th record.

    `path`: the file. `cache`: folder for its index; without one the file is scanned at every opening.
    Raises CorruptRecord, with the byte offset, for anything that is not a whole and intact record.
    """

    def __init__(self, path: Path, cache: Path | None = None) -> None:
        self.path = Path(path)
        with self.path.open("rb") as file:
            status = os.fstat(file.fileno())
            empty = status.st_size == 0
            self._bytes = b"" if empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.index: RecordIndex = load_or_scan(self.path, self._bytes, status, cache)
        self._bounds = self.index.bounds.data  # a memoryview: gives Python numbers, faster than the array

    def __len__(self) -> int:
        return len(self._bounds) - 1

    def __getitem__(self, i: int) -> bytes:
        """The payload of record i (0 <= i < len), after checking both of its checksums."""
        bounds = self._bounds
        if not 0 <= i < len(bounds) - 1:
            raise IndexError(f"{self.path}: no record {i}; the file has {len(self)}")
        start, end, data = bounds[i], bounds[i + 1], self._bytes
        if data[start : start + HEADER_BYTES] != _header(end - start - FRAME_BYTES):
            raise CorruptRecord(self.path, start, "length CRC does not match")
        payload = data[start + HEADER_BYTES : end - FOOTER_BYTES]
        if mask_crc(crc32c(payload)) != _CRC.unpack_from(data, end - FOOTER_BYTES)[0]:
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


@functools.lru_cache(2**14)
def _header(length: int) -> bytes:
    """The 12 bytes before a payload of this length: the length and its checksum. Lengths come again and again."""
    packed = _LENGTH.pack(length)
    return packed + _CRC.pack(mask_crc(crc32c(packed)))


def parse_example(payload: bytes) -> tuple[bytes, int]:
    """(encoded image, label) of a record payload.

    Other features are ignored, as the official reader does. Raises BadExample unless the payload is an Example with one
    `image` of one byte string and one `label` of one integer, and when a feature stands twice: different readers would
    believe different ones.
    """
    protobuf = _protobuf()
    try:
        example = protobuf.Example.FromString(payload)
    except protobuf.DecodeError as error:
        raise BadExample(f"the payload is not a tf.train.Example: {error}") from error
    features = example.features.feature
    count = len(features)  # before the next lines: a protobuf map makes what it is asked for
    images, labels = features["image"].bytes_list.value, features["label"].int64_list.value
    if len(images) != 1 or len(labels) != 1:
        raise BadExample(
            f"an example holds one 'image' and one 'label'; this one has {len(images)} and {len(labels)} "
            f"({_named_features(payload)})"
        )
    # Another size than the canonical encoding's is rare, and harmless unless something was said twice.
    if example.ByteSize() != len(payload) and _stated_features(payload) != count:
        raise BadExample("an example holds one 'image' and one 'label'; in this one a feature stands twice")
    return images[0], labels[0]


def _named_features(payload: bytes) -> str:
    names = sorted(_protobuf().Example.FromString(payload).features.feature)
    shown = ", ".join(repr(name[:40]) for name in names[:5])
    return f"features: {shown or 'none'}{', ...' if len(names) > 5 else ''}"


def _stated_features(payload: bytes) -> int:
    """How many features the bytes of an Example spell out, repetitions included (parsing keeps the last of each)."""
    protobuf = _protobuf()

    def fields(message: bytes) -> list[Any]:
        return list(protobuf.UnknownFieldSet(protobuf.Empty.FromString(message)))

    return sum(part.field_number == 1 for top in fields(payload) if top.field_number == 1 for part in fields(top.data))


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
def _protobuf() -> Any:
    """What of protobuf is needed here (imported late: the `tfrecord` package brings torch with it)."""
    from types import SimpleNamespace

    from google.protobuf.empty_pb2 import Empty
    from google.protobuf.message import DecodeError
    from google.protobuf.unknown_fields import UnknownFieldSet
    from tfrecord.example_pb2 import Example

    return SimpleNamespace(Example=Example, DecodeError=DecodeError, Empty=Empty, UnknownFieldSet=UnknownFieldSet)
