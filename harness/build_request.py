"""From the options of a command to the request of a run, each checked and the benchmark's own where it is not given."""

from pathlib import Path

import backbones
from episodes.spec import SPLITS
from harness.blocks import BackboneChoice, BackboneSource
from harness.config import Benchmark, load_benchmark
from harness.devices import checked_device, default_workers
from harness.domains import cache_folder, check_records, resolve
from harness.engines.choice import checked_engine
from harness.errors import HarnessError, unknown
from harness.methods import Method, checked_hyper, parse_methods
from harness.pixels import PIXELS, Pixels
from harness.planned import resolve_dumped
from harness.request import EpisodeSource, Request, usual_store_dtype
from harness.shards import parse_shard
from harness.sources import FromDump, FromRecords
from harness.trained_on import parse_trained_on

DTYPES = ("float32", "float64", "bfloat16", "float16")
STORE_DTYPES = ("float32", "float16")


def build_request(
    benchmark_name: str,
    *,
    adapters: str | None,
    hyper: str,
    datasets: tuple[str, ...] | None,
    tasks: int | None,
    backbone: str | None,
    weights: Path | None,
    split: str | None,
    seed: int,
    out: Path,
    records: Path | None,
    episodes: Path | None = None,
    features: Path | None = None,
    trained_on: tuple[str, ...] | None = None,
    device: str = "cpu",
    dtype: str = "float32",
    workers: int | None = None,
    pixels: str = "keep",
    store_dtype: str | None = None,
    compiled: bool = False,
    engine: str = "local",
    address: str | None = None,
    gpus_per_worker: float | None = None,
    shard: str | None = None,
    save_logits: bool = False,
    deterministic: bool = False,
) -> Request:
    """The request of a run; what is not given comes from the benchmark. Raises HarnessError naming the option."""
    benchmark = load_benchmark(benchmark_name)
    split = checked_split(benchmark, split)
    source: EpisodeSource
    network: BackboneSource
    if features is not None:
        from harness.given_features import features_run

        known = None if trained_on is None else parse_trained_on(trained_on)
        benchmark, domains, source, network = features_run(features, benchmark, datasets, split, known)
    elif episodes is not None:
        if seed:
            raise HarnessError(f"--seed {seed}: dumped episodes are what they are; leave out --seed or --episodes")
        benchmark, source = resolve_dumped(benchmark, episodes, split), FromDump(episodes.absolute())
        domains, network = benchmark.select(datasets), network_of(benchmark, backbone, weights, dtype, compiled)
    else:
        benchmark, source = resolve(benchmark, records), FromRecords(records and records.absolute())
        domains = benchmark.select(datasets)
        check_records(benchmark, domains, records)
        network = network_of(benchmark, backbone, weights, dtype, compiled)
    return Request(
        benchmark=benchmark,
        domains=domains,
        named=datasets is not None,
        methods=methods_of(benchmark, adapters),
        hyper=checked_hyper(hyper),
        backbone=network,
        split=split,
        tasks=tasks,
        seed=seed,
        out=out,
        source=source,
        cache=cache_folder(),
        vectors=cache_folder(),
        device=checked_device(device) if engine == "local" else device,
        workers=workers or (default_workers(device) if engine == "local" else None),
        engine=checked_engine(engine, address, gpus_per_worker, device),
        pixels=checked_pixels(pixels) if features is None else "none",
        store_dtype=checked_store_dtype(store_dtype, network.dtype),
        shard=parse_shard(shard),
        save_logits=save_logits,
        deterministic=deterministic,
    )


def methods_of(benchmark: Benchmark, adapters: str | None) -> tuple[Method, ...]:
    """The methods that the user names, or the benchmark's own."""
    return tuple(parse_methods([adapters] if adapters and adapters.strip() else benchmark.adapters))


def network_of(
    benchmark: Benchmark,
    backbone: str | None,
    weights: Path | None,
    dtype: str,
    compiled: bool,
    otherwise: str | None = None,
) -> BackboneChoice:
    """The backbone that the user names, or the benchmark's own. Raises HarnessError where that is none, unless there is
    something that will do `otherwise`."""
    chosen = backbone or benchmark.backbone or ("resnet18" if weights else otherwise)
    if chosen is None:
        raise HarnessError(
            f"benchmark {benchmark.name!r} has no backbone of its own: give --backbone NAME or --backbone "
            f"FILE.safetensors (make: BACKBONE=...), as resnet18-pocket; `metabench weights import` makes one from a "
            f"checkpoint"
        )
    return backbone_choice(chosen, weights, dtype)._replace(compiled=compiled)


def backbone_choice(name: str, weights: Path | None, dtype: str) -> BackboneChoice:
    """A backbone in words that mean the same in every process. Raises HarnessError for an unknown precision."""
    if dtype not in DTYPES:
        raise unknown("--dtype", dtype, DTYPES)
    name = "+".join(map(backbones.absolute, backbones.split_name(name)))
    return BackboneChoice(name, weights and weights.absolute(), dtype)


def checked_split(benchmark: Benchmark, split: str | None) -> str:
    """The split to sample from. Raises HarnessError for an unknown one."""
    if split is not None and split not in SPLITS:
        raise unknown("split", split, SPLITS)
    return split or benchmark.split


def checked_pixels(pixels: str) -> Pixels:
    """How images are had. Raises HarnessError for an unknown way."""
    for known in PIXELS:
        if pixels == known:
            return known
    raise unknown("--pixels", pixels, PIXELS)


def checked_store_dtype(store_dtype: str | None, dtype: str) -> str:
    """The precision in which vectors are kept. Raises HarnessError for an unknown one."""
    if store_dtype is not None and store_dtype not in STORE_DTYPES:
        raise unknown("--store-dtype", store_dtype, STORE_DTYPES)
    return store_dtype or usual_store_dtype(dtype)
