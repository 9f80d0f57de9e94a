"""One data set on disk: its spec and its class files, opened when needed."""

import functools
import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from episodes.decode import decode_image
from episodes.errors import BadExample, BadImage, BadSpec
from episodes.record_index import known_identity
from episodes.spec import FILE_PATTERN, load_spec, own_file
from episodes.tfrecord import RecordFile, parse_example

MAX_OPEN_FILES = 64


class EncodedImage(NamedTuple):
    """An encoded image and where it came from; decoding it needs no file, so any thread may."""

    path: Path
    record: int
    data: bytes

    def decode(self) -> np.ndarray:
        """(H, W, 3) uint8 RGB. Raises BadImage, naming file and record."""
        try:
            return decode_image(self.data)
        except BadImage as error:
            raise BadImage(f"{self.path}: record {self.record}: {error}") from error


class DatasetRecords:
    """A folder of `<class id>.tfrecords` with its `dataset_spec.json`.

    Class files are opened when needed; at most 64 are open at once in a process, of all data sets together.

    `folder`: the data set's records; it may be a link, but nothing in it may lead out of it. `cache`: where record
    indices are kept. Raises BadSpec when a class file is missing, is a link that leads out of the folder, or holds
    another number of records than the spec says.
    """

    def __init__(self, folder: Path, cache: Path | None = None) -> None:
        self.folder = Path(folder)
        self.spec = load_spec(self.folder)
        self._cache = cache
        self._fingerprints: dict[int, str] = {}

    def class_file(self, class_id: int) -> RecordFile:
        """The open file of an absolute class id, checked against the spec."""
        return _class_file(self, class_id)

    def fingerprint(self, class_id: int) -> str:
        """Identity of a class file's content; with a record number it is the identity of an image."""
        if class_id not in self._fingerprints:
            path = self._path(class_id)
            known = known_identity(path, self._cache)
            if known is not None:
                self._check_count(path, class_id, known.records)
            self._fingerprints[class_id] = known.fingerprint if known else self.class_file(class_id).fingerprint
        return self._fingerprints[class_id]

    def split_fingerprint(self, split: str) -> str:
        """Identity of all images of a split; each class file must be there and hold as many as the spec says."""
        digest = hashlib.sha256()
        for class_id in self.spec.class_ids[split]:
            digest.update(self.fingerprint(class_id).encode())
        return digest.hexdigest()

    def encoded(self, class_id: int, record: int) -> EncodedImage:
        """One image as it is stored. Raises CorruptRecord or BadExample, naming file and record."""
        file = self.class_file(class_id)
        try:
            image, _ = parse_example(file[record])
        except BadExample as error:
            raise BadExample(f"{file.path}: record {record}: {error}") from error
        return EncodedImage(file.path, record, image)

    def _opened(self, class_id: int) -> RecordFile:
        path = self._path(class_id)
        file = RecordFile(path, self._cache)
        self._check_count(path, class_id, len(file))
        return file

    def _path(self, class_id: int) -> Path:
        path = own_file(self.folder, FILE_PATTERN.format(class_id))
        if not path.is_file():
            raise BadSpec(f"{path}: missing; the spec of {self.spec.name!r} lists class {class_id}")
        return path

    def _check_count(self, path: Path, class_id: int, records: int) -> None:
        expected = int(self.spec.images_per_class[class_id])
        if records != expected:
            raise BadSpec(f"{path}: {records} records, but the spec says class {class_id} has {expected}")


@functools.lru_cache(MAX_OPEN_FILES - 1)  # and the one that is being opened
def _class_file(records: DatasetRecords, class_id: int) -> RecordFile:
    return records._opened(class_id)
