"""Decoded images on disk, memory-mapped: what is looked at again and again is decoded once.

A class file's images lie in segments, which never change once written: pixels one after another, a table of where each
begins, a trailer. A longer plan adds a segment. Each image has a checksum, compared whenever it is read; a damaged
segment is dropped with a warning, and its images count as missing.
"""

from __future__ import annotations

import hashlib
import logging
import mmap
import struct
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import google_crc32c
import numpy as np

from results.files import open_whole, size_of

_TABLE = np.dtype([("record", "<i8"), ("offset", "<i8"), ("height", "<i4"), ("width", "<i4"), ("crc", "<u4")])
_TRAILER = struct.Struct("<8sQI")  # magic, number of images, checksum of the table
_MAGIC = b"MBpixel1"
_MAX_OPEN_SEGMENTS = 64
_log = logging.getLogger(__name__)


class _Place(NamedTuple):
    segment: Path
    data: mmap.mmap
    offset: int
    height: int
    width: int
    crc: int


class _Class(NamedTuple):
    places: dict[int, _Place]
    segments: int


class PixelStore:
    """Images by the fingerprint of their class file and their record number, under `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._open: OrderedDict[str, _Class] = OrderedDict()

    def missing(self, fingerprint: str, records: np.ndarray) -> np.ndarray:
        """Those of `records` that are not stored, in their order."""
        stored = self._places(fingerprint)
        return np.array([record for record in records.tolist() if record not in stored], np.int64)

    def get(self, fingerprint: str, record: int) -> np.ndarray | None:
        """An image's pixels, (h, w, 3) uint8 and read-only; None if they are not stored or damaged."""
        place = self._places(fingerprint).get(record)
        if place is None:
            return None
        data = _pixels(place)
        if google_crc32c.value(data) != place.crc:
            _drop(place.segment, f"the pixels of record {record} do not match their checksum")
            return None
        return np.frombuffer(data, np.uint8).reshape(place.height, place.width, 3)

    def add(self, fingerprint: str, records: np.ndarray, images: Iterable[np.ndarray]) -> None:
        """Write the pixels, (h, w, 3) uint8 each, of `records` as one segment, whole or not at all.

        Images are taken one by one. Raises WriteError (full disk).
        """
        name = hashlib.sha256(records.astype("<i8").tobytes()).hexdigest()[:16]
        table, offset = np.zeros(len(records), _TABLE), 0
        with open_whole(self._root / fingerprint / f"{name}.pixels") as file:
            for i, (record, image) in enumerate(zip(records.tolist(), images, strict=True)):
                data = image.tobytes()
                table[i] = (record, offset, *image.shape[:2], google_crc32c.value(data))
                offset += file.write(data)
            content = table.tobytes()
            file.write(content + _TRAILER.pack(_MAGIC, len(table), google_crc32c.value(content)))
        self._open.pop(fingerprint, None)

    def _places(self, fingerprint: str) -> dict[int, _Place]:
        if fingerprint not in self._open:
            segments = sorted((self._root / fingerprint).glob("*.pixels"))
            while self._open and sum(c.segments for c in self._open.values()) + len(segments) > _MAX_OPEN_SEGMENTS:
                self._open.popitem(last=False)
            places = {record: place for path in segments for record, place in _read(path)}
            self._open[fingerprint] = _Class(places, len(segments))
        self._open.move_to_end(fingerprint)
        return self._open[fingerprint].places


def _read(segment: Path) -> list[tuple[int, _Place]]:
    """The table of a segment; empty, and the file gone, if it is damaged. Raises OSError if it cannot be opened."""
    try:
        return _table(segment)
    except FileNotFoundError:  # dropped by another process
        return []
    except (ValueError, struct.error) as error:
        _drop(segment, str(error))
        return []


def _table(segment: Path) -> list[tuple[int, _Place]]:
    """Every image of a segment. Raises ValueError or struct.error if it is damaged, OSError if it cannot be opened."""
    with segment.open("rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    magic, count, crc = _TRAILER.unpack_from(data, len(data) - _TRAILER.size)
    start = len(data) - _TRAILER.size - count * _TABLE.itemsize
    content = data[max(start, 0) : len(data) - _TRAILER.size]
    if magic != _MAGIC or google_crc32c.value(content) != crc:
        raise ValueError("its table does not match its checksum")
    table = np.frombuffer(content, _TABLE, count)
    return [(row[0], _Place(segment, data, *row[1:])) for row in table.tolist()]


def _pixels(place: _Place) -> bytes:
    return place.data[place.offset : place.offset + 3 * place.height * place.width]


def _drop(segment: Path, reason: str) -> None:
    _log.warning("%s: damaged (%s); its images are decoded again", segment, reason)
    segment.unlink(missing_ok=True)


class PixelSurvey(NamedTuple):
    """What lies in one store of pixels; `damaged`: segments that can go, since a run decodes their images again."""

    images: int
    bytes: int
    damaged: list[Path]


def survey(root: Path, *, verify: bool) -> PixelSurvey:
    """Count the images under `root`; nothing is changed. `verify`: read all pixels, too."""
    images, damaged, segments = 0, [], sorted(root.glob("*/*.pixels"))
    for path in segments:
        try:
            table = _table(path)
            if verify and any(google_crc32c.value(_pixels(place)) != place.crc for _, place in table):
                raise ValueError("pixels do not match their checksum")
            images += len(table)
        except (ValueError, struct.error):
            damaged.append(path)
        except FileNotFoundError:  # removed meanwhile
            continue
    return PixelSurvey(images, size_of(segments), damaged)
