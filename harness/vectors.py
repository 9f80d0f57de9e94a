"""The vectors that a run needs: which of them are kept, and the making of those that are missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from math import prod

import numpy as np
from rich.console import Console
from rich.filesize import decimal

import backbones
from backbones.blocks import DTYPES
from backbones.contract import Backbone
from backbones.embeddings import EmbeddingStore, StoreFacts, in_fixed_batches, only_embedder
from episodes.images import Images
from harness.cells import Cell, DomainRun, Run
from harness.console import say
from harness.devices import on_gpu
from harness.embed import ImageBlock, embed_block, embed_images, image_blocks, keep
from harness.engines.contract import Engine
from harness.inputs import DomainData
from harness.pixels import PixelChoice, room_for
from harness.progress import bar
from harness.reach import shared_everywhere
from harness.stores import (
    KeptMaps,
    Kind,
    embeddings_folder,
    load_vectors,
    missing_images,
    open_store,
    store_facts,
    store_of,
)
from results.files import in_use


def facts_of(current: Run, kind: Kind) -> tuple[StoreFacts, ...]:
    """The store of each network of the run."""
    request, networks = current.request, backbones.members_of(current.backbone)
    return tuple(store_facts(network, current.pixels.flags, request.store_dtype, kind) for network in networks)


@contextmanager
def cache_in_use(current: Run) -> Iterator[None]:
    """While the block lasts, nobody takes away what the run may read of the cache."""
    request, methods = current.request, [cell.configured for cell in current.cells]
    embeds = not hasattr(current.backbone, "vectors") and any(method.wants_features for method in methods)
    features = facts_of(current, "features") if embeds else ()
    maps = facts_of(current, "maps") if any(method.wants_maps for method in methods) else ()
    with ExitStack() as stack:
        stack.enter_context(in_use(request.cache / "pixels"))
        for key in {facts.key for facts in (*features, *maps)}:
            stack.enter_context(in_use(embeddings_folder(request.vectors) / key))
        yield


def choose_maps(current: Run, cells: Sequence[Cell], engine: Engine, console: Console) -> dict[str, KeptMaps]:
    """For each domain whose maps will be read: where they are kept. A domain is left out whose maps, after those of the
    others, need more than half of the free disk; they are computed for each episode, as all are where a machine that
    computes has no sight of the cache."""
    wanting = {cell.domain.name: cell.domain for cell in cells if cell.configured.wants_maps}
    if not wanting:
        return {}
    if not shared_everywhere(engine, current.request.vectors):
        say(console, "maps      not kept: the cache is not on a disk that all machines share")
        return {}
    kept = KeptMaps(current.request.vectors, facts_of(current, "maps"))
    stores = [open_store(facts, kept.cache) for facts in kept.facts]
    sizes = [bytes_of_maps(network, current.request.store_dtype) for network in backbones.members_of(current.backbone)]
    chosen, promised = {}, 0
    for name, domain in wanting.items():
        missing = [len(missing_images(domain.records, domain.images, store).classes) for store in stores]
        needed = sum(count * size for count, size in zip(missing, sizes, strict=True))
        if room_for(promised + needed, kept.cache):
            chosen[name], promised = kept, promised + needed
        else:
            say(console, f"maps      {name}: {decimal(needed)} are more than half of the free disk; not kept")
    return chosen


def embed(
    current: Run,
    domains: Sequence[DomainRun],
    kind: Kind,
    pixels: Mapping[str, PixelChoice],
    engine: Engine,
    console: Console,
) -> int:
    """Make the vectors of the domains' images that are missing, by each network; returns how many images that were."""
    if not domains:
        return 0
    members = enumerate(facts_of(current, kind))
    return sum(_embed_with(member, facts, current, domains, pixels, engine, console) for member, facts in members)


def lacks_features(current: Run, domain: DomainRun) -> bool:
    """Whether some image of the domain has to be embedded."""
    pairs = zip(backbones.members_of(current.backbone), facts_of(current, "features"), strict=True)
    stores = (store_of(*pair, current.request.vectors) for pair in pairs)
    return any(len(missing_images(domain.records, domain.images, store).classes) for store in stores)


def _embed_with(
    member: int,
    facts: StoreFacts,
    current: Run,
    domains: Sequence[DomainRun],
    pixels: Mapping[str, PixelChoice],
    engine: Engine,
    console: Console,
) -> int:
    backbone = backbones.members_of(current.backbone)[member]
    missing, total = _missing(store_of(backbone, facts, current.request.vectors), domains)
    touched = sum(len(domain.images.classes) for domain in domains)
    what = "embed" if facts.kind == "features" else "make maps of"
    say(console, f"images    {touched:,} distinct, {total:,} of them to {what} with {backbone.name}")
    if not total:
        return 0

    def waiting() -> None:
        say(console, f"images    waiting for another run that embeds with {backbone.name}")

    with only_embedder(embeddings_folder(current.request.vectors), facts.key, waiting):
        store = open_store(facts, current.request.vectors)
        missing, total = _missing(store, domains)
        pinned = on_gpu(current.request.device_here)
        with bar(console, "embed", total) as advance:
            if engine.embeds:
                blocks = _image_blocks(current, member, facts, domains, missing, pixels)
                for block, vectors in engine.run(embed_block, blocks):
                    keep(store, block.images, block.fingerprints, vectors)
                    advance(len(vectors))
                return total
            for domain, images in zip(domains, missing, strict=True):
                source = pixels[domain.name].source(domain.records)
                embed_images(domain.records, source, images, backbone, store, advance, pinned=pinned)
    return total


def load_features(domain: DomainRun, stores: Sequence[EmbeddingStore]) -> np.ndarray:
    """(n, ...) features of the images of the domain's plan. Those that only other shards touch are NaN: an episode that
    read one would be refused."""
    vectors = load_vectors(domain.records, domain.images, stores)
    if len(domain.tasks) == len(domain.plan):
        return vectors
    features = np.full((len(domain.plan.images.classes), *vectors.shape[1:]), np.nan, vectors.dtype)
    features[domain.plan.positions(domain.tasks)] = vectors
    return features


def _image_blocks(
    current: Run,
    member: int,
    facts: StoreFacts,
    domains: Sequence[DomainRun],
    missing: Sequence[Images],
    pixels: Mapping[str, PixelChoice],
) -> Iterator[ImageBlock]:
    """The missing images as work for the engine."""
    request = current.request
    kind: Kind = "features" if facts.kind == "features" else "maps"
    for domain, images in zip(domains, missing, strict=True):
        data = DomainData(domain.plan, domain.records.folder, pixels[domain.name], None, dtype=request.store_dtype)
        for part, fingerprints in image_blocks(domain.records, images, kind):
            yield ImageBlock(
                data=data,
                backbone=request.backbone,
                backbone_hash=current.backbone_hash,
                member=member,
                kind=kind,
                images=part,
                fingerprints=fingerprints,
                device=request.device,
                deterministic=request.deterministic,
            )


def _missing(store: EmbeddingStore, domains: Sequence[DomainRun]) -> tuple[list[Images], int]:
    """The images of each domain that the store lacks, and how many they are."""
    missing = [missing_images(domain.records, domain.images, store) for domain in domains]
    return missing, sum(len(images.classes) for images in missing)


def bytes_of_maps(backbone: Backbone, dtype: str) -> int:
    """What one image's maps take where they are kept in that precision."""
    import numpy as np
    import torch

    size = backbone.card.image_size
    (maps,) = in_fixed_batches(backbone.maps, [torch.zeros(1, 3, size, size)])
    return prod(maps.shape) * np.dtype(DTYPES[dtype]).itemsize
