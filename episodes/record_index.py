"""Where each record of a TFRecord file lies: scanned once, kept in the cache, thrown away when the file changes.

A cached index is one small binary file: a header (the stamp of what it was made from, how many records, their
fingerprint) and two arrays. Header and arrays carry a checksum each, so the identity of a class file costs one short
read.
"""

import functools
import hashlib
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from mmap import mmap
from pathlib import Path
from typing import NamedTuple

import google_crc32c
import numpy as np

from episodes.errors import CorruptRecord
from results.files import write_whole

HEADER_BYTES = 12
FOOTER_BYTES = 4
FRAME_BYTES = HEADER_BYTES + FOOTER_BYTES
_LENGTH = struct.Struct("<Q")
_BLOCK = 2048
"""Records walked before their length checksums are verified; few enough that their pages are still at hand."""

_MAGIC = b"MBindex2"
_INDEX_HEADER = struct.Struct("<8sqqqQq32sI")
"""Magic, the record file's stamp, number of records, fingerprint, CRC32C of the arrays."""
_HEADER_CRC = struct.Struct("<I")
_ARRAYS_AT = _INDEX_HEADER.size + _HEADER_CRC.size


@dataclass(frozen=True, slots=True)
class RecordIndex:
    """The records of one file.

    `bounds`: (n + 1,) int64 byte offsets, each record's start and the end of the last; `crcs`: (n,) uint32 stored
    payload checksums; `fingerprint`: sha256 (hex) over all payload lengths, then all payload checksums.
    """

    bounds: np.ndarray
    crcs: np.ndarray
    fingerprint: str

    def __len__(self) -> int:
        return len(self.crcs)

    @property
    def starts(self) -> np.ndarray:
        """(n,) int64 byte offset of each record."""
        return self.bounds[:-1]

    @property
    def lengths(self) -> np.ndarray:
        """(n,) int64 payload bytes of each record."""
        return np.diff(self.bounds) - FRAME_BYTES


class FileStamp(NamedTuple):
    """What tells a file from what lay or will lie at its path: size, times (ns) and inode. A replacement of the same
    size and modification time, as archives restore them, has another time of change or another inode."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


def file_stamp(status: os.stat_result) -> FileStamp:
    """The stamp of a file, from its status."""
    return FileStamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


class Identity(NamedTuple):
    """What tells a class file's content from any other's: `records`, how many, and their `fingerprint`."""

    records: int
    fingerprint: str


def mask_crc(crc: int) -> int:
    """TFRecord's masked form of a CRC32C (rotate right by 15 bits, add a constant, keep 32 bits)."""
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def scan(path: Path, data: bytes | mmap) -> RecordIndex:
    """Walk the records from length to length, checking the length checksums.

    Raises CorruptRecord where a length is corrupt or the file ends inside a record.
    """
    blocks = [(np.zeros(1, np.int64), np.empty(0, np.uint32)), *_walk(path, data)]
    ends, crcs = zip(*blocks, strict=True)
    return _index(np.concatenate(ends), np.concatenate(crcs))


def load_or_scan(path: Path, data: bytes | mmap, status: os.stat_result, cache: Path | None) -> RecordIndex:
    """The cached index when it was made from this very file (path and stamp), else a fresh scan.

    `status`: of the file that `data` are the bytes of, taken when it was opened; another may lie at `path` by now.
    """
    if cache is None:
        return scan(path, data)
    file, stamp = _cached_file(path, cache), file_stamp(status)
    stored = _load(file, stamp)
    if stored is not None:
        return stored
    file.unlink(missing_ok=True)
    index = scan(path, data)
    write_whole(file, _pack(index, stamp))
    return index


def forget(path: Path, cache: Path | None) -> None:
    """Drop the cached index of a file that was found to contradict it."""
    if cache is not None:
        _cached_file(path, cache).unlink(missing_ok=True)


def known_identity(path: Path, cache: Path | None) -> Identity | None:
    """Number of records and fingerprint as the cache knows them, or None where the file must be scanned first."""
    if cache is None:
        return None
    try:
        with _cached_file(path, cache).open("rb", buffering=0) as file:
            header = _header(file.read(_ARRAYS_AT), file_stamp(path.stat()))
    except OSError:
        return None
    return None if header is None else header[0]


# --- scanning --------------------------------------------------------------------------------------------------------


def _walk(path: Path, data: bytes | mmap) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Ends and stored payload checksums, two (n,) arrays, of the next records, block by block, lengths verified."""
    position, end = 0, len(data)
    while position < end:
        hops = _hop(data, position)
        if len(hops) == 1:
            raise CorruptRecord(path, position, f"truncated: {end - position} bytes left, a record header has 12")
        starts = np.array(hops[:-1], np.int64)
        wrong = _wrong_lengths(data, starts)
        if len(wrong):
            raise CorruptRecord(path, int(starts[wrong[0]]), "length CRC does not match")
        position = hops[-1]
        if position > end:
            raise CorruptRecord(path, hops[-2], f"truncated: the record needs {position - end} more bytes")
        ends = np.append(starts[1:], position)
        yield ends, _numbers(data, "<u4")[ends - FOOTER_BYTES]


def _hop(data: bytes | mmap, position: int) -> list[int]:
    """`position` and the offsets that follow from length to length, believing each, until a block is full or no record
    header fits; only the last of them may lie beyond the data."""
    unpack, last, hops = _LENGTH.unpack_from, len(data) - HEADER_BYTES, [position]
    append = hops.append
    for _ in range(_BLOCK):
        if position > last:
            break
        position += unpack(data, position)[0] + FRAME_BYTES
        append(position)
    return hops


def _wrong_lengths(data: bytes | mmap, starts: np.ndarray) -> np.ndarray:
    """Which of the records at `starts` have a length that its checksum contradicts, ascending."""
    lengths = _numbers(data, "<u8")[starts].view(np.uint8).reshape(-1, 8)
    zeros, tables = _length_tables()
    crcs = np.full(len(starts), zeros, np.uint32)
    for table, column in zip(tables, lengths.T, strict=True):
        crcs ^= table[column]
    masked = ((crcs >> np.uint32(15)) | (crcs << np.uint32(17))) + np.uint32(0xA282EAD8)
    return np.flatnonzero(masked != _numbers(data, "<u4")[starts + _LENGTH.size])


def _numbers(data: bytes | mmap, kind: str) -> np.ndarray:
    """The number that begins at each byte of `data`: a view, nothing is copied."""
    width = np.dtype(kind).itemsize
    return np.ndarray((len(data) - width + 1,), kind, data, strides=(1,))


@functools.cache
def _length_tables() -> tuple[int, np.ndarray]:
    """The CRC32C of eight zero bytes and, (8, 256) uint32, what each value of each of eight bytes changes in it."""
    zeros = google_crc32c.value(bytes(8))
    tables = [[google_crc32c.value(_LENGTH.pack(v << 8 * k)) ^ zeros for v in range(256)] for k in range(8)]
    return zeros, np.array(tables, np.uint32)


def _index(bounds: np.ndarray, crcs: np.ndarray) -> RecordIndex:
    digest = hashlib.sha256((np.diff(bounds) - FRAME_BYTES).astype("<i8").tobytes())
    digest.update(crcs.astype("<u4").tobytes())
    return RecordIndex(bounds, crcs, digest.hexdigest())


# --- the cached file -------------------------------------------------------------------------------------------------


def _cached_file(path: Path, cache: Path) -> Path:
    name = hashlib.sha256(os.fsencode(os.path.realpath(path))).hexdigest()
    return cache / "index" / f"{name}.index"


def _pack(index: RecordIndex, stamp: FileStamp) -> bytes:
    arrays = index.bounds.astype("<i8").tobytes() + index.crcs.astype("<u4").tobytes()
    fingerprint = bytes.fromhex(index.fingerprint)
    header = _INDEX_HEADER.pack(_MAGIC, *stamp, len(index), fingerprint, google_crc32c.value(arrays))
    return header + _HEADER_CRC.pack(google_crc32c.value(header)) + arrays


def _header(data: bytes, stamp: FileStamp) -> tuple[Identity, int] | None:
    """The identity and the arrays' checksum that an intact header of this very file holds."""
    header = data[: _INDEX_HEADER.size]
    if len(data) < _ARRAYS_AT or _HEADER_CRC.unpack_from(data, len(header))[0] != google_crc32c.value(header):
        return None
    magic, *made_from, records, fingerprint, arrays_crc = _INDEX_HEADER.unpack(header)
    if magic != _MAGIC or FileStamp(*made_from) != stamp:
        return None
    return Identity(records, fingerprint.hex()), arrays_crc


def _load(file: Path, stamp: FileStamp) -> RecordIndex | None:
    """An index from the cache, or None when there is none, it is stale, or it is damaged (it is made again)."""
    try:
        data = file.read_bytes()
    except OSError:
        return None
    header = _header(data, stamp)
    if header is None:
        return None
    (records, fingerprint), arrays_crc = header
    arrays = data[_ARRAYS_AT:]
    if len(arrays) != 12 * records + 8 or google_crc32c.value(arrays) != arrays_crc:
        return None
    bounds = np.frombuffer(arrays, "<i8", records + 1).astype(np.int64, copy=False)
    crcs = np.frombuffer(arrays, "<u4", records, offset=bounds.nbytes).astype(np.uint32, copy=False)
    return RecordIndex(bounds, crcs, fingerprint)
