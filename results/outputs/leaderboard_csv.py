"""leaderboard.csv: a line for every method, setting and backbone."""

import pandas as pd

from results.entries import plain_name
from results.leaderboard import GROUPS, Leaderboard, domains_of
from results.outputs.delimited import csv_text
from results.ranks import RANK_COLUMNS

CELL_COLUMNS = {"mean_pct": "", "ci95_pct": "_ci95", "rank": "_rank", "n": "_n"}  # of `Leaderboard.cells` -> suffix


def leaderboard_csv(board: Leaderboard) -> str:
    """One line per method, the best average rank first; the columns are described in docs/outputs.md.

    Accuracies in percent and ranks with four decimals, empty where episodes are missing. A domain whose column would
    have the name of another one is written as `domain:<name>`.
    """
    lines = [_leading(board, method) for method in board.methods.to_dict("records")]
    cells = {(cell["method"], cell["domain"]): cell for cell in board.cells.to_dict("records")}
    columns = _domain_columns(board, set(lines[0]))
    for line in lines:
        for domain, names in columns.items():
            cell = cells[line["name"], domain]
            line |= {column: _number(cell[kind]) for kind, column in names.items()}
    return csv_text([list(lines[0]), *(list(line.values()) for line in lines)])


def _leading(board: Leaderboard, method: dict) -> dict[str, str | int]:
    plan, name = board.plan, method["method"]
    marked = board.cells[(board.cells["method"] == name) & board.cells["contaminated"]]["domain"].tolist()
    return {
        "plan": plan.plan_hash,
        "benchmark": plan.benchmark,
        "setting": plan.setting,
        "split": plan.split,
        "seed": plan.seed,
        "episodes": plan.tasks,
        "seen_domains": " ".join(domains_of(plan, board.seen, board.contaminated, "seen")),
        "unseen_domains": " ".join(domains_of(plan, board.seen, board.contaminated, "unseen")),
        "name": name,
        "method": plain_name(name, method["backbone"]),
        "backbone": method["backbone"],
        "hyper": method["hyper"],
        "contaminated": " ".join(marked),
        **{column: _number(method[column]) for column in RANK_COLUMNS},
        **{f"{group}_mean": _number(method[f"{group}_pct"]) for group in GROUPS},
    }


def _domain_columns(board: Leaderboard, taken: set[str]) -> dict[str, dict[str, str]]:
    """domain -> what a cell holds -> the name of its column, no name twice."""
    columns = {}
    for domain in board.plan.domains:
        names = {kind: f"{domain}{suffix}" for kind, suffix in CELL_COLUMNS.items()}
        if not taken.isdisjoint(names.values()):
            names = {kind: f"domain:{name}" for kind, name in names.items()}
        taken = taken | set(names.values())
        columns[domain] = names
    return columns


def _number(value: float) -> str | int:
    if isinstance(value, int):
        return value
    return "" if pd.isna(value) else f"{value:.4f}"
