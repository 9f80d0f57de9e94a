"""Every image that a plan touches is decoded and embedded once, whatever the number of episodes and adapters."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
import torch

import backbones
from backbones.contract import Backbone
from backbones.embeddings import EmbeddingStore, embed_in_fixed_batches
from episodes.dataset import DatasetRecords
from episodes.decode import resize_normalize
from episodes.plan import DomainPlan, Images
from harness.progress import Advance

DECODE_THREADS = 2
DECODE_CHUNK = 256


def open_store(backbone: Backbone, cache: Path) -> EmbeddingStore:
    """The cache of this backbone's vectors; its key covers weights, preprocessing and dtype."""
    return EmbeddingStore(cache / "embeddings", backbones.identity(backbone))


def missing_images(data: DatasetRecords, plan: DomainPlan, store: EmbeddingStore) -> Images:
    """The images of the plan that have no vector yet."""
    found = [(c, store.missing(data.fingerprint(c), records)) for c, records in _by_class(plan.images)]
    classes = [np.full(len(records), class_id) for class_id, records in found]
    return Images(_joined(classes), _joined([records for _, records in found]))


def embed_images(
    data: DatasetRecords, images: Images, backbone: Backbone, store: EmbeddingStore, advance: Advance
) -> None:
    """Embed and keep these images; each class is on disk as soon as its last image is done."""
    vectors = _vectors(data, images, backbone, advance)
    for class_id, records in _by_class(images):
        store.save(data.fingerprint(class_id), records, np.stack(list(islice(vectors, len(records)))))


def load_features(data: DatasetRecords, plan: DomainPlan, store: EmbeddingStore) -> np.ndarray:
    """(n, d) float32 vectors of the plan's distinct images, in their sorted order."""
    return np.concatenate([store.load(data.fingerprint(c), records) for c, records in _by_class(plan.images)])


def _vectors(data: DatasetRecords, images: Images, backbone: Backbone, advance: Advance) -> Iterator[np.ndarray]:
    for batch in embed_in_fixed_batches(backbone, _network_inputs(data, images, backbone.card.image_size)):
        advance(len(batch))
        yield from (batch if batch.dtype == torch.float64 else batch.float()).cpu().numpy()


def _network_inputs(data: DatasetRecords, images: Images, size: int) -> Iterator[torch.Tensor]:
    """Network inputs in order; reads in this thread, decodes in others, a bounded number of images at a time."""
    with ThreadPoolExecutor(DECODE_THREADS) as pool:
        for start in range(0, len(images.classes), DECODE_CHUNK):
            chunk = slice(start, start + DECODE_CHUNK)
            pairs = zip(images.classes[chunk].tolist(), images.records[chunk].tolist(), strict=True)
            encoded = [data.encoded(class_id, record) for class_id, record in pairs]
            yield from pool.map(lambda item: resize_normalize(item.decode(), size), encoded)


def _by_class(images: Images) -> Iterator[tuple[int, np.ndarray]]:
    for class_id in np.unique(images.classes).tolist():
        first, last = np.searchsorted(images.classes, [class_id, class_id + 1])
        yield class_id, images.records[first:last]


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.empty(0, np.int64), *parts])
