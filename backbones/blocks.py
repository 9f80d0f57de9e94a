"""A block: the vectors of some images in one file that never changes once written, with checksums over all of it.

Little-endian, one after another: a header; a table of the class files (fingerprint, number of images); the record
number of every image; padding; the vectors. The header has checksums of itself, of everything up to the vectors, and of
the vectors, which are memory-mapped.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import google_crc32c
import numpy as np

from backbones.errors import BackboneError
from results.files import open_whole

SUFFIX = ".block"
DTYPES = {"float16": "<f2", "float32": "<f4", "float64": "<f8"}
Images = Sequence[tuple[str, np.ndarray]]
"""(fingerprint of a class file, record numbers in it) for each class file; a fingerprint is 64 hex digits."""

_MAGIC = b"MBembed2"
_HEADER = struct.Struct("<8s32s8sII4IIII")  # magic, key, dtype, images, class files, shape, 3 checksums
_CLASS = np.dtype([("fingerprint", "V32"), ("images", "<u4")])
_RECORD = np.dtype("<i8")
_ALIGNMENT = 64


class DamagedBlock(Exception):
    """A file that is no block of this store, or not as it was written; the text says what is wrong."""


class Block(NamedTuple):
    """A block's table. `classes`: (fingerprint, number of images) in order; `records`: (n,) int64; `shape`: of one
    vector; `at`: where the vectors begin in the file; `crc`: their checksum."""

    path: Path
    classes: list[tuple[str, int]]
    records: np.ndarray
    dtype: np.dtype
    shape: tuple[int, ...]
    at: int
    crc: int

    def vectors(self) -> np.ndarray:
        """(n, *shape), memory-mapped. Raises DamagedBlock if the file is gone or has become shorter."""
        try:
            return np.memmap(self.path, self.dtype, "r", self.at, (len(self.records), *self.shape))
        except (FileNotFoundError, ValueError) as error:
            raise DamagedBlock(str(error)) from error

    def verify(self) -> None:
        """Read all vectors and compare their checksum. Raises DamagedBlock."""
        if _checksum(self.vectors()) != self.crc:
            raise DamagedBlock("the vectors do not match their checksum")


def write_block(folder: Path, key: str, images: Images, vectors: np.ndarray) -> Block:
    """Write the (n, ...) `vectors` of n images into `folder`, whole or not at all; `key`: 64 hex digits of the store.

    The file is named after its images: whoever writes the same ones again writes the same file. Raises WriteError.
    """
    vectors = np.ascontiguousarray(vectors, vectors.dtype.newbyteorder("<"))
    counts = [(fingerprint, len(records)) for fingerprint, records in images]
    classes = np.array([(bytes.fromhex(name), count) for name, count in counts], _CLASS)
    records = np.concatenate([records for _, records in images]).astype(_RECORD)
    table = classes.tobytes() + records.tobytes()
    table += bytes(-(_HEADER.size + len(table)) % _ALIGNMENT)
    crc = _checksum(vectors)
    sides = (*vectors.shape[1:], 0, 0, 0, 0)[:4]
    facts = (len(records), len(classes), *sides, google_crc32c.value(table), crc)
    header = _HEADER.pack(_MAGIC, bytes.fromhex(key), vectors.dtype.str.encode(), *facts, 0)
    path = folder / f"{hashlib.sha256(table).hexdigest()[:32]}{SUFFIX}"
    with open_whole(path) as file:
        file.write(_sealed(header) + table)
        file.write(vectors.data)
    return Block(path, counts, records, vectors.dtype, vectors.shape[1:], _HEADER.size + len(table), crc)


def read_block(path: Path, key: str) -> Block:
    """The table of a block of the store `key`; the vectors are not read.

    Raises DamagedBlock for anything else, and OSError if the file cannot be opened.
    """
    with path.open("rb") as file:
        header = file.read(_HEADER.size)
        if len(header) < _HEADER.size or header[:8] != _MAGIC or header != _sealed(header):
            raise DamagedBlock("its header is not one of a block, or does not match its checksum")
        _, owner, dtype, count, classes, *sides, table_crc, crc, _ = _HEADER.unpack(header)
        if owner.hex() != key:
            raise DamagedBlock("it is of another store")
        size = classes * _CLASS.itemsize + count * _RECORD.itemsize
        size += -(_HEADER.size + size) % _ALIGNMENT
        table = file.read(size)
        end = file.seek(0, 2)
    kind, shape = np.dtype(dtype.rstrip(b"\0").decode()), tuple(side for side in sides if side)
    at = _HEADER.size + size
    if google_crc32c.value(table) != table_crc:
        raise DamagedBlock("its table does not match its checksum")
    if end != at + count * math.prod(shape) * kind.itemsize:
        raise DamagedBlock(f"it has {end} bytes, not as many as its header says")
    names = np.frombuffer(table, _CLASS, classes)
    pairs = [(row["fingerprint"].tobytes().hex(), int(row["images"])) for row in names]
    records = np.frombuffer(table, _RECORD, count, classes * _CLASS.itemsize)
    return Block(path, pairs, records, kind, shape, at, crc)


def as_stored(vectors: np.ndarray, dtype: str) -> np.ndarray:
    """`vectors` in one of DTYPES. Raises BackboneError where float16 has no room for a finite number."""
    with np.errstate(over="ignore"):
        stored = vectors.astype(DTYPES[dtype])
    if dtype == "float16" and not np.array_equal(np.isfinite(stored), np.isfinite(vectors)):
        largest = float(np.abs(vectors[np.isfinite(vectors)]).max())
        raise BackboneError(f"a feature of {largest:.4g} is beyond float16 (65504); use --store-dtype float32")
    return stored


def _sealed(header: bytes) -> bytes:
    """The header with its own checksum in its last four bytes."""
    return header[:-4] + struct.pack("<I", google_crc32c.value(header[:-4]))


def _checksum(vectors: np.ndarray) -> int:
    return google_crc32c.value(vectors.reshape(-1).view(np.uint8))
