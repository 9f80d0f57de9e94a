"""Benchmarks as files: TOML in, one frozen and validated object out."""

import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from episodes.sampling import EpisodeConfig
from harness.errors import HarnessError, unknown

BENCHMARKS = Path(__file__).parent / "benchmarks"

ALL = "all"
"""What a file writes for `domains` to take every data set under --records."""

Setting = Literal["standard", "5shot", "1shot"]
_PUBLISHED_SETTINGS: dict[EpisodeConfig, Setting] = {
    EpisodeConfig(): "standard",
    EpisodeConfig(num_support=5): "5shot",
    EpisodeConfig(min_ways=5, max_ways=5, max_support_per_class=1): "1shot",
}
Positive = Annotated[int, msgspec.Meta(ge=1)]


def setting_of(protocol: EpisodeConfig) -> str:
    """What episodes look like, in the words of the papers' tables: standard | 5shot | 1shot (as in URL's 5shot and
    1shot benchmarks), fixed-5w1s and the like for a fixed number of classes and of shots, custom for anything else."""
    if isinstance(protocol.num_ways, int) and isinstance(protocol.num_support, int):
        return f"fixed-{protocol.num_ways}w{protocol.num_support}s"
    return _PUBLISHED_SETTINGS.get(protocol, "custom")


class Domain(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One data set. `source`: "pocket" (shipped) or "records" (folder `folder`, else its name, under --records)."""

    name: str
    source: Literal["pocket", "records"] = "records"
    folder: str | None = None


class Benchmark(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one leaderboard measures. `domains`: none for `domains = "all"`, every data set that lies under --records
    (`harness.domains.resolve` names them). `setting` chooses among published rates; `trained_on`: the domains whose
    train classes the setting lets a backbone see (None: any)."""

    name: str
    title: str
    domains: tuple[Domain, ...]
    tasks: Positive = 600
    split: Literal["train", "valid", "test"] = "test"
    setting: Setting = "standard"
    adapters: tuple[str, ...] = ("ncc", "url", "copa")
    backbone: str | None = None
    trained_on: tuple[str, ...] | None = None
    protocol: EpisodeConfig = EpisodeConfig()
    """What an episode looks like; a key that is left out has the official value."""

    def select(self, names: tuple[str, ...] | None) -> tuple[Domain, ...]:
        """The domains of those names, in the benchmark's order; all of them for None."""
        known = {domain.name for domain in self.domains}
        for name in names or ():
            if name not in known:
                raise unknown(f"data set in benchmark {self.name!r}:", name, known)
        return tuple(domain for domain in self.domains if names is None or domain.name in names)


def known_benchmarks() -> list[str]:
    """Names of the shipped benchmarks."""
    return sorted(path.stem for path in BENCHMARKS.glob("*.toml"))


def benchmark_file(name: str) -> Path:
    """Where a benchmark lies that is called so: a shipped one by its name, or any TOML file by its path."""
    return Path(name) if name.endswith(".toml") else BENCHMARKS / f"{name}.toml"


def load_benchmark(name: str) -> Benchmark:
    """A shipped benchmark by name, or any TOML file by path. Raises HarnessError naming the file and the key."""
    path = benchmark_file(name)
    if not path.is_file():
        if name.endswith(".toml"):
            raise HarnessError(f"{path}: no such benchmark file")
        raise unknown("benchmark", name, known_benchmarks())
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
        _check_protocol(raw)
        benchmark = msgspec.convert({**raw, "domains": _domains(raw)}, Benchmark)
        fault = benchmark.protocol.fault()
        if fault is not None:
            raise ValueError(f"[protocol] {fault}")
    except (ValueError, UnicodeDecodeError) as error:  # both libraries' errors are ValueErrors
        raise HarnessError(f"{path}: {error}") from error
    names = [domain.name for domain in benchmark.domains]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise HarnessError(f"{path}: domains: {twice!r} stands twice")
    return benchmark


def _domains(raw: dict[str, Any]) -> list[Any]:
    """What `domains` lists, none for "all"."""
    domains = raw.get("domains")
    if domains == ALL:
        return []
    if not isinstance(domains, list) or not domains:
        given = "none given" if not domains else f"not {domains!r}"
        raise ValueError(f'domains: {given}; write a list, as in [{{ name = "mnist" }}], or "all"')
    return domains


def _check_protocol(raw: dict[str, Any]) -> None:
    known, protocol = {field.name for field in fields(EpisodeConfig)}, raw.get("protocol", {})
    if not isinstance(protocol, dict):
        raise ValueError(f"protocol must be a table of keys, not {protocol!r}")
    for key in protocol:
        if key not in known:
            raise ValueError(str(unknown("key in [protocol]:", key, known)))
