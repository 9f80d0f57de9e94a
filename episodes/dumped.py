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

from episodes.dataset import MAX_OPEN_FILES, EncodedImage
from episodes.dumped_records import COUNTS_FILE, PARTS, episode_file, example, index_dump, open_file
from episodes.errors import BadPlan
from episodes.plan import DomainPlan, Episode
from episodes.sampling import EpisodeConfig
from episodes.spec import SPLITS, DatasetSpec
from episodes.stored_records import Records
from episodes.tfrecord import write_records
from results.files import finish_folder, only_writer, sync, unfinished_folder, write_whole

DUMPED = EpisodeConfig(num_support=0, num_query=0)
"""The protocol of dumped episodes: nothing is drawn. The sampler refuses it, so that no sampled episode can have the
hash of a dumped one."""


class DumpedRecords:
    """Dumped episodes in the place of a data set's records, with the interface of `DatasetRecords`.

    An image that episodes have in common is one record of one class (`episodes.dumped_classes`). At most 64 files are
    open at once. `folder`: one data set's episodes. `split`: where its classes count as belonging. `cache`: where
    labels and checksums of all records are kept, since finding them out reads every byte. `spec`: the classes, whose
    names are not known. Raises BadPlan, BadSpec, CorruptRecord or BadExample, naming the file.
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
        places = self._places(class_id)
        if not 0 <= record < len(places):
            raise IndexError(f"{self.folder}: class {class_id} has no record {record}")
        position = places[record]
        number = int(np.searchsorted(self._index.file_bounds, position, side="right")) - 1
        at = int(position - self._index.file_bounds[number])
        image, _ = example(self._open(number), at)
        return EncodedImage(self._index.files[number], at, image)

    def fingerprint(self, class_id: int) -> str:
        """Identity of a class's images, made as that of a class file with the same records is."""
        positions, contents = self._places(class_id), self._index.contents
        return _digest(contents.lengths[positions].astype("<i8"), contents.crcs[positions].astype("<u4"))

    def split_fingerprint(self, split: str) -> str:
        """Identity of all images of a split."""
        fingerprints = map(self.fingerprint, self.spec.class_ids[split])
        return hashlib.sha256("".join(fingerprints).encode()).hexdigest()

    def _places(self, class_id: int) -> np.ndarray:
        """Where a class's images lie among all records of the dump."""
        places, bounds = self._index.classes
        return places[bounds[class_id] : bounds[class_id + 1]]

    def _make_spec(self, split: str) -> DatasetSpec:
        images = np.diff(self._index.classes.bounds)
        images.setflags(write=False)
        n, own = len(images), SPLITS.index(split)
        ids = {name: range(n if i > own else 0, n if i >= own else 0) for i, name in enumerate(SPLITS)}
        names = tuple(f"class {i} of the dump" for i in range(n))
        return DatasetSpec(self.folder.name, images, ids, names, digest=_digest(*self._index.contents))


def dump_domain(
    plan: DomainPlan,
    records: Records,
    folder: Path,
    advance: Callable[[int], None] = lambda episodes: None,
) -> None:
    """Write all episodes of a domain into `folder`, which is `<root>/<split>/<data set>`, whole or not at all.

    Images lie in the order of `plan.episode(i)`, as they are stored in `records`; the same plan gives the same bytes.
    `advance` is called with 1 after each episode. Of several processes that dump there, one does and the others wait
    for it. Raises BadPlan when `folder` is there already, which stays as it is, or cannot be written.
    """
    folder = Path(folder)
    try:
        with only_writer(folder):
            check_is_new(folder)
            _write_episodes(plan, records, folder, advance)
    except OSError as error:
        reason = error.strerror or error
        raise BadPlan(f"{folder}: cannot be written ({reason}); free some space or choose another folder") from error


def check_is_new(folder: Path) -> None:
    """Raise BadPlan when there is something where a dump should go."""
    if os.path.lexists(folder):
        raise BadPlan(f"{folder}: is there already and stays as it is; choose another folder for the dump or delete it")


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
    seed is 0: nothing was drawn, and stochastic methods start from it. Raises BadPlan, BadSpec, CorruptRecord or
    BadExample, naming the file.
    """
    records = DumpedRecords(folder, split, cache)
    ways, num_query, class_ids, num_support, numbers = records.shapes
    if tasks is not None and tasks > len(ways):
        raise BadPlan(f"{folder}: {len(ways)} dumped episodes, {tasks} are asked for")
    ways, num_query = ways[:tasks], num_query[:tasks]
    classes = int(ways.sum())
    class_ids, num_support = class_ids[:classes], num_support[:classes]
    images = int((num_support + num_query.repeat(ways)).sum())
    plan = DomainPlan(
        domain=domain,
        split=split,
        protocol=DUMPED,
        seed=0,
        spec_digest=records.spec.digest,
        ways=ways,
        num_query=num_query,
        class_ids=class_ids,
        num_support=num_support,
        records=numbers[:images],
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


def _write_episodes(plan: DomainPlan, records: Records, folder: Path, advance: Callable[[int], None]) -> None:
    part = unfinished_folder(folder, secrets.token_hex(32))  # a key of its own: no dump goes on where another stopped
    try:
        # Before the episodes: a part of a dump contradicts its counts, wherever it is copied or renamed to.
        write_whole(part / COUNTS_FILE, _counts(plan))
        for task in range(len(plan)):
            _write_episode(part, task, plan.episode(task), records)
            advance(1)
        finish_folder(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _write_episode(folder: Path, task: int, episode: Episode, records: Records) -> None:
    sets = (
        (episode.support_classes, episode.support_records, episode.support_labels),
        (episode.query_classes, episode.query_records, episode.query_labels),
    )
    for part, arrays in zip(PARTS, sets, strict=True):
        images = zip(*(array.tolist() for array in arrays), strict=True)
        path = folder / episode_file(task, part)
        write_records(path, ((records.encoded(class_id, record).data, label) for class_id, record, label in images))
        sync(path)


def _digest(*arrays: np.ndarray) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(array.tobytes())
    return digest.hexdigest()
