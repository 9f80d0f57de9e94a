"""The leaderboard of a plan: found in a store, printed, and written to files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from harness.chosen_plan import chosen_plan
from harness.console import print_json
from harness.errors import unknown
from results.store import ResultStore

if TYPE_CHECKING:
    import pandas as pd

    from results.leaderboard import Leaderboard

BASELINE = "ncc"


def show_leaderboard(console: Console, out: Path, plan: str | None, *, beside: str | None) -> None:
    """The leaderboard of one plan in `out`: the last run's, or the one whose hash begins with `plan`. `beside`: what
    to set it beside (published)."""
    from harness.published_commands import checked_companion, show_beside

    companion = checked_companion(beside)
    with ResultStore(out / "results.sqlite", create=False) as store:
        board = report(store, chosen_plan(store, plan), out, console)
    if companion:
        show_beside(board, out, console)


def print_leaderboard(out: Path, plan: str | None, kind: str) -> None:
    """Write all outputs of that plan to `out`, and the one of this format to standard output too, alone."""
    from results.outputs.write import FORMATS, write_outputs

    if kind not in FORMATS:
        raise unknown("--format", kind, FORMATS)
    with ResultStore(out / "results.sqlite", create=False) as store:
        rows, board = tabulated(store, chosen_plan(store, plan))
    write_outputs(board, rows, out)
    sys.stdout.buffer.write((out / FORMATS[kind]).read_bytes())
    sys.stdout.flush()


def show_evidence(console: Console, out: Path, plan: str | None, *, seeds: bool, as_json: bool) -> None:
    """How sure the leaderboard of that plan is, or its means over `seeds`."""
    from harness.cli_stats import show_seeds, show_significance

    with ResultStore(out / "results.sqlite", create=False) as store:
        plan_hash = chosen_plan(store, plan)
        if seeds:
            show_seeds(store, plan_hash, console, as_json=as_json)
        else:
            show_significance(store, plan_hash, out, console, as_json=as_json)


def show_plans(console: Console, out: Path, *, as_json: bool = False) -> None:
    """The plans in `out` that have results, the last used one first."""
    with ResultStore(out / "results.sqlite", create=False) as store:
        chosen_plan(store, None)
        plans = store.plans().to_dict("records")
        if as_json:
            print_json(plans)
            return
        for row in plans:
            facts = f"{row['benchmark']} {row['split']}, {row['tasks']} episodes a domain, seed {row['seed']}"
            console.print(f"{row['plan_hash'][:12]}  {facts}, last used {row['last_used']}", highlight=False)


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
