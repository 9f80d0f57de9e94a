"""Where each record of a TFRecord file lies: scanned once, kept in the cache, thrown away when the file changes."""

import hashlib
import io
import struct
from dataclasses import dataclass
from functools import cached_property
from mmap import mmap
from pathlib import Path

import google_crc32c
import numpy as np

from episodes.errors import DAMAGED_ARCHIVE, CorruptRecord
from results.files import write_whole

HEADER_BYTES = 12
FOOTER_BYTES = 4
_LENGTH_AND_CRC = struct.Struct("<QI")
_CRC = struct.Struct("<I")


@dataclass(frozen=True)
class RecordIndex:
    """`starts`: (n,) int64 byte offset of each record; `lengths`: (n,) int64 payload bytes; `crcs`: (n,) uint32."""

    starts: np.ndarray
    lengths: np.ndarray
    crcs: np.ndarray

    def __len__(self) -> int:
        return len(self.starts)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over all lengths, then all stored payload checksums (hex)."""
        digest = hashlib.sha256(self.lengths.astype("<i8").tobytes())
        digest.update(self.crcs.astype("<u4").tobytes())
        return digest.hexdigest()


def mask_crc(crc: int) -> int:
    """TFRecord's masked form of a CRC32C (rotate right by 15 bits, add a constant, keep 32 bits)."""
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def scan(path: Path, data: bytes | mmap) -> RecordIndex:
    """Walk the records from length to length, checking the length checksums.

    Raises CorruptRecord where a length is corrupt or the file ends inside a record.
    """
    starts: list[int] = []
    lengths: list[int] = []
    crcs: list[int] = []
    position, end = 0, len(data)
    while position < end:
        if position + HEADER_BYTES > end:
            raise CorruptRecord(path, position, f"truncated: {end - position} bytes left, a record header has 12")
        length, length_crc = _LENGTH_AND_CRC.unpack_from(data, position)
        if mask_crc(google_crc32c.value(data[position : position + 8])) != length_crc:
            raise CorruptRecord(path, position, "length CRC does not match")
        footer = position + HEADER_BYTES + length
        if footer + FOOTER_BYTES > end:
            raise CorruptRecord(path, position, f"truncated: the record needs {footer + 4 - end} more bytes")
        starts.append(position)
        lengths.append(length)
        crcs.append(_CRC.unpack_from(data, footer)[0])
        position = footer + FOOTER_BYTES
    return RecordIndex(np.array(starts, np.int64), np.array(lengths, np.int64), np.array(crcs, np.uint32))


def load_or_scan(path: Path, data: bytes | mmap, cache: Path | None) -> RecordIndex:
    """The cached index when it was made from this very file (path, size, modification time), else a fresh scan."""
    if cache is None:
        return scan(path, data)
    status = path.stat()
    stamp = np.array([status.st_size, status.st_mtime_ns], np.int64)
    file = cache / "index" / f"{hashlib.sha256(str(path.resolve()).encode()).hexdigest()}.npz"
    cached = _load(file, stamp)
    if cached is not None:
        return cached
    index = scan(path, data)
    content = io.BytesIO()
    np.savez(content, stamp=stamp, starts=index.starts, lengths=index.lengths, crcs=index.crcs)
    write_whole(file, content.getvalue())
    return index


def _load(file: Path, stamp: np.ndarray) -> RecordIndex | None:
    """An index from the cache, or None when there is none, it is stale, or it cannot be read (it is made again)."""
    try:
        with np.load(file, allow_pickle=False) as arrays:
            if not np.array_equal(arrays["stamp"], stamp):
                return None
            return RecordIndex(arrays["starts"], arrays["lengths"], arrays["crcs"])
    except DAMAGED_ARCHIVE:
        return None
