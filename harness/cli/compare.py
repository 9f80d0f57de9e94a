"""`metabench compare`: is one method better than another on the same episodes?"""

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import Json
from harness.console import console, names

FORM = "ADAPTER[@BACKBONE[:CONFIG]], as in url, 'url(lr=0.5)', url@:fixed, url@resnet18-pocket:bfloat16."


def compare(
    a: Annotated[str, typer.Argument(help=FORM, metavar="A")],
    b: Annotated[str, typer.Argument(help="The same.", metavar="B")],
    out: Annotated[Path, typer.Option("--out", help="Folder with the results of a run.")] = Path("runs"),
    plan: Annotated[str | None, typer.Option(help="Hash of a plan or its beginning (default: the last run's).")] = None,
    domains: Annotated[
        str | None, typer.Option("--datasets", "--domains", help="Some of the plan's domains only, as in mnist,icons.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say whether A is better than B on the same episodes: where, by how much, how sure."""
    from harness.commands.compare import show_comparison

    show_comparison(console(), a, b, out=out, plan=plan, domains=names(domains), as_json=as_json)
