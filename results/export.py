"""leaderboard.csv and timings.csv."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from results.files import write_whole
from results.leaderboard import GROUPS, Leaderboard, domains_of


def write_csv(board: Leaderboard, path: Path) -> None:
    """One line per method, the best average rank first; equal results give equal bytes.

    Accuracies in percent with four decimals, empty where episodes are missing. Columns: plan, benchmark, split, seed,
    episodes (planned per domain), seen_domains, unseen_domains (space-separated: those that the means below are taken
    over), backbone, method, contaminated (the domains, space-separated, whose classes of this split the method's
    backbone was trained on), avg_rank, seen_mean, unseen_mean, all_mean, then for each domain `<domain>` (mean),
    `<domain>_ci95`, `<domain>_rank` and `<domain>_n` (episodes done).
    """
    plan = board.plan
    groups = {
        f"{group}_domains": " ".join(domains_of(plan, board.seen, board.contaminated, group))
        for group in ("seen", "unseen")
    }
    leading = {"plan": plan.plan_hash, "benchmark": plan.benchmark, "split": plan.split, "seed": plan.seed}
    cells = {(cell["method"], cell["domain"]): cell for cell in board.cells.to_dict("records")}
    lines = []
    for method in board.methods.to_dict("records"):
        line = {**leading, "episodes": plan.tasks, **groups, "backbone": method["backbone"], "method": method["method"]}
        line["contaminated"] = " ".join(d for d in plan.domains if cells[method["method"], d]["contaminated"])
        line["avg_rank"] = _decimals(method["avg_rank"])
        line |= {f"{group}_mean": _decimals(method[f"{group}_pct"]) for group in GROUPS}
        for domain in plan.domains:
            cell = cells[method["method"], domain]
            line[domain] = _decimals(cell["mean_pct"])
            line[f"{domain}_ci95"] = _decimals(cell["ci95_pct"])
            line[f"{domain}_rank"] = _decimals(cell["rank"])
            line[f"{domain}_n"] = cell["n"]
        lines.append(line)
    _save(path, [list(lines[0]), *(line.values() for line in lines)])


def write_timings(rows: pd.DataFrame, path: Path) -> None:
    """Seconds per episode: method, domain, episodes, mean_s, median_s; rows as for `leaderboard`."""
    seconds = rows.groupby(["method", "domain"])["wall_s"].agg(["count", "mean", "median"]).reset_index()
    lines = [
        (method, domain, count, f"{mean:.6f}", f"{median:.6f}")
        for method, domain, count, mean, median in seconds.itertuples(index=False)
    ]
    _save(path, [("method", "domain", "episodes", "mean_s", "median_s"), *lines])


def _decimals(value: float) -> str:
    return "" if pd.isna(value) else f"{value:.4f}"


def _save(path: Path, lines: Iterable[Iterable[object]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    write_whole(path, text.getvalue().encode())
