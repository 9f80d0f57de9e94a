"""The shards of a prepared TensorFlow data set, read by record number without TensorFlow.

TFRecord shards go through our own reader, which checks every CRC; ArrayRecord shards through the data source of
`array_record`, which checks the hash of every chunk. How many records a shard holds is checked when it is opened.
"""

import os
import re
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

from episodes.errors import CorruptRecord, MissingSource
from episodes.tfrecord import RecordFile

INFO_FILE = "dataset_info.json"
MAX_OPEN_SHARDS = 64
_SHARD_NAME = re.compile(r"(.+)-\d{5,}-of-\d{5,}")


def version_folder(directory: Path) -> Path:
    """The folder that holds dataset_info.json: the one given, or the only such folder in it.

    Raises MissingSource when there is none, or more than one.
    """
    if (directory / INFO_FILE).is_file():
        return directory
    if not directory.is_dir():
        raise MissingSource(f"{directory}: no such folder")
    versions = sorted(file.parent for file in directory.glob(f"*/{INFO_FILE}"))
    if len(versions) == 1:
        return versions[0]
    if versions:
        names = ", ".join(version.name for version in versions)
        raise MissingSource(f"{directory}: holds {len(versions)} prepared data sets; name one of its folders: {names}")
    raise MissingSource(
        f"{directory}: no {INFO_FILE}; name the folder of a version that TensorFlow Datasets has prepared, "
        "e.g. tensorflow_datasets/cifar10/3.0.2"
    )


def load_builder(folder: Path) -> Any:
    """The builder of a prepared data set (`tfds.core.DatasetBuilder`). Raises MissingSource when it cannot be made."""
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise MissingSource(
            f"{folder}: reading it needs the package tensorflow-datasets: pip install -e '.[tfds]' in your clone"
        ) from error
    try:
        return tfds.builder_from_directory(str(folder))
    except Exception as error:  # anything can be raised on damaged metadata
        reason = " ".join(str(error).split())
        raise MissingSource(
            f"{folder}: {INFO_FILE} or features.json cannot be read: {reason or type(error).__name__}"
        ) from error


class Shard(NamedTuple):
    """A file of a split. `records`: how many it holds, as dataset_info.json says."""

    split: str
    path: Path
    records: int


class Shards:
    """Several shards as one run of records, numbered through in their order; at most 64 are open at once."""

    def __init__(self, shards: Sequence[Shard], file_format: str) -> None:
        self.shards = tuple(shards)
        self._open_file = OPENERS[file_format]
        self._ends = list(accumulate(shard.records for shard in self.shards))
        self._open: OrderedDict[int, Any] = OrderedDict()

    def file(self, shard: int) -> Any:
        """The open file of a shard; `file[i]` is the payload of its i-th record.

        Raises CorruptRecord when it is damaged, MissingSource when it holds another number of records than it should.
        """
        if shard in self._open:
            self._open.move_to_end(shard)
            return self._open[shard]
        if len(self._open) >= MAX_OPEN_SHARDS:
            self._open.popitem(last=False)[1].close()
        _, path, records = self.shards[shard]
        file = self._open_file(path)
        if len(file) != records:
            raise MissingSource(f"{path}: {len(file)} records, but dataset_info.json says {records}; prepare it again")
        self._open[shard] = file
        return file

    def locate(self, record: int) -> tuple[int, int]:
        """(shard, number of the record in it) of a record of the whole run."""
        shard = bisect_right(self._ends, record)
        return shard, record - (self._ends[shard - 1] if shard else 0)


def split_shards(folder: Path, split: Any) -> list[Shard]:
    """The shards of a split (`tfds.core.SplitInfo`), in order.

    Raises MissingSource, naming the file, when one is missing, lies elsewhere, or is not in dataset_info.json.
    """
    try:
        paths = [Path(os.path.normpath(path)) for path in split.filepaths]
    except Exception as error:  # a template that TFDS cannot fill in
        raise MissingSource(f"{folder / INFO_FILE}: names no shards for split {split.name!r}: {error}") from error
    for path in paths:
        if path.parent != Path(os.path.normpath(folder)):
            raise MissingSource(f"{path}: dataset_info.json names a shard outside its folder; prepare the data again")
        if not path.is_file():
            raise MissingSource(
                f"{path}: missing; dataset_info.json lists {len(paths)} shards of split {split.name!r}. "
                "Copy it here, or prepare the data again"
            )
    names = {path.name for path in paths}
    stems = {match[1] for name in names if (match := _SHARD_NAME.fullmatch(name))}
    for path in sorted(folder.iterdir()):
        match = _SHARD_NAME.fullmatch(path.name)
        if match and match[1] in stems and path.name not in names:
            raise MissingSource(
                f"{path}: not one of the {len(paths)} shards of split {split.name!r} in dataset_info.json; "
                "delete it, or prepare the data again"
            )
    return [Shard(split.name, path, records) for path, records in zip(paths, split.shard_lengths, strict=True)]


class ArrayRecordFile:
    """One ArrayRecord file, opened read-only; `file[i]` is the payload of its i-th record.

    Raises CorruptRecord for damage, with the byte that `array_record` names (0 where it names none), and MissingSource
    when that package is not installed.
    """

    def __init__(self, path: Path) -> None:
        try:
            from array_record.python.array_record_data_source import ArrayRecordDataSource
        except ImportError as error:
            raise MissingSource(
                f"{path}: ArrayRecord files need the package array_record: pip install -e '.[tfds]' in your clone"
            ) from error
        self.path = path
        with self._reporting_damage():
            self._source = ArrayRecordDataSource(str(path))

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, i: int) -> bytes:
        with self._reporting_damage():
            return self._source[i]

    def close(self) -> None:
        """Close the file; reading from it opens it again."""
        self._source.__exit__(None, None, None)

    @contextmanager
    def _reporting_damage(self) -> Iterator[None]:
        try:
            yield
        except (RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split()) or "not an ArrayRecord file, or cut short"
            position = re.search(r"at byte (\d+)", reason)
            raise CorruptRecord(self.path, int(position[1]) if position else 0, reason) from error


OPENERS = {"tfrecord": RecordFile, "array_record": ArrayRecordFile}
"""How a shard is opened, by TFDS's name of its format."""


def file_format(folder: Path, info: Any) -> str:
    """TFDS's name of the format of the shards. Raises MissingSource when it is not one of OPENERS."""
    name = info.file_format.value
    if name not in OPENERS:
        raise MissingSource(
            f"{folder}: its shards are {name} files; only {' and '.join(sorted(OPENERS))} are read. Prepare it again "
            "with file_format='array_record'"
        )
    return name
