"""leaderboard.md: methods down, domains across, as in the tables of the Meta-Dataset leaderboard."""

import re

from results.outputs.table import NOTHING, Shown, ShownBoard


def leaderboard_markdown(board: ShownBoard) -> str:
    """A GitHub table; a cell holds mean ± interval and rank, the best are bold, and notes stand below."""
    methods = [_escaped(method) for method in board.methods]
    columns = [["Method", *methods], ["Avg rank", *(_cell(board.average_ranks[method]) for method in board.methods)]]
    for domain, state in board.states.items():
        columns.append([f"{_escaped(domain)} ({state})", *(_cell(board.cells[name, domain]) for name in board.methods)])
    for name, means in board.means.items():
        columns.append([name, *(_cell(means[method]) for method in board.methods)])
    widths = [max(map(len, column)) for column in columns]
    rule = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
    head, *body = [
        [column[0].ljust(widths[0]), *(text.rjust(width) for text, width in zip(column[1:], widths[1:], strict=True))]
        for column in zip(*columns, strict=True)
    ]
    lines = [f"| {' | '.join(line)} |" for line in (head, rule, *body)]
    title = " · ".join(filter(None, (f"**{_escaped(board.benchmark)}**", board.protocol, _escaped(board.about))))
    notes = [f"- {_escaped(note)}" for note in board.notes]
    return "\n".join([title, "", *lines, "", *notes, ""])


def _cell(cell: Shown) -> str:
    value = f"**{cell.value}**" if cell.best else cell.value
    interval = f"±{cell.interval}" if cell.interval else ""
    rank = f"&nbsp;(rank {cell.rank})" if cell.rank else ""
    return value if value == NOTHING else f"{cell.mark}{value}{interval}{rank}"


def _escaped(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return re.sub(r"([\\`*_\[\]<>#|~&$]|^[-+])", r"\\\1", " ".join(text.split()))
