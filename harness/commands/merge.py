"""What `metabench merge` does: stores into one, and the files beside them."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from harness.console import say
from harness.leaderboard import report
from results.files import files_under, write_whole
from results.merge import Merged, check_paths, merge
from results.run_lock import sole_runner
from results.store import ResultStore

STORE = "results.sqlite"
BESIDE = ("plans", "manifests", "logits")
"""Folders of an --out whose files, once written, never change; their names say what they are of."""


def merge_folders(out: Path, inputs: Sequence[Path], *, plan: str | None, tolerance: float, console: Console) -> None:
    """Merge what runs wrote to `inputs` into `out`, and print the leaderboard of the plan used last."""

    def waiting(runner: str) -> None:
        say(console, f"waiting   {runner} runs into {out} now")

    stores = [_store(path) for path in inputs]
    check_paths(out / STORE, stores)  # before `out` is made
    with sole_runner(out, waiting):
        done = merge(out / STORE, stores, plan=plan, tolerance=tolerance)
        for folder in map(_folder, inputs):
            _copy_beside(folder, out)
    for merged in done.stores:
        say(console, _told(merged))
    with ResultStore(out / STORE, create=False) as store:
        latest = store.latest_plan()
        report(store, latest if latest in done.plans else done.plans[-1], out, console)


def _told(merged: Merged) -> str:
    told = f"{merged.path.parent}: {merged.new:,} new rows, {merged.rows - merged.new:,} there already"
    return f"{told}, {merged.differing:,} of them with another accuracy" if merged.differing else told


def _store(path: Path) -> Path:
    """The store of an --out, or the file itself."""
    return path if path.is_file() else path / STORE


def _folder(path: Path) -> Path:
    return path.parent if path.is_file() else path


def _copy_beside(folder: Path, out: Path) -> None:
    """The plans, manifests and logits of a folder, where `out` has them not."""
    for name in BESIDE:
        for path in files_under(folder / name):
            target = out / path.relative_to(folder)
            if not path.name.startswith(".") and not target.exists():
                write_whole(target, path.read_bytes())
