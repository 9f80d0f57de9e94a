"""Every episode of a run and the records it is made of: sampled from a benchmark's domains, or dumped by somebody."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from rich.console import Console

from episodes.dumped import check_is_new, dump_domain, dumped_domains, load_dump
from episodes.dumped_protocol import misfit
from episodes.errors import NotEnoughImages
from episodes.plan import DomainPlan, Plan, plan_domain
from episodes.spec import check_class_files
from harness.config import Benchmark, Domain
from harness.domains import OpenDomain, open_domains, to_run_the_rest, with_split
from harness.errors import HarnessError, unknown
from harness.plan_cache import keep_plan, kept_plan, plan_path
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
    for _, data in opened:
        check_class_files(data.folder, data.spec, split)
    return sample_from(opened, benchmark, named=named, cache=cache, split=split, tasks=tasks, seed=seed)


def sample_from(
    opened: Sequence[OpenDomain],
    benchmark: Benchmark,
    *,
    named: bool,
    cache: Path,
    split: str,
    tasks: int,
    seed: int,
    left_out: str = "",
) -> Planned:
    """The same, from domains that are open. `left_out`: a line about others that are not."""
    kept, without_split = with_split(opened, benchmark, split, named=named)
    digests = {name: data.spec.digest for name, data in kept}
    path = plan_path(cache, benchmark.name, digests, split=split, protocol=benchmark.protocol, seed=seed, tasks=tasks)
    plan = kept_plan(path)
    if plan is None:
        plan = _sampled(kept, benchmark, split=split, tasks=tasks, seed=seed)
        keep_plan(plan, path)
    return Planned(kept, plan, "; ".join(filter(None, (left_out, without_split))))


def _sampled(opened: Sequence[OpenDomain], benchmark: Benchmark, *, split: str, tasks: int, seed: int) -> Plan:
    plans = []
    for name, data in opened:
        try:
            plans.append(plan_domain(name, data.spec, split=split, protocol=benchmark.protocol, seed=seed, tasks=tasks))
        except NotEnoughImages as error:
            raise NotEnoughImages(f"{error}{to_run_the_rest(opened, name)}") from error
    return Plan(benchmark.name, split, seed, tasks, tuple(plans))


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

    Raises HarnessError when a domain that was chosen by name has none, when domains have different numbers of them, or
    when they are not of the benchmark's protocol.
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
    for domain_plan in plans:
        _check_protocol(domain_plan, benchmark, episodes)
    opened = [OpenDomain(name, records) for name, (records, _) in zip(names, loaded, strict=True)]
    left_out = f"left out {', '.join(absent)}: no dumped episodes" if absent else ""
    plan = Plan(f"{benchmark.name} (dumped)", split, 0, _common_number(plans, episodes), tuple(plans))
    return Planned(opened, plan, left_out)


def check_dump(domains: Sequence[Domain], root: Path, split: str) -> None:
    """Raise BadPlan when one of the domains has been dumped to `root` before."""
    for domain in domains:
        check_is_new(root / split / domain.name)


def dump_episodes(console: Console, planned: Planned, root: Path, benchmark: Benchmark, written: str) -> None:
    """Write each domain's episodes to `<root>/<split>/<domain>`, and say how to run them.

    `written`: the benchmark as the user wrote it, its name or a file.
    """
    split = planned.plan.split
    for domain, plan in zip(planned.domains, planned.plan.domains, strict=True):
        with bar(console, f"dump {domain.name}", len(plan)) as advance:
            dump_domain(plan, domain.records, root / split / domain.name, advance)
    command = ["metabench", "run", written, "--split", split, "--episodes", str(root)]
    if benchmark.backbone is None:
        command += ["--backbone", "NAME"]
    console.print(
        f"wrote the episodes to {root}; run them with: {shlex.join(command)}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def _check_protocol(plan: DomainPlan, benchmark: Benchmark, episodes: Path) -> None:
    wrong = misfit(plan, benchmark.protocol)
    if wrong:
        raise HarnessError(
            f"{episodes / plan.split / plan.domain}: {wrong} in benchmark {benchmark.name!r}; run them under a "
            "benchmark of their protocol, or write a TOML file of one"
        )


def _common_number(plans: Sequence[DomainPlan], episodes: Path) -> int:
    fewest = min(plans, key=len)
    other = next((plan for plan in plans if len(plan) != len(fewest)), None)
    if other is not None:
        raise HarnessError(
            f"{episodes}: {len(other)} episodes of {other.domain}, but {len(fewest)} of {fewest.domain}; "
            f"give --tasks {len(fewest)}"
        )
    return len(fewest)
