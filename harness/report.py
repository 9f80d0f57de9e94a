"""The leaderboard of a plan: printed, and written as CSV."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from results.store import ResultStore

if TYPE_CHECKING:
    from results.leaderboard import Leaderboard

BASELINE = "ncc"


def report(store: ResultStore, plan_hash: str, out: Path, console: Console) -> Leaderboard:
    """Print a plan's leaderboard, write `leaderboard.csv` and `timings.csv` under `out`, and hand the board back."""
    from results.entries import name_methods
    from results.export import write_csv, write_timings
    from results.leaderboard import COLUMNS, leaderboard, paired, seen_states
    from results.render import render

    rows, plan = name_methods(store.rows(plan_hash, COLUMNS), store.entries(plan_hash)), store.plan(plan_hash)
    seen = seen_states(rows)
    board = leaderboard(rows, plan, seen)
    methods = board.methods["method"].tolist()
    baseline = next((name for name in sorted(methods) if name.split(" ")[0] == BASELINE), None)
    differences = paired(rows, plan, seen, baseline) if baseline and len(methods) > 1 else None
    for part in render(board, differences, width=console.width):
        console.print(part)
    write_csv(board, out / "leaderboard.csv")
    write_timings(rows, out / "timings.csv")
    console.print(f"wrote {out / 'leaderboard.csv'} and timings.csv", style="dim", highlight=False, soft_wrap=True)
    return board
