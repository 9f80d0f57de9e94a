"""`metabench cache`: the stores of the cache, and which of their files can go."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from backbones import survey as embeddings
from episodes import decode, pixel_store
from harness.console import print_json
from harness.errors import HarnessError, unknown
from harness.stores import embeddings_folder
from results.files import IN_USE, files_under, size_of, sole_use, stats

INDICES = {"index": "records", "dumped": "dumped episodes", "plans": "plans"}
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


def show_cache(console: Console, cache: Path, *, as_json: bool = False) -> None:
    """Print every store, its images, bytes and last use."""
    stores = [look() for look in _stores(cache)]
    if as_json:
        print_json({"cache": str(cache), "stores": [_as_json(kept) for kept in stores]})
        return
    table = Table()
    for column in ("kind", "of", "precision", "images", "size", "last used"):
        table.add_column(column, justify="right" if column in ("images", "size") else "left", overflow="fold")
    for kept in stores:
        day = datetime.fromtimestamp(kept.last_used).strftime("%Y-%m-%d")
        images = "" if kept.images is None else f"{kept.images:,}"
        table.add_row(kept.kind, kept.what, kept.dtype, images, decimal(kept.bytes), day)
    console.print(table)
    total = decimal(sum(kept.bytes for kept in stores))
    console.print(f"{total} in {cache}", style="dim", highlight=False, markup=False, soft_wrap=True)


def _as_json(kept: Kept) -> dict[str, object]:
    """A line of the list as plain values; `images` is None where they are not counted."""
    last_used = datetime.fromtimestamp(kept.last_used, UTC).isoformat(timespec="seconds")
    facts = {"kind": kept.kind, "of": kept.what, "precision": kept.dtype, "images": kept.images}
    return {**facts, "bytes": kept.bytes, "last_used": last_used}


def clean_cache(
    console: Console, cache: Path, *, older_than_days: float | None, backbone: str | None, dry_run: bool
) -> None:
    """Remove damaged and unknown files, and the stores that the options name; say what and how many bytes.

    With both options a store must fit both. Raises HarnessError when no store is of that backbone.
    """
    stores = list(_stores(cache))
    if backbone is not None:
        names = {kept.what for kept in (look() for look in stores) if kept.kind in ("features", "maps")}
        if backbone not in names:
            no_store = HarnessError(f"{cache}: no embeddings")
            raise unknown("embeddings of backbone", backbone, names) if names else no_store
    freed = 0
    for look in stores:
        kept = look(verify=True)
        named = _is_named(kept, older_than_days, backbone)
        if not _files(kept, named):
            continue
        with sole_use(kept.lock) as alone:
            if alone:  # a run may have ended since, and made sound what was damaged
                kept = look(verify=not named)
            files = _files(kept, named)
            size = size_of(files)
            if alone and not dry_run:
                _remove(files, kept.lock)
        if not files:
            continue
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


def _files(kept: Kept, named: bool) -> list[Path]:
    """Those that can go."""
    return kept.files if named else kept.removable


def _remove(files: Iterable[Path], folder: Path) -> None:
    for path in files:
        path.unlink(missing_ok=True)
    for left in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
        with suppress(OSError):  # it is not empty
            left.rmdir()
    with suppress(OSError):
        folder.rmdir()


# --- what there is ---------------------------------------------------------------------------------------------------


def _stores(cache: Path) -> Iterator[Callable[..., Kept]]:
    """For each store a function that looks at what it holds now; with `verify=True` it reads all of it."""
    root = embeddings_folder(cache)
    for folder in embeddings.stores(root):
        yield partial(_embeddings, folder)
    if any(root.glob(_OLD_LOCK)):
        yield partial(_old_locks, root)
    for folder in sorted((cache / "pixels").glob("*-v*")):
        yield partial(_pixels, folder)
    for name, what in INDICES.items():
        if _index_files(cache / name):
            yield partial(_indices, cache / name, what)


def _old_locks(root: Path, *, verify: bool = False) -> Kept:
    files = sorted(root.glob(_OLD_LOCK))
    return Kept("unknown", "left by older versions", "", None, size_of(files), _last_used(files), root, files, files)


def _indices(folder: Path, what: str, *, verify: bool = False) -> Kept:
    files = _index_files(folder)
    return Kept("indices", what, "", None, size_of(files), _last_used(files), folder, files, [])


def _index_files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.glob("*")) if path.suffix in (".index", ".npz")]


def _embeddings(folder: Path, *, verify: bool = False) -> Kept:
    found = embeddings.survey_store(folder, verify=verify)
    lock = found.folder
    marker = stats([Path(f"{lock}{IN_USE}")])
    last_used = marker[0].st_mtime if marker else _last_used([found.folder])
    if found.facts is None:
        files = found.stray
        return Kept("unknown", found.folder.name[:12], "", None, found.bytes, last_used, lock, files, files)
    files = files_under(found.folder)
    facts, removable = found.facts, [*found.damaged, *found.stray]
    precision = _precision(str(facts.parts.get("dtype", "")).removeprefix("torch."), facts.dtype)
    return Kept(facts.kind, facts.backbone, precision, found.images, found.bytes, last_used, lock, files, removable)


def _precision(computed: str, kept: str) -> str:
    return kept if computed in ("", kept) else f"{kept}, computed in {computed}"


def _pixels(folder: Path, *, verify: bool = False) -> Kept:
    found = pixel_store.survey(folder, verify=verify)
    files = files_under(folder)
    known = [path for path in files if path.suffix == ".pixels"]
    removable = [*found.damaged, *(path for path in files if path.suffix != ".pixels")]
    if not folder.name.endswith(f"-v{decode.VERSION}"):  # of a decoder that is no more
        removable = files
    size, last_used = size_of(files), _last_used(known)
    return Kept("pixels", folder.name, "uint8", found.images, size, last_used, folder.parent, files, removable)


def _last_used(files: Iterable[Path]) -> float:
    """When one of them was last read or written, as far as the file system keeps that."""
    return max((max(stat.st_atime, stat.st_mtime) for stat in stats(files)), default=0.0)


def _say(console: Console, line: str) -> None:
    console.print(line, highlight=False, markup=False, soft_wrap=True)
