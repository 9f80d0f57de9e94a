"""From a benchmark's domains to opened records of the split that is wanted."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

import msgspec

from episodes.dataset import DatasetRecords
from episodes.errors import BadSpec, MissingSource
from episodes.sources import pocket
from episodes.spec import SPEC_FILE, DatasetSpec
from harness.config import Benchmark, Domain
from harness.errors import HarnessError
from harness.pixels import Records


class OpenDomain(NamedTuple):
    """A domain's name and its records."""

    name: str
    records: Records

    @property
    def spec(self) -> DatasetSpec:
        """Its classes."""
        return self.records.spec


class Named(Protocol):
    """A domain, whatever else is known of it."""

    @property
    def name(self) -> str: ...


class Specified(Named, Protocol):
    """A domain whose classes are known, whether or not its records are open."""

    @property
    def spec(self) -> DatasetSpec: ...


SpecifiedT = TypeVar("SpecifiedT", bound=Specified)


def cache_folder() -> Path:
    """`METABENCH_CACHE`, default `~/.cache/metabench`: everything in it can be made again."""
    return Path(os.environ.get("METABENCH_CACHE", "~/.cache/metabench")).expanduser().absolute()


def resolve(benchmark: Benchmark, records: Path | None) -> Benchmark:
    """The benchmark with `domains = "all"` replaced by the data sets under `records`, sorted by name; others as is.

    A data set is a folder with a dataset_spec.json; hidden folders, such as unfinished builds, are none. Where
    `records` is one itself, it is the only one. Raises HarnessError when `records` is missing or holds none.
    """
    if benchmark.domains:
        return benchmark
    if records is None:
        raise HarnessError(
            f"benchmark {benchmark.name!r} runs on data sets of yours: give --records /path (make: RECORDS=/path), a "
            f"folder of data sets with {SPEC_FILE} in each, or one such data set"
        )
    _check_is_folder(records)
    root = records.resolve()  # "." has no name
    folders = [root] if (root / SPEC_FILE).is_file() else sorted(root.iterdir())
    found = [path for path in folders if (path / SPEC_FILE).is_file() and not path.name.startswith(".")]
    if not found:
        raise HarnessError(f"--records {records}: no data set in it (a folder with {SPEC_FILE})")
    domains = tuple(Domain(name=path.name, folder=str(path)) for path in found)
    return msgspec.structs.replace(benchmark, domains=domains)


def check_records(benchmark: Benchmark, domains: Sequence[Domain], records: Path | None) -> None:
    """Raise HarnessError when the domains lie under `records` and that is not given or not a folder."""
    needing = [domain.name for domain in domains if lies_under_records(domain)]
    if needing and records is None:
        raise HarnessError(
            f"benchmark {benchmark.name!r} needs its records: give --records /path (make: RECORDS=/path), the folder "
            f"that holds {', '.join(f'{name}/' for name in needing[:3])} ... with {SPEC_FILE} in each"
        )
    if records is not None:
        _check_is_folder(records)


def open_domains(
    benchmark: Benchmark, domains: Sequence[Domain], records: Path | None, cache: Path
) -> list[OpenDomain]:
    """Open every domain's records. Raises HarnessError or MissingSource when `records` is missing or lacks some, and
    BadSpec for a spec that cannot be used."""
    check_records(benchmark, domains, records)
    folders = [domain_folder(domain, records, cache) for domain in domains]
    absent = [domain.name for domain, folder in zip(domains, folders, strict=True) if not folder.is_dir()]
    if absent:
        hint = to_run_the_rest(domains, *absent)
        raise MissingSource(f"{records or 'records'}: no folder for {', '.join(absent)}{hint}")
    opened = []
    for domain, folder in zip(domains, folders, strict=True):
        try:
            opened.append(OpenDomain(domain.name, DatasetRecords(folder, cache)))
        except BadSpec as error:
            raise BadSpec(f"{error}{to_run_the_rest(domains, domain.name)}") from error
    return opened


def to_run_the_rest(domains: Sequence[Named], *lacking: str) -> str:
    """The end of an error about some of the domains: how to do without them, if others are left."""
    rest = ",".join(domain.name for domain in domains if domain.name not in lacking)
    return f"; to run the rest: --datasets {rest}" if rest else ""


def with_split(
    domains: Iterable[SpecifiedT], benchmark: Benchmark, split: str, *, named: bool
) -> tuple[list[SpecifiedT], str]:
    """The domains that have classes for the protocol in `split`, and a line about those left out ("" for none).

    mnist, say, has test classes alone. `named`: the user chose the domains by name, so leaving one out would not be
    what was asked for. Raises HarnessError then, and when no domain is left.
    """
    least = benchmark.protocol.min_examples_in_class
    kept: list[SpecifiedT] = []
    lacking: list[str] = []
    for domain in domains:
        images = domain.spec.split(split).images_per_class
        if len(images) and images.max() >= least:
            kept.append(domain)
        else:
            lacking.append(domain.name)
    size = f" of {least} images or more" if least > 1 else ""
    why = f"{', '.join(lacking)}: no classes{size} in the {split} split"
    if lacking and named:
        raise HarnessError(f"{why}; take them out of --datasets or choose another --split")
    if not kept:
        raise HarnessError(f"benchmark {benchmark.name!r} has nothing to run: {why}; choose another --split")
    return kept, f"left out {why}" if lacking else ""


def domain_folder(domain: Domain, records: Path | None, cache: Path) -> Path:
    """Where a domain's records lie; a pocket domain that is made from a package is made on first use."""
    if domain.source == "pocket":
        return pocket.records_folder(domain.name, cache)
    return (records or Path()) / Path(domain.folder or domain.name).expanduser()


def lies_under_records(domain: Domain) -> bool:
    """Whether only `--records` says where the domain is."""
    return domain.source == "records" and not Path(domain.folder or domain.name).expanduser().is_absolute()


def _check_is_folder(records: Path) -> None:
    if not records.is_dir():
        raise HarnessError(f"--records {records}: no such folder")
