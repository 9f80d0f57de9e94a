"""The leaderboard for the terminal: domains down, methods across, as many a table as its width allows."""

import math
from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd
from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from results.leaderboard import GROUPS, Differences, Leaderboard, domains_of, mixed_domains

MOST_METHODS = 6  # in one table
CELL_WIDTH = 12
BETWEEN = 3  # columns of the terminal between two of the table
STATE_WIDTH = 6
AVERAGE_RANK = "average rank"
MARKS = {"seen": "seen", "unseen": "unseen", "unknown": "?"}
CONTAMINATED = "†"
NOTHING = Text("–", style="dim")


def render(board: Leaderboard, differences: Differences | None = None, *, width: int = 120) -> list[RenderableType]:
    """What to print, in order: accuracies in tables of `width` columns, then the paired differences, if given."""
    room = _room(board, width)
    methods = board.methods["method"].tolist()
    parts: list[RenderableType] = [_title(board)]
    parts += [_accuracies(board, names, room) for names in _portions(methods, room)]
    parts.append(_legend(board))
    if differences is not None:
        others = [method for method in methods if method != differences.baseline]
        parts.append(Text(f"\nDifference from {differences.baseline} on the same episodes", style="bold"))
        parts += [_differences(board, differences, names, room) for names in _portions(others, room)]
        parts.append(Text("percentage points ±95% interval; in colour where the interval leaves out zero", style="dim"))
    return parts


def _accuracies(board: Leaderboard, methods: list[str], room: int) -> Table:
    cells = {(cell["method"], cell["domain"]): cell for cell in board.cells.to_dict("records")}
    best = board.cells.groupby("domain")["rank"].min()
    summary = board.methods.set_index("method")
    table = _table(methods, room)
    for domain in board.plan.domains:
        shown = [_accuracy(cells[method, domain], best[domain]) for method in methods]
        table.add_row(Text(domain), MARKS[board.seen.get(domain, "unknown")], *shown)
    table.add_section()
    marked = board.cells.groupby("method")["contaminated"].any()
    for group in _filled_groups(board):
        values = summary.loc[methods, f"{group}_pct"]
        marks = [CONTAMINATED if group == "all" and marked[method] else "" for method in methods]
        shown = [NOTHING if pd.isna(v) else Text(f"{mark}{v:.1f}") for mark, v in zip(marks, values, strict=True)]
        table.add_row(f"mean {group}", "", *shown)
    lowest = summary["avg_rank"].min()
    shown = [
        NOTHING if pd.isna(rank) else Text(f"{rank:.2f}", style="bold green" if rank == lowest else "")
        for rank in summary.loc[methods, "avg_rank"]
    ]
    table.add_row(AVERAGE_RANK, "", *shown)
    return table


def _differences(board: Leaderboard, differences: Differences, methods: list[str], room: int) -> Table:
    cells = {(cell["method"], cell["domain"]): cell for cell in differences.cells.to_dict("records")}
    averages = {(cell["method"], cell["group"]): cell for cell in differences.averages.to_dict("records")}
    table = _table(methods, room)
    for domain in board.plan.domains:
        shown = [_difference(cells[method, domain]) for method in methods]
        mark = f" {CONTAMINATED}" if domain in board.contaminated else ""
        table.add_row(Text(domain + mark), MARKS[board.seen.get(domain, "unknown")], *shown)
    table.add_section()
    for group in _filled_groups(board):
        table.add_row(f"mean {group}", "", *(_difference(averages[method, group]) for method in methods))
    return table


def _table(methods: list[str], room: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("domain", overflow="fold")
    table.add_column("", width=STATE_WIDTH, style="dim")
    names = [method.replace("(", "\n(").replace(" @ ", "\n@ ") for method in methods]
    longest = max((len(line) for name in names for line in name.splitlines()), default=0)
    width = max(CELL_WIDTH, min(longest, room // max(1, len(methods)) - BETWEEN))
    for name in names:
        table.add_column(Text(name), width=width, justify="right", overflow="fold")
    return table


def _room(board: Leaderboard, width: int) -> int:
    """What is left for methods of a table's `width`, after the domains in full, their states and the two edges."""
    marked = (f"{domain} {CONTAMINATED}" for domain in board.contaminated)
    domains = max(map(len, (AVERAGE_RANK, *board.plan.domains, *marked)))
    return width - domains - BETWEEN - STATE_WIDTH - 2


def _accuracy(cell: Mapping[Hashable, Any], best_rank: float) -> Text:
    if cell["n"] < cell["planned"]:
        return Text(f"{cell['n']}/{cell['planned']}", style="dim")
    style = "bold green" if cell["rank"] == best_rank else ""
    mark = CONTAMINATED if cell["contaminated"] else ""
    return Text(f"{mark}{cell['mean_pct']:.1f} ±{cell['ci95_pct']:.1f}", style=style)


def _difference(cell: Mapping[Hashable, Any]) -> Text:
    difference, ci95 = cell["diff_pct"], cell["ci95_pct"]
    if pd.isna(difference):
        return NOTHING
    style = "" if abs(difference) <= ci95 else "green" if difference > 0 else "red"
    return Text(f"{difference:+.2f} ±{ci95:.2f}", style=style)


def _filled_groups(board: Leaderboard) -> list[str]:
    return [group for group in GROUPS if domains_of(board.plan, board.seen, board.contaminated, group)]


def _portions(methods: list[str], room: int) -> list[list[str]]:
    """Methods in portions of about equal size that fit the room, their names broken at spaces alone."""
    words = (word for method in methods for word in method.replace("(", " (").split())
    widest = max(CELL_WIDTH, max(map(len, words), default=0)) + BETWEEN
    most = min(MOST_METHODS, max(1, room // widest))
    size = math.ceil(len(methods) / max(1, math.ceil(len(methods) / most)))
    return [methods[start : start + size] for start in range(0, len(methods), max(1, size))]


def _title(board: Leaderboard) -> Text:
    plan = board.plan
    protocol = f"{plan.split} · {plan.tasks} episodes per domain · seed {plan.seed} · plan {plan.plan_hash[:12]}"
    return Text.assemble((plan.benchmark, "bold"), f" · {protocol}")


def _legend(board: Leaderboard) -> Text:
    lines = ["accuracy in %, mean ±95% interval over episodes; bold: the best and every method that ties with it"]
    if (board.cells["n"] < board.cells["planned"]).any():
        lines.append(f"n/{board.plan.tasks}: n episodes are done so far; averages and average rank need all of them")
    if any(board.seen.get(domain, "unknown") == "unknown" for domain in board.plan.domains):
        lines.append("?: not known whether the backbone was trained on this domain; counted in the mean over all only")
    lines += _contamination(board)
    return Text("\n".join(lines), style="dim")


def _contamination(board: Leaderboard) -> list[str]:
    """What the marks of contaminated cells mean; nothing where there are none."""
    if not board.contaminated:
        return []
    lines = [
        f"{CONTAMINATED}: the backbone was trained on these very {board.plan.split} classes: proves little, counted in "
        "the mean over all and in ranks only"
    ]
    mixed = mixed_domains(board.cells)
    if mixed:
        lines.append(f"{', '.join(mixed)}: not ranked, since not all backbones have the {CONTAMINATED}")
    return lines
