"""`metabench leaderboard`: what a plan's rows say, on the terminal and as files."""

from pathlib import Path
from typing import Annotated

import typer

from harness.cli_options import Out
from harness.console import console, fail


def leaderboard(
    out: Out = Path("runs"),
    plan: Annotated[str | None, typer.Option(help="Hash of a plan or its beginning (default: the last run's).")] = None,
    kind: Annotated[
        str | None, typer.Option("--format", help="Print that file instead of the table: md, latex, csv or json.")
    ] = None,
    plans: Annotated[bool, typer.Option("--plans", help="List the plans that have results.")] = False,
    beside: Annotated[
        str | None, typer.Option("--with", help="published: beside what papers print for this setting.")
    ] = None,
) -> None:
    """Print the leaderboard of a plan from stored rows, and write it to files (CSV, Parquet, Markdown, LaTeX, JSON)."""
    if kind is not None and beside is not None:
        fail("error: --format prints one file alone, so that --with has no use; leave out one of them", 2)

    from harness.report import print_leaderboard, show_leaderboard, show_plans

    if plans:
        show_plans(console(), out)
    elif kind is not None:
        print_leaderboard(out, plan, kind)
    else:
        show_leaderboard(console(), out, plan, beside=beside)
