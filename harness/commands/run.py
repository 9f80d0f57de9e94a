"""What `metabench run` does: a request for each seed, one after another, and their means over seeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from harness.build_request import build_request, checked_pixels
from harness.commands.plan import Asked, MethodOptions, NetworkOptions, show_what_it_takes
from harness.commands.statistics import show_seeds
from harness.console import names, say
from harness.devices import checked_device, default_workers
from harness.engines.choice import checked_engine
from harness.errors import HarnessError
from harness.manifest_facts import options_facts
from harness.request import Request
from harness.run import run
from harness.shards import parse_shard
from results.store import ResultStore

MOST = 2**63 - 1


def run_seeds(seeds: str, benchmark: str, *, out: Path, options: Mapping[str, Any], console: Console) -> None:
    """Run a benchmark with each of the seeds, written as 0,1,2; print the means over several ones.

    `options`: those of `build_request` but `seed` and `out`.
    """
    numbers = parse_seeds(seeds)
    if len(numbers) > 1 and options["episodes"] is not None:
        raise HarnessError(f"--seed {seeds}: dumped episodes are what they are; leave out --seed or --episodes")
    for number in numbers:
        run(request_of(benchmark, out=out, options={**options, "seed": number}), console)
    if len(numbers) > 1 and options["shard"] is None:
        with ResultStore(out / "results.sqlite", create=False) as store:
            show_seeds(store, str(store.latest_plan()), console)


def dry_run(seeds: str, benchmark: str, *, options: Mapping[str, Any], console: Console) -> None:
    """Say what a run of the first of the seeds would take, from specs alone. Raises HarnessError where episodes or
    features are given, as nothing of them has to be reckoned, and for what the run itself would refuse."""
    given = next((name for name in ("episodes", "features") if options[name] is not None), None)
    if given:
        raise HarnessError(f"--dry-run reckons what sampling would take; --{given} are there already, leave out one")
    checked_engine(options["engine"], options["address"], options["gpus_per_worker"], options["device"])
    checked_pixels(options["pixels"])
    numbers, shard = parse_seeds(seeds), parse_shard(options["shard"])
    local = options["engine"] == "local"
    device = checked_device(options["device"]) if local else "cpu"
    workers = (options["workers"] or default_workers(device)) if local else 1
    facts = {key: options[key] for key in ("datasets", "tasks", "split", "records")}
    asked = Asked(benchmark, seed=numbers[0], **facts)
    of_network = {key: options[key] for key in ("backbone", "weights", "dtype", "store_dtype", "compiled")}
    of_methods = {key: options[key] for key in ("adapters", "hyper", "deterministic")}
    methods = MethodOptions(device=device, workers=workers, **of_methods)
    show_what_it_takes(console, asked, NetworkOptions(device=device, **of_network), methods)
    if not local:
        say(console, "that is one process on a core of this machine: Ray's tasks share the work, on what they run on")
    if len(numbers) > 1:
        also = "takes as long, but for images that are embedded by then"
        say(console, f"that is seed {numbers[0]}: each of the {len(numbers)} {also}")
    if shard is not None:
        say(console, f"that is the whole plan: shard {shard} takes about one part of {shard.parts}")


def request_of(benchmark: str, *, out: Path, options: Mapping[str, Any]) -> Request:
    """The request of a run that knows what it was made of."""
    request = build_request(benchmark, out=out, **options)
    return dataclasses.replace(request, options=options_facts({"benchmark": benchmark, **options}))


def parse_seeds(text: str) -> list[int]:
    """Seeds as written on the command line. Raises HarnessError for what is none, and for one that stands twice."""
    found = []
    for word in names(text) or ():
        if not word.isdecimal() or int(word) > MOST:
            raise HarnessError(f"--seed {text}: {word!r} is no seed; give whole numbers from 0 to {MOST}, as in 0,1,2")
        if int(word) in found:
            raise HarnessError(f"--seed {text}: {word} stands twice")
        found.append(int(word))
    if not found:
        raise HarnessError("--seed names no seed; write it as 0 or 0,1,2")
    return found
