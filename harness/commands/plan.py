"""What `metabench plan` does: the episodes of a run, shown and saved, or what running them would take."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

import adapters
from episodes.plan import DomainPlan
from episodes.plan_file import save_plan
from harness.build_request import checked_split, checked_store_dtype, methods_of, network_of
from harness.commands.estimate import Network, estimate, estimate_as_json
from harness.commands.estimate_methods import Methods
from harness.commands.estimate_table import show_estimate
from harness.config import Benchmark, Domain, load_benchmark
from harness.console import print_json
from harness.domains import cache_folder, resolve
from harness.methods import checked_hyper
from harness.planned import Planned, check_dump, dump_episodes, sample_episodes

FULL_WIDTH = "resnet18-random"
"""Stands for a backbone that is not chosen yet: the network of the published tables, whatever its weights."""
COLUMNS = ("domain", "episodes", "ways\nmin/mean/max", "support\nmean", "query\nmean", "images\ndrawn", "distinct")


class Asked(NamedTuple):
    """Which episodes: the options that a plan and its estimate have in common."""

    benchmark_name: str
    datasets: tuple[str, ...] | None
    tasks: int | None
    split: str | None
    seed: int
    records: Path | None

    def resolved(self) -> tuple[Benchmark, tuple[Domain, ...], dict[str, Any]]:
        """The benchmark, its chosen domains, and all else that sampling takes."""
        benchmark = resolve(load_benchmark(self.benchmark_name), self.records)
        sampling = {
            "named": self.datasets is not None,
            "records": self.records,
            "cache": cache_folder(),
            "split": checked_split(benchmark, self.split),
            "tasks": self.tasks or benchmark.tasks,
            "seed": self.seed,
        }
        return benchmark, benchmark.select(self.datasets), sampling


class NetworkOptions(NamedTuple):
    """Those that say which network embeds, and how."""

    backbone: str | None = None
    weights: Path | None = None
    dtype: str = "float32"
    store_dtype: str | None = None
    compiled: bool = False
    device: str = "cpu"

    def load(self, benchmark: Benchmark) -> Network:
        """The benchmark's own, unless one is named."""
        chosen = network_of(benchmark, self.backbone, self.weights, self.dtype, self.compiled, otherwise=FULL_WIDTH)
        store_dtype = checked_store_dtype(self.store_dtype, self.dtype)
        found = chosen.load(self.device)
        named = self.backbone or benchmark.backbone or self.weights
        return Network(found, found.name if named else f"{found.name}, for want of a --backbone", store_dtype)


class MethodOptions(NamedTuple):
    """Those that say what adapts, and how fast."""

    adapters: str | None
    hyper: str
    device: str
    workers: int
    deterministic: bool

    def of(self, benchmark: Benchmark) -> Methods:
        """The benchmark's own, unless some are named. Raises AdapterError for one that does not exist."""
        named, hyper = methods_of(benchmark, self.adapters), checked_hyper(self.hyper)
        for method in named:
            adapters.has_official(method.name)  # looks it up, before anything is measured
        return Methods(named, hyper, benchmark.setting, self.device, self.workers, self.deterministic)


def show_plan(console: Console, asked: Asked, *, out: Path, dump: Path | None, as_json: bool = False) -> None:
    """Make, save and describe a plan. `dump`: where to write its episodes with their images."""
    benchmark, domains, sampling = asked.resolved()
    if dump is not None:
        check_dump(domains, dump, sampling["split"])
    planned = sample_episodes(benchmark, domains, **sampling)
    path = out / "plans" / f"{planned.plan.hash[:12]}.npz"
    save_plan(planned.plan, path)
    if as_json:
        print_json(_as_json(planned, path))
        console = Console(quiet=True)
    console.print(_table(benchmark.title, planned))
    for line in filter(None, (planned.left_out, f"plan {planned.plan.hash[:12]}, wrote {path}")):
        console.print(line, style="dim", highlight=False, soft_wrap=True)
    if dump is not None:
        dump_episodes(console, planned, dump, benchmark, asked.benchmark_name)


def show_what_it_takes(
    console: Console,
    asked: Asked,
    network: NetworkOptions,
    methods: MethodOptions | None = None,
    *,
    as_json: bool = False,
) -> None:
    """Say from specs alone what a plan would take or, given its methods, a run."""
    benchmark, domains, sampling = asked.resolved()
    chosen = methods.of(benchmark) if methods else None
    story = Console(quiet=True) if as_json else console
    found = estimate(story, benchmark, domains, **sampling, network=network.load(benchmark), methods=chosen)
    if as_json:
        print_json(estimate_as_json(found))
    else:
        show_estimate(console, found)


def _table(title: str, planned: Planned) -> Table:
    plan = planned.plan
    table = Table(title=f"{title}: {plan.split} split, seed {plan.seed}", title_justify="left")
    for column in COLUMNS:
        table.add_column(column, justify="left" if column == "domain" else "right", no_wrap=column.startswith("ways"))
    for domain in plan.domains:
        table.add_row(*_row(domain))
    return table


def _row(plan: DomainPlan) -> Sequence[str]:
    facts = _facts(plan)
    return (
        plan.domain,
        f"{len(plan):,}",
        f"{facts['ways_min']} / {facts['ways_mean']:.1f} / {facts['ways_max']}",
        f"{facts['support_mean']:.1f}",
        f"{facts['query_mean']:.1f}",
        f"{facts['images_drawn']:,}",
        f"{facts['images_distinct']:,}",
    )


def _as_json(planned: Planned, path: Path) -> dict[str, Any]:
    plan = planned.plan
    return {
        "plan": plan.hash,
        "benchmark": plan.benchmark,
        "split": plan.split,
        "seed": plan.seed,
        "episodes": plan.tasks,
        "left_out": planned.left_out,
        "file": str(path),
        "domains": [_facts(domain) for domain in plan.domains],
    }


def _facts(plan: DomainPlan) -> dict[str, Any]:
    """Of one domain; means are over episodes."""
    n, ways = len(plan), plan.ways
    return {
        "domain": plan.domain,
        "ways_min": int(ways.min()),
        "ways_mean": float(ways.mean()),
        "ways_max": int(ways.max()),
        "support_mean": float(plan.num_support.sum() / n),
        "query_mean": float((ways * plan.num_query).sum() / n),
        "images_drawn": len(plan.records),
        "images_distinct": len(plan.images.classes),
    }
