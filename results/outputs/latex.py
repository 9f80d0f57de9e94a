"""leaderboard.tex: domains down, methods across, as in the papers; needs booktabs."""

import math
import re
import unicodedata

from results.outputs.table import AVERAGE_RANK, NOTHING, Shown, ShownBoard, heading

MOST_METHODS = 6  # side by side; more take a further table
_ESCAPES = {character: f"\\{character}" for character in "_&%#{}$"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\symbol{34}",
    "'": "{'}",
    "`": "{`}",
    "[": "{[}",
    "*": "{*}",
    "±": r"$\pm$",
    "†": r"$\dagger$",
    "–": r"\textendash{}",
    "·": r"$\cdot$",
}
"""Besides TeX's own characters: those that join into other signs, and what \\\\ would take for its argument."""


def leaderboard_latex(board: ShownBoard) -> str:
    """A table environment for every few methods; the best are bold. It compiles with booktabs and nothing else."""
    size = math.ceil(len(board.methods) / math.ceil(len(board.methods) / MOST_METHODS))
    blocks = [board.methods[start : start + size] for start in range(0, len(board.methods), size)]
    caption = " · ".join(filter(None, (board.benchmark, board.protocol, board.about)))
    lines = ["% needs \\usepackage{booktabs}"]
    for number, methods in enumerate(blocks, start=1):
        part = f" ({number} of {len(blocks)})" if len(blocks) > 1 else ""
        lines += [r"\begin{table}", r"  \centering", rf"  \caption{{{_escaped(caption + part)}}}"]
        lines += _tabular(board, methods)
        lines += [rf"  \par\smallskip\footnotesize {_escaped(note)}" for note in board.notes]
        lines.append(r"\end{table}")
    return "\n".join([*lines, ""])


def _tabular(board: ShownBoard, methods: list[str]) -> list[str]:
    lines = [rf"  \begin{{tabular}}{{ll{'r' * len(methods)}}}", r"    \toprule"]
    lines += [_line(["domain", "", *map(_heading, methods)]), r"    \midrule"]
    for domain, state in board.states.items():
        lines.append(_line([_escaped(domain), state, *(_cell(board.cells[method, domain]) for method in methods)]))
    lines.append(r"    \midrule")
    for name, means in board.means.items():
        lines.append(_line([name, "", *(_cell(means[method]) for method in methods)]))
    lines.append(_line([AVERAGE_RANK, "", *(_cell(board.average_ranks[method]) for method in methods)]))
    return [*lines, r"    \bottomrule", r"  \end{tabular}"]


def _line(cells: list[str]) -> str:
    return f"    {' & '.join(cells)} \\\\"


def _heading(method: str) -> str:
    lines = r" \\ ".join(_escaped(line) for line in heading(method))
    return rf"\shortstack[r]{{{lines}}}" if r" \\ " in lines else lines


def _cell(cell: Shown) -> str:
    value = r"\textendash" if cell.value == NOTHING else cell.value
    value = rf"\textbf{{{value}}}" if cell.best else value
    mark = r"$^{\dagger}$" if cell.mark else ""
    return mark + value + (rf" $\pm$ {cell.interval}" if cell.interval else "")


def _escaped(text: str) -> str:
    """Text that TeX sets as it is, on one line."""
    printable = "".join(" " if unicodedata.category(character) == "Cc" else character for character in text)
    escaped = "".join(_ESCAPES.get(character, character) for character in " ".join(printable.split()))
    return re.sub("-(?=-)", "-{}", escaped)
