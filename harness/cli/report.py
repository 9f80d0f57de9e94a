"""`metabench report`: a plan's results as one page."""

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import Out
from harness.console import console


def report(
    out: Out = Path("runs"),
    plan: Annotated[str | None, typer.Option(help="Hash of a plan or its beginning (default: the last run's).")] = None,
    to: Annotated[Path | None, typer.Option(help="The file to write (default: report.html in --out).")] = None,
    baseline: Annotated[
        str | None, typer.Option(help="The method that others are compared with at first (default: ncc).")
    ] = None,
    records: Annotated[
        Path | None,
        typer.Option(envvar="RECORDS", help="Folder of records, for pictures of the domains.", metavar="DIR"),
    ] = None,
) -> None:
    """Write a plan's leaderboard, figures, domains and runs as one self-contained page."""
    from harness.commands.report import write_report

    write_report(console(), out, plan, to=to or out / "report.html", baseline=baseline, records=records)
