"""Which stores of vectors a run reads and fills: one for each network, kind of vector and precision on disk."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

import backbones
from backbones.embeddings import EmbeddingStore, StoreFacts
from episodes.images import Images
from harness.pixels import Records

if TYPE_CHECKING:
    from backbones.contract import Backbone

Kind = Literal["features", "maps"]


class KeptMaps(NamedTuple):
    """Stores of maps, one for each network, that hold all images of a plan."""

    cache: Path
    facts: tuple[StoreFacts, ...]


def store_facts(backbone: Backbone, flags: Mapping[str, Any], dtype: str, kind: Kind = "features") -> StoreFacts:
    """What the cache of one network's vectors is: network, weights, preprocessing, what made the pixels, dtype."""
    parts = {**backbones.identity_parts(backbone), **flags}
    return StoreFacts(backbone=backbone.name, kind=kind, dtype=dtype, parts=parts)


def open_store(facts: StoreFacts, cache: Path) -> EmbeddingStore:
    """The vectors that are stored now."""
    return EmbeddingStore(embeddings_folder(cache), facts)


def store_of(backbone: Backbone, facts: StoreFacts, cache: Path) -> EmbeddingStore:
    """The vectors that a backbone brings along (`harness.given_features`), else those that are stored now."""
    given = getattr(backbone, "vectors", None)
    return open_store(facts, cache) if given is None else given


def embeddings_folder(cache: Path) -> Path:
    """Where all stores of vectors lie."""
    return cache / "embeddings"


def missing_images(data: Records, images: Images, store: EmbeddingStore) -> Images:
    """Those of the images that have no vector yet."""
    parts = [(c, store.missing(data.fingerprint(c), records)) for c, records in images.by_class()]
    return Images.concatenate(parts)


def load_vectors(data: Records, images: Images, stores: Sequence[EmbeddingStore]) -> np.ndarray:
    """(n, ...) vectors of these images, sorted by class; (n, K, ...) from K stores."""
    wanted = [(data.fingerprint(c), records) for c, records in images.by_class()]
    vectors = [store.load(wanted) for store in stores]
    return vectors[0] if len(vectors) == 1 else np.stack(vectors, axis=1)


@functools.lru_cache(maxsize=4)
def open_maps(kept: KeptMaps) -> tuple[EmbeddingStore, ...]:
    """The stores of maps, opened once per process; to be called when all maps are in them."""
    return tuple(open_store(facts, kept.cache) for facts in kept.facts)
