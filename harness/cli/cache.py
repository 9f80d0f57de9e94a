"""`metabench cache`: what is kept between runs, and how to be rid of it."""

from typing import Annotated

import typer

from harness.cli.options import Json
from harness.console import console

app = typer.Typer(help="List or clean up what is kept between runs (METABENCH_CACHE).", no_args_is_help=True)


@app.command("ls")
def list_cache(as_json: Json = False) -> None:
    """List embeddings by backbone and precision, pixels, indices, plans: their sizes and when they were last used."""
    from harness.commands.cache import show_cache
    from harness.domains import cache_folder

    show_cache(console(), cache_folder(), as_json=as_json)


@app.command()
def gc(
    older_than: Annotated[
        float | None, typer.Option("--older-than", min=0, metavar="DAYS", help="Remove what was last used before.")
    ] = None,
    backbone: Annotated[
        str | None, typer.Option(help="Remove this backbone's embeddings (with both: older ones).")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
) -> None:
    """Remove damaged and unknown files and what the options name; never what a running process uses."""
    from harness.commands.cache import clean_cache
    from harness.domains import cache_folder

    clean_cache(console(), cache_folder(), older_than_days=older_than, backbone=backbone, dry_run=dry_run)
