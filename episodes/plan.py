"""All episodes of a run, as arrays of record numbers: pure data, made before anything is computed.

The reader hands out each class's images by the official cursor: in order of a permutation of the whole class, support
first, then query, without replacement until the class cannot fill the next episode; then a new epoch begins. Unlike
the official shuffle buffer of 1,000 records the permutation is uniform over the class, and it is seeded.
"""

import hashlib
import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from episodes.errors import NotEnoughImages
from episodes.images import Images
from episodes.sampling import EpisodeConfig, EpisodeSampler
from episodes.spec import DatasetSpec

_thread = threading.local()


class Episode(NamedTuple):
    """One episode as records. `*_classes`: (n,) absolute class ids; `*_records`: (n,) record numbers in the class
    file; `*_images`: (n,) positions of these images in the plan's `images`; `*_labels`: (n,) labels 0..way-1, in order
    of the description; all int64."""

    way: int
    support_classes: np.ndarray
    support_records: np.ndarray
    support_images: np.ndarray
    support_labels: np.ndarray
    query_classes: np.ndarray
    query_records: np.ndarray
    query_images: np.ndarray
    query_labels: np.ndarray


@dataclass(frozen=True)
class DomainPlan:
    """The episodes of one domain, concatenated.

    `ways`, `num_query`: (n,) classes of each episode and query images of each of its classes; `class_ids`,
    `num_support`: (sum of ways,) absolute ids and shots; `records`: (images drawn,) record numbers, class by class,
    each class's support before its query. All int64.
    """

    domain: str
    split: str
    protocol: EpisodeConfig
    seed: int
    spec_digest: str
    ways: np.ndarray
    num_query: np.ndarray
    class_ids: np.ndarray
    num_support: np.ndarray
    records: np.ndarray

    def __len__(self) -> int:
        return len(self.ways)

    @cached_property
    def _images_per_class(self) -> np.ndarray:
        """Support and query images of every class of every episode, (sum of ways,)."""
        return self.num_support + self.num_query.repeat(self.ways)

    @cached_property
    def _bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Where episode i begins in `class_ids` and in `records`: two (n + 1,) arrays."""
        classes = np.concatenate([[0], np.cumsum(self.ways)])
        return classes, np.concatenate([[0], np.cumsum(self._images_per_class)])[classes]

    @property
    def episode_sizes(self) -> np.ndarray:
        """(n,) images of each episode, support and query together."""
        return np.diff(self._bounds[1])

    def _parts(self, task: int) -> tuple[np.ndarray, np.ndarray, int, np.ndarray]:
        classes, images = self._bounds
        of_class = slice(classes[task], classes[task + 1])
        records = self.records[images[task] : images[task + 1]]
        return self.class_ids[of_class], self.num_support[of_class], int(self.num_query[task]), records

    def episode(self, task: int) -> Episode:
        """Episode number `task` (0 <= task < len)."""
        class_ids, num_support, num_query, records = self._parts(task)
        drawn = num_support + num_query
        labels = np.arange(len(class_ids)).repeat(drawn)
        position = np.arange(len(records)) - (np.cumsum(drawn) - drawn).repeat(drawn)
        support = position < num_support.repeat(drawn)
        first = self._bounds[1][task]
        images = self._distinct[1][first : first + len(records)]
        return Episode(
            way=len(class_ids),
            support_classes=class_ids[labels[support]],
            support_records=records[support],
            support_images=images[support],
            support_labels=labels[support],
            query_classes=class_ids[labels[~support]],
            query_records=records[~support],
            query_images=images[~support],
            query_labels=labels[~support],
        )

    def part(self, tasks: range) -> "DomainPlan":
        """A plan of these consecutive episodes: numbered from 0, with the same hashes."""
        classes, images = self._bounds
        of_class = slice(classes[tasks.start], classes[tasks.stop])
        return replace(
            self,
            ways=self.ways[tasks.start : tasks.stop],
            num_query=self.num_query[tasks.start : tasks.stop],
            class_ids=self.class_ids[of_class],
            num_support=self.num_support[of_class],
            records=self.records[images[tasks.start] : images[tasks.stop]],
        )

    @cached_property
    def hashes(self) -> tuple[str, ...]:
        """Content hash of each episode: of domain, split, protocol, classes, shots and record numbers."""
        head = _canonical([self.domain, self.split, asdict(self.protocol)])
        return tuple(_episode_hash(head, *self._parts(task)) for task in range(len(self)))

    @cached_property
    def _distinct(self) -> tuple[Images, np.ndarray]:
        """The distinct images, and for each drawn record its position among them."""
        classes = self.class_ids.repeat(self._images_per_class)
        stride = int(self.records.max(initial=0)) + 1
        keys, position = np.unique(classes * stride + self.records, return_inverse=True)
        return Images(*np.divmod(keys, stride)), position

    @property
    def images(self) -> Images:
        """The distinct images that the episodes touch."""
        return self._distinct[0]

    def positions(self, tasks: range) -> np.ndarray:
        """Where in `images` those stand that the episodes `tasks` (consecutive) touch, (m,) sorted."""
        if tasks == range(len(self)):
            return np.arange(len(self.images.classes))
        first, end = self._bounds[1][[tasks.start, tasks.stop]]
        return np.unique(self._distinct[1][first:end])


@dataclass(frozen=True)
class Plan:
    """Every episode of a run. `hash` names it: leaderboards are made of rows of one plan only."""

    benchmark: str
    split: str
    seed: int
    tasks: int
    domains: tuple[DomainPlan, ...]

    @cached_property
    def hash(self) -> str:
        content = [self.benchmark, self.split, self.seed, self.tasks]
        content += [[d.domain, d.spec_digest, _sha("".join(d.hashes).encode())] for d in self.domains]
        return _sha(_canonical(content))


def domain_seed(seed: int, domain: str, split: str, protocol: EpisodeConfig) -> bytes:
    """The 32-byte seed of one domain: it depends neither on the other domains nor on the number of episodes."""
    return hashlib.sha256(_canonical([seed, domain, split, asdict(protocol)])).digest()


def plan_domain(
    domain: str, spec: DatasetSpec, *, split: str, protocol: EpisodeConfig, seed: int, tasks: int
) -> DomainPlan:
    """Sample `tasks` episodes of one domain; the first n of a longer plan are the plan of n.

    Raises NotEnoughImages, naming the domain, when the split cannot fill the protocol.
    """
    root = domain_seed(seed, domain, split, protocol)
    ids = spec.class_ids[split]
    try:
        sampler = EpisodeSampler(spec.split(split), protocol, random_state(root))
        descriptions = [sampler.sample() for _ in range(tasks)]
    except NotEnoughImages as error:
        raise NotEnoughImages(f"{domain} ({split} split): {error}") from error
    cursors = {i: ClassCursor(root, i, int(spec.images_per_class[i])) for i in ids}
    records = [
        cursors[relative + ids.start].take(shots + d.num_query)
        for d in descriptions
        for relative, shots in zip(d.class_ids.tolist(), d.num_support.tolist(), strict=True)
    ]
    return DomainPlan(
        domain=domain,
        split=split,
        protocol=protocol,
        seed=seed,
        spec_digest=spec.digest,
        ways=np.array([len(d.class_ids) for d in descriptions], np.int64),
        num_query=np.array([d.num_query for d in descriptions], np.int64),
        class_ids=_concatenate([d.class_ids for d in descriptions]) + ids.start,
        num_support=_concatenate([d.num_support for d in descriptions]),
        records=_concatenate(records),
    )


class ClassCursor:
    """Hands out a class's record numbers, epoch by epoch; each epoch is a full permutation with a seed of its own.

    When fewer images are left than asked for, the rest of the epoch is dropped (the official reader "flushes" it), so
    support and query of an episode never share an image. `shuffle=False` reads every epoch in file order.
    """

    def __init__(self, root: bytes, class_id: int, images: int, *, shuffle: bool = True) -> None:
        self._root, self._class_id, self._images, self._shuffle = root, class_id, images, shuffle
        self._epoch, self._position = -1, images
        self._order = np.arange(0)
        self._rng = np.random.RandomState(0)

    def take(self, count: int) -> np.ndarray:
        """The next `count` record numbers, (count,) int64; at most the class's size may be asked for."""
        if self._position + count > self._images:
            self._epoch, self._position = self._epoch + 1, 0
            self._order = self._permutation()
        start, self._position = self._position, self._position + count
        return self._order[start : self._position]

    def _permutation(self) -> np.ndarray:
        if not self._shuffle:
            return np.arange(self._images)
        seed = hashlib.sha256(self._root + f"/{self._class_id}/{self._epoch}".encode()).digest()
        self._rng.seed(_words(seed))  # ten times faster than a new generator
        return self._rng.permutation(self._images)


def random_state(seed: bytes) -> np.random.RandomState:
    """NumPy's frozen generator, seeded with all 32 bytes (the stream is the same on every platform and version)."""
    return np.random.RandomState(_words(seed))


def permutation(seed: bytes, count: int) -> np.ndarray:
    """`random_state(seed).permutation(count)`, ten times as fast: the generator is seeded anew, not made."""
    if not hasattr(_thread, "rng"):
        _thread.rng = np.random.RandomState(0)
    _thread.rng.seed(_words(seed))
    return _thread.rng.permutation(count)


def _words(seed: bytes) -> np.ndarray:
    return np.frombuffer(seed, dtype="<u4").astype(np.uint32)


def blocks(tasks: int, size: int) -> Iterator[range]:
    """The fixed work units of a plan: task // size, whatever the number of workers."""
    for start in range(0, tasks, size):
        yield range(start, min(start + size, tasks))


def _concatenate(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.empty(0, np.int64), *arrays]).astype(np.int64)


def _episode_hash(head: bytes, class_ids: np.ndarray, shots: np.ndarray, num_query: int, records: np.ndarray) -> str:
    digest = hashlib.sha256(head)
    for part in (class_ids, shots, np.array([num_query]), records):
        digest.update(len(part).to_bytes(8, "little") + part.astype("<i8").tobytes())
    return digest.hexdigest()


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
