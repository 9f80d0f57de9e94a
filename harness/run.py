"""One run, in order: plan, embed what is missing, adapt what is missing, store, report."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

from rich.console import Console
from rich.filesize import decimal

import adapters
import backbones
from backbones.contract import Backbone
from episodes.plan import blocks
from episodes.plan_file import save_plan
from harness.blocks import BLOCK, Block
from harness.cautions import cautions
from harness.cells import Cell, DomainRun, Run, prepare, record, row_of
from harness.embed import embed_images, load_features, missing_images, open_store
from harness.engines.local import run_blocks
from harness.inputs import DomainData
from harness.manifest import write_manifest
from harness.pixels import PixelChoice, bytes_to_keep, room_for
from harness.progress import bar
from harness.report import report
from harness.request import Request
from results.store import ResultStore


def run(request: Request, console: Console) -> None:
    """Run what is missing of the request and print its leaderboard."""
    started = time.perf_counter()
    current = prepare(request)
    plan = current.plan
    save_plan(plan, request.out / "plans" / f"{plan.hash[:12]}.npz")
    _say(console, request.benchmark.title)
    _say(console, f"plan      {plan.hash[:12]}: {len(plan.domains)} domains x {plan.tasks} episodes, seed {plan.seed}")
    if current.left_out:
        _say(console, current.left_out)
    for caution in cautions(current):
        console.print(f"caution   {caution}", style="yellow", highlight=False, markup=False)
    with ResultStore(request.out / "results.sqlite") as store:
        embedded, computed = compute(current, store, console)
        write_manifest(current, embedded=embedded, computed=computed)
        report(store, plan.hash, request.out, console)
    _say(console, f"{time.perf_counter() - started:.0f} s in all")


def compute(current: Run, store: ResultStore, console: Console) -> tuple[int, int]:
    """Compute and store what the store lacks of a run; the number of images embedded and of episodes computed."""
    record(store, current)
    todo = list(_missing_blocks(store, current))
    pixels = _keep_pixels(current, [cell for cell, _ in todo], console)
    embedded = _embed(current, [cell for cell, _ in todo], pixels, console)
    return embedded, _adapt(current, todo, pixels, store, console)


def _missing_blocks(store: ResultStore, current: Run) -> Iterator[tuple[Cell, range]]:
    """The blocks that lack at least one row, domain by domain; two names of one configuration share theirs."""
    distinct = {(cell.domain.name, cell.configured.adapter_hash): cell for cell in current.cells}
    for cell in distinct.values():
        done = store.done(cell.keys)
        for block in blocks(len(cell.keys), BLOCK):
            if any(cell.keys[task] not in done for task in block):
                yield cell, block


def _keep_pixels(current: Run, cells: list[Cell], console: Console) -> dict[str, PixelChoice]:
    """Keep the pixels that will be wanted again and are not kept yet; how each domain's pixels are had from now on."""
    choice = current.pixels
    chosen = {cell.domain.name: choice for cell in cells}
    wanting = {c.domain.name: c.domain for c in cells if c.configured.wants_pixels or choice.kind == "rounded"}
    if choice.kind == "decode":
        return chosen
    for name, domain in wanting.items():
        kept = choice.store(domain.records)
        images = kept.missing(domain.plan.images)
        needed = bytes_to_keep(domain.records, images, choice)
        if choice.kind == "keep" and not room_for(needed, choice.cache):
            _say(console, f"pixels    {name}: {decimal(needed)} are more than half of the free disk; not kept")
            chosen[name] = choice._replace(kind="decode")
        elif len(images.classes):
            _say(console, f"pixels    {name}: keeping {len(images.classes):,} images, about {decimal(needed)}")
            with bar(console, "decode", len(images.classes)) as advance:
                kept.keep(images, advance=advance)
    return chosen


def _embed(current: Run, cells: list[Cell], pixels: Mapping[str, PixelChoice], console: Console) -> int:
    """Embed those images of the cells' domains that have no vector yet, by each network; returns how many that were."""
    domains = {cell.domain.name: cell.domain for cell in cells if cell.configured.wants_features}
    if not domains:
        return 0
    networks = backbones.members_of(current.backbone)
    return sum(_embed_with(network, current, list(domains.values()), pixels, console) for network in networks)


def _embed_with(
    backbone: Backbone, current: Run, domains: list[DomainRun], pixels: Mapping[str, PixelChoice], console: Console
) -> int:
    store = open_store(backbone, current.pixels.flags, current.request.vectors)
    pinned = current.request.device.startswith("cuda")
    missing = [missing_images(domain.records, domain.plan, store) for domain in domains]
    total = sum(len(images.classes) for images in missing)
    touched = sum(len(domain.plan.images.classes) for domain in domains)
    _say(console, f"images    {touched:,} distinct, {total:,} of them to embed with {backbone.name}")
    with bar(console, "embed", total) as advance:
        for domain, images in zip(domains, missing, strict=True):
            source = pixels[domain.name].source(domain.records)
            embed_images(domain.records, source, images, backbone, store, advance, pinned=pinned)
    return total


def _adapt(
    current: Run,
    todo: list[tuple[Cell, range]],
    pixels: Mapping[str, PixelChoice],
    store: ResultStore,
    console: Console,
) -> int:
    """Compute the missing blocks and store each as it comes; returns the number of episodes computed."""
    total = sum(len(block) for _, block in todo)
    request = current.request
    names = ", ".join(method.label for method in request.methods)
    state = f"{total:,} to run, {request.workers} at a time" if total else "all done already"
    _say(console, f"episodes  {names}: {state}")
    cells = {(cell.domain.name, cell.configured.adapter_hash): cell for cell in current.cells}
    with bar(console, "adapt", total) as advance:
        for block, results in run_blocks(_jobs(current, todo, pixels), request.workers if todo else 1):
            cell = cells[block.data.plan.domain, block.adapter_hash]
            store.add([row_of(current, cell, result) for result in results])
            advance(len(results))
    return total


def _jobs(current: Run, todo: list[tuple[Cell, range]], pixels: Mapping[str, PixelChoice]) -> Iterator[Block]:
    """The blocks as work for the engine; a domain's features are loaded when its turn comes."""
    request, features = current.request, None
    stores = [
        open_store(each, current.pixels.flags, request.vectors) for each in backbones.members_of(current.backbone)
    ]
    data: DomainData | None = None
    for cell, tasks in todo:
        domain, configured = cell.domain, cell.configured
        if data is None or data.plan is not domain.plan:
            wanted = any(other.configured.wants_features for other, _ in todo if other.domain is domain)
            features = load_features(domain.records, domain.plan, stores) if wanted else None
            data = DomainData(domain.plan, domain.records.folder, pixels[domain.name], features)
        yield Block(
            data=data,
            adapter=configured.method.name,
            hyperparameters=adapters.hyperparameters_of(configured.adapter),
            adapter_hash=configured.adapter_hash,
            backbone=request.backbone if configured.wants_backbone else None,
            device=request.device,
            first=tasks.start,
            count=len(tasks),
        )


def _say(console: Console, line: str) -> None:
    style = "bold" if line[:1].isupper() else "dim"
    console.print(line, highlight=False, markup=False, style=style)
