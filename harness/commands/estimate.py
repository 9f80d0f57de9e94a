"""What a run would take, from `dataset_spec.json` files alone: `metabench plan --dry-run`, `metabench run --dry-run`.

The episodes are really sampled, since that is cheap; published totals stand in for a data set that is not at hand. The
speed of embedding is measured, and that of the methods of a run.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from rich.console import Console

import backbones
from episodes.errors import BadSpec, MissingSource
from episodes.known_datasets import KNOWN, stand_in
from episodes.plan import DomainPlan, Plan, plan_domain
from episodes.spec import SPEC_FILE, DatasetSpec, load_spec
from harness.blocks import BLOCK
from harness.commands.estimate_methods import Methods, MethodTime, time_methods
from harness.config import Benchmark, Domain
from harness.devices import default_workers
from harness.domains import check_records, domain_folder, lies_under_records, with_split
from harness.errors import HarnessError
from harness.inputs import BATCH
from harness.progress import bar
from harness.vectors import bytes_of_maps

if TYPE_CHECKING:
    from backbones.contract import Backbone


class Network(NamedTuple):
    """The backbone to measure, `whose` it is in words, and the precision in which its vectors are kept."""

    backbone: Backbone
    whose: str
    store_dtype: str


class SpecifiedDomain(NamedTuple):
    """A domain and its classes; `at_hand`: they come from its spec, not from published totals."""

    name: str
    spec: DatasetSpec
    at_hand: bool


class Size(NamedTuple):
    """How much a plan is: its episodes, the classes of all of them together, images drawn, distinct images."""

    episodes: int
    ways: int
    drawn: int
    distinct: int

    @classmethod
    def of(cls, plan: DomainPlan) -> Size:
        """One domain's."""
        return cls(len(plan), int(plan.ways.sum()), len(plan.records), len(plan.images.classes))


class Estimate(NamedTuple):
    """What a run would take: its plan, and how fast (`rate`, images/s) `backbone` embeds.

    `domains`: in the order of the plan. `whose`: the backbone in words. `left_out`: a line about others ("" for none).
    `methods`: those of a run (none of a plan), which `workers` share. `bytes_of`: what is embedded, features or maps or
    both, and the bytes that those of one image take where they are kept.
    """

    title: str
    domains: Sequence[SpecifiedDomain]
    plan: Plan
    backbone: str
    whose: str
    feature_dim: int
    bytes_of: Mapping[str, int]
    rate: float
    left_out: str
    methods: Sequence[MethodTime]
    workers: int

    @property
    def certain(self) -> bool:
        """Whether the plan is that of the run, not one of published totals."""
        return all(domain.at_hand for domain in self.domains)

    def embedding_s(self, images: int) -> float:
        """Seconds to embed so many images, once for features and once for maps."""
        return images / self.rate * len(self.bytes_of)

    def embeddings_bytes(self, images: int) -> int:
        """What their features and maps take."""
        return images * sum(self.bytes_of.values())

    def adapting_s(self, method: MethodTime) -> float:
        """Seconds until the workers are through with all episodes of a method."""
        return method.seconds / self.workers

    @property
    def total_s(self) -> float:
        """Seconds of embedding and of all methods."""
        distinct = sum(len(part.images.classes) for part in self.plan.domains)
        return self.embedding_s(distinct) + sum(method.new_s for method in self.methods) / self.workers


def estimate(
    console: Console,
    benchmark: Benchmark,
    domains: Sequence[Domain],
    *,
    records: Path | None,
    cache: Path,
    split: str,
    tasks: int,
    seed: int,
    named: bool,
    network: Network,
    methods: Methods | None = None,
) -> Estimate:
    """Reckon, per data set, a run's episodes, the images they touch, and what embedding those takes; and for each of
    `methods` the time to adapt.

    `named`: the domains were chosen by name (`harness.domains.with_split`). No class file is opened; all that is
    written is a pocket domain that was never used before. Raises HarnessError, MissingSource or NotEnoughImages,
    naming the data set.
    """
    if records is not None:
        check_records(benchmark, domains, records)
    kept, left_out = with_split(
        [_specified(domain, records, cache) for domain in domains], benchmark, split, named=named
    )
    plan = _sample(console, benchmark, kept, split, tasks, seed)
    backbone, specs = network.backbone, [domain.spec for domain in kept]
    rate = images_per_second(backbone)  # before the methods, so that it bears what comes first
    timed = time_methods(console, methods, specs, plan.domains, backbone, rate) if methods else ()
    reads = {kind for method in timed for kind in method.reads} if methods else {"features"}
    return Estimate(
        title=f"{benchmark.title}: {split} split, seed {seed}, {tasks:,} episodes of each data set",
        domains=kept,
        plan=plan,
        backbone=backbone.name,
        whose=network.whose,
        feature_dim=backbone.feature_dim,
        bytes_of={kind: _bytes_of(kind, network) for kind in reads},
        rate=rate,
        left_out=left_out,
        methods=timed,
        workers=_busy(methods, plan) if methods else 1,
    )


def estimate_as_json(found: Estimate) -> dict[str, Any]:
    """The same as plain values; `plan` is the run's, None where published totals stand in for a data set."""
    sizes = [Size.of(part) for part in found.plan.domains]
    return {
        "plan": found.plan.hash if found.certain else None,
        "left_out": found.left_out,
        "backbone": found.backbone,
        "images_per_s": found.rate,
        "domains": [
            {
                "domain": domain.name,
                "estimated": not domain.at_hand,
                "episodes": size.episodes,
                "ways_mean": size.ways / size.episodes,
                "images_drawn": size.drawn,
                "images_distinct": size.distinct,
                "embeddings_bytes": found.embeddings_bytes(size.distinct),
                "embedding_s": found.embedding_s(size.distinct),
            }
            for domain, size in zip(found.domains, sizes, strict=True)
        ],
    }


def images_per_second(backbone: Backbone) -> float:
    """How fast `backbone` embeds: the better of two fixed batches of 64 images of noise, the first being a warm-up."""
    import torch

    from backbones.embeddings import embed_in_fixed_batches

    size = backbone.card.image_size
    noise = torch.rand(BATCH, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    seconds = []
    for _ in range(2):
        started = time.perf_counter()
        for vectors in embed_in_fixed_batches(backbone, [noise], BATCH):
            vectors.cpu()  # waits for the device
        seconds.append(time.perf_counter() - started)
    return BATCH / min(seconds)


def _bytes_of(kind: str, network: Network) -> int:
    members = backbones.members_of(network.backbone)
    if kind == "maps":
        return sum(bytes_of_maps(member, network.store_dtype) for member in members)
    return network.backbone.feature_dim * len(members) * np.dtype(network.store_dtype).itemsize


def _busy(methods: Methods, plan: Plan) -> int:
    """The workers that have something to do, and a core or a GPU to do it on."""
    blocks = len(methods.named) * sum(ceil(len(domain) / BLOCK) for domain in plan.domains)
    return min(methods.workers, default_workers(methods.device), blocks)


def _specified(domain: Domain, records: Path | None, cache: Path) -> SpecifiedDomain:
    """From its spec where there is one, else from its published totals."""
    if records is not None or not lies_under_records(domain):
        folder = domain_folder(domain, records, cache)
        if folder.is_dir():
            try:
                return SpecifiedDomain(domain.name, load_spec(folder), at_hand=True)
            except BadSpec as error:
                raise HarnessError(f"{error}; mend it, or name the other data sets with --datasets") from error
    if domain.name not in KNOWN:
        raise MissingSource(
            f"no folder for {domain.name}, and no published totals to estimate it from: give --records, a folder "
            f"with {domain.folder or domain.name}/{SPEC_FILE}"
        )
    return SpecifiedDomain(domain.name, stand_in(KNOWN[domain.name]), at_hand=False)


def _sample(
    console: Console, benchmark: Benchmark, domains: Sequence[SpecifiedDomain], split: str, tasks: int, seed: int
) -> Plan:
    plans = []
    with bar(console, "plan", len(domains)) as advance:
        for name, spec, _ in domains:
            plans.append(plan_domain(name, spec, split=split, protocol=benchmark.protocol, seed=seed, tasks=tasks))
            advance(1)
    return Plan(benchmark.name, split, seed, tasks, tuple(plans))
