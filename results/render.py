"""The leaderboard for the terminal: domains down, methods across, as many a table as its width allows."""

import math
from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd
from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from results.leaderboard import Differences, Leaderboard
from results.outputs.table import AVERAGE_RANK, CONTAMINATED, NOTHING, Shown, ShownBoard, filled_groups, heading, shown

MOST_METHODS = 6  # in one table
CELL_WIDTH = 12
BETWEEN = 3  # columns of the terminal between two of the table
STATE_WIDTH = 6


def render(board: Leaderboard, differences: Differences | None = None, *, width: int = 120) -> list[RenderableType]:
    """What to print, in order: accuracies in tables of `width` columns, then the paired differences, if given."""
    table, room = shown(board), _room(board, width)
    parts: list[RenderableType] = [Text.assemble((table.benchmark, "bold"), f" · {table.protocol}")]
    parts += [_accuracies(table, names, room) for names in _portions(table.methods, room)]
    parts.append(Text("\n".join(table.notes), style="dim"))
    if differences is not None:
        others = [method for method in table.methods if method != differences.baseline]
        parts.append(Text(f"\nDifference from {differences.baseline} on the same episodes", style="bold"))
        parts += [_differences(board, table, differences, names, room) for names in _portions(others, room)]
        parts.append(Text("percentage points ±95% interval; in colour where the interval leaves out zero", style="dim"))
    return parts


def _accuracies(board: ShownBoard, methods: list[str], room: int) -> Table:
    table = _table(methods, room)
    for domain, state in board.states.items():
        table.add_row(Text(domain), state, *(_text(board.cells[method, domain]) for method in methods))
    table.add_section()
    for name, means in board.means.items():
        table.add_row(name, "", *(_text(means[method]) for method in methods))
    table.add_row(AVERAGE_RANK, "", *(_text(board.average_ranks[method]) for method in methods))
    return table


def _differences(
    board: Leaderboard, texts: ShownBoard, differences: Differences, methods: list[str], room: int
) -> Table:
    cells = {(cell["method"], cell["domain"]): cell for cell in differences.cells.to_dict("records")}
    averages = {(cell["method"], cell["group"]): cell for cell in differences.averages.to_dict("records")}
    table = _table(methods, room)
    for domain, state in texts.states.items():
        mark = f" {CONTAMINATED}" if domain in board.contaminated else ""
        table.add_row(Text(domain + mark), state, *(_difference(cells[method, domain]) for method in methods))
    table.add_section()
    for group in filled_groups(board):
        table.add_row(f"mean {group}", "", *(_difference(averages[method, group]) for method in methods))
    return table


def _table(methods: list[str], room: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("domain", overflow="fold")
    table.add_column("", width=STATE_WIDTH, style="dim")
    names = [heading(method) for method in methods]
    longest = max((len(line) for lines in names for line in lines), default=0)
    width = max(CELL_WIDTH, min(longest, room // max(1, len(methods)) - BETWEEN))
    for name in names:
        table.add_column(Text("\n".join(name)), width=width, justify="right", overflow="fold")
    return table


def _room(board: Leaderboard, width: int) -> int:
    """What is left for methods of a table's `width`, after the domains in full, their states and the two edges."""
    marked = (f"{domain} {CONTAMINATED}" for domain in board.contaminated)
    domains = max(map(len, (AVERAGE_RANK, *board.plan.domains, *marked)))
    return width - domains - BETWEEN - STATE_WIDTH - 2


def _text(cell: Shown) -> Text:
    interval = f" ±{cell.interval}" if cell.interval else ""
    style = "bold green" if cell.best else "dim" if cell.value == NOTHING or "/" in cell.value else ""
    return Text(f"{cell.mark}{cell.value}{interval}", style=style)


def _difference(cell: Mapping[Hashable, Any]) -> Text:
    difference, ci95 = cell["diff_pct"], cell["ci95_pct"]
    if pd.isna(difference):
        return Text(NOTHING, style="dim")
    style = "" if abs(difference) <= ci95 else "green" if difference > 0 else "red"
    return Text(f"{difference:+.2f} ±{ci95:.2f}", style=style)


def _portions(methods: list[str], room: int) -> list[list[str]]:
    """Methods in portions of about equal size that fit the room, their names broken at spaces alone."""
    words = (word for method in methods for word in method.replace("(", " (").split())
    widest = max(CELL_WIDTH, max(map(len, words), default=0)) + BETWEEN
    most = min(MOST_METHODS, max(1, room // widest))
    size = math.ceil(len(methods) / max(1, math.ceil(len(methods) / most)))
    return [methods[start : start + size] for start in range(0, len(methods), max(1, size))]
