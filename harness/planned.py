"""Every episode of a run and the records it is made of: sampled from a benchmark's domains, or dumped by somebody."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from rich.console import Console

from episodes.dumped import dump_domain, dumped_domains, load_dump
from episodes.plan import DomainPlan, Plan, plan_domain
from harness.config import Benchmark, Domain
from harness.domains import OpenDomain, open_domains, with_split
from harness.errors import HarnessError, unknown
from harness.progress import bar


class Planned(NamedTuple):
    """Opened domains, their plan in the same order, and a line about domains that were left out ("" for none)."""

    domains: list[OpenDomain]
    plan: Plan
    left_out: str


def sample_episodes(
    benchmark: Benchmark,
    domains: Sequence[Domain],
    *,
    named: bool,
    records: Path | None,
    cache: Path,
    split: str,
    tasks: int,
    seed: int,
) -> Planned:
    """Sample `tasks` episodes of each domain. `named`: the user chose the domains by name, so none may be left out."""
    opened = open_domains(benchmark, domains, records, cache)
    kept, left_out = with_split(opened, benchmark, split, named=named)
    plans = [
        plan_domain(domain.name, domain.spec, split=split, protocol=benchmark.protocol, seed=seed, tasks=tasks)
        for domain in kept
    ]
    return Planned(kept, Plan(benchmark.name, split, seed, tasks, tuple(plans)), left_out)


def resolve_dumped(benchmark: Benchmark, episodes: Path, split: str) -> Benchmark:
    """The benchmark with `domains = "all"` replaced by the data sets that were dumped; others as is."""
    if benchmark.domains:
        return benchmark
    domains = tuple(Domain(name=name) for name in dumped_domains(episodes, split))
    return msgspec.structs.replace(benchmark, domains=domains)


def load_episodes(
    benchmark: Benchmark,
    domains: Sequence[Domain],
    *,
    named: bool,
    episodes: Path,
    cache: Path,
    split: str,
    tasks: int | None,
) -> Planned:
    """Take the dumped episodes under `episodes`, or the first `tasks` of each domain.

    Raises HarnessError when a domain that was chosen by name has none, or when domains have different numbers of them.
    """
    present = dumped_domains(episodes, split)
    absent = [domain.name for domain in domains if domain.name not in present]
    if absent and named:
        raise unknown(f"dumped episodes in {episodes / split}:", absent[0], present)
    names = [domain.name for domain in domains if domain.name in present]
    if not names:
        raise unknown(f"dumped episodes of benchmark {benchmark.name!r} in {episodes / split}:", absent[0], present)
    loaded = [load_dump(episodes / split / name, domain=name, split=split, cache=cache, tasks=tasks) for name in names]
    plans = [plan for _, plan in loaded]
    opened = [OpenDomain(name, records) for name, (records, _) in zip(names, loaded, strict=True)]
    left_out = f"left out {', '.join(absent)}: no dumped episodes" if absent else ""
    plan = Plan(f"{benchmark.name} (dumped)", split, 0, _common_number(plans, episodes), tuple(plans))
    return Planned(opened, plan, left_out)


def dump_episodes(console: Console, planned: Planned, root: Path) -> None:
    """Write each domain's episodes to `<root>/<split>/<domain>`; a domain that is there already stops it at once."""
    folders = [root / planned.plan.split / domain.name for domain in planned.domains]
    for folder in folders:
        if folder.exists():
            raise HarnessError(f"{folder}: is there already and stays as it is; choose another --dump or delete it")
    for domain, plan, folder in zip(planned.domains, planned.plan.domains, folders, strict=True):
        with bar(console, f"dump {domain.name}", len(plan)) as advance:
            dump_domain(plan, domain.records, folder, advance)
    command = f"metabench run {planned.plan.benchmark} --split {planned.plan.split} --episodes {root}"
    console.print(f"wrote the episodes to {root}; run them with: {command}", highlight=False, soft_wrap=True)


def _common_number(plans: Sequence[DomainPlan], episodes: Path) -> int:
    fewest = min(plans, key=len)
    other = next((plan for plan in plans if len(plan) != len(fewest)), None)
    if other is not None:
        raise HarnessError(
            f"{episodes}: {len(other)} episodes of {other.domain}, but {len(fewest)} of {fewest.domain}; "
            f"give --tasks {len(fewest)}"
        )
    return len(fewest)
