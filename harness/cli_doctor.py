"""`metabench doctor` on the command line."""

from pathlib import Path
from typing import Annotated

import typer

from harness.console import console


def doctor(
    out: Annotated[Path, typer.Option("--out", help="Folder for everything that a run makes.")] = Path("runs"),
    records: Annotated[
        Path | None, typer.Option("--records", envvar="RECORDS", help="Folder of Meta-Dataset records.", metavar="DIR")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Look at what a run needs: torch, devices, limits, disk, caches, records. Exit status 1 if something fails."""
    from harness.doctor import examine, show
    from harness.domains import cache_folder

    findings = examine(out=out, cache=cache_folder(), records=records)
    if as_json:
        console().print_json(data=[finding._asdict() for finding in findings], ensure_ascii=True)
    else:
        show(console(), findings)
    if any(finding.state == "fails" for finding in findings):
        raise typer.Exit(1)
