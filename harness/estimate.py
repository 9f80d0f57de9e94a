"""What a run would take, from `dataset_spec.json` files alone: `metabench plan --dry-run`.

The episodes are really sampled, since that is cheap; published totals stand in for a data set that is not at hand. The
speed of embedding is measured.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

import backbones
from episodes.errors import BadSpec, MissingSource
from episodes.known_datasets import KNOWN, stand_in
from episodes.plan import DomainPlan, Plan, plan_domain
from episodes.spec import SPEC_FILE, DatasetSpec, load_spec
from harness.blocks import BackboneChoice, load_backbone
from harness.config import Benchmark, Domain
from harness.domains import check_records, domain_folder, lies_under_records, with_split
from harness.errors import HarnessError
from harness.progress import bar

if TYPE_CHECKING:
    from backbones.contract import Backbone

FULL_WIDTH = "resnet18-random"
"""Stands for a backbone that is not chosen yet: the network of the published tables, whatever its weights."""
BATCH = 64
FLOAT32_BYTES = 4
COLUMNS = ("data set", "ways\nmean", "images\ndrawn", "distinct\nimages", "embeddings", "time to\nembed")


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

    @property
    def certain(self) -> bool:
        """Whether the plan is that of the run, not one of published totals."""
        return all(domain.at_hand for domain in self.domains)


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
    backbone: Backbone | None = None,
) -> Estimate:
    """Reckon, per data set, a run's episodes, the images they touch, and what embedding those takes.

    `named`: the domains were chosen by name (`harness.domains.with_split`). `backbone`: the one to measure; None for
    the benchmark's own, and where it has none a ResNet-18 of full width. No class file is opened; all that is written
    is a pocket domain that was never used before. Raises HarnessError, MissingSource or NotEnoughImages, naming the
    data set.
    """
    if records is not None:
        check_records(benchmark, domains, records)
    kept, left_out = with_split(
        [_specified(domain, records, cache) for domain in domains], benchmark, split, named=named
    )
    plan = _sample(console, benchmark, kept, split, tasks, seed)
    chosen = backbone or load_backbone(BackboneChoice(benchmark.backbone or FULL_WIDTH), "cpu")
    return Estimate(
        title=f"{benchmark.title}: {split} split, seed {seed}, {tasks:,} episodes of each data set",
        domains=kept,
        plan=plan,
        backbone=chosen.name,
        whose=chosen.name if backbone or benchmark.backbone else f"{chosen.name}, for want of a --backbone",
        feature_dim=chosen.feature_dim,
        width=chosen.feature_dim * len(backbones.members_of(chosen)),
        rate=images_per_second(chosen),
        left_out=left_out,
    )


def show_estimate(console: Console, found: Estimate) -> None:
    """Print it as a table, and what it is made of below."""
    console.print(found.title, style="italic", highlight=False, markup=False, soft_wrap=True)
    console.print(_table(found))
    lines = [found.left_out] if found.left_out else []
    lines.append(
        f"embedding: {found.rate:,.0f} images/s, measured here with {found.whose} (d = {found.feature_dim}), without "
        "decoding"
    )
    if found.certain:
        lines.append(f"plan {found.plan.hash[:12]}: these are the episodes of the run")
    else:
        lines.append(
            "~ estimated from the published totals of the split, as if all of its classes were of one size: images "
            "drawn are off by up to 7% on the test splits, but for fungi, whose classes are uneven, 38% too high"
        )
    for line in lines:
        console.print(line, style="dim", highlight=False, markup=False, soft_wrap=True)


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
                "embeddings_bytes": size.distinct * found.width * FLOAT32_BYTES,
                "embedding_s": size.distinct / found.rate,
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


def _table(found: Estimate) -> Table:
    table = Table()
    for column in COLUMNS:
        table.add_column(column, justify="left" if column == "data set" else "right", overflow="fold")
    sizes = [Size.of(part) for part in found.plan.domains]
    for (name, _, at_hand), size in zip(found.domains, sizes, strict=True):
        table.add_row(Text(name), *_cells(size, found, "" if at_hand else "~"))
    table.add_section()
    total = Size(*map(sum, zip(*sizes, strict=True)))
    table.add_row("all", *_cells(total, found, "" if found.certain else "~"))
    return table


def _cells(size: Size, found: Estimate, mark: str) -> list[str]:
    numbers = [
        f"{size.ways / size.episodes:.1f}",
        f"{size.drawn:,}",
        f"{size.distinct:,}",
        decimal(size.distinct * found.width * FLOAT32_BYTES),
        str(timedelta(seconds=round(size.distinct / found.rate))),
    ]
    return [mark + number for number in numbers]
