"""`metabench published`: tables that papers print, as data, and whether their averages follow from their cells."""

from typing import Annotated

import typer

from harness.cli.options import Json
from harness.console import console

app = typer.Typer(help="Tables of papers, as printed: list, show, check.")


@app.callback(invoke_without_command=True)
def published(context: typer.Context, as_json: Json = False) -> None:
    """Tables of papers, as printed: list them, show one, check their averages and ranks."""
    if context.invoked_subcommand is None:
        list_tables(as_json)


@app.command("ls")
def list_tables(as_json: Json = False) -> None:
    """List all tables with their sources."""
    from harness.commands.published import list_tables

    list_tables(console(), as_json=as_json)


@app.command()
def show(
    table: Annotated[str, typer.Argument(help="As `metabench published` lists it.")], as_json: Json = False
) -> None:
    """Print a table as the paper has it, with its averages and ranks recomputed."""
    from harness.commands.published import show_table

    show_table(console(), table, as_json=as_json)


@app.command()
def check(as_json: Json = False) -> None:
    """List printed averages and ranks that do not follow from their cells, and all other doubts. Exit status 0."""
    from harness.commands.published import check_tables

    check_tables(console(), as_json=as_json)
