"""Episodes as files that others can run: the folder of Meta-Dataset's `dump_episodes`, written and read.

`<root>/<split>/<data set>/` holds two TFRecord files per episode, support and query, and `images_per_class.json`, the
number of images of every label in every file (`episodes.dumped_records`). Facts from google-research/meta-dataset,
`meta_dataset/data/{dump_episodes,read_episodes,utils}.py`.
"""

import functools
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from episodes.dataset import MAX_OPEN_FILES, DatasetRecords, EncodedImage
from episodes.dumped_records import COUNTS_FILE, PARTS, episode_file, example, index_dump, open_file
from episodes.errors import BadPlan
from episodes.plan import DomainPlan, Episode
from episodes.sampling import EpisodeConfig
from episodes.spec import SPLITS, DatasetSpec
from episodes.tfrecord import write_records
from results.files import write_whole

DUMPED = EpisodeConfig(num_support=0, num_query=0)
"""The protocol of dumped episodes: nothing is drawn. The sampler refuses it, so that no sampled episode can have the
hash of a dumped one."""


class DumpedRecords:
    """Dumped episodes in the place of a data set's records, with the interface of `DatasetRecords`.

    Every class of every episode is a class of its own; its records are numbered support first, then query. At most 64
    files are open at once. `folder`: one data set's episodes. `split`: where its classes count as belonging. `cache`:
    where labels and checksums of all records are kept, since finding them out reads every byte. `spec`: the classes,
    which have no names of their own. Raises BadPlan, CorruptRecord or BadExample, naming the file.
    """

    def __init__(self, folder: Path, split: str, cache: Path | None = None) -> None:
        self.folder = Path(folder)
        self._index = index_dump(self.folder, cache)
        self.shapes = self._index.shapes
        self.spec = self._make_spec(split)
        # The least recently used file is let go, not closed: another thread may still be reading from it.
        self._open = functools.lru_cache(MAX_OPEN_FILES)(functools.partial(open_file, self._index))

    def encoded(self, class_id: int, record: int) -> EncodedImage:
        """One image as it is stored. Raises CorruptRecord or BadExample, naming file and record."""
        first, end = self._index.bounds[class_id : class_id + 2]
        if not 0 <= record < end - first:
            raise IndexError(f"{self.folder}: class {class_id} has no record {record}")
        position = self._index.order[first + record]
        number = int(np.searchsorted(self._index.file_bounds, position, side="right")) - 1
        at = int(position - self._index.file_bounds[number])
        image, _ = example(self._open(number), at)
        return EncodedImage(self._index.files[number], at, image)

    def fingerprint(self, class_id: int) -> str:
        """Identity of a class's images, made as that of a class file with the same records is."""
        first, end = self._index.bounds[class_id : class_id + 2]
        positions, contents = self._index.order[first:end], self._index.contents
        return _digest(contents.lengths[positions].astype("<i8"), contents.crcs[positions].astype("<u4"))

    def split_fingerprint(self, split: str) -> str:
        """Identity of all images of a split."""
        fingerprints = map(self.fingerprint, self.spec.class_ids[split])
        return hashlib.sha256("".join(fingerprints).encode()).hexdigest()

    def _make_spec(self, split: str) -> DatasetSpec:
        images = np.diff(self._index.bounds)
        images.setflags(write=False)
        n, own = len(images), SPLITS.index(split)
        ids = {name: range(n if i > own else 0, n if i >= own else 0) for i, name in enumerate(SPLITS)}
        names = tuple(
            f"episode {task} class {label}" for task, way in enumerate(self.shapes.ways) for label in range(way)
        )
        return DatasetSpec(self.folder.name, images, ids, names, digest=_digest(*self._index.contents))


def dump_domain(
    plan: DomainPlan,
    records: DatasetRecords | DumpedRecords,
    folder: Path,
    advance: Callable[[int], None] = lambda episodes: None,
) -> None:
    """Write all episodes of a domain into `folder`, which is `<root>/<split>/<data set>`, whole or not at all.

    Images lie in the order of `plan.episode(i)`, as they are stored in `records`; the same plan gives the same bytes.
    `advance` is called with 1 after each episode. Raises BadPlan when `folder` is there already, which stays as it is,
    or cannot be written.
    """
    folder = Path(folder)
    if os.path.lexists(folder):
        raise BadPlan(f"{folder}: is there already and stays as it is; choose another folder for the dump or delete it")
    part = folder.with_name(f".{folder.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        part.mkdir(parents=True)
        # Before the episodes: a part of a dump contradicts its counts, wherever it is copied or renamed to.
        write_whole(part / COUNTS_FILE, _counts(plan))
        for task in range(len(plan)):
            _write_episode(part, task, plan.episode(task), records)
            advance(1)
        _sync(part)
        part.rename(folder)
        _sync(folder.parent)
    except OSError as error:
        reason = error.strerror or error
        raise BadPlan(f"{folder}: cannot be written ({reason}); free some space or choose another folder") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def dumped_domains(root: Path, split: str) -> list[str]:
    """The data sets with dumped episodes of a split, sorted. Raises BadPlan when there are none."""
    folder = Path(root) / split
    if not folder.is_dir():
        there = ", ".join(name for name in SPLITS if (Path(root) / name).is_dir())
        hint = f"; there are episodes for --split {there}" if there else ""
        raise BadPlan(f"{folder}: no such folder; dumped episodes lie in <split>/<data set>/{hint}")
    found = sorted(path.name for path in folder.iterdir() if not path.name.startswith(".") and _is_dump(path))
    if not found:
        raise BadPlan(f"{folder}: no data set with dumped episodes ({episode_file(0, PARTS[0])} and so on)")
    return found


def load_dump(
    folder: Path, *, domain: str, split: str, cache: Path | None = None, tasks: int | None = None
) -> tuple[DumpedRecords, DomainPlan]:
    """The records of one data set's dumped episodes and the plan of these episodes, or of the first `tasks` of them.

    In an episode of the plan the images stand class by class, and within a class in the order of the file. The plan's
    seed is 0: nothing was drawn, and stochastic methods start from it. Raises BadPlan, CorruptRecord or BadExample,
    naming the file.
    """
    records = DumpedRecords(folder, split, cache)
    ways, num_query, num_support = records.shapes
    if tasks is not None and tasks > len(ways):
        raise BadPlan(f"{folder}: {len(ways)} dumped episodes, {tasks} are asked for")
    ways, num_query = ways[:tasks], num_query[:tasks]
    num_support = num_support[: ways.sum()]
    images = num_support + num_query.repeat(ways)
    plan = DomainPlan(
        domain=domain,
        split=split,
        protocol=DUMPED,
        seed=0,
        spec_digest=records.spec.digest,
        ways=ways,
        num_query=num_query,
        class_ids=np.arange(len(num_support)),
        num_support=num_support,
        records=np.arange(images.sum()) - (np.cumsum(images) - images).repeat(images),
    )
    return records, plan


def _is_dump(folder: Path) -> bool:
    return (folder / COUNTS_FILE).is_file() or any(folder.glob("episode-*.tfrecords"))


def _counts(plan: DomainPlan) -> bytes:
    """The content of `images_per_class.json`."""
    counts = {}
    for task in range(len(plan)):
        episode = plan.episode(task)
        for part, labels in zip(PARTS, (episode.support_labels, episode.query_labels), strict=True):
            counts[episode_file(task, part)] = {str(i): n for i, n in enumerate(np.bincount(labels).tolist())}
    return json.dumps(counts, indent=2).encode()


def _write_episode(folder: Path, task: int, episode: Episode, records: DatasetRecords | DumpedRecords) -> None:
    sets = (
        (episode.support_classes, episode.support_records, episode.support_labels),
        (episode.query_classes, episode.query_records, episode.query_labels),
    )
    for part, arrays in zip(PARTS, sets, strict=True):
        images = zip(*(array.tolist() for array in arrays), strict=True)
        path = folder / episode_file(task, part)
        write_records(path, ((records.encoded(class_id, record).data, label) for class_id, record, label in images))
        _sync(path)


def _sync(path: Path) -> None:
    """Force a file, or a folder's list of names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _digest(*arrays: np.ndarray) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(array.tobytes())
    return digest.hexdigest()
