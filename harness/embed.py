"""Every image that a plan touches is decoded and embedded once, whatever the number of episodes and adapters."""

import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

import numpy as np
import torch

from backbones.contract import Backbone
from backbones.embeddings import EmbeddingStore, in_fixed_batches
from episodes.images import Images, Source
from episodes.stream import stream_images
from harness.pixels import Records
from harness.progress import Advance

MOST_DECODERS = 16
"""Processes that decode for one network; more than any is known to need."""
BLOCK_IMAGES: Mapping[str, int] = {"features": 1024, "maps": 128}
"""What is on disk as soon as it is done, and so the most that a killed run embeds again."""


def embed_images(
    data: Records,
    source: Source,
    images: Images,
    backbone: Backbone,
    store: EmbeddingStore,
    advance: Advance,
    *,
    pinned: bool = False,
) -> None:
    """Embed these images of `data`, whose pixels `source` gives; each block is on disk when its last image is done."""
    workers = min(len(os.sched_getaffinity(0)), MOST_DECODERS)
    inputs = stream_images(source, images, backbone.card.image_size, workers=workers, pinned=pinned)
    compute = backbone.embed if store.facts.kind == "features" else backbone.maps
    vectors = _rows(in_fixed_batches(compute, inputs), advance)
    size = BLOCK_IMAGES[store.facts.kind]
    for start in range(0, len(images.classes), size):
        part = Images(images.classes[start : start + size], images.records[start : start + size])
        block = np.stack(list(islice(vectors, len(part.classes))))
        store.add([(data.fingerprint(c), records) for c, records in part.by_class()], block)


def _rows(batches: Iterable[torch.Tensor], advance: Advance) -> Iterator[np.ndarray]:
    """The vectors one by one. From a GPU a batch is fetched when the next is under way, so that it need not wait; on a
    CPU a batch may be a view of pixels, whose buffer is used again."""
    for batch in _one_behind(batches):
        advance(len(batch))
        yield from (batch if batch.dtype == torch.float64 else batch.float()).cpu().numpy().copy()


def _one_behind(batches: Iterable[torch.Tensor]) -> Iterator[torch.Tensor]:
    last = None
    for batch in batches:
        if batch.device.type == "cpu":  # done already, and perhaps a view of pixels that the next block overwrites
            yield batch
            continue
        if last is not None:
            yield last
        last = batch
    if last is not None:
        yield last
