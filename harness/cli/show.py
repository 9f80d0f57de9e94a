"""`metabench show`: one episode under one method, as a picture and in numbers."""

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import Out, Records, Seed, Split, Tasks
from harness.console import console


def show(
    benchmark: Annotated[str, typer.Argument(help="Name of a benchmark (see `metabench ls`) or a TOML file.")],
    domain: Annotated[str, typer.Argument(help="One of its domains.")],
    task: Annotated[int, typer.Argument(min=0, help="Number of the episode, from 0.")],
    adapter: Annotated[str, typer.Option(help="As in url or 'url(lr=0.5)'.")] = "ncc",
    hyper: Annotated[str, typer.Option(help="official or fixed, as for `metabench run`.")] = "official",
    backbone: Annotated[str | None, typer.Option(help="As for `metabench run`.")] = None,
    weights: Annotated[Path | None, typer.Option(help="As for `metabench run`.")] = None,
    dtype: Annotated[str, typer.Option(help="As for `metabench run`.")] = "float32",
    split: Split = None,
    tasks: Tasks = None,
    seed: Seed = 0,
    records: Records = None,
    out: Out = Path("runs"),
    to: Annotated[
        Path | None, typer.Option(help="The picture: .png, .pdf or .svg (default: a .png in OUT/episodes).")
    ] = None,
) -> None:
    """Draw one episode: support by class, queries with truth and prediction; print its logits and losses."""
    from harness.commands.show import show_episode

    show_episode(
        console(),
        benchmark,
        domain,
        task,
        adapter=adapter,
        hyper=hyper,
        backbone=backbone,
        weights=weights,
        dtype=dtype,
        split=split,
        tasks=tasks,
        seed=seed,
        records=records,
        out=out,
        to=to,
    )
