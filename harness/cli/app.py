"""The command line. Everything heavy is imported by the command that needs it, so that --help is instant."""

import sys
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.adapters import check_adapter, new_adapter
from harness.cli.analyse import app as analyse_app
from harness.cli.cache import app as cache_app
from harness.cli.compare import compare
from harness.cli.doctor import doctor
from harness.cli.leaderboard import leaderboard
from harness.cli.merge import merge
from harness.cli.options import BenchmarkName, Datasets, Json, Out, Records, Seed, Split, Tasks
from harness.cli.published import app as published_app
from harness.cli.records import app as records_app
from harness.cli.report import report
from harness.cli.rerun import rerun
from harness.cli.run import run
from harness.cli.show import show
from harness.cli.sweep import sweep
from harness.cli.weights import app as weights_app
from harness.config_file import with_config
from harness.console import console, fail, names

app = typer.Typer(
    name="metabench",
    epilog="Errors are one line; add --traceback to any command for the whole story.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(analyse_app, name="analyse")
app.add_typer(weights_app, name="weights")
app.add_typer(published_app, name="published")
app.add_typer(records_app, name="records")
app.add_typer(cache_app, name="cache")
app.command("check-adapter")(check_adapter)
app.command()(compare)
app.command()(doctor)
app.command()(leaderboard)
app.command()(merge)
app.command("new-adapter")(new_adapter)
app.command()(report)
app.command()(rerun)
app.command()(run)
app.command()(show)
app.command()(sweep)


def say_version(wanted: bool) -> None:
    """Print the version and leave, if that is wanted."""
    if wanted:
        print(f"metabench {installed_version('metabench')}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=say_version, help="Print the version and leave.")
    ] = False,
) -> None:
    """Benchmark few-shot adaptation methods on frozen backbones, across image domains."""


@app.command()
def plan(
    benchmark: BenchmarkName = "pocket",
    datasets: Datasets = None,
    tasks: Tasks = None,
    split: Split = None,
    seed: Seed = 0,
    out: Out = Path("runs"),
    records: Records = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Only say how many images and bytes, and how long they embed; needs dataset_spec.json files at most.",
        ),
    ] = False,
    backbone: Annotated[str | None, typer.Option(help="For --dry-run: the network whose speed is measured.")] = None,
    dump: Annotated[
        Path | None, typer.Option(help="Also write the episodes with their images, as the official dump_episodes.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show and save the episodes that a run would use, without running anything."""
    if dry_run and dump is not None:
        fail("error: --dry-run writes nothing, so that --dump has no use; leave out one of them", 2)
    if backbone is not None and not dry_run:
        fail("error: --backbone says whose speed --dry-run measures; add --dry-run or leave it out", 2)

    from harness.commands.plan import Asked, Means, show_plan, show_what_it_takes

    asked = Asked(benchmark, names(datasets), tasks, split, seed, records)
    if dry_run:
        show_what_it_takes(console(), asked, Means(backbone), as_json=as_json)
    else:
        show_plan(console(), asked, out=out, dump=dump, as_json=as_json)


@app.command("ls")
def list_everything(as_json: Json = False) -> None:
    """List benchmarks with their domains, adapters and backbones."""
    from harness.commands.ls import show_known

    show_known(console(), as_json=as_json)


@app.command()
def pretrain(
    out: Annotated[Path, typer.Option(help="The .safetensors file to write; its card is written beside it.")],
    domains: Annotated[
        str, typer.Option("--datasets", "--domains", help="Pocket domains to train on.")
    ] = "icons,emoji,clipart,glyphs",
    widths: Annotated[str, typer.Option(help="Channels of the four stages.")] = "16,32,64,128",
    steps: Annotated[int, typer.Option(min=1, help="Optimiser steps.")] = 5000,
    batch_size: Annotated[int, typer.Option(min=1, help="Images per step, in equal parts of each domain.")] = 128,
    lr: Annotated[float, typer.Option(help="Highest learning rate.")] = 0.1,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the weights and of the order of images.")] = 0,
    precision: Annotated[
        str, typer.Option("--precision", "--dtype", help="float32, or bfloat16 where the processor has it.")
    ] = "float32",
) -> None:
    """Train a backbone on the pocket suite's train classes (shared trunk, one linear head per domain)."""
    from harness.commands.pretrain import pretrain as pretrain_backbone
    from harness.commands.weights import parse_widths
    from harness.domains import cache_folder

    pretrain_backbone(
        out,
        cache=cache_folder(),
        domains=names(domains) or (),
        widths=parse_widths(names(widths) or ()),
        steps=steps,
        batch_size=batch_size,
        lr=lr,
        seed=seed,
        precision=precision,
        console=console(),
    )


with_config(app)


def main() -> None:
    """Run the command line. Exit status: 1 for an error (one line), 2 for wrong usage, 130 for Ctrl-C in a run."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--traceback"]
    with _OneLineErrors(len(arguments) == len(sys.argv) - 1):
        app(arguments)


class _OneLineErrors:
    """Show the user's errors as one line; imports the rooms' errors only once there is one to show."""

    def __init__(self, wanted: bool) -> None:
        self._wanted = wanted

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: object) -> None:
        if self._wanted and isinstance(error, Exception):
            from harness.errors import USER_ERRORS

            if isinstance(error, USER_ERRORS):
                fail(f"error: {' '.join(str(error).split())}", 1)
