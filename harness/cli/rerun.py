"""`metabench rerun`: a run repeated from its manifest."""

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import Json
from harness.console import console, fail


def rerun(
    manifest: Annotated[Path, typer.Argument(help="A file of OUT/manifests, which every run writes.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the repeated run (default: OUT/reruns/NAME of the manifest).")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Another device than the original's: cpu, cuda, cuda:1 ...")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Another number of processes.")] = None,
    engine: Annotated[str | None, typer.Option(help="Another engine: local or ray.")] = None,
    address: Annotated[str | None, typer.Option(help="Another Ray cluster, as for `metabench run`.")] = None,
    as_json: Json = False,
) -> None:
    """Repeat a run from nothing, and compare every row with the original; exit status 1 where any differs."""
    from harness.commands.rerun import repeat

    asked = {"device": device, "workers": workers, "engine": engine, "address": address}
    changes = {name: value for name, value in asked.items() if value is not None}
    try:
        same = repeat(manifest, out, changes, console(), as_json=as_json)
    except KeyboardInterrupt:
        fail("stopped; finished blocks are stored, and the same command goes on from there", 130)
    if not same:
        raise typer.Exit(1)
