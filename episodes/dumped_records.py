"""What lies in a folder of dumped episodes: its files, the label of every record, and the classes that these make up.

Episode 7 is `episode-0007-train.tfrecords` (support) and `episode-0007-test.tfrecords` (query); an image's label is its
class within the episode. So every class of every episode counts as a class of its own here, with the images that the
episode has of it: support first, then query, each in the order of the file.
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

from episodes.errors import DAMAGED_ARCHIVE, BadExample, BadPlan, CorruptRecord
from episodes.tfrecord import RecordFile, parse_example
from results.files import write_whole

COUNTS_FILE = "images_per_class.json"
PARTS = ("train", "test")
"""How the files of an episode's support and of its query are named."""
_EPISODE_FILE = re.compile(r"episode-(\d+)-(train|test)\.tfrecords")


def episode_file(task: int, part: str) -> str:
    """Name of the file of episode `task`, `part` being "train" (support) or "test" (query)."""
    return f"episode-{task:04d}-{part}.tfrecords"


class Shapes(NamedTuple):
    """What the episodes look like, in the arrays of a `DomainPlan`.

    `ways`, `num_query`: (n,) classes of each episode and query images of each of its classes; `num_support`: (sum of
    ways,) support images of every class. All int64.
    """

    ways: np.ndarray
    num_query: np.ndarray
    num_support: np.ndarray


class Contents(NamedTuple):
    """All records of a dump, file after file (support, then query of each episode): what the cache keeps.

    `sizes`: (2 * episodes,) records of each file. Of each record: `labels` and `lengths` (payload bytes), int64, and
    `crcs`, its stored payload checksum, uint32.
    """

    sizes: np.ndarray
    labels: np.ndarray
    lengths: np.ndarray
    crcs: np.ndarray


class DumpIndex(NamedTuple):
    """A folder of dumped episodes, known and checked.

    `files`: support and query of each episode in turn; `file_bounds`: (files + 1,) where each begins among the records.
    `order`: (n,) the records class by class; `bounds`: (classes + 1,) where each class begins in `order`.
    """

    files: list[Path]
    file_bounds: np.ndarray
    contents: Contents
    order: np.ndarray
    bounds: np.ndarray
    shapes: Shapes


def index_dump(folder: Path, cache: Path | None) -> DumpIndex:
    """Find and check all episodes of a folder; without what `cache` keeps, every byte is read and verified.

    Raises BadPlan for a folder that is no whole dump, CorruptRecord or BadExample for its records, naming the file.
    """
    files = _episode_files(folder)
    stated = _stated_counts(folder, files)
    contents = _contents(files, cache)
    order, bounds, shapes = _classes(files, contents)
    if stated is not None:
        _check_counts(folder / COUNTS_FILE, stated, shapes)
    return DumpIndex(files, np.concatenate([[0], np.cumsum(contents.sizes)]), contents, order, bounds, shapes)


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
    return [folder / name for name in expected]


def _stated_counts(folder: Path, files: Sequence[Path]) -> Mapping[str, Mapping[int, int]] | None:
    """Images of each label of each file, as `images_per_class.json` says; None without one: it can be counted.

    Raises BadPlan when it cannot be read or lists other files than there are.
    """
    path = folder / COUNTS_FILE
    if not path.is_file():
        return None
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
    """All records, from the cache when it knows these very files (sizes, modification times), else read."""
    if cache is None:
        return _read(files)
    stamp = np.array([(status.st_size, status.st_mtime_ns) for status in map(Path.stat, files)], np.int64)
    folder = os.path.realpath(files[0].parent).encode(errors="surrogateescape")
    kept = cache / "dumped" / f"{hashlib.sha256(folder).hexdigest()}.npz"
    known = _load(kept, stamp)
    if known is None:
        known, archive = _read(files), io.BytesIO()
        np.savez(archive, stamp=stamp, **known._asdict())
        write_whole(kept, archive.getvalue())
    return known


def _load(kept: Path, stamp: np.ndarray) -> Contents | None:
    """What the cache has, or None when there is nothing, it is stale, or it is damaged (it is made again)."""
    try:
        with np.load(kept, allow_pickle=False) as arrays:
            return Contents(*(arrays[k] for k in Contents._fields)) if np.array_equal(arrays["stamp"], stamp) else None
    except DAMAGED_ARCHIVE:
        return None


def _read(files: Sequence[Path]) -> Contents:
    sizes, labels, lengths, crcs = [], [], [], []
    for path in files:
        file = RecordFile(path)
        labels += [example(file, i)[1] for i in range(len(file))]
        sizes.append(len(file))
        lengths.append(file.index.lengths)
        crcs.append(file.index.crcs)
        file.close()
    return Contents(
        np.array(sizes, np.int64), np.array(labels, np.int64), np.concatenate(lengths), np.concatenate(crcs)
    )


def _classes(files: Sequence[Path], contents: Contents) -> tuple[np.ndarray, np.ndarray, Shapes]:
    """The records class by class: their positions (n,), each class's bounds among these (classes + 1,), and the shapes.

    Raises BadPlan, naming the file, for an episode that no plan can hold.
    """
    sizes, episodes = contents.sizes, len(contents.sizes) // 2
    if not sizes.all():
        raise BadPlan(f"{files[int(np.argmin(sizes))]}: no images; an episode has support and query images")
    episode = np.arange(episodes).repeat(sizes.reshape(-1, 2).sum(axis=1))
    query = np.tile([0, 1], episodes).repeat(sizes)
    order = np.lexsort((contents.labels, episode))  # stable: within a class, support before query and the files' order
    episode, labels = episode[order], contents.labels[order]
    begins = np.concatenate([[True], (episode[1:] != episode[:-1]) | (labels[1:] != labels[:-1])])
    bounds = np.append(np.flatnonzero(begins), len(order))
    num_query = np.add.reduceat(query[order], bounds[:-1])
    num_support = np.diff(bounds) - num_query
    ways = np.bincount(episode[begins], minlength=episodes)
    first = np.cumsum(ways) - ways
    _check_episodes(files, episode[begins], labels[begins], num_support, num_query)
    return order, bounds, Shapes(ways, num_query[first], num_support)


def _check_episodes(
    files: Sequence[Path], episode: np.ndarray, labels: np.ndarray, num_support: np.ndarray, num_query: np.ndarray
) -> None:
    """Raise BadPlan for the first class, in the order of episodes and labels, that no episode can have.

    All (classes,): the episode and the label of each class, and its images in support and query.
    """
    ways = np.bincount(episode)
    first = (np.cumsum(ways) - ways)[episode]
    expected = np.arange(len(labels)) - first
    faults: tuple[tuple[np.ndarray, str], ...] = (
        (num_support == 0, "{query}: label {label} is not among the labels of the support images"),
        (labels != expected, "{support}: labels run from 0 to way - 1, but there is a label {label} and no {expected}"),
        (ways[episode] < 2, "{support}: only one class, so nothing to tell apart"),
        (
            num_query != num_query[first],
            "{query}: label {label} has {count} images, label 0 has {usual}; every class needs as many query images",
        ),
    )
    for wrong, text in faults:
        if wrong.any():
            at = int(np.argmax(wrong))
            support, query = files[2 * episode[at]], files[2 * episode[at] + 1]
            numbers = {"label": labels, "expected": expected, "count": num_query, "usual": num_query[first]}
            raise BadPlan(text.format(support=support, query=query, **{key: n[at] for key, n in numbers.items()}))
