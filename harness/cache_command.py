"""`metabench cache`: the stores of the cache, and which of their files can go."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from backbones import survey as embeddings
from backbones.survey import StoreSurvey
from episodes import decode, pixel_store
from harness.errors import HarnessError, unknown
from harness.stores import embeddings_folder
from results.files import IN_USE, sole_use

INDICES = ("index", "dumped")
_DAY_S = 86_400
_OLD_LOCK = "[0-9a-f]" * 64 + ".lock"


class Kept(NamedTuple):
    """A line of the list. `lock`: the folder whose sole use it takes to remove `files`; `removable`: those of them that
    are damaged or unknown; `last_used`: seconds since 1970."""

    kind: str
    what: str
    dtype: str
    images: int | None
    bytes: int
    last_used: float
    lock: Path
    files: list[Path]
    removable: list[Path]


def show_cache(console: Console, cache: Path) -> None:
    """Print every store, its images, bytes and last use."""
    table = Table()
    for column in ("kind", "of", "precision", "images", "size", "last used"):
        table.add_column(column, justify="right" if column in ("images", "size") else "left", overflow="fold")
    total = 0
    for kept in _stores(cache, verify=False):
        day = datetime.fromtimestamp(kept.last_used).strftime("%Y-%m-%d")
        images = "" if kept.images is None else f"{kept.images:,}"
        table.add_row(kept.kind, kept.what, kept.dtype, images, decimal(kept.bytes), day)
        total += kept.bytes
    console.print(table)
    console.print(f"{decimal(total)} in {cache}", style="dim", highlight=False, markup=False, soft_wrap=True)


def clean_cache(
    console: Console, cache: Path, *, older_than_days: float | None, backbone: str | None, dry_run: bool
) -> None:
    """Remove damaged and unknown files, and the stores that the options name; say what and how many bytes.

    With both options a store must fit both. Raises HarnessError when no store is of that backbone.
    """
    stores = list(_stores(cache, verify=True))
    names = {kept.what for kept in stores if kept.kind in ("features", "maps")}
    if backbone is not None and backbone not in names:
        raise unknown("embeddings of backbone", backbone, names) if names else HarnessError(f"{cache}: no embeddings")
    freed = 0
    for kept in stores:
        named = _is_named(kept, older_than_days, backbone)
        files = kept.files if named else kept.removable
        if not files:
            continue
        size = sum(path.stat().st_size for path in files)
        with sole_use(kept.lock) as alone:
            if alone and not dry_run:
                _remove(files, kept.lock)
        line = f"{kept.kind} {kept.what} {kept.dtype}".strip() + f": {len(files):,} files, {decimal(size)}"
        done = "would remove" if dry_run else "removed"
        what = "" if named else " damaged or unknown"
        freed += size if alone else 0
        _say(console, f"{done if alone else 'in use, kept'}  {line}{what}")
    _say(console, f"{'would free' if dry_run else 'freed'} {decimal(freed)}")


def _is_named(kept: Kept, older_than_days: float | None, backbone: str | None) -> bool:
    """Whether the options ask for the whole store to be removed."""
    if older_than_days is None and backbone is None:
        return False
    old = older_than_days is None or time.time() - kept.last_used > older_than_days * _DAY_S
    return old and (backbone is None or (kept.kind in ("features", "maps") and kept.what == backbone))


def _remove(files: Iterable[Path], folder: Path) -> None:
    for path in files:
        path.unlink(missing_ok=True)
    for left in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
        with suppress(OSError):  # it is not empty
            left.rmdir()
    with suppress(OSError):
        folder.rmdir()


# --- what there is ---------------------------------------------------------------------------------------------------


def _stores(cache: Path, *, verify: bool) -> Iterator[Kept]:
    root = embeddings_folder(cache)
    for found in embeddings.survey(root, verify=verify):
        yield _embeddings(found)
    if old := list(root.glob(_OLD_LOCK)):
        yield Kept("unknown", "left by older versions", "", None, _size(old), _last_used(old), root, old, old)
    for folder in sorted((cache / "pixels").glob("*-v*")):
        yield _pixels(folder, verify=verify)
    for name in INDICES:
        files = [path for path in sorted((cache / name).glob("*")) if path.suffix in (".index", ".npz")]
        if files:
            what = "records" if name == "index" else "dumped episodes"
            yield Kept("indices", what, "", None, _size(files), _last_used(files), cache / name, files, [])


def _embeddings(found: StoreSurvey) -> Kept:
    lock = found.folder
    marker = Path(f"{lock}{IN_USE}")
    last_used = marker.stat().st_mtime if marker.exists() else _last_used([found.folder])
    if found.facts is None:
        files = found.stray
        return Kept("unknown", found.folder.name[:12], "", None, found.bytes, last_used, lock, files, files)
    files = [path for path in found.folder.rglob("*") if path.is_file()]
    facts, removable = found.facts, [*found.damaged, *found.stray]
    precision = _precision(str(facts.parts.get("dtype", "")).removeprefix("torch."), facts.dtype)
    return Kept(facts.kind, facts.backbone, precision, found.images, found.bytes, last_used, lock, files, removable)


def _precision(computed: str, kept: str) -> str:
    return kept if computed in ("", kept) else f"{kept}, computed in {computed}"


def _pixels(folder: Path, *, verify: bool) -> Kept:
    found = pixel_store.survey(folder, verify=verify)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    known = [path for path in files if path.suffix == ".pixels"]
    removable = [*found.damaged, *(path for path in files if path.suffix != ".pixels")]
    if not folder.name.endswith(f"-v{decode.VERSION}"):  # of a decoder that is no more
        removable = files
    return Kept(
        "pixels", folder.name, "uint8", found.images, _size(files), _last_used(known), folder.parent, files, removable
    )


def _size(files: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in files)


def _last_used(files: Iterable[Path]) -> float:
    """When one of them was last read or written, as far as the file system keeps that."""
    return max((max(path.stat().st_atime, path.stat().st_mtime) for path in files), default=0.0)


def _say(console: Console, line: str) -> None:
    console.print(line, highlight=False, markup=False, soft_wrap=True)
