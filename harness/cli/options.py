"""Options that several commands have, so that they mean the same everywhere."""

from pathlib import Path
from typing import Annotated

import typer


def benchmark_names(incomplete: str) -> list[str]:
    """For shell completion."""
    from harness.config import known_benchmarks

    return [name for name in known_benchmarks() if name.startswith(incomplete)]


Out = Annotated[Path, typer.Option("--out", help="Folder for everything that a run makes.")]
Records = Annotated[
    Path | None, typer.Option("--records", envvar="RECORDS", help="Folder of Meta-Dataset records.", metavar="DIR")
]
BenchmarkName = Annotated[
    str,
    typer.Argument(help="Name of a benchmark (see `metabench ls`) or a TOML file.", autocompletion=benchmark_names),
]
Datasets = Annotated[str | None, typer.Option("--datasets", help="Some of its domains only, as in mnist,icons.")]
Tasks = Annotated[int | None, typer.Option("--tasks", min=1, help="Episodes per domain (default: the benchmark's).")]
Split = Annotated[str | None, typer.Option("--split", help="train, valid or test (default: the benchmark's).")]
Seed = Annotated[int, typer.Option("--seed", min=0, max=2**63 - 1, help="Seed of episodes and stochastic methods.")]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda (all GPUs), cuda:1 ..., or mps.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")]
Workers = Annotated[int | None, typer.Option("--workers", min=1, help="Processes (default: one per core, or per GPU).")]
