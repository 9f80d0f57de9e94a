"""`metabench check-adapter` and `metabench new-adapter`: for those who write a method of their own."""

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import Json
from harness.console import console


def check_adapter(
    adapter: Annotated[str, typer.Argument(help="As for `run`: url, 'url(lr=0.5)' or my_method.py.")],
    as_json: Json = False,
) -> None:
    """Try an adapter on small made-up tasks: does it keep the contract? Exit status 1 if a check fails."""
    from harness.commands.check_adapter import check_adapter as check

    if not check(console(), adapter, as_json=as_json):
        raise typer.Exit(1)


def new_adapter(
    name: Annotated[str, typer.Argument(help="Small letters, digits and dashes, as in my-method.")],
) -> None:
    """Write a working adapter file and its test into this folder, to start a method from."""
    from harness.commands.new_adapter import new_adapter as write

    write(console(), name, Path())
