"""Images as network inputs, block after block: decoded ahead of their use, in the order of the files, into buffers that
are used in turn, so that memory stays the same however long the stream is.

A long stream is decoded by processes, which write into memory that they share with this one: threads would wait for
Python's lock. A short one, not worth their start, is decoded by one thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from episodes.decoders import Decoders, Wait
from episodes.images import Images, Source
from episodes.plan import DomainPlan, Episode

if TYPE_CHECKING:
    from torch import Tensor

BLOCK = 64
FEW = 1500
"""So many images are decoded by one thread before processes have started."""
_SPAN = 64  # images of one task, or more:
_MOST_TASKS = 64  # of one block, so that those under way fit into a pipe
_AHEAD = 2  # blocks in the making while one is looked at, or more if that would leave a process idle


class EpisodeImages(NamedTuple):
    """An episode with its images: `support` (n, 3, s, s) and `query` (m, 3, s, s), float32 in [-1, 1]."""

    episode: Episode
    support: Tensor
    query: Tensor


def stream_images(
    source: Source, images: Images, size: int, *, workers: int = 2, block: int = BLOCK, pinned: bool = False
) -> Iterator[Tensor]:
    """Images in order, as (n, 3, size, size) float32 blocks in [-1, 1] with channels last in memory; n <= `block`.

    `workers`: processes that decode. `pinned`: page-locked memory, for copies to a GPU. A block is overwritten once the
    next one is asked for. Raises CorruptRecord, BadExample or BadImage, naming file and record.
    """
    starts = range(0, len(images.classes), block)
    parts = (Images(images.classes[at : at + block], images.records[at : at + block]) for at in starts)
    with Decoders(source, _shape(block, size, workers), 0 if len(images.classes) <= FEW else workers) as decoders:
        yield from _stream(decoders, parts, pinned)


def stream_episodes(
    source: Source, plan: DomainPlan, size: int, *, workers: int = 2, pinned: bool = False
) -> Iterator[EpisodeImages]:
    """Every episode of a plan with its images; otherwise as `stream_images`."""
    largest = int(plan.episode_sizes.max(initial=0))
    parts = (_images_of(plan.episode(task)) for task in range(len(plan)))
    with Decoders(source, _shape(largest, size, workers), 0 if len(plan.records) <= FEW else workers) as decoders:
        for task, pixels in enumerate(_stream(decoders, parts, pinned)):
            episode = plan.episode(task)
            shots = len(episode.support_labels)
            yield EpisodeImages(episode, pixels[:shots], pixels[shots:])


def load_images(source: Source, images: Images, size: int) -> Tensor:
    """(n, 3, size, size) float32 inputs of these images, in their order, made in this thread in a buffer of its own."""
    import torch

    from episodes.decoders import fill

    pixels = np.empty((len(images.classes), size, size, 3), np.float32)
    fill(source, pixels, *_in_file_order(images))
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)


def _stream(decoders: Decoders, parts: Iterable[Images], pinned: bool) -> Iterator[Tensor]:
    under_way: deque[tuple[np.ndarray, list[Wait]]] = deque()
    for number, images in enumerate(parts):
        at = number % len(decoders.buffers)
        classes, records, rows = _in_file_order(images)
        span = max(_SPAN, -(-len(rows) // _MOST_TASKS))
        spans = [slice(first, first + span) for first in range(0, len(rows), span)]
        work = [decoders.submit(at, classes[part], records[part], rows[part]) for part in spans]
        under_way.append((decoders.buffers[at][: len(rows)], work))
        if len(under_way) == len(decoders.buffers):
            yield _finished(*under_way.popleft(), pinned)
    while under_way:
        yield _finished(*under_way.popleft(), pinned)


def _finished(pixels: np.ndarray, work: list[Wait], pinned: bool) -> Tensor:
    import torch

    for wait in work:
        wait()
    block = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    return block.pin_memory() if pinned else block


def _shape(largest: int, size: int, workers: int) -> tuple[int, int, int, int, int]:
    """Of all buffers together: (buffers, images, size, size, 3), enough of them for two tasks of every process."""
    spans = max(1, -(-largest // _SPAN))
    return max(_AHEAD, -(-2 * workers // spans)) + 1, largest, size, size, 3


def _in_file_order(images: Images) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Classes and records in the order of the files, and where each image stands among `images`; all (n,) int64."""
    order = np.lexsort((images.records, images.classes))
    return images.classes[order], images.records[order], order


def _images_of(episode: Episode) -> Images:
    return Images(
        np.concatenate([episode.support_classes, episode.query_classes]),
        np.concatenate([episode.support_records, episode.query_records]),
    )
