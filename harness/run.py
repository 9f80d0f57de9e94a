"""One run, in order: plan, embed what is missing, adapt what is missing, store, report."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping

from rich.console import Console
from rich.filesize import decimal

import adapters
import backbones
from episodes.plan import blocks
from episodes.plan_file import save_plan
from harness.blocks import BLOCK, Block
from harness.cautions import cautions
from harness.cells import Cell, Run, prepare, record, row_of
from harness.console import say
from harness.engines.local import run_blocks
from harness.inputs import DomainData
from harness.manifest import write_manifest
from harness.pixels import PixelChoice, bytes_to_keep, room_for
from harness.progress import Part, bar, parts
from harness.report import report
from harness.request import Request
from harness.stores import KeptMaps, load_vectors, store_of
from harness.vectors import cache_in_use, choose_maps, embed, facts_of
from results.store import ResultStore


def run(request: Request, console: Console) -> None:
    """Run what is missing of the request and print its leaderboard."""
    started = time.perf_counter()
    current = prepare(request)
    plan = current.plan
    save_plan(plan, request.out / "plans" / f"{plan.hash[:12]}.npz")
    say(console, request.benchmark.title)
    say(console, f"plan      {plan.hash[:12]}: {len(plan.domains)} domains x {plan.tasks} episodes, seed {plan.seed}")
    if current.left_out:
        say(console, current.left_out)
    for caution in cautions(current):
        console.print(f"caution   {caution}", style="yellow", highlight=False, markup=False)
    with ResultStore(request.out / "results.sqlite") as store, cache_in_use(current):
        embedded, computed = compute(current, store, console)
        write_manifest(current, embedded=embedded, computed=computed)
        report(store, plan.hash, request.out, console)
    say(console, f"{time.perf_counter() - started:.0f} s in all")


def compute(current: Run, store: ResultStore, console: Console) -> tuple[int, int]:
    """Compute and store what the store lacks of a run; the number of images embedded and of episodes computed."""
    record(store, current)
    todo = list(_missing_blocks(store, current))
    cells = [cell for cell, _ in todo]
    maps = choose_maps(current, cells, console)
    pixels = _keep_pixels(current, cells, maps, console)
    embedded = _embed(current, cells, maps, pixels, console)
    return embedded, _adapt(current, todo, maps, pixels, store, console)


def _missing_blocks(store: ResultStore, current: Run) -> Iterator[tuple[Cell, range]]:
    """The blocks that lack at least one row, domain by domain; two names of one configuration share theirs."""
    distinct = {(cell.domain.name, cell.configured.adapter_hash): cell for cell in current.cells}
    for cell in distinct.values():
        done = store.done(cell.keys)
        for block in blocks(len(cell.keys), BLOCK):
            if any(cell.keys[task] not in done for task in block):
                yield cell, block


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
        images = kept.missing(domain.plan.images)
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
    console: Console,
) -> int:
    """Embed those images of the cells' domains that have no vector yet; returns how many that were."""
    features = {cell.domain.name: cell.domain for cell in cells if cell.configured.wants_features}
    kept = {cell.domain.name: cell.domain for cell in cells if cell.domain.name in maps}
    embedded = embed(current, list(features.values()), "features", pixels, console)
    embed(current, list(kept.values()), "maps", pixels, console)
    return embedded


def _adapt(
    current: Run,
    todo: list[tuple[Cell, range]],
    maps: Mapping[str, KeptMaps],
    pixels: Mapping[str, PixelChoice],
    store: ResultStore,
    console: Console,
) -> int:
    """Compute the missing blocks and store each as it comes; returns the number of episodes computed."""
    total = sum(len(block) for _, block in todo)
    request = current.request
    names = ", ".join(method.label for method in request.methods)
    state = f"{total:,} to run, {request.workers} at a time" if total else "all done already"
    say(console, f"episodes  {names}: {state}")
    cells = {(cell.domain.name, cell.configured.adapter_hash): cell for cell in current.cells}
    with parts(console, _totals(todo)) as done:
        for block, results in run_blocks(_jobs(current, todo, maps, pixels), request.workers if todo else 1):
            cell = cells[block.data.plan.domain, block.adapter_hash]
            store.add([row_of(current, cell, result) for result in results])
            done(_part(cell), [result.accuracy for result in results])
    return total


def _totals(todo: list[tuple[Cell, range]]) -> dict[Part, int]:
    totals: Counter[Part] = Counter()
    for cell, block in todo:
        totals[_part(cell)] += len(block)
    return dict(totals)


def _part(cell: Cell) -> Part:
    return Part(cell.domain.name, cell.configured.label)


def _jobs(
    current: Run, todo: list[tuple[Cell, range]], maps: Mapping[str, KeptMaps], pixels: Mapping[str, PixelChoice]
) -> Iterator[Block]:
    """The blocks as work for the engine; a domain's features are loaded when its turn comes."""
    request, features = current.request, None
    networks = backbones.members_of(current.backbone)
    stores = [store_of(*each, request.vectors) for each in zip(networks, facts_of(current, "features"), strict=True)]
    data: DomainData | None = None
    for cell, tasks in todo:
        domain, configured = cell.domain, cell.configured
        if data is None or data.plan is not domain.plan:
            wanted = any(other.configured.wants_features for other, _ in todo if other.domain is domain)
            features = load_vectors(domain.records, domain.plan.images, stores) if wanted else None
            data = DomainData(
                domain.plan,
                domain.records.folder,
                pixels[domain.name],
                features,
                maps.get(domain.name),
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
        )
