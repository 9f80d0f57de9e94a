"""`metabench run`: its options, and which of them go together."""

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import BenchmarkName, Datasets, Device, Out, Records, Split, Tasks, Workers
from harness.config_file import was_given
from harness.console import collecting_later, console, fail, names

NEEDS_IMAGES = ("backbone", "weights", "records", "episodes", "dtype", "store_dtype", "compiled", "pixels")


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
    seed: Annotated[
        str, typer.Option(help="Seed of episodes and stochastic methods; several, as in 0,1,2, run one by one.")
    ] = "0",
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
    device: Device = "cpu",
    dtype: Annotated[
        str, typer.Option(help="Precision of the backbone: float32, float64, bfloat16 or float16.")
    ] = "float32",
    store_dtype: Annotated[
        str | None, typer.Option(help="Precision of the embeddings that are kept: float32 or float16.")
    ] = None,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Embed through torch.compile (noted in every row).")
    ] = False,
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="Deterministic algorithms only, slower on GPUs (in every row).")
    ] = False,
    workers: Workers = None,
    engine: Annotated[str, typer.Option(help="local, or ray: tasks on a Ray cluster (docs/cluster.md).")] = "local",
    address: Annotated[
        str | None, typer.Option(help="Ray cluster: auto (this machine's), HOST:PORT, or local (one for the run).")
    ] = None,
    gpus_per_worker: Annotated[
        float | None, typer.Option(help="Share of a GPU for each task on Ray, as in 0.25 (default: 1).")
    ] = None,
    pixels: Annotated[
        str,
        typer.Option(
            help="keep: decode images once for methods that look at them; decode: keep nothing; rounded: keep them at "
            "the network's size in 8 bits (off by up to 0.004, noted in every row)."
        ),
    ] = "keep",
    save_logits: Annotated[
        bool, typer.Option("--save-logits", help="Keep every episode's logits, in OUT/logits (docs/compare.md).")
    ] = False,
    shard: Annotated[
        str | None, typer.Option(help="I/N: run the I-th of N parts of the plan, as for one of N machines.")
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Only say what it would take: images, bytes, time to embed and time of each method."
        ),
    ] = False,
) -> None:
    """Run what is missing of a benchmark, and print its leaderboard."""
    if episodes is not None and was_given(context, "records"):
        fail("error: --episodes brings its own images, so that --records has no use; leave out one of them", 2)
    for option in NEEDS_IMAGES if features is not None else ():
        if was_given(context, option):
            word = {"compiled": "compile"}.get(option, option.replace("_", "-"))
            fail(f"error: --features are all that a run needs, so that --{word} has no use; leave out one of them", 2)
    for option, value in {"address": address, "gpus-per-worker": gpus_per_worker}.items() if engine == "local" else ():
        if value is not None:
            fail(f"error: --{option} is about Ray; add --engine ray or leave it out", 2)
    if trained_on is not None and features is None:
        fail("error: --trained-on is about --features; a backbone has a card that says it", 2)

    if engine == "local" and not dry_run:
        from harness.engines.local import start_ahead

        start_ahead(device, workers)

    with collecting_later():
        from harness.commands.run import dry_run as say_what_it_takes
        from harness.commands.run import run_seeds

    options = {
        "adapters": adapters,
        "hyper": hyper,
        "datasets": names(datasets),
        "tasks": tasks,
        "backbone": backbone,
        "weights": weights,
        "split": split,
        "records": records,
        "episodes": episodes,
        "features": features,
        "trained_on": names(trained_on),
        "device": device,
        "dtype": dtype,
        "workers": workers,
        "engine": engine,
        "address": address,
        "gpus_per_worker": gpus_per_worker,
        "pixels": pixels,
        "store_dtype": store_dtype,
        "compiled": compiled,
        "shard": shard,
        "save_logits": save_logits,
        "deterministic": deterministic,
    }
    if dry_run:
        say_what_it_takes(seed, benchmark, options=options, console=console())
        return
    try:
        run_seeds(seed, benchmark, out=out, options=options, console=console())
    except KeyboardInterrupt:
        fail("stopped; finished blocks are stored, and the same command goes on from there", 130)
