"""Which images, and where they come from: the words that plans, streams and stores share."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np


class Images(NamedTuple):
    """Distinct images, sorted: `classes` (n,) absolute class ids and `records` (n,) record numbers, int64."""

    classes: np.ndarray
    records: np.ndarray

    @classmethod
    def concatenate(cls, parts: Sequence[tuple[int, np.ndarray]]) -> "Images":
        """The images of (class id, record numbers) pairs, one after another."""
        classes = [np.full(len(records), class_id) for class_id, records in parts]
        return cls(_joined(classes), _joined([records for _, records in parts]))

    def by_class(self) -> Iterator[tuple[int, np.ndarray]]:
        """(class id, its record numbers), class by class."""
        for class_id in np.unique(self.classes).tolist():
            first, last = np.searchsorted(self.classes, [class_id, class_id + 1])
            yield class_id, self.records[first:last]


class Pixels(Protocol):
    """An image that is read but not decoded."""

    def decode(self) -> np.ndarray:
        """(h, w, 3) uint8 RGB."""
        ...


class Source(Protocol):
    """Where images come from: `episodes.dataset.DatasetRecords`, or a store of decoded ones over it."""

    def encoded(self, class_id: int, record: int) -> Pixels:
        """One image, read but not decoded."""
        ...


def _joined(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.empty(0, np.int64), *arrays]).astype(np.int64)
