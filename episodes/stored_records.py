"""A data set's images out of a pixel store: as they were decoded, or rounded at the network's size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from episodes import decode
from episodes.dataset import EncodedImage
from episodes.images import Images, Pixels, Source
from episodes.pixel_store import PixelStore

_CHUNK = 64


class Records(Source, Protocol):
    """Where decoded images come from at first: a data set's records, or dumped episodes."""

    def encoded(self, class_id: int, record: int) -> EncodedImage: ...

    def fingerprint(self, class_id: int) -> str: ...


class StoredRecords:
    """The images of `records`, decoded once and kept under `root`; one that is not kept is decoded when asked for.

    `rounded_size`: None keeps images at their own size, and what comes of them is the same to the bit. A number keeps
    them resized to that square and rounded to 8 bits: smaller and faster, and off by up to 4e-3 in [-1, 1].
    """

    def __init__(self, records: Records, root: Path, rounded_size: int | None = None) -> None:
        self._records, self._rounded_size = records, rounded_size
        kind = "decoded" if rounded_size is None else f"rounded{rounded_size}"
        self._store = PixelStore(Path(root) / f"{kind}-v{decode.VERSION}")

    def encoded(self, class_id: int, record: int) -> Pixels:
        """One image. Raises CorruptRecord or BadExample, naming file and record."""
        kept = self._store.get(self._records.fingerprint(class_id), record)
        return self._original(class_id, record) if kept is None else _Kept(kept)

    def missing(self, images: Images) -> Images:
        """Those of `images` (sorted) that are not kept."""
        parts = [(c, self._store.missing(self._records.fingerprint(c), records)) for c, records in images.by_class()]
        return Images.concatenate(parts)

    def keep(self, images: Images, *, workers: int = 2, advance: Callable[[int], None] = lambda count: None) -> None:
        """Decode these images (sorted) and keep them, class by class.

        Raises WriteError when they cannot be written, BadImage and the like naming file and record.
        """
        with ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:
            for class_id, records in images.by_class():
                pixels = self._decoded(class_id, records, pool, advance)
                self._store.add(self._records.fingerprint(class_id), records, pixels)

    def _decoded(
        self, class_id: int, records: np.ndarray, pool: ThreadPoolExecutor, advance: Callable[[int], None]
    ) -> Iterator[np.ndarray]:
        for start in range(0, len(records), _CHUNK):
            chunk = [self._original(class_id, record) for record in records[start : start + _CHUNK].tolist()]
            yield from pool.map(lambda image: image.decode(), chunk)
            advance(len(chunk))

    def _original(self, class_id: int, record: int) -> Pixels:
        image = self._records.encoded(class_id, record)
        return image if self._rounded_size is None else _Rounded(image, self._rounded_size)


class _Kept(NamedTuple):
    pixels: np.ndarray

    def decode(self) -> np.ndarray:
        return self.pixels


class _Rounded(NamedTuple):
    image: EncodedImage
    size: int

    def decode(self) -> np.ndarray:
        from episodes.resize import resize_rounded

        pixels = np.empty((self.size, self.size, 3), np.uint8)
        resize_rounded(np.require(self.image.decode(), requirements=["C"]), pixels)
        return pixels
