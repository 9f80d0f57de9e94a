"""`metabench merge`: the results of several machines in one folder."""

from pathlib import Path
from typing import Annotated

import typer

from harness.console import console


def merge(
    out: Annotated[Path, typer.Argument(help="Folder to merge into; it is made, or what it holds stays.")],
    inputs: Annotated[list[Path], typer.Argument(metavar="IN...", help="Folders that runs wrote (their --out).")],
    plan: Annotated[
        str | None, typer.Option(help="Merge this plan alone (the beginning of its hash); needed where others differ.")
    ] = None,
    tolerance: Annotated[
        float, typer.Option(min=0, max=1, help="Most by which accuracies (0 to 1) of one row may differ.")
    ] = 0.0,
) -> None:
    """Unite the results of several machines, and print the leaderboard. Merging again changes nothing."""
    from harness.commands.merge import merge_folders

    merge_folders(out, inputs, plan=plan, tolerance=tolerance, console=console())
