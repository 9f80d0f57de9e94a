"""Which of several configurations of a method is best, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd
from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from results.errors import LeaderboardError
from results.leaderboard import leaderboard, paired, seen_states
from results.plain import records_of
from results.store import StoredPlan


class Sweep(NamedTuple):
    """`cells`: a line for each configuration in the order of the grid: method, mean_pct, diff_pct and ci95_pct (less
    the winner's mean over domains, on the same episodes, in percentage points), then a column for each domain.
    `winner`: the method with the highest mean over domains; of equal ones the first."""

    plan: StoredPlan
    cells: pd.DataFrame
    winner: str


def sweep_table(rows: pd.DataFrame, plan: StoredPlan, methods: Sequence[str]) -> Sweep:
    """Compare the `methods` by their rows of a plan (as for `leaderboard`, with the column `method`).

    Raises LeaderboardError naming a method that lacks episodes.
    """
    rows = rows[rows["method"].isin(methods)]
    seen = seen_states(rows)
    board = leaderboard(rows, plan, seen)
    means = board.methods.set_index("method")["all_pct"].reindex(list(methods))
    lacking = means.index[means.isna()].tolist()
    if lacking:
        raise LeaderboardError(f"{lacking[0]}: episodes of plan {plan.plan_hash[:12]} are missing; run the sweep again")
    winner = str(means.idxmax())
    cells = board.cells.pivot(index="method", columns="domain", values="mean_pct").loc[
        list(methods), list(plan.domains)
    ]
    averages = paired(rows, plan, seen, winner).averages
    against = averages[averages["group"] == "all"].set_index("method")[["diff_pct", "ci95_pct"]]
    lines = pd.DataFrame({"mean_pct": means}).join(against.reindex(list(methods))).join(cells)
    lines.loc[winner, ["diff_pct", "ci95_pct"]] = 0.0
    return Sweep(plan, lines.rename_axis("method").reset_index(), winner)


def render_sweep(found: Sweep) -> list[RenderableType]:
    """What to print: configurations down, domains across."""
    plan = found.plan
    protocol = f" · {plan.split} · {plan.tasks} episodes per domain · seed {plan.seed} · plan {plan.plan_hash[:12]}"
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("configuration", overflow="fold")
    for name in (*plan.domains, "mean", "less the best"):
        table.add_column(Text(name), justify="right")
    for line in found.cells.to_dict("records"):
        best = line["method"] == found.winner
        difference = "best" if best else f"{line['diff_pct']:+.2f} ±{line['ci95_pct']:.2f}"
        shown = [f"{line[domain]:.1f}" for domain in plan.domains]
        table.add_row(Text(str(line["method"])), *shown, f"{line['mean_pct']:.2f}", difference, style="bold" * best)
    legend = "accuracy in %; less the best: mean over domains, paired on the same episodes, ±95% interval"
    return [Text.assemble((plan.benchmark, "bold"), protocol), table, Text(legend, style="dim")]


def as_json(found: Sweep) -> dict[str, Any]:
    """The same for machines."""
    plan = found.plan
    facts = {"plan": plan.plan_hash, "benchmark": plan.benchmark, "split": plan.split, "seed": plan.seed}
    return {**facts, "tasks": plan.tasks, "winner": found.winner, "configurations": records_of(found.cells)}
