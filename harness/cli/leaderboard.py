"""`metabench leaderboard`: what a plan's rows say, on the terminal and as files."""

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import Json, Out
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
    significance: Annotated[
        bool, typer.Option("--significance", help="Print how sure it is instead: tests of every pair, both intervals.")
    ] = False,
    as_json: Json = False,
    seeds: Annotated[
        bool, typer.Option("--seeds", help="Print means over all seeds that the plan was run with.")
    ] = False,
) -> None:
    """Print the leaderboard of a plan from stored rows, and write it to files (CSV, Parquet, Markdown, LaTeX, JSON)."""
    if seeds and significance:
        fail("error: --significance is about one seed's episodes; leave out it or --seeds", 2)
    wanted = {"--plans": plans, "--format": kind, "--with": beside, "--significance": significance, "--seeds": seeds}
    given = [option for option, value in wanted.items() if value]
    if len(given) > 1:
        fail(f"error: {given[0]} and {given[1]} print something of their own each; leave out one of them", 2)
    if as_json and (kind or beside):
        fail(f"error: {given[0]} is not printed as JSON; leave out it or --json", 2)

    from harness.commands.leaderboard import print_leaderboard, show_evidence, show_leaderboard, show_plans

    if plans:
        show_plans(console(), out, as_json=as_json)
    elif kind is not None or (as_json and not given):
        print_leaderboard(out, plan, kind or "json")
    elif significance or seeds:
        show_evidence(console(), out, plan, seeds=seeds, as_json=as_json)
    else:
        show_leaderboard(console(), out, plan, beside=beside)
