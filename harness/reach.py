"""Before a run on several machines: does each of them have what the run names, and is it the same?"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import backbones
from episodes.dumped import DUMPED
from episodes.errors import EpisodesError
from harness.engines.contract import Engine
from harness.errors import HarnessError
from harness.pixels import PixelChoice, open_domain
from results.files import write_whole

if TYPE_CHECKING:
    from harness.cells import Cell, Run

ADVICE = "see docs/cluster.md for what each machine needs"


class Wanted(NamedTuple):
    """What a machine must have. `packages`: versions by name; `files`: weights and adapters; `records`: folder, split
    of dumped episodes or None, split, fingerprint of its images."""

    packages: Mapping[str, str]
    files: Sequence[Path]
    records: Sequence[tuple[Path, str | None, str, str]]
    pixels: PixelChoice


def check_machines(engine: Engine, current: Run, cells: Sequence[Cell]) -> None:
    """Ask every machine that works for the engine. `cells`: those for which images are read.

    Raises HarnessError, naming the first machine that lacks something.
    """
    for machine, lacks in engine.elsewhere(lacking, _wanted(current, cells)):
        if lacks:
            raise HarnessError(f"machine {machine}: {lacks}; {ADVICE}")


def shared_everywhere(engine: Engine, folder: Path) -> bool:
    """Whether all machines see what this one writes to `folder`."""
    token = folder / f".shared-{secrets.token_hex(8)}"
    write_whole(token, b"")
    try:
        return all(found for _, found in engine.elsewhere(Path.is_file, token))
    finally:
        token.unlink(missing_ok=True)


def lacking(wanted: Wanted) -> str:
    """On a machine: what is not there or another than wanted, in words; "" for nothing."""
    for name, expected in wanted.packages.items():
        if version(name) != expected:
            return f"has {name} {version(name)}, and this one {expected}"
    for path in wanted.files:
        if not path.is_file():
            return f"does not see {path}; put it at the same path"
    for folder, dumped, split, expected in wanted.records:
        if not folder.exists():
            return f"does not see the records {folder}; put them at the same path, or on a disk that all share"
        try:
            records, _ = open_domain(folder, wanted.pixels, dumped)
            found = records.split_fingerprint(split)
        except (EpisodesError, OSError) as error:
            return str(error)
        if found != expected:
            return f"has other images in {folder}"
    return ""


def _wanted(current: Run, cells: Sequence[Cell]) -> Wanted:
    """What computing these cells takes."""
    choice, domains = current.request.backbone, {cell.domain.name: cell.domain for cell in cells}
    names = {cell.configured.method.name for cell in current.cells if cell.configured.method.name.endswith(".py")}
    if cells:
        names |= {name for name in backbones.split_name(getattr(choice, "name", "")) if Path(name).is_file()}
        names |= {str(weights) for weights in [getattr(choice, "weights", None)] if weights}
    records = [
        (
            domain.records.folder,
            domain.plan.split if domain.plan.protocol == DUMPED else None,
            domain.plan.split,
            domain.records_hash,
        )
        for domain in domains.values()
    ]
    packages = {name: version(name) for name in ("metabench", "torch")}
    return Wanted(packages, [Path(name) for name in sorted(names)], records, current.pixels)
