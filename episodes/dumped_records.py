"""What lies in a folder of dumped episodes: its files, and the label and the image of every record.

Episode 7 is `episode-0007-train.tfrecords` (support) and `episode-0007-test.tfrecords` (query); an image's label is its
class within the episode. `episodes.dumped_classes` makes classes of that.
"""

import hashlib
import io
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from episodes.dumped_classes import Classes, Shapes, find_classes
from episodes.errors import DAMAGED_ARCHIVE, BadExample, BadPlan, CorruptRecord
from episodes.record_index import file_stamp
from episodes.spec import own_file
from episodes.tfrecord import RecordFile, parse_example
from results.files import write_whole

COUNTS_FILE = "images_per_class.json"
PARTS = ("train", "test")
"""How the files of an episode's support and of its query are named."""
_MAX_COUNTS_BYTES = 2**25
"""The counts of 10,000 episodes with as many classes as there may be take half of these 32 MiB."""
_EPISODE_FILE = re.compile(r"episode-(\d+)-(train|test)\.tfrecords")


def episode_file(task: int, part: str) -> str:
    """Name of the file of episode `task`, `part` being "train" (support) or "test" (query)."""
    return f"episode-{task:04d}-{part}.tfrecords"


class Contents(NamedTuple):
    """All records of a dump, file after file (support, then query of each episode): what the cache keeps.

    `sizes`: (2 * episodes,) records of each file. Of each record: `labels` and `lengths` (payload bytes), int64;
    `crcs`, its stored payload checksum, uint32; `firsts`, where the first record with the same image is, int64.
    """

    sizes: np.ndarray
    labels: np.ndarray
    lengths: np.ndarray
    crcs: np.ndarray
    firsts: np.ndarray


class DumpIndex(NamedTuple):
    """A folder of dumped episodes, known and checked.

    `files`: support and query of each episode in turn; `file_bounds`: (files + 1,) where each begins among the records.
    """

    files: list[Path]
    file_bounds: np.ndarray
    contents: Contents
    classes: Classes
    shapes: Shapes


def index_dump(folder: Path, cache: Path | None) -> DumpIndex:
    """Find and check all episodes of a folder; without what `cache` keeps, every byte is read and verified.

    Raises BadPlan for a folder that is no whole dump, CorruptRecord or BadExample for its records, naming the file.
    """
    files = _episode_files(folder)
    stated = _stated_counts(folder, files)
    contents = _contents(files, cache)
    classes, shapes = find_classes(files, contents.sizes, contents.labels, contents.firsts)
    if stated is not None:
        _check_counts(folder / COUNTS_FILE, stated, shapes)
    return DumpIndex(files, np.concatenate([[0], np.cumsum(contents.sizes)]), contents, classes, shapes)


def open_file(index: DumpIndex, number: int) -> RecordFile:
    """File `number`, if it still holds the records that were indexed; CorruptRecord otherwise."""
    path, known = index.files[number], slice(*index.file_bounds[number : number + 2])
    file = RecordFile(path)
    same_lengths = np.array_equal(file.index.lengths, index.contents.lengths[known])
    if not same_lengths or not np.array_equal(file.index.crcs, index.contents.crcs[known]):
        raise CorruptRecord(path, 0, "the file was changed while its episodes were in use; start again")
    return file


def example(file: RecordFile, record: int) -> tuple[bytes, int]:
    """(encoded image, label) of a record. Raises CorruptRecord or BadExample, naming file and record."""
    try:
        return parse_example(file[record])
    except BadExample as error:
        raise BadExample(f"{file.path}: record {record}: {error}") from error


# --- files -----------------------------------------------------------------------------------------------------------


def _episode_files(folder: Path) -> list[Path]:
    """The files of all episodes: support, then query of each, without a gap. Raises BadPlan naming what is missing."""
    if not folder.is_dir():
        raise BadPlan(f"{folder}: no such folder of dumped episodes")
    names = {path.name for path in folder.iterdir() if re.fullmatch(r"episode-.*\.tfrecords", path.name)}
    tasks = set()
    for name in sorted(names):
        match = _EPISODE_FILE.fullmatch(name)
        if match is None or episode_file(int(match[1]), match[2]) != name:
            raise BadPlan(f"{folder / name}: not the name of an episode's file, as in {episode_file(7, 'train')}")
        tasks.add(int(match[1]))
    if not names:
        raise BadPlan(f"{folder}: no dumped episodes; they are named {episode_file(0, 'train')} and so on")
    expected = [episode_file(task, part) for task in range(len(tasks)) for part in PARTS]
    missing = next((name for name in expected if name not in names), None)
    if missing is not None:
        last = episode_file(max(tasks), PARTS[-1])
        raise BadPlan(
            f"{folder / missing}: missing; episodes are numbered without a gap, and there are files up to {last}"
        )
    return [_regular_file(folder, name) for name in expected]


def _regular_file(folder: Path, name: str) -> Path:
    """`folder / name`. Raises BadSpec for a link out of the folder, BadPlan for what is no file: a pipe never ends."""
    path = own_file(folder, name)
    if not path.is_file():
        raise BadPlan(f"{path}: not a file; write the dump again")
    return path


def _stated_counts(folder: Path, files: Sequence[Path]) -> Mapping[str, Mapping[int, int]] | None:
    """Images of each label of each file, as `images_per_class.json` says; None without one: it can be counted.

    Raises BadPlan when it cannot be read or lists other files than there are.
    """
    if not os.path.lexists(folder / COUNTS_FILE):
        return None
    path = _regular_file(folder, COUNTS_FILE)
    if path.stat().st_size > _MAX_COUNTS_BYTES:
        raise BadPlan(f"{path}: larger than {_MAX_COUNTS_BYTES >> 20} MiB; that is no table of counts")
    try:
        stated = msgspec.json.decode(path.read_bytes(), type=dict[str, dict[int, int]])
    except (ValueError, RecursionError) as error:
        raise BadPlan(f"{path}: not a table of file names, labels and counts ({error})") from error
    differing = sorted(stated.keys() ^ {file.name for file in files})
    if differing:
        listed = "lists it, but it is missing" if differing[0] in stated else "does not list it"
        raise BadPlan(f"{folder / differing[0]}: {path.name} {listed}")
    return stated


def _check_counts(path: Path, stated: Mapping[str, Mapping[int, int]], shapes: Shapes) -> None:
    """Raise BadPlan where the counts that are stated are not those of the records."""
    shots = np.split(shapes.num_support, np.cumsum(shapes.ways)[:-1])
    for task, (way, num_query) in enumerate(zip(shapes.ways.tolist(), shapes.num_query.tolist(), strict=True)):
        for part, counts in zip(PARTS, (shots[task].tolist(), [num_query] * way), strict=True):
            name = episode_file(task, part)
            if stated[name] != dict(enumerate(counts)):
                raise BadPlan(f"{path}: the counts stated for {name} are not those of its records")


# --- what the records are --------------------------------------------------------------------------------------------


def _contents(files: Sequence[Path], cache: Path | None) -> Contents:
    """All records, from the cache when it knows these very files (by their stamps), else read."""
    if cache is None:
        return _read(files)
    stamp = hashlib.sha256(repr([file_stamp(path.stat()) for path in files]).encode()).hexdigest()
    folder = os.path.realpath(files[0].parent).encode(errors="surrogateescape")
    kept = cache / "dumped" / f"{hashlib.sha256(folder).hexdigest()}.npz"
    known = _load(kept, stamp)
    if known is None:
        kept.unlink(missing_ok=True)
        known, archive = _read(files), io.BytesIO()
        np.savez(archive, stamp=stamp, **known._asdict())
        write_whole(kept, archive.getvalue())
    return known


def _load(kept: Path, stamp: str) -> Contents | None:
    """What the cache has, or None when there is nothing, it is stale, or it is damaged (it is made again)."""
    try:
        with np.load(kept, allow_pickle=False) as arrays:
            return Contents(*(arrays[k] for k in Contents._fields)) if str(arrays["stamp"]) == stamp else None
    except DAMAGED_ARCHIVE:
        return None


def _read(files: Sequence[Path]) -> Contents:
    sizes, labels, lengths, crcs = [], [], [], []
    firsts: list[int] = []
    places: dict[bytes, int] = {}
    for path in files:
        file = RecordFile(path)
        for image, label in (example(file, i) for i in range(len(file))):
            labels.append(label)
            firsts.append(places.setdefault(hashlib.blake2b(image, digest_size=32).digest(), len(firsts)))
        sizes.append(len(file))
        lengths.append(file.index.lengths)
        crcs.append(file.index.crcs)
        file.close()
    return Contents(
        np.array(sizes, np.int64),
        np.array(labels, np.int64),
        np.concatenate(lengths),
        np.concatenate(crcs),
        np.array(firsts, np.int64),
    )
