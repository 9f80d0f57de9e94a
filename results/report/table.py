"""The page's table: a method a row, then ranks, averages and domains."""

from typing import NamedTuple

import pandas as pd

from results.leaderboard import GROUPS, Leaderboard, domains_of

RANKS = {
    "avg_rank": "average rank",
    "avg_rank_plain": "plain rank",
    "avg_rank_official10": "rank on the official 10",
    "avg_rank_papers13": "rank on the papers’ 13",
}
"""What the columns of average ranks are called; those without any number are left out."""


class Column(NamedTuple):
    """`state`: of a domain (seen, unseen, unknown), "" for a summary; `low_is_best`: sorted so at first."""

    name: str
    state: str = ""
    low_is_best: bool = False
    contaminated: bool = False


class Cell(NamedTuple):
    """`value` sorts the column, "" for nothing, which goes last; `best` and those that tie with it are bold."""

    value: str
    text: str
    ci95: str = ""
    rank: str = ""
    best: bool = False
    contaminated: bool = False
    missing: bool = False


class Line(NamedTuple):
    """One method; `cells` as the columns."""

    method: str
    cells: list[Cell]


def table(board: Leaderboard) -> tuple[list[Column], list[Line]]:
    """Columns and lines, the best average rank first."""
    ranks = [key for key in RANKS if key == "avg_rank" or board.methods[key].notna().any()]
    groups = [g for g in GROUPS if domains_of(board.plan, board.seen, board.contaminated, g)]
    columns = [*(Column(RANKS[key], low_is_best=True) for key in ranks), *(Column(f"mean {g}") for g in groups)]
    columns += [
        Column(domain, board.seen.get(domain, "unknown"), contaminated=domain in board.contaminated)
        for domain in board.plan.domains
    ]
    cells = {(cell["method"], cell["domain"]): cell for cell in board.cells.to_dict("records")}
    best = board.cells.groupby("domain")["rank"].min()
    lowest = board.methods[ranks].min()
    marked = board.cells.groupby("method")["contaminated"].any()
    lines = []
    for method in board.methods.to_dict("records"):
        name = method["method"]
        shown = [_summary(method[key], "{:.2f}", best=method[key] == lowest[key]) for key in ranks]
        shown += [_summary(method[f"{g}_pct"], "{:.1f}", mark=g == "all" and bool(marked[name])) for g in groups]
        shown += [_domain(cells[name, domain], best[domain]) for domain in board.plan.domains]
        lines.append(Line(name, shown))
    return columns, lines


def _summary(value: float, form: str, *, best: bool = False, mark: bool = False) -> Cell:
    if pd.isna(value):
        return Cell("", "–", missing=True)
    return Cell(f"{value:.6f}", form.format(value), best=best, contaminated=mark)


def _domain(cell: dict, best_rank: float) -> Cell:
    if cell["n"] < cell["planned"]:
        return Cell("", f"{cell['n']}/{cell['planned']}", missing=True)
    rank = "" if pd.isna(cell["rank"]) else f"{cell['rank']:g}"
    return Cell(
        f"{cell['mean_pct']:.6f}",
        f"{cell['mean_pct']:.1f}",
        f"{cell['ci95_pct']:.1f}",
        rank,
        bool(cell["rank"] == best_rank),
        bool(cell["contaminated"]),
    )
