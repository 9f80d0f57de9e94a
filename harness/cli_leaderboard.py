"""`metabench leaderboard`: what a plan's rows say, on the terminal and as files."""

from pathlib import Path
from typing import Annotated

import typer

from harness.cli_options import Out
from harness.console import console


def leaderboard(
    out: Out = Path("runs"),
    plan: Annotated[str | None, typer.Option(help="Hash of a plan or its beginning (default: the last run's).")] = None,
    kind: Annotated[
        str | None, typer.Option("--format", help="Print that file instead of the table: md, latex, csv or json.")
    ] = None,
    plans: Annotated[bool, typer.Option("--plans", help="List the plans that have results.")] = False,
) -> None:
    """Print the leaderboard of a plan from stored rows, and write it to files (CSV, Parquet, Markdown, LaTeX, JSON)."""
    from harness.report import show_leaderboard, show_plans

    if plans:
        show_plans(console(), out)
    else:
        show_leaderboard(console(), out, plan, kind)
