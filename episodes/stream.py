"""Images as network inputs, block after block: decoded by threads into shared buffers, in the order of the files.

Decoding and resizing run without Python's lock, so threads share the work and nothing is copied between processes.
A few buffers are used in turn, so memory stays the same however long the stream is.
"""

from __future__ import annotations

import functools
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from episodes.plan import DomainPlan, Episode, Images

if TYPE_CHECKING:
    from torch import Tensor

BLOCK = 64
_SPAN = 16  # images that a thread takes at a time
_AHEAD = 2  # blocks in the making while one is looked at


class Pixels(Protocol):
    """An image that can be decoded by any thread."""

    def decode(self) -> np.ndarray:
        """(h, w, 3) uint8 RGB."""
        ...


class Source(Protocol):
    """Where images come from: `episodes.dataset.DatasetRecords`, or a store of decoded ones over it."""

    def encoded(self, class_id: int, record: int) -> Pixels:
        """One image, read but not decoded."""
        ...


class EpisodeImages(NamedTuple):
    """An episode with its images: `support` (n, 3, s, s) and `query` (m, 3, s, s), float32 in [-1, 1]."""

    episode: Episode
    support: Tensor
    query: Tensor


def stream_images(
    source: Source, images: Images, size: int, *, workers: int = 2, block: int = BLOCK, pinned: bool = False
) -> Iterator[Tensor]:
    """Images in order, as (n, 3, size, size) float32 blocks in [-1, 1] with channels last in memory; n <= `block`.

    `workers`: threads that decode. `pinned`: page-locked memory, for copies to a GPU. A block is overwritten once the
    next one is asked for. Raises CorruptRecord, BadExample or BadImage, naming file and record.
    """
    starts = range(0, len(images.classes), block)
    parts = (Images(images.classes[at : at + block], images.records[at : at + block]) for at in starts)
    yield from _stream(source, parts, size, block, workers, pinned)


def stream_episodes(
    source: Source, plan: DomainPlan, size: int, *, workers: int = 2, pinned: bool = False
) -> Iterator[EpisodeImages]:
    """Every episode of a plan with its images; otherwise as `stream_images`."""
    largest = int(plan.episode_sizes.max(initial=0))
    parts = (_images_of(plan.episode(task)) for task in range(len(plan)))
    for task, pixels in enumerate(_stream(source, parts, size, largest, workers, pinned)):
        episode = plan.episode(task)
        shots = len(episode.support_labels)
        yield EpisodeImages(episode, pixels[:shots], pixels[shots:])


def load_images(source: Source, images: Images, size: int) -> Tensor:
    """(n, 3, size, size) float32 inputs of these images, in their order, made in this thread in a buffer of its own."""
    import torch

    pixels = np.empty((len(images.classes), size, size, 3), np.float32)
    for fill in _spans(source, images, pixels, threading.Lock()):
        fill()
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)


def _images_of(episode: Episode) -> Images:
    return Images(
        np.concatenate([episode.support_classes, episode.query_classes]),
        np.concatenate([episode.support_records, episode.query_records]),
    )


def _stream(
    source: Source, parts: Iterable[Images], size: int, largest: int, workers: int, pinned: bool
) -> Iterator[Tensor]:
    buffers = deque(_buffer((largest, size, size, 3), pinned) for _ in range(_AHEAD + 1))
    under_way: deque[tuple[Tensor, list[Future[None]]]] = deque()
    reading = threading.Lock()
    with ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:
        try:
            for images in parts:
                if len(under_way) == _AHEAD:
                    yield _finished(*under_way.popleft())
                buffers.rotate(-1)
                pixels = buffers[0][: len(images.classes)]
                under_way.append(
                    (pixels, [pool.submit(fill) for fill in _spans(source, images, pixels.numpy(), reading)])
                )
            while under_way:
                yield _finished(*under_way.popleft())
        finally:
            pool.shutdown(cancel_futures=True)


def _buffer(shape: tuple[int, ...], pinned: bool) -> Tensor:
    """Pageable memory comes from NumPy, which asks the system for huge pages."""
    import torch

    return torch.empty(shape, pin_memory=True) if pinned else torch.from_numpy(np.empty(shape, np.float32))


def _finished(pixels: Tensor, work: list[Future[None]]) -> Tensor:
    for future in work:
        future.result()
    return pixels.permute(0, 3, 1, 2)


def _spans(source: Source, images: Images, out: np.ndarray, reading: threading.Lock) -> Iterator[Callable[[], None]]:
    """The work of filling `out`, (n, s, s, 3), in parts, each in the order of the files."""
    order = np.lexsort((images.records, images.classes))
    for at in range(0, len(order), _SPAN):
        rows = order[at : at + _SPAN]
        pairs = zip(images.classes[rows].tolist(), images.records[rows].tolist(), strict=True)
        yield functools.partial(_fill, source, list(pairs), rows.tolist(), out, reading)


def _fill(
    source: Source, pairs: Sequence[tuple[int, int]], rows: Sequence[int], out: np.ndarray, reading: threading.Lock
) -> None:
    """Reading holds Python's lock, decoding does not: image by image, so that no thread waits long for another."""
    from episodes.resize import resize_normalized

    for (class_id, record), row in zip(pairs, rows, strict=True):
        with reading:  # a source opens and closes files
            image = source.encoded(class_id, record)
        resize_normalized(image.decode(), out[row])
