"""What `metabench leaderboard` does: a stored plan's leaderboard, what it is set beside, how sure it is; all plans."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path

from rich.console import Console

from harness.chosen_plan import chosen_plan
from harness.commands.published import checked_companion, show_beside
from harness.commands.statistics import show_seeds, show_significance
from harness.console import print_json
from harness.errors import unknown
from harness.leaderboard import report, tabulated
from results.store import ResultStore


def show_leaderboard(console: Console, out: Path, plan: str | None, *, beside: str | None) -> None:
    """The leaderboard of one plan in `out`: the last run's, or the one whose hash begins with `plan`. `beside`: what
    to set it beside (published)."""
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
            used = datetime.fromisoformat(row["last_used"]).astimezone()
            console.print(f"{row['plan_hash'][:12]}  {facts}, last used {used:%F %R}", highlight=False)
