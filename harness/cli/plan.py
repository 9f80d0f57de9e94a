"""`metabench plan`: the episodes of a run, or what they would take."""

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import BenchmarkName, Datasets, Json, Out, Records, Seed, Split, Tasks
from harness.console import console, fail, names


def plan(
    benchmark: BenchmarkName = "pocket",
    datasets: Datasets = None,
    tasks: Tasks = None,
    split: Split = None,
    seed: Seed = 0,
    out: Out = Path("runs"),
    records: Records = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Only say how many images and bytes, and how long they embed; needs dataset_spec.json files at most.",
        ),
    ] = False,
    backbone: Annotated[str | None, typer.Option(help="For --dry-run: the network whose speed is measured.")] = None,
    dump: Annotated[
        Path | None, typer.Option(help="Also write the episodes with their images, as the official dump_episodes.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show and save the episodes that a run would use, without running anything."""
    if dry_run and dump is not None:
        fail("error: --dry-run writes nothing, so that --dump has no use; leave out one of them", 2)
    if backbone is not None and not dry_run:
        fail("error: --backbone says whose speed --dry-run measures; add --dry-run or leave it out", 2)

    from harness.commands.plan import Asked, NetworkOptions, show_plan, show_what_it_takes

    asked = Asked(benchmark, names(datasets), tasks, split, seed, records)
    if dry_run:
        show_what_it_takes(console(), asked, NetworkOptions(backbone), as_json=as_json)
    else:
        show_plan(console(), asked, out=out, dump=dump, as_json=as_json)
