"""A leaderboard as it is shown: digits, bold, marks and notes, made once for the terminal and every written format."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from results.leaderboard import GROUPS, Leaderboard, domains_of, mixed_domains
from results.ranks import leading

NOTHING = "–"
CONTAMINATED = "†"
STATES = {"seen": "seen", "unseen": "unseen", "unknown": "?"}
AVERAGE_RANK = "average rank"


@dataclass(frozen=True, slots=True)
class Shown:
    """One number as text: "88.3" with its interval "0.9" and its rank "1.5", where it has them.

    `best`: bold. `mark`: † of a contaminated cell. A cell that is not finished has the value "120/600", or "–".
    """

    value: str
    interval: str = ""
    rank: str = ""
    best: bool = False
    mark: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownBoard:
    """Everything that a table of a leaderboard says. `states`: domain -> seen | unseen | ?, in display order."""

    benchmark: str
    protocol: str
    about: str  # setting and backbone, for a table that stands alone
    methods: list[str]
    states: Mapping[str, str]
    cells: Mapping[tuple[str, str], Shown]  # (method, domain)
    means: Mapping[str, Mapping[str, Shown]]  # "mean seen" ... -> method -> mean over these domains
    average_ranks: Mapping[str, Shown]
    notes: list[str]


def shown(board: Leaderboard) -> ShownBoard:
    """Accuracies and intervals with one decimal, average ranks with two.

    Bold are all cells whose rank equals the lowest of their domain, and the lowest average rank, as in the tables of
    the Meta-Dataset leaderboard.
    """
    plan = board.plan
    best = leading(board.cells.rename(columns={"domain": "dataset"}))
    lowest = board.methods["avg_rank"].min()
    return ShownBoard(
        benchmark=plan.benchmark,
        protocol=f"{plan.split} · {plan.tasks} episodes per domain · seed {plan.seed} · plan {plan.plan_hash[:12]}",
        about=_about(board),
        methods=board.methods["method"].tolist(),
        states={domain: STATES[board.seen.get(domain, "unknown")] for domain in plan.domains},
        cells={
            (cell["method"], cell["domain"]): _cell(cell, bold)
            for cell, bold in zip(board.cells.to_dict("records"), best, strict=True)
        },
        means={f"mean {group}": _means(board, group) for group in filled_groups(board)},
        average_ranks={
            method: Shown(_decimals(rank, 2), best=rank == lowest)
            for method, rank in board.methods[["method", "avg_rank"]].itertuples(index=False)
        },
        notes=_notes(board),
    )


def filled_groups(board: Leaderboard) -> list[str]:
    """The averages (seen | unseen | all) that are over any domain."""
    return [group for group in GROUPS if domains_of(board.plan, board.seen, board.contaminated, group)]


def heading(method: str) -> list[str]:
    """A method's name in the lines that a narrow column shows it in: name, hyper-parameters, backbone."""
    return method.replace("(", "\n(").replace(" @ ", "\n@ ").split("\n")


def _cell(cell: Mapping, best: bool) -> Shown:
    if cell["n"] < cell["planned"]:
        return Shown(f"{cell['n']}/{cell['planned']}" if cell["n"] else NOTHING)
    return Shown(
        value=_decimals(cell["mean_pct"], 1),
        interval=_decimals(cell["ci95_pct"], 1),
        rank="" if pd.isna(cell["rank"]) else f"{cell['rank']:g}",
        best=best,
        mark=CONTAMINATED if cell["contaminated"] else "",
    )


def _means(board: Leaderboard, group: str) -> dict[str, Shown]:
    marked = set(board.cells[board.cells["contaminated"]]["method"]) if group == "all" else set()
    return {
        method: Shown(_decimals(mean, 1), mark=CONTAMINATED if method in marked and not pd.isna(mean) else "")
        for method, mean in board.methods[["method", f"{group}_pct"]].itertuples(index=False)
    }


def _about(board: Leaderboard) -> str:
    backbones, setting = board.methods["backbone"].unique(), board.plan.setting
    words = [f"{setting} setting" if setting else "", f"backbone {backbones[0]}" if len(backbones) == 1 else ""]
    return " · ".join(filter(None, words))


def _decimals(value: float, digits: int) -> str:
    return NOTHING if pd.isna(value) else f"{value:.{digits}f}"


def _notes(board: Leaderboard) -> list[str]:
    lines = ["accuracy in %, mean ±95% interval over episodes; bold: the best and every method that ties with it"]
    if (board.cells["n"] < board.cells["planned"]).any():
        so_far = f"n/{board.plan.tasks}: n episodes are done so far ({NOTHING}: none)"
        lines.append(f"{so_far}; averages and average rank need all of them")
    if any(board.seen.get(domain, "unknown") == "unknown" for domain in board.plan.domains):
        lines.append("?: not known whether the backbone was trained on this domain; counted in the mean over all only")
    if board.contaminated:
        lines.append(
            f"{CONTAMINATED}: the backbone was trained on these very {board.plan.split} classes: proves little, "
            "counted in the mean over all and in ranks only"
        )
    mixed = mixed_domains(board.cells)
    if mixed:
        lines.append(f"{', '.join(mixed)}: not ranked, since not all backbones have the {CONTAMINATED}")
    return lines
