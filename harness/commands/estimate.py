"""What a run would take, from `dataset_spec.json` files alone: `metabench plan --dry-run`, `metabench run --dry-run`.

The episodes are really sampled, since that is cheap; published totals stand in for a data set that is not at hand. The
speed of embedding is measured, and that of the methods of a run.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.console import Console

import backbones
from episodes.errors import BadSpec, MissingSource
from episodes.known_datasets import KNOWN, stand_in
from episodes.plan import DomainPlan, Plan, plan_domain
from episodes.spec import SPEC_FILE, DatasetSpec, load_spec
from harness.commands.estimate_methods import Methods, MethodTime, time_methods
from harness.config import Benchmark, Domain
from harness.domains import check_records, domain_folder, lies_under_records, with_split
from harness.errors import HarnessError
from harness.progress import bar

if TYPE_CHECKING:
    from backbones.contract import Backbone

BATCH = 64
FLOAT32_BYTES = 4


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
    """What a run would take: its plan, and how fast (`rate`, images/s) `backbone` embeds into `width` float32.

    `domains`: in the order of the plan. `whose`: the backbone in words. `left_out`: a line about others ("" for none).
    `methods`: those of a run (none of a plan), which `workers` share.
    """

    title: str
    domains: Sequence[SpecifiedDomain]
    plan: Plan
    backbone: str
    whose: str
    feature_dim: int
    width: int
    rate: float
    left_out: str
    methods: Sequence[MethodTime]
    workers: int

    @property
    def certain(self) -> bool:
        """Whether the plan is that of the run, not one of published totals."""
        return all(domain.at_hand for domain in self.domains)

    @property
    def embeds(self) -> bool:
        """Whether anything is embedded: some methods look at images alone."""
        return not self.methods or any(method.embeds for method in self.methods)

    def embedding_s(self, images: int) -> float:
        """Seconds to embed so many images, if anything is embedded."""
        return images / self.rate if self.embeds else 0.0

    def embeddings_bytes(self, images: int) -> int:
        """What their embeddings take, likewise."""
        return images * self.width * FLOAT32_BYTES if self.embeds else 0

    def adapting_s(self, method: MethodTime) -> float:
        """Seconds until the workers are through with all episodes of a method."""
        return method.seconds / self.workers

    @property
    def total_s(self) -> float:
        """Seconds of embedding and of all methods."""
        distinct = sum(len(part.images.classes) for part in self.plan.domains)
        return self.embedding_s(distinct) + sum(map(self.adapting_s, self.methods))


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
    backbone: Backbone,
    whose: str,
    methods: Methods | None = None,
) -> Estimate:
    """Reckon, per data set, a run's episodes, the images they touch, and what embedding those takes; and for each of
    `methods` the time to adapt.

    `named`: the domains were chosen by name (`harness.domains.with_split`). `backbone`: the one to measure, `whose` in
    words. No class file is opened; all that is written is a pocket domain that was never used before. Raises
    HarnessError, MissingSource or NotEnoughImages, naming the data set.
    """
    if records is not None:
        check_records(benchmark, domains, records)
    kept, left_out = with_split(
        [_specified(domain, records, cache) for domain in domains], benchmark, split, named=named
    )
    plan = _sample(console, benchmark, kept, split, tasks, seed)
    specs = [domain.spec for domain in kept]
    timed = time_methods(console, methods, specs, plan.domains, backbone) if methods else ()
    return Estimate(
        title=f"{benchmark.title}: {split} split, seed {seed}, {tasks:,} episodes of each data set",
        domains=kept,
        plan=plan,
        backbone=backbone.name,
        whose=whose,
        feature_dim=backbone.feature_dim,
        width=backbone.feature_dim * len(backbones.members_of(backbone)),
        rate=images_per_second(backbone),
        left_out=left_out,
        methods=timed,
        workers=methods.workers if methods else 1,
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
