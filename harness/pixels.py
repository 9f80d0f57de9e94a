"""Where a run's pixels come from: decoded when needed, kept decoded, or kept rounded at the network's size."""

import functools
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from episodes import decode
from episodes.dataset import DatasetRecords
from episodes.dumped import DumpedRecords
from episodes.images import Images, Source
from episodes.spec import DatasetSpec
from episodes.stored_records import Records as ImageRecords
from episodes.stored_records import StoredRecords

Pixels = Literal["keep", "decode", "rounded", "none"]
PIXELS: tuple[Pixels, ...] = ("keep", "decode", "rounded")
"""What a user may choose; "none" is for features that come without images."""
_SAMPLE = 50
_SHARE_OF_FREE_DISK = 0.5


class Records(ImageRecords, Protocol):
    """One domain of a run: `DatasetRecords`, `DumpedRecords` or `FeatureRecords`. `folder`: where it lies."""

    folder: Path
    spec: DatasetSpec

    def split_fingerprint(self, split: str) -> str:
        """Identity of all images of a split."""
        ...


class PixelChoice(NamedTuple):
    """`kind`: one of PIXELS, or "none"; `size`: the network's image size; `cache`: where kept pixels lie."""

    kind: Pixels
    size: int
    cache: Path

    @property
    def flags(self) -> Mapping[str, Any]:
        """What of this changes embeddings, for row keys: kept pixels at their own size are as good as decoded ones."""
        if self.kind == "none":
            return {"pixels": "none"}
        made = f"rounded to 8 bits at {self.size}" if self.kind == "rounded" else "exact"
        return {"pixels": made, "decoder": decode.VERSION}

    def source(self, records: Records) -> Source:
        """The images of `records`, from what is kept of them where something is."""
        return records if self.kind == "decode" else self.store(records)

    def store(self, records: Records) -> StoredRecords:
        """What is kept of `records`."""
        return StoredRecords(records, self.cache / "pixels", self.size if self.kind == "rounded" else None)


@functools.lru_cache(maxsize=4)
def open_domain(folder: Path, choice: PixelChoice, dumped: str | None = None) -> tuple[Records, Source]:
    """A folder of records and the source of its images, opened once per process. `dumped`: the split of episodes that
    somebody dumped there; None for a data set."""
    records = DumpedRecords(folder, dumped, choice.cache) if dumped else DatasetRecords(folder, choice.cache)
    return records, choice.source(records)


def bytes_to_keep(records: Records, images: Images, choice: PixelChoice) -> int:
    """About how much disk these images take; their own sizes are estimated from every so-manieth one."""
    count = len(images.classes)
    if choice.kind == "rounded" or not count:
        return 3 * choice.size**2 * count
    at = np.unique(np.linspace(0, count - 1, _SAMPLE).astype(int))
    pairs = zip(images.classes[at].tolist(), images.records[at].tolist(), strict=True)
    sizes = [records.encoded(class_id, record).decode().nbytes for class_id, record in pairs]
    return int(np.mean(sizes) * count)


def room_for(needed: int, folder: Path) -> bool:
    """Whether `needed` bytes are at most half of what is free on the disk of `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    return needed <= _SHARE_OF_FREE_DISK * shutil.disk_usage(folder).free
