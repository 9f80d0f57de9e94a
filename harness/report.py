"""The leaderboard of a plan: printed, and written as CSV."""

from pathlib import Path

from rich.console import Console

from results.store import ResultStore

BASELINE = "ncc"


def report(store: ResultStore, plan_hash: str, out: Path, console: Console) -> None:
    """Print a plan's leaderboard and write `leaderboard.csv` and `timings.csv` under `out`."""
    from results.entries import name_methods
    from results.export import write_csv, write_timings
    from results.leaderboard import COLUMNS, leaderboard, paired, seen_states
    from results.render import render

    entries, plan = store.entries(plan_hash), store.plan(plan_hash)
    rows = name_methods(store.rows(plan_hash, COLUMNS), entries)
    seen = {**seen_states(entries), **seen_states(rows)}  # of a shard some domains have no rows
    board = leaderboard(rows, plan, seen)
    methods = board.methods["method"].tolist()
    baseline = next((name for name in sorted(methods) if name.split(" ")[0] == BASELINE), None)
    differences = paired(rows, plan, seen, baseline) if baseline and len(methods) > 1 else None
    for part in render(board, differences, width=console.width):
        console.print(part)
    write_csv(board, out / "leaderboard.csv")
    write_timings(rows, out / "timings.csv")
    console.print(f"wrote {out / 'leaderboard.csv'} and timings.csv", style="dim", highlight=False, soft_wrap=True)
