"""A run, resolved: its plan, its backbone, and a cell for every method on every domain, down to row keys."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

import backbones
from backbones.contract import Backbone
from episodes.dataset import DatasetRecords
from episodes.plan import DomainPlan, Plan, plan_domain
from harness.config import Benchmark
from harness.domains import OpenDomain, open_domains
from harness.evaluate import EpisodeResult, load_backbone
from harness.methods import Configured, configure
from harness.request import Request
from results.entries import Entry
from results.identity import Row, canonical_hash, row_key
from results.store import ResultStore

FLAGS: dict[str, Any] = {}
"""Options that change embeddings beyond the backbone's own identity; there are none yet."""


class DomainRun(NamedTuple):
    """A domain in a run. `records_hash`: identity of the split's images; `seen`: the backbone card's word on it."""

    name: str
    records: DatasetRecords
    records_hash: str
    seen: str
    plan: DomainPlan


class Cell(NamedTuple):
    """One method on one domain; `keys`: the row key of each episode."""

    domain: DomainRun
    configured: Configured
    keys: list[str]


@dataclass(frozen=True)
class Run:
    """Everything that is known before the first image is decoded. The cells of a domain stand together."""

    request: Request
    plan: Plan
    backbone: Backbone
    backbone_hash: str
    cells: list[Cell]


def prepare(request: Request) -> Run:
    """Configure each method for each domain, open the records and make the plan; wrong names fail before slow steps."""
    backbone = load_backbone(request.backbone, request.device)
    identity = backbones.identity(backbone)
    seen = {domain.name: backbone.card.seen(domain.name) for domain in request.domains}
    configured = {
        name: [configure(method, name, state, request.benchmark.setting, backbone) for method in request.methods]
        for name, state in seen.items()
    }
    opened = open_domains(request.benchmark, request.domains, request.records, request.cache)
    plan = make_plan(request.benchmark, opened, request.split, request.tasks, request.seed)
    cells = []
    for (name, records), domain_plan in zip(opened, plan.domains, strict=True):
        domain = DomainRun(name, records, records.split_fingerprint(request.split), seen[name], domain_plan)
        cells += [Cell(domain, chosen, _keys(domain, chosen, identity)) for chosen in configured[name]]
    return Run(request, plan, backbone, identity, cells)


def make_plan(benchmark: Benchmark, domains: Sequence[OpenDomain], split: str, tasks: int, seed: int) -> Plan:
    """Sample every episode."""
    plans = [
        plan_domain(domain.name, domain.records.spec, split=split, protocol=benchmark.protocol, seed=seed, tasks=tasks)
        for domain in domains
    ]
    return Plan(benchmark.name, split, seed, tasks, tuple(plans))


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
    )
    entries = [
        Entry(
            method=cell.configured.method.label,
            backbone=_label(run),
            domain=cell.domain.name,
            adapter_hash=cell.configured.adapter_hash,
            backbone_hash=run.backbone_hash,
            flags=json.dumps(FLAGS),
            seen=cell.domain.seen,
        )
        for cell in run.cells
    ]
    store.record_entries(run.plan.hash, entries)


def _label(run: Run) -> str:
    """The backbone's name on the leaderboard, with its precision where that is not the usual one."""
    dtype = run.request.backbone.dtype
    return run.backbone.name if dtype == "float32" else f"{run.backbone.name} {dtype}"


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
        protocol_hash=canonical_hash(asdict(domain.plan.protocol)),
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
        flags=json.dumps(FLAGS),
        seen=domain.seen,
        way=episode.way,
        n_support=len(episode.support_labels),
        n_query=len(episode.query_labels),
        accuracy=result.accuracy,
        wall_s=result.wall_s,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _keys(domain: DomainRun, configured: Configured, backbone_hash: str) -> list[str]:
    return [
        row_key(
            adapter_hash=configured.adapter_hash,
            backbone_hash=backbone_hash,
            flags=FLAGS,
            domain=domain.name,
            records_hash=domain.records_hash,
            episode_hash=episode_hash,
        )
        for episode_hash in domain.plan.hashes
    ]
