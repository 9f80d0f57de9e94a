"""From a benchmark's domains to opened records."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from episodes.dataset import DatasetRecords
from episodes.errors import MissingSource
from episodes.sources import pocket
from harness.config import Benchmark, Domain
from harness.errors import HarnessError


class OpenDomain(NamedTuple):
    """A domain's name and its records."""

    name: str
    records: DatasetRecords


def cache_folder() -> Path:
    """`METABENCH_CACHE`, default `~/.cache/metabench`: everything in it can be made again."""
    return Path(os.environ.get("METABENCH_CACHE", "~/.cache/metabench")).expanduser().absolute()


def check_records(benchmark: Benchmark, domains: Sequence[Domain], records: Path | None) -> None:
    """Raise HarnessError when the domains lie under `records` and that is not given or not a folder."""
    needing = [domain.name for domain in domains if domain.source == "records" and not _is_absolute(domain)]
    if needing and records is None:
        raise HarnessError(
            f"benchmark {benchmark.name!r} needs its records: give --records /path (make: RECORDS=/path), the folder "
            f"that holds {', '.join(f'{name}/' for name in needing[:3])} ... with dataset_spec.json in each"
        )
    if needing and records is not None and not records.is_dir():
        raise HarnessError(f"--records {records}: no such folder")


def open_domains(
    benchmark: Benchmark, domains: Sequence[Domain], records: Path | None, cache: Path
) -> list[OpenDomain]:
    """Open every domain's records. Raises HarnessError or MissingSource when `records` is missing or lacks some."""
    check_records(benchmark, domains, records)
    folders = [_folder(domain, records, cache) for domain in domains]
    absent = [domain.name for domain, folder in zip(domains, folders, strict=True) if not folder.is_dir()]
    if absent:
        present = ",".join(domain.name for domain in domains if domain.name not in absent)
        hint = f"; to run the rest: --datasets {present}" if present else ""
        raise MissingSource(f"{records or 'records'}: no folder for {', '.join(absent)}{hint}")
    return [
        OpenDomain(domain.name, DatasetRecords(folder, cache)) for domain, folder in zip(domains, folders, strict=True)
    ]


def _is_absolute(domain: Domain) -> bool:
    return domain.folder is not None and Path(domain.folder).expanduser().is_absolute()


def _folder(domain: Domain, records: Path | None, cache: Path) -> Path:
    if domain.source == "pocket":
        return pocket.records_folder(domain.name, cache)
    return (records or Path()) / Path(domain.folder or domain.name).expanduser()
