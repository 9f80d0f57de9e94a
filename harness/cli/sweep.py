"""`metabench sweep`: a grid over a method's hyper-parameters."""

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import Datasets, Device, Json, Out, Records, Seed, Tasks, Workers
from harness.console import console, fail, names


def sweep(
    adapter: Annotated[str, typer.Argument(help="The method, as in url or 'url(steps=20)'.")],
    grid: Annotated[
        list[str], typer.Option(help="Values of a hyper-parameter, as in lr=0.1,0.5,1; again for each further one.")
    ],
    benchmark: Annotated[str, typer.Option(help="Name of a benchmark (see `metabench ls`) or a TOML file.")] = "pocket",
    split: Annotated[str, typer.Option(help="Classes to choose on: valid or train.")] = "valid",
    datasets: Datasets = None,
    tasks: Tasks = None,
    seed: Seed = 0,
    out: Out = Path("runs"),
    backbone: Annotated[str | None, typer.Option(help="As for `metabench run`.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Weights for a backbone that has none of its own.")] = None,
    records: Records = None,
    hyper: Annotated[str, typer.Option(help="Where other hyper-parameters come from: official or fixed.")] = "official",
    device: Device = "cpu",
    dtype: Annotated[str, typer.Option(help="Precision of the backbone.")] = "float32",
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Try a grid of hyper-parameters on classes that no test uses, and write the best as a file for `run --config`."""
    from harness.engines.local import start_ahead

    start_ahead(device, workers)

    from harness.commands.sweep import sweep_grid

    options = {
        "datasets": names(datasets),
        "tasks": tasks,
        "backbone": backbone,
        "weights": weights,
        "split": split,
        "seed": seed,
        "records": records,
        "hyper": hyper,
        "device": device,
        "dtype": dtype,
        "workers": workers,
    }
    try:
        sweep_grid(adapter, grid, benchmark, out=out, options=options, wants_json=as_json, console=console())
    except KeyboardInterrupt:
        fail("stopped; finished blocks are stored, and the same command goes on from there", 130)
