"""`metabench analyse`: what adaptation does to representations."""

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import Datasets, Device, Records, Seed, Split, Workers
from harness.console import console, fail, names

app = typer.Typer(no_args_is_help=True)


@app.callback()
def analyse() -> None:
    """Look into the representations that adapters make."""


@app.command()
def gap(
    benchmark: Annotated[str, typer.Option(help="Name of a benchmark (see `metabench ls`) or a TOML file.")] = "pocket",
    datasets: Datasets = None,
    adapters: Annotated[str, typer.Option(help="As in url,'copa(lr=0.01)'; ncc is the frozen state.")] = "ncc,url,copa",
    hyper: Annotated[str, typer.Option(help="official or fixed, as for `metabench run`.")] = "official",
    tasks: Annotated[int, typer.Option(min=1, help="Episodes per domain: the first of those of a run.")] = 20,
    backbone: Annotated[str | None, typer.Option(help="As for `metabench run` (default: the benchmark's).")] = None,
    weights: Annotated[Path | None, typer.Option(help="Weights for a backbone that has none of its own.")] = None,
    split: Split = None,
    seed: Seed = 0,
    out: Annotated[Path, typer.Option(help="Tables and figures go to its folder `analysis`.")] = Path("runs"),
    records: Records = None,
    episodes: Annotated[Path | None, typer.Option(help="Dumped episodes instead of sampled ones.")] = None,
    device: Device = "cpu",
    workers: Workers = None,
    figures: Annotated[bool, typer.Option(help="Draw the figures.")] = True,
) -> None:
    """Measure the gap between prototypes and images before and after adaptation, and what goes with it.

    Writes gap.csv, direction.csv, gap_and_loss.csv, best_shift.csv, episodes.csv, spectra.csv, gap.json and figures.
    """
    if episodes is not None and records is not None:
        fail("error: --episodes brings its own images, so that --records has no use; leave out one of them", 2)

    from harness.build_request import build_request
    from harness.commands.analyse import analyse_gap

    request = build_request(
        benchmark,
        adapters=adapters,
        hyper=hyper,
        datasets=names(datasets),
        tasks=tasks,
        backbone=backbone,
        weights=weights,
        split=split,
        seed=seed,
        out=out,
        records=records,
        episodes=episodes,
        device=device,
        workers=workers,
    )
    try:
        analyse_gap(request, console(), figures=figures)
    except KeyboardInterrupt:
        fail("stopped; embeddings are kept, the episodes are measured again next time", 130)
