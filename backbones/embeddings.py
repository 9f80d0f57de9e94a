"""Embeddings: made in batches of one fixed shape, kept on disk per class file."""

from __future__ import annotations

import io
import logging
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from filelock import FileLock

from backbones.contract import Backbone
from backbones.errors import BackboneError
from results.files import write_whole

if TYPE_CHECKING:
    from torch import Tensor

_log = logging.getLogger(__name__)
# What zipfile and numpy raise on bytes that were cut or changed; RuntimeError is a flipped "encrypted" flag.
_DAMAGED = (
    zipfile.BadZipFile, zlib.error, struct.error, OSError, ValueError, KeyError, EOFError, RuntimeError, OverflowError
)  # fmt: skip


def embed_in_fixed_batches(backbone: Backbone, blocks: Iterable[Tensor], batch_size: int = 64) -> Iterator[Tensor]:
    """Embed (n, 3, s, s) blocks of images in [-1, 1]; yields their (m, d) vectors in order, m <= `batch_size`.

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
            yield backbone.embed(batch)[: len(images)]


class EmbeddingStore:
    """Vectors on disk, one .npz (arrays `records` and `vectors`) per class file, under `root / backbone_key`.

    `backbone_key` stands for network, weights, preprocessing and dtype (`backbones.identity`); a `fingerprint` (hex)
    for the content of a class file, wherever it lies; records are numbered within it. A damaged file counts as
    absent, with a warning: its zip checksums are verified before anything of it is served.
    """

    def __init__(self, root: Path, backbone_key: str) -> None:
        self._folder = root / backbone_key

    def missing(self, fingerprint: str, records: np.ndarray) -> np.ndarray:
        """Those of `records` that have no vector yet, sorted, each once."""
        stored, _ = self._read(fingerprint)
        return np.setdiff1d(records, stored)

    def load(self, fingerprint: str, records: np.ndarray) -> np.ndarray:
        """The vectors of `records`, in their order: (n, d) float32 (float64 if they were saved so)."""
        stored, vectors = self._read(fingerprint)
        at = np.searchsorted(stored, records)
        found = at < len(stored)
        found[found] = stored[at[found]] == np.asarray(records)[found]
        if not found.all():
            absent = int(np.asarray(records)[~found][0])
            raise BackboneError(f"{self._path(fingerprint)}: no embedding of record {absent}; run again to embed it")
        return vectors[at]

    def save(self, fingerprint: str, records: np.ndarray, vectors: np.ndarray) -> None:
        """Add the (n, d) `vectors` of `records` to what is stored; where both have a record, the new one stays.

        The file is replaced whole, by one process at a time. Raises WriteError if it cannot be written (full disk).
        """
        vectors = np.asarray(vectors, np.float64 if vectors.dtype == np.float64 else np.float32)
        if vectors.ndim != 2 or len(vectors) != len(records):
            raise ValueError(f"{len(records)} records, vectors of shape {vectors.shape}")
        self._folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self._folder.with_suffix(".lock")):
            stored, old = self._read(fingerprint)
            if len(stored):
                records, vectors = np.concatenate([records, stored]), np.concatenate([vectors, old])
            records, first = np.unique(np.asarray(records, np.int64), return_index=True)
            buffer = io.BytesIO()
            np.savez(buffer, allow_pickle=False, records=records, vectors=vectors[first])
            write_whole(self._path(fingerprint), buffer.getvalue())

    def _path(self, fingerprint: str) -> Path:
        return self._folder / f"{fingerprint}.npz"

    def _read(self, fingerprint: str) -> tuple[np.ndarray, np.ndarray]:
        """Sorted record numbers (n,) and their vectors (n, d); both empty if there is no sound file."""
        path = self._path(fingerprint)
        try:
            with zipfile.ZipFile(path) as archive:
                records, vectors = (_array(archive.read(f"{name}.npy")) for name in ("records", "vectors"))
            if records.shape != vectors.shape[:1]:
                raise ValueError(f"{records.shape} records, {vectors.shape} vectors")
        except FileNotFoundError:
            return np.empty(0, np.int64), np.empty((0, 0), np.float32)
        except _DAMAGED as error:
            _log.warning("%s: damaged (%s); its images are embedded again", path, error)
            return np.empty(0, np.int64), np.empty((0, 0), np.float32)
        return records, vectors


def _array(data: bytes) -> np.ndarray:
    return np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
