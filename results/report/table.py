"""The page's table: a method a row, then ranks, averages and domains."""

from typing import NamedTuple

import pandas as pd

from results.leaderboard import GROUPS, Leaderboard, domains_of


class Column(NamedTuple):
    """`key` names it in the page; `state`: of a domain (seen, unseen, unknown), "" for a summary; `low_is_best`."""

    key: str
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
    groups = [g for g in GROUPS if domains_of(board.plan, board.seen, board.contaminated, g)]
    columns = [Column("rank", "average rank", low_is_best=True), *(Column(f"mean-{g}", f"mean {g}") for g in groups)]
    columns += [
        Column(f"domain-{i}", domain, board.seen.get(domain, "unknown"), contaminated=domain in board.contaminated)
        for i, domain in enumerate(board.plan.domains)
    ]
    cells = {(cell["method"], cell["domain"]): cell for cell in board.cells.to_dict("records")}
    best = board.cells.groupby("domain")["rank"].min()
    lowest = board.methods["avg_rank"].min()
    marked = board.cells.groupby("method")["contaminated"].any()
    lines = []
    for method in board.methods.to_dict("records"):
        name = method["method"]
        shown = [_summary(method["avg_rank"], "{:.2f}", best=method["avg_rank"] == lowest)]
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
