"""A run, resolved: its plan, its backbone, and a cell for every method on every domain, down to row keys."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import backbones
from backbones.contract import Backbone
from episodes.images import Images
from episodes.plan import DomainPlan, Plan
from episodes.sampling import EpisodeConfig
from harness.blocks import EpisodeResult
from harness.config import setting_of
from harness.methods import Configured, configure
from harness.pixels import PixelChoice, Records
from harness.request import Request, usual_store_dtype
from harness.shards import tasks_of
from harness.trained_on import contaminated, seen
from harness.views import described
from results.entries import Entry
from results.identity import Row, canonical_hash, row_key
from results.logits import logits_folder
from results.store import ResultStore


class DomainRun(NamedTuple):
    """A domain in a run. `records_hash`: identity of the split's images; `seen`, `contaminated`: the backbone card's
    word on it; `tasks`: the episodes that are run, all of them unless this is a shard."""

    name: str
    records: Records
    records_hash: str
    seen: str
    contaminated: bool
    plan: DomainPlan
    tasks: range

    @property
    def images(self) -> Images:
        """The distinct images that are wanted."""
        classes, records = self.plan.images
        at = self.plan.positions(self.tasks)
        return Images(classes[at], records[at])


class Cell(NamedTuple):
    """One method on one domain; `keys`: the row key of each episode."""

    domain: DomainRun
    configured: Configured
    keys: list[str]


@dataclass(frozen=True)
class Run:
    """Everything that is known before the first image is decoded. The cells of a domain stand together.

    `left_out`: a line about domains of the request that the plan has not. `pixels`: how images are had. `flags`: what
    of the options changes embeddings, and so is part of each row's key.
    """

    request: Request
    plan: Plan
    left_out: str
    backbone: Backbone
    backbone_hash: str
    pixels: PixelChoice
    flags: Mapping[str, Any]
    cells: list[Cell]


def prepare(request: Request) -> Run:
    """Configure each method for each domain, open the records and make the plan; wrong names fail before slow steps."""
    backbone = request.backbone.load(request.device_here)
    identity = backbones.identity(backbone)
    card = backbone.card
    pixels = PixelChoice(request.pixels, card.image_size, request.cache)
    flags = {**pixels.flags, **_unusual(request)}
    states = {domain.name: seen(card, domain.name) for domain in request.domains}
    configured = {
        name: [
            configure(method, name, state, request.benchmark.setting, backbone, request.hyper)
            for method in request.methods
        ]
        for name, state in states.items()
    }
    planned = request.source.plan(request)
    parts = tasks_of(request.shard, [len(domain) for domain in planned.plan.domains])
    cells = []
    for (name, records), domain_plan, tasks in zip(planned.domains, planned.plan.domains, parts, strict=True):
        fingerprint, known = records.split_fingerprint(request.split), contaminated(card, name, request.split)
        domain = DomainRun(name, records, fingerprint, states[name], known, domain_plan, tasks)
        cells += [Cell(domain, chosen, _keys(domain, chosen, identity, flags)) for chosen in configured[name]]
    return Run(request, planned.plan, planned.left_out, backbone, identity, pixels, flags, cells)


def record(store: ResultStore, run: Run) -> None:
    """Tell the store which rows the leaderboard of this plan is made of."""
    domains = {cell.domain.name: cell.domain for cell in run.cells}
    store.record_plan(
        run.plan.hash,
        run.plan.benchmark,
        run.plan.split,
        run.plan.seed,
        run.plan.tasks,
        episodes={name: domain.plan.hashes for name, domain in domains.items()},
        records={name: domain.records_hash for name, domain in domains.items()},
        setting=setting_of(run.request.benchmark.protocol),
    )
    entries = [
        Entry(
            method=cell.configured.label,
            backbone=_label(run),
            domain=cell.domain.name,
            adapter_hash=cell.configured.adapter_hash,
            backbone_hash=run.backbone_hash,
            flags=json.dumps(_flags(cell.configured, run.flags)),
            seen=cell.domain.seen,
            contaminated=cell.domain.contaminated,
        )
        for cell in run.cells
    ]
    store.record_entries(run.plan.hash, entries)


def _label(run: Run) -> str:
    """The backbone's name on the leaderboard, with its precision and pixels where those are not the usual ones."""
    dtype, unusual = run.request.backbone.dtype, _unusual(run.request)
    words = [
        *([] if dtype == "float32" else [dtype]),
        *(word for word in ("compiled", "deterministic") if word in unusual),
        *([f"{unusual['store_dtype']} features"] if "store_dtype" in unusual else []),
        *(["rounded"] if run.pixels.kind == "rounded" else []),
    ]
    return " ".join([run.backbone.name, *words])


def _unusual(request: Request) -> dict[str, Any]:
    """How embeddings are made and kept, where it is not as usual."""
    usual = request.store_dtype == usual_store_dtype(request.backbone.dtype)
    compiled = {"compiled": True} if request.backbone.compiled else {}
    deterministic = {"deterministic": True} if request.deterministic else {}
    return {**({} if usual else {"store_dtype": request.store_dtype}), **compiled, **deterministic}


def logits_of(run: Run, cell: Cell) -> Path:
    """The folder where the cell's logits are kept, if they are."""
    domain, configured = cell.domain, cell.configured
    return logits_folder(
        run.request.out,
        adapter=configured.name,
        adapter_hash=configured.adapter_hash,
        backbone_hash=run.backbone_hash,
        flags=_flags(configured, run.flags),
        domain=domain.name,
        records_hash=domain.records_hash,
    )


def row_of(run: Run, cell: Cell, result: EpisodeResult) -> Row:
    """The row of one evaluated episode."""
    domain, configured, task = cell.domain, cell.configured, result.task
    episode = domain.plan.episode(task)
    return Row(
        key=cell.keys[task],
        domain=domain.name,
        split=run.plan.split,
        task=task,
        episode_hash=domain.plan.hashes[task],
        protocol_hash=_protocol_hash(domain.plan.protocol),
        records_hash=domain.records_hash,
        spec_hash=domain.plan.spec_digest,
        plan_hash=run.plan.hash,
        seed=run.plan.seed,
        adapter=configured.name,
        adapter_version=configured.version,
        hyperparameters=json.dumps(configured.hyperparameters, sort_keys=True),
        adapter_hash=configured.adapter_hash,
        backbone=run.backbone.name,
        backbone_hash=run.backbone_hash,
        weights_sha256=run.backbone.card.weights_sha256,
        dtype=run.request.backbone.dtype,
        flags=json.dumps(_flags(configured, run.flags)),
        seen=domain.seen,
        way=episode.way,
        n_support=len(episode.support_labels),
        n_query=len(episode.query_labels),
        accuracy=result.accuracy,
        wall_s=result.wall_s,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


@functools.lru_cache(maxsize=64)
def _protocol_hash(protocol: EpisodeConfig) -> str:
    return canonical_hash(asdict(protocol))


def _flags(configured: Configured, flags: Mapping[str, Any]) -> dict[str, Any]:
    """What of the options belongs to a result: how embeddings were had, where hyper-parameters come from, views."""
    views = configured.adapter.views
    return {**flags, "hyper": configured.hyper, **({"views": described(views)} if views else {})}


def _keys(domain: DomainRun, configured: Configured, backbone_hash: str, flags: Mapping[str, Any]) -> list[str]:
    return [
        row_key(
            adapter_hash=configured.adapter_hash,
            backbone_hash=backbone_hash,
            flags=_flags(configured, flags),
            domain=domain.name,
            records_hash=domain.records_hash,
            episode_hash=episode_hash,
        )
        for episode_hash in domain.plan.hashes
    ]
