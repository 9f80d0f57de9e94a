"""The leaderboard of a plan: its table printed, and all outputs written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from results.store import ResultStore

if TYPE_CHECKING:
    import pandas as pd

    from results.leaderboard import Leaderboard

BASELINE = "ncc"


def report(store: ResultStore, plan_hash: str, out: Path, console: Console) -> Leaderboard:
    """Print a plan's leaderboard, write all of its outputs to `out`, and hand the board back."""
    from results.leaderboard import paired
    from results.outputs.write import write_outputs
    from results.render import render

    rows, board = tabulated(store, plan_hash)
    methods = board.methods["method"].tolist()
    baseline = next((name for name in sorted(methods) if name.split(" ")[0] == BASELINE), None)
    differences = paired(rows, board.plan, board.seen, baseline) if baseline and len(methods) > 1 else None
    for part in render(board, differences, width=console.width):
        console.print(part)
    names = ", ".join(path.name for path in write_outputs(board, rows, out))
    console.print(f"wrote {names} to {out}", style="dim", highlight=False, soft_wrap=True)
    return board


def tabulated(store: ResultStore, plan_hash: str) -> tuple[pd.DataFrame, Leaderboard]:
    """All rows of a plan, named by method, and their leaderboard."""
    from results.entries import name_methods
    from results.leaderboard import leaderboard, seen_states

    entries = store.entries(plan_hash)
    rows = name_methods(store.rows(plan_hash), entries)
    seen = {**seen_states(entries), **seen_states(rows)}  # of a shard some domains have no rows
    return rows, leaderboard(rows, store.plan(plan_hash), seen)
