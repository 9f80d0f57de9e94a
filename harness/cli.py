"""The command line. Everything heavy is imported by the command that needs it, so that --help is instant."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.cli_adapters import check_adapter, new_adapter
from harness.cli_cache import app as cache_app
from harness.cli_doctor import doctor
from harness.cli_records import app as records_app
from harness.cli_weights import app as weights_app
from harness.console import console, fail, names

app = typer.Typer(
    name="metabench",
    help="Benchmark few-shot adaptation methods on frozen backbones, across image domains.",
    epilog="Errors are one line; add --traceback to any command for the whole story.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(weights_app, name="weights")
app.add_typer(records_app, name="records")
app.add_typer(cache_app, name="cache")
app.command("check-adapter")(check_adapter)
app.command("new-adapter")(new_adapter)
app.command()(doctor)

Out = Annotated[Path, typer.Option("--out", help="Folder for everything that a run makes.")]
Records = Annotated[
    Path | None, typer.Option("--records", envvar="RECORDS", help="Folder of Meta-Dataset records.", metavar="DIR")
]
BenchmarkName = Annotated[str, typer.Argument(help="Name of a benchmark (see `metabench ls`) or a TOML file.")]
Datasets = Annotated[str | None, typer.Option("--datasets", help="Some of its domains only, as in mnist,icons.")]
Tasks = Annotated[int | None, typer.Option("--tasks", min=1, help="Episodes per domain (default: the benchmark's).")]
Split = Annotated[str | None, typer.Option("--split", help="train, valid or test (default: the benchmark's).")]
Seed = Annotated[int, typer.Option("--seed", min=0, max=2**63 - 1, help="Seed of episodes and stochastic methods.")]
NEEDS_IMAGES = ("backbone", "weights", "records", "episodes", "dtype", "store_dtype", "compiled", "pixels")


@app.command()
def run(
    context: typer.Context,
    benchmark: BenchmarkName = "pocket",
    adapters: Annotated[str | None, typer.Option(help="As in ncc,url or 'url(lr=0.5),my_method.py'.")] = None,
    hyper: Annotated[
        str, typer.Option(help="official: published hyper-parameters by test domain; fixed: one setting for all.")
    ] = "official",
    datasets: Datasets = None,
    tasks: Tasks = None,
    backbone: Annotated[
        str | None,
        typer.Option(help="Name, file, or model of a library (see `metabench ls`); several of equal d: a+b+c."),
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="Weights for a backbone that has none of its own.")] = None,
    split: Split = None,
    seed: Seed = 0,
    out: Out = Path("runs"),
    records: Records = None,
    episodes: Annotated[
        Path | None, typer.Option(help="Run these dumped episodes (<split>/<data set>/episode-*) instead of sampling.")
    ] = None,
    features: Annotated[
        Path | None, typer.Option(help="Run on these features (NAME.npz with features, labels) instead of images.")
    ] = None,
    trained_on: Annotated[
        str | None, typer.Option(help="What the network of --features saw, as in ilsvrc_2012=all,omniglot, or none.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1 ...")] = "cpu",
    dtype: Annotated[
        str, typer.Option(help="Precision of the backbone: float32, float64, bfloat16 or float16.")
    ] = "float32",
    store_dtype: Annotated[
        str | None, typer.Option(help="Precision of the embeddings that are kept: float32 or float16.")
    ] = None,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Embed through torch.compile (noted in every row).")
    ] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes (default: one per core; 1 on a GPU).")] = None,
    pixels: Annotated[
        str,
        typer.Option(
            help="keep: decode images once for methods that look at them; decode: keep nothing; rounded: keep them at "
            "the network's size in 8 bits (off by up to 0.004, noted in every row)."
        ),
    ] = "keep",
) -> None:
    """Run what is missing of a benchmark, and print its leaderboard."""
    if episodes is not None and _was_given(context, "records"):
        fail("error: --episodes brings its own images, so that --records has no use; leave out one of them", 2)
    for option in NEEDS_IMAGES if features is not None else ():
        if _was_given(context, option):
            word = {"compiled": "compile"}.get(option, option.replace("_", "-"))
            fail(f"error: --features are all that a run needs, so that --{word} has no use; leave out one of them", 2)
    if trained_on is not None and features is None:
        fail("error: --trained-on is about --features; a backbone has a card that says it", 2)

    from harness.commands import build_request
    from harness.run import run as run_benchmark

    request = build_request(
        benchmark,
        adapters=adapters,
        hyper=hyper,
        datasets=names(datasets),
        tasks=tasks,
        backbone=backbone,
        weights=weights,
        split=split,
        seed=seed,
        out=out,
        records=records,
        episodes=episodes,
        features=features,
        trained_on=names(trained_on),
        device=device,
        dtype=dtype,
        workers=workers,
        pixels=pixels,
        store_dtype=store_dtype,
        compiled=compiled,
    )
    try:
        run_benchmark(request, console())
    except KeyboardInterrupt:
        fail("stopped; finished blocks are stored, and the same command goes on from there", 130)


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
        bool, typer.Option("--dry-run", help="Only say what a run would take; needs dataset_spec.json files at most.")
    ] = False,
    backbone: Annotated[str | None, typer.Option(help="For --dry-run: the network whose speed is measured.")] = None,
    dump: Annotated[
        Path | None, typer.Option(help="Also write the episodes with their images, as the official dump_episodes.")
    ] = None,
) -> None:
    """Show and save the episodes that a run would use, without running anything."""
    if dry_run and dump is not None:
        fail("error: --dry-run writes nothing, so that --dump has no use; leave out one of them", 2)
    if backbone is not None and not dry_run:
        fail("error: --backbone says whose speed --dry-run measures; add --dry-run or leave it out", 2)

    from harness.commands import show_plan

    show_plan(
        console(),
        benchmark,
        datasets=names(datasets),
        tasks=tasks,
        split=split,
        seed=seed,
        out=out,
        records=records,
        dry_run=dry_run,
        backbone=backbone,
        dump=dump,
    )


@app.command("ls")
def list_everything() -> None:
    """List benchmarks with their domains, adapters and backbones."""
    from harness.commands import show_known

    show_known(console())


@app.command()
def leaderboard(
    out: Out = Path("runs"),
    plan: Annotated[str | None, typer.Option(help="Hash of a plan or its beginning (default: the last run's).")] = None,
    plans: Annotated[bool, typer.Option("--plans", help="List the plans that have results.")] = False,
) -> None:
    """Print the leaderboard of a plan from stored rows, and write it as CSV."""
    from harness.commands import show_leaderboard

    show_leaderboard(console(), out, plan, list_plans=plans)


@app.command()
def pretrain(
    out: Annotated[Path, typer.Option(help="The .safetensors file to write; its card is written beside it.")],
    domains: Annotated[str, typer.Option(help="Pocket domains to train on.")] = "icons,emoji,clipart,glyphs",
    widths: Annotated[str, typer.Option(help="Channels of the four stages.")] = "16,32,64,128",
    steps: Annotated[int, typer.Option(min=1, help="Optimiser steps.")] = 5000,
    batch_size: Annotated[int, typer.Option(min=1, help="Images per step, in equal parts of each domain.")] = 128,
    lr: Annotated[float, typer.Option(help="Highest learning rate.")] = 0.1,
    seed: Seed = 0,
    precision: Annotated[str, typer.Option(help="float32, or bf16 where the processor has it.")] = "float32",
) -> None:
    """Train a backbone on the pocket suite's train classes (shared trunk, one linear head per domain)."""
    from harness.domains import cache_folder
    from harness.pretrain import pretrain as pretrain_backbone
    from harness.weights_commands import parse_widths

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


def _was_given(context: typer.Context, option: str) -> bool:
    """Whether an option stands on the command line; its value may also come from the environment."""
    source = context.get_parameter_source(option)
    return source is not None and source.name == "COMMANDLINE"


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
