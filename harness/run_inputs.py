"""What a run's episodes are made of: pixels kept, images embedded, and blocks as work for an engine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from rich.console import Console
from rich.filesize import decimal

import adapters
import backbones
from harness.blocks import Block
from harness.cells import Cell, Run
from harness.console import say
from harness.engines.contract import Engine
from harness.inputs import DomainData
from harness.pixels import PixelChoice, bytes_to_keep, room_for
from harness.progress import bar
from harness.reach import check_machines
from harness.stores import KeptMaps, store_of
from harness.vectors import choose_maps, embed, facts_of, lacks_features, load_features


class Inputs(NamedTuple):
    """How workers come by what episodes are made of: kept maps and pixels by domain. `embedded`: images just now."""

    maps: Mapping[str, KeptMaps]
    pixels: Mapping[str, PixelChoice]
    embedded: int


def make_inputs(current: Run, cells: list[Cell], engine: Engine, console: Console) -> Inputs:
    """Decode and embed what the cells need and is not kept yet.

    Raises HarnessError when a machine that works for the engine lacks something.
    """
    if current.request.engine.kind == "ray":
        check_machines(engine, current, [cell for cell in cells if _reads_images(current, cell)])
    maps = choose_maps(current, cells, engine, console)
    pixels = _keep_pixels(current, cells, maps, console)
    return Inputs(maps, pixels, _embed(current, cells, maps, pixels, engine, console))


def blocks_of(current: Run, todo: list[tuple[Cell, range]], inputs: Inputs, *, losses: bool = False) -> Iterator[Block]:
    """The blocks as work for the engine; a domain's features are loaded when its turn comes. `losses`: let adapters
    tell theirs."""
    request, features = current.request, None
    networks = backbones.members_of(current.backbone)
    stores = [store_of(*each, request.vectors) for each in zip(networks, facts_of(current, "features"), strict=True)]
    data: DomainData | None = None
    for cell, tasks in todo:
        domain, configured = cell.domain, cell.configured
        if data is None or data.plan is not domain.plan:
            data = features = None  # before the next ones are loaded
            wanted = any(other.configured.wants_features for other, _ in todo if other.domain is domain)
            features = load_features(domain, stores) if wanted else None
            data = DomainData(
                domain.plan,
                domain.records.folder,
                inputs.pixels[domain.name],
                features,
                inputs.maps.get(domain.name),
                request.store_dtype,
            )
        yield Block(
            data=data,
            adapter=configured.method.name,
            hyperparameters=adapters.hyperparameters_of(configured.adapter),
            adapter_hash=configured.adapter_hash,
            backbone=request.backbone if configured.wants_backbone else None,
            backbone_hash=current.backbone_hash,
            device=request.device,
            first=tasks.start,
            count=len(tasks),
            keep_logits=request.save_logits,
            deterministic=request.deterministic,
            keep_losses=losses,
        )


def _reads_images(current: Run, cell: Cell) -> bool:
    """Whether a worker reads images for the cell, to embed them or to adapt to them."""
    return cell.configured.wants_backbone or (cell.configured.wants_features and lacks_features(current, cell.domain))


def _keep_pixels(
    current: Run, cells: list[Cell], maps: Mapping[str, KeptMaps], console: Console
) -> dict[str, PixelChoice]:
    """Keep the pixels that will be wanted again and are not kept yet; how each domain's pixels are had from now on."""
    choice = current.pixels
    chosen = {cell.domain.name: choice for cell in cells}
    wanting = {cell.domain.name: cell.domain for cell in cells if choice.kind == "rounded" or _reads_pixels(cell, maps)}
    if choice.kind == "decode":
        return chosen
    for name, domain in wanting.items():
        kept = choice.store(domain.records)
        images = kept.missing(domain.images)
        needed = bytes_to_keep(domain.records, images, choice)
        if choice.kind == "keep" and not room_for(needed, choice.cache):
            say(console, f"pixels    {name}: {decimal(needed)} are more than half of the free disk; not kept")
            chosen[name] = choice._replace(kind="decode")
        elif len(images.classes):
            say(console, f"pixels    {name}: keeping {len(images.classes):,} images, about {decimal(needed)}")
            with bar(console, "decode", len(images.classes)) as advance:
                kept.keep(images, advance=advance)
    return chosen


def _reads_pixels(cell: Cell, maps: Mapping[str, KeptMaps]) -> bool:
    """Whether each of the cell's episodes reads images."""
    return cell.configured.wants_images or (cell.configured.wants_maps and cell.domain.name not in maps)


def _embed(
    current: Run,
    cells: list[Cell],
    maps: Mapping[str, KeptMaps],
    pixels: Mapping[str, PixelChoice],
    engine: Engine,
    console: Console,
) -> int:
    """Embed those images of the cells' domains that have no vector yet; returns how many that were."""
    features = {cell.domain.name: cell.domain for cell in cells if cell.configured.wants_features}
    kept = {cell.domain.name: cell.domain for cell in cells if cell.domain.name in maps}
    embedded = embed(current, list(features.values()), "features", pixels, engine, console)
    embed(current, list(kept.values()), "maps", pixels, engine, console)
    return embedded
