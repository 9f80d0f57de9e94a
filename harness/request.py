"""What a user asks for, complete and checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from harness.blocks import BackboneSource
from harness.config import Benchmark, Domain
from harness.engines.choice import LOCAL, EngineChoice
from harness.methods import Hyper, Method
from harness.pixels import Pixels
from harness.planned import Planned
from harness.shards import Shard


class EpisodeSource(Protocol):
    """What a request names: records, dumped episodes or features."""

    @property
    def facts(self) -> Mapping[str, str]:
        """What the manifest says of it."""
        ...

    def plan(self, request: "Request") -> Planned:
        """The request's episodes and what they are made of."""
        ...


@dataclass(frozen=True, kw_only=True)
class Request:
    """One run. `named`: the user chose the domains by name; `hyper`: see harness.methods; `tasks`: None for the
    benchmark's number, or for all dumped episodes; `source`: where episodes come from; `out`: where results go;
    `cache`: where what can be made again is kept; `vectors`: the same for embeddings; `engine`: where it computes;
    `workers`: in how many processes at the same time, None for as many as Ray has room for; `pixels`: see
    harness.pixels; `store_dtype`: precision of the vectors that are kept; `shard`: which part of the plan's blocks is
    run (None: all); `options`: what it was made of, for the manifest; `save_logits`: keep every episode's logits in
    `out`."""

    benchmark: Benchmark
    domains: tuple[Domain, ...]
    named: bool
    methods: tuple[Method, ...]
    hyper: Hyper
    backbone: BackboneSource
    split: str
    tasks: int | None
    seed: int
    out: Path
    source: EpisodeSource
    cache: Path
    vectors: Path
    device: str
    workers: int | None
    pixels: Pixels
    store_dtype: str
    engine: EngineChoice = LOCAL
    shard: Shard | None = None
    options: Mapping[str, Any] | None = None
    save_logits: bool = False
    deterministic: bool = False

    @property
    def device_here(self) -> str:
        """The device of this process; Ray's tasks have theirs elsewhere."""
        return "cpu" if self.engine.kind == "ray" else self.device


def usual_store_dtype(dtype: str) -> str:
    """In what precision the vectors of a backbone in `dtype` are kept unless the user says otherwise."""
    return "float64" if dtype == "float64" else "float32"
