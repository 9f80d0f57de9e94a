"""What a user asks for, complete and checked."""

from dataclasses import dataclass
from pathlib import Path

from harness.config import Benchmark, Domain
from harness.evaluate import BackboneChoice
from harness.methods import Method


@dataclass(frozen=True, kw_only=True)
class Request:
    """One run. `records`: the folder of the user's own data sets, if any; `out`: where results go; `cache`: where
    what can be made again is kept; `workers`: processes that adapt at the same time."""

    benchmark: Benchmark
    domains: tuple[Domain, ...]
    methods: tuple[Method, ...]
    backbone: BackboneChoice
    split: str
    tasks: int
    seed: int
    out: Path
    records: Path | None
    cache: Path
    device: str
    workers: int
