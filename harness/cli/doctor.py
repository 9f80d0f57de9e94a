"""`metabench doctor` on the command line."""

from pathlib import Path

import typer

from harness.cli.options import Json, Out, Records
from harness.console import console, print_json


def doctor(
    out: Out = Path("runs"),
    records: Records = None,
    as_json: Json = False,
) -> None:
    """Look at what a run needs: torch, devices, limits, disk, caches, records. Exit status 1 if something fails."""
    from harness.commands.doctor import examine, show
    from harness.domains import cache_folder

    findings = examine(out=out, cache=cache_folder(), records=records)
    if as_json:
        print_json([finding._asdict() for finding in findings])
    else:
        show(console(), findings)
    if any(finding.state == "fails" for finding in findings):
        raise typer.Exit(1)
