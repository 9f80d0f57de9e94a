"""What a user asks for, complete and checked."""

from dataclasses import dataclass
from pathlib import Path

from harness.config import Benchmark, Domain
from harness.evaluate import BackboneChoice
from harness.methods import Hyper, Method
from harness.pixels import Pixels


@dataclass(frozen=True, kw_only=True)
class Request:
    """One run. `named`: the user chose the domains by name; `hyper`: see harness.methods; `tasks`: None for the
    benchmark's number, or for all dumped episodes; `records`: the folder of the user's own data sets, if any;
    `episodes`: dumped ones to run instead of sampling; `out`: where results go; `cache`: where what can be made again
    is kept; `workers`: processes that adapt at the same time; `pixels`: see harness.pixels; `features`: precision
    of the vectors that are kept."""

    benchmark: Benchmark
    domains: tuple[Domain, ...]
    named: bool
    methods: tuple[Method, ...]
    hyper: Hyper
    backbone: BackboneChoice
    split: str
    tasks: int | None
    seed: int
    out: Path
    records: Path | None
    episodes: Path | None
    cache: Path
    device: str
    workers: int
    pixels: Pixels
    features: str


def usual_features(dtype: str) -> str:
    """In what precision the vectors of a backbone in `dtype` are kept unless the user says otherwise."""
    return "float64" if dtype == "float64" else "float32"
