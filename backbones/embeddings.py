"""Embeddings: made in batches of one fixed shape, kept on disk in blocks of images.

A store is a folder of blocks (`backbones.blocks`) that are only ever added, each a file of its own: NumPy's memory map
and results.files' atomic writes are all that takes. Of the libraries considered, LMDB has one writer and many readers
but no checksums, and a flipped bit in its tree may end the process; zarr has checksums but copies all that it reads;
Arrow's files have none.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from filelock import FileLock

from backbones.blocks import SUFFIX, Block, DamagedBlock, Images, as_stored, read_block, write_block
from backbones.contract import Backbone
from backbones.errors import BackboneError
from results.files import write_whole

if TYPE_CHECKING:
    from torch import Tensor

ABOUT = "store.json"
WRITER = ".writer.lock"
_log = logging.getLogger(__name__)


def embed_in_fixed_batches(backbone: Backbone, blocks: Iterable[Tensor], batch_size: int = 64) -> Iterator[Tensor]:
    """`in_fixed_batches` of `backbone.embed`: (m, d) vectors."""
    return in_fixed_batches(backbone.embed, blocks, batch_size)


def in_fixed_batches(
    compute: Callable[[Tensor], Tensor], blocks: Iterable[Tensor], batch_size: int = 64
) -> Iterator[Tensor]:
    """What `compute` makes of (n, 3, s, s) blocks of images in [-1, 1]: (m, ...) tensors in order, m <= `batch_size`.

    Every forward pass sees exactly `batch_size` images, filled up with zeros where a block has fewer: kernels are
    chosen by shape, so this way an image's vector is the same to the bit wherever and beside whatever it is embedded.
    A block is read before the next one is asked for.
    """
    for block in blocks:
        for images in block.split(batch_size):
            batch = images
            if len(images) < batch_size:
                batch = block.new_zeros(batch_size, *block.shape[1:])
                batch[: len(images)] = images
            yield compute(batch)[: len(images)]


class StoreFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a store holds, kept in it as JSON. `backbone`: a name for people. All else is the store's key: `kind`
    ("features" or "maps"), `dtype` on disk, `parts`: everything that decides a vector, as numbers and texts."""

    backbone: str
    kind: str
    dtype: str
    parts: dict[str, Any]

    @property
    def key(self) -> str:
        """64 hex digits."""
        content = [self.kind, self.dtype, self.parts]
        return hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()

    def __hash__(self) -> int:
        return hash(self.key)


class EmbeddingStore:
    """The vectors of one network, in `root / facts.key`: opened once, then what is added through it is added to it.

    A `fingerprint` (64 hex digits) stands for the content of a class file, wherever it lies; records are numbers in it.
    Any number of processes may read; blocks appear whole. A block that is damaged is deleted with a warning, and its
    images count as missing: tables are verified when the store is opened, vectors when `missing` is first asked for one
    of their images.
    """

    def __init__(self, root: Path, facts: StoreFacts) -> None:
        self.facts, self.folder = facts, root / facts.key
        self._blocks: list[Block] = []
        self._verified: set[int] = set()
        self._classes: dict[str, list[tuple[int, int, int]]] = {}  # (block, first row, rows) by fingerprint
        for path in sorted(self.folder.glob(f"*{SUFFIX}")):
            try:
                self._register(read_block(path, facts.key))
            except DamagedBlock as error:
                _drop(path, error)
            except FileNotFoundError:  # dropped by another process
                pass

    def __len__(self) -> int:
        return sum(len(block.records) for block in self._blocks)

    def missing(self, fingerprint: str, records: np.ndarray) -> np.ndarray:
        """Those of `records` that have no sound vector yet, sorted, each once."""
        stored, blocks, _ = self._places(fingerprint)
        wanted = np.unique(records)
        needed = np.unique(blocks[np.isin(stored, wanted)]).tolist()
        sound = [self._is_sound(block) for block in needed]
        if not all(sound):
            stored, _, _ = self._places(fingerprint)
        return np.setdiff1d(wanted, stored)

    def load(self, images: Images) -> np.ndarray:
        """The vectors of these images in their order: (n, ...) float32, or float64 if they are stored so.

        Raises BackboneError, naming the first image that has none.
        """
        places = [self._found(fingerprint, records) for fingerprint, records in images]
        blocks, rows = (np.concatenate(each) for each in zip(*places, strict=True))
        order = np.argsort(blocks, kind="stable")
        used, starts = np.unique(blocks[order], return_index=True)
        first = self._blocks[used[0]]
        vectors = np.empty((len(rows), *first.shape), np.promote_types(first.dtype, np.float32))
        for block, at in zip(used.tolist(), np.split(order, starts[1:]), strict=True):
            vectors[at] = self._sound_vectors(block)[rows[at]]
        return vectors

    def add(self, images: Images, vectors: np.ndarray) -> None:
        """Write the (n, ...) vectors of these images as one block, whole or not at all. Raises WriteError (full disk),
        and BackboneError for a number that the store's dtype has no room for."""
        if len(vectors) != sum(len(records) for _, records in images):
            raise ValueError(f"{sum(len(records) for _, records in images)} images, {len(vectors)} vectors")
        about = self.folder / ABOUT
        if not about.is_file():
            write_whole(about, msgspec.json.format(msgspec.json.encode(self.facts), indent=2) + b"\n")
        stored = as_stored(vectors, self.facts.dtype)
        self._register(write_block(self.folder, self.facts.key, images, stored))
        self._verified.add(len(self._blocks) - 1)

    def _register(self, block: Block) -> None:
        first = 0
        for fingerprint, count in block.classes:
            self._classes.setdefault(fingerprint, []).append((len(self._blocks), first, count))
            first += count
        self._blocks.append(block)

    def _places(self, fingerprint: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of a class file's stored images: record number (sorted), block and row; (n,) each."""
        parts = self._classes.get(fingerprint, [])
        empty = np.empty(0, np.int64)
        records = [empty, *(self._blocks[block].records[first : first + count] for block, first, count in parts)]
        blocks = [empty, *(np.full(count, block) for block, _, count in parts)]
        rows = [empty, *(np.arange(first, first + count) for _, first, count in parts)]
        stored = np.concatenate(records)
        order = np.argsort(stored, kind="stable")
        return stored[order], np.concatenate(blocks)[order], np.concatenate(rows)[order]

    def _found(self, fingerprint: str, records: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Block and row of each of `records`."""
        stored, blocks, rows = self._places(fingerprint)
        at = np.searchsorted(stored, records)
        found = at < len(stored)
        found[found] = stored[at[found]] == np.asarray(records)[found]
        if not found.all():
            absent = int(np.asarray(records)[~found][0])
            raise BackboneError(
                f"{self.folder}: no vector of record {absent} of class file {fingerprint[:12]}; run again to embed it"
            )
        return blocks[at], rows[at]

    def _is_sound(self, number: int) -> bool:
        """Whether a block's vectors match their checksum, looked at once; one that does not is dropped."""
        if number in self._verified:
            return True
        block = self._blocks[number]
        try:
            block.verify()
        except DamagedBlock as error:
            _drop(block.path, error)
            for fingerprint, _ in block.classes:
                self._classes[fingerprint] = [part for part in self._classes[fingerprint] if part[0] != number]
            return False
        self._verified.add(number)
        return True

    def _sound_vectors(self, number: int) -> np.ndarray:
        block = self._blocks[number]
        if not self._is_sound(number):
            raise BackboneError(f"{block.path}: was damaged while it was used; run again to embed its images")
        try:
            return block.vectors()
        except DamagedBlock as error:
            raise BackboneError(f"{block.path}: was taken away while it was used ({error}); run again") from error


@contextmanager
def only_embedder(root: Path, key: str, on_wait: Callable[[], None]) -> Iterator[None]:
    """Of several processes that would add to a store, one does; the others wait here, after calling `on_wait`."""
    folder = root / key
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / WRITER)
    with suppress(TimeoutError):
        lock.acquire(timeout=0)
    if not lock.is_locked:
        on_wait()
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _drop(path: Path, error: DamagedBlock) -> None:
    _log.warning("%s: damaged (%s); its images are embedded again", path, error)
    with suppress(OSError):  # in a cache that may only be read it stays, and is not used
        path.unlink(missing_ok=True)
