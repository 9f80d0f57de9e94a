"""`metabench ls`: all that can be run."""

from harness.cli.options import Json
from harness.console import console


def ls(as_json: Json = False) -> None:
    """List benchmarks with their domains, adapters and backbones."""
    from harness.commands.ls import show_known

    show_known(console(), as_json=as_json)
