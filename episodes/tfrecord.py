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
from episodes.record_index import FOOTER_BYTES, FRAME_BYTES, HEADER_BYTES, RecordIndex, forget, load_or_scan, mask_crc

_LENGTH = struct.Struct("<Q")
_CRC = struct.Struct("<I")


class RecordFile:
    """One `.tfrecords` file, opened read-only; `file[i]` is the payload of its i-th record.

    `path`: the file. `cache`: folder for its index; without one the file is scanned at every opening.
    Raises CorruptRecord, with the byte offset, for anything that is not a whole and intact record.
    """

    def __init__(self, path: Path, cache: Path | None = None) -> None:
        self.path, self._cache = Path(path), cache
        with self.path.open("rb") as file:
            status = os.fstat(file.fileno())
            empty = status.st_size == 0
            self._bytes = b"" if empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.index: RecordIndex = load_or_scan(self.path, self._bytes, status, cache)
        # memoryviews: they give Python numbers, faster than the arrays
        self._bounds, self._crcs = self.index.bounds.data, self.index.crcs.data

    def __len__(self) -> int:
        return len(self._bounds) - 1

    def __getitem__(self, i: int) -> bytes:
        """The payload of record i (0 <= i < len), after checking both of its checksums."""
        bounds = self._bounds
        if not 0 <= i < len(bounds) - 1:
            raise IndexError(f"{self.path}: no record {i}; the file has {len(self)}")
        start, end, data = bounds[i], bounds[i + 1], self._bytes
        if data[start : start + HEADER_BYTES] != _header(end - start - FRAME_BYTES):
            raise self._corrupt(start, "length CRC does not match")
        payload = data[start + HEADER_BYTES : end - FOOTER_BYTES]
        if (crc := mask_crc(crc32c(payload))) != self._crcs[i]:
            changed = crc == _CRC.unpack_from(data, end - FOOTER_BYTES)[0]
            reason = (
                "the file was changed after it was indexed; start again" if changed else "payload CRC does not match"
            )
            raise self._corrupt(start, reason)
        return payload

    def _corrupt(self, offset: int, reason: str) -> CorruptRecord:
        """The error for a record that contradicts itself or the index, which is made again at the next opening."""
        forget(self.path, self._cache)
        return CorruptRecord(self.path, offset, reason)

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
    example, decode_error = _example()
    try:
        entries = example.FromString(payload).features.feature
    except decode_error as error:
        raise BadExample(f"the payload is not a tf.train.Example: {error}") from error
    features = {entry.key: entry.value for entry in entries}
    images = features["image"].bytes_list.value if "image" in features else []
    labels = features["label"].int64_list.value if "label" in features else []
    if len(images) != 1 or len(labels) != 1:
        raise BadExample(
            f"an example holds one 'image' and one 'label'; this one has {len(images)} and {len(labels)} "
            f"({_listed(sorted(features))})"
        )
    if len(features) != len(entries):
        raise BadExample("an example holds one 'image' and one 'label'; in this one a feature stands twice")
    return images[0], labels[0]


def _listed(names: list[str]) -> str:
    shown = ", ".join(repr(name[:40]) for name in names[:5])
    return f"features: {shown or 'none'}{', ...' if len(names) > 5 else ''}"


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
def _example() -> tuple[Any, type[Exception]]:
    """The class of examples to parse, and what it raises (imported late: the `tfrecord` package brings torch with it).

    The features of an Example are a map, of which a parser keeps the last entry of each name. The same bytes are a list
    of entries to a schema that does not say that it is one: so nothing that stands twice is lost.
    """
    from google.protobuf.descriptor_pb2 import FileDescriptorProto
    from google.protobuf.descriptor_pool import DescriptorPool
    from google.protobuf.message import DecodeError
    from google.protobuf.message_factory import GetMessageClass
    from tfrecord import example_pb2

    schema = FileDescriptorProto()
    example_pb2.DESCRIPTOR.CopyToProto(schema)
    for message in schema.message_type:
        for entry in message.nested_type:
            entry.options.ClearField("map_entry")
    pool = DescriptorPool()
    pool.AddSerializedFile(schema.SerializeToString())
    return GetMessageClass(pool.FindMessageTypeByName("tensorflow.Example")), DecodeError
