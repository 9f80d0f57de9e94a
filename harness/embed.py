"""Every image that a plan touches is decoded and embedded once, whatever the number of episodes and adapters."""

import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

import backbones
from backbones.contract import Backbone
from backbones.embeddings import EmbeddingStore, embed_in_fixed_batches
from episodes.images import Images, Source
from episodes.plan import DomainPlan
from episodes.stream import stream_images
from harness.pixels import Records
from harness.progress import Advance
from results.identity import canonical_hash

MOST_DECODERS = 16
"""Processes that decode for one network; more than any is known to need."""


def open_store(backbone: Backbone, flags: Mapping[str, Any], folder: Path) -> EmbeddingStore:
    """One network's vectors in `folder`; their key covers weights, preprocessing, dtype and what made the pixels.

    A backbone that brings its `vectors` along (`harness.given_features`) is served from those, and lacks none.
    """
    given = getattr(backbone, "vectors", None)
    if given is not None:
        return given
    return EmbeddingStore(folder / "embeddings", canonical_hash([backbones.identity(backbone), flags]))


def missing_images(data: Records, plan: DomainPlan, store: EmbeddingStore) -> Images:
    """The images of the plan that have no vector yet."""
    parts = [(c, store.missing(data.fingerprint(c), records)) for c, records in plan.images.by_class()]
    return Images.concatenate(parts)


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
    """Embed these images of `data`, whose pixels `source` gives; each class is on disk when its last image is done."""
    workers = min(len(os.sched_getaffinity(0)), MOST_DECODERS)
    inputs = stream_images(source, images, backbone.card.image_size, workers=workers, pinned=pinned)
    vectors = _vectors(inputs, backbone, advance)
    for class_id, records in images.by_class():
        store.save(data.fingerprint(class_id), records, np.stack(list(islice(vectors, len(records)))))


def load_features(data: Records, plan: DomainPlan, stores: Sequence[EmbeddingStore]) -> np.ndarray:
    """(n, d) float32 vectors of the plan's distinct images, in their sorted order; (n, K, d) from K stores."""
    images = [(data.fingerprint(c), records) for c, records in plan.images.by_class()]
    features = [np.concatenate([store.load(*each) for each in images]) for store in stores]
    return features[0] if len(features) == 1 else np.stack(features, axis=1)


def _vectors(inputs: Iterator[torch.Tensor], backbone: Backbone, advance: Advance) -> Iterator[np.ndarray]:
    for batch in embed_in_fixed_batches(backbone, inputs):
        advance(len(batch))
        yield from (batch if batch.dtype == torch.float64 else batch.float()).cpu().numpy()
