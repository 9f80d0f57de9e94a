"""Every image that a plan touches is decoded and embedded once, whatever the number of episodes and adapters."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch

import backbones
from backbones.contract import Backbone
from backbones.embeddings import EmbeddingStore, in_fixed_batches
from episodes.images import Images, Source
from episodes.stream import stream_images
from harness.blocks import BackboneSource
from harness.devices import deterministic_algorithms
from harness.errors import HarnessError
from harness.inputs import DomainData
from harness.pixels import Records
from harness.progress import Advance
from harness.stores import Kind

MOST_DECODERS = 16
"""Processes that decode for one network; more than any is known to need."""
BLOCK_IMAGES: Mapping[str, int] = {"features": 1024, "maps": 128}
"""What is on disk as soon as it is done, and so the most that a killed run embeds again."""


@dataclass(frozen=True)
class ImageBlock:
    """Images of one domain for one network, to be embedded by a worker of an engine.

    `member`: which of the K networks of the backbone; `backbone_hash`: the identity of all of them; `fingerprints`: of
    the class files of `images`, class by class. What a worker has is held to both.
    """

    data: DomainData
    backbone: BackboneSource
    backbone_hash: str
    member: int
    kind: Kind
    images: Images
    fingerprints: tuple[str, ...]
    device: str
    deterministic: bool = False


def image_blocks(data: Records, images: Images, kind: Kind) -> Iterator[tuple[Images, tuple[str, ...]]]:
    """The images in blocks, each with the fingerprints of its class files."""
    size = BLOCK_IMAGES[kind]
    for start in range(0, len(images.classes), size):
        part = Images(images.classes[start : start + size], images.records[start : start + size])
        yield part, tuple(data.fingerprint(class_id) for class_id, _ in part.by_class())


def embed_block(block: ImageBlock) -> np.ndarray:
    """The vectors of a block's images, (n, d) features or (n, d, h, w) maps, as `embed_images` makes them.

    Raises HarnessError when the worker has another network or other images than the run.
    """
    backbone = block.backbone.load(block.device)
    if backbones.identity(backbone) != block.backbone_hash:
        raise HarnessError(f"backbone {backbone.name!r} is another one where it embeds; put the same file there")
    records, source = block.data.open()
    for (class_id, _), expected in zip(block.images.by_class(), block.fingerprints, strict=True):
        if records.fingerprint(class_id) != expected:
            raise HarnessError(f"{records.folder}: class {class_id} holds other images where they are embedded")
    network = backbones.members_of(backbone)[block.member]
    inputs = stream_images(source, block.images, network.card.image_size)
    compute = network.embed if block.kind == "features" else network.maps
    with deterministic_algorithms(block.deterministic):
        return np.stack(list(_rows(in_fixed_batches(compute, inputs), _ignore)))


def _ignore(count: int) -> None:
    """Nobody is told of single images where they are embedded far away."""


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
    kind: Kind = "features" if store.facts.kind == "features" else "maps"
    compute = backbone.embed if kind == "features" else backbone.maps
    vectors = _rows(in_fixed_batches(compute, inputs), advance)
    for part, fingerprints in image_blocks(data, images, kind):
        keep(store, part, fingerprints, np.stack(list(islice(vectors, len(part.classes)))))


def keep(store: EmbeddingStore, images: Images, fingerprints: Sequence[str], vectors: np.ndarray) -> None:
    """Store the vectors of a block of images."""
    records = [records for _, records in images.by_class()]
    store.add([*zip(fingerprints, records, strict=True)], vectors)


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
