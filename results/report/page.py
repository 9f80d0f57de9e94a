"""report.html: one page, one file, no request to anywhere."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from results.errors import LeaderboardError, did_you_mean
from results.leaderboard import COLUMNS as BOARD_COLUMNS
from results.leaderboard import Leaderboard, leaderboard, mixed_domains, seen_states
from results.report import critical, curves, differences, speed
from results.report.aligned import align
from results.report.cards import DomainImages, cards
from results.report.html import render
from results.report.runs import shown_runs
from results.report.table import table
from results.store import StoredPlan

COLUMNS = (*BOARD_COLUMNS, "way", "n_support")
"""Of `Row`: all that the page reads."""
SHOWN_AT_FIRST = 7
"""Methods in the figures before the reader chooses; there are as many colours."""
USUAL_BASELINE = "ncc"
DECIMALS = 6


def report_page(
    rows: pd.DataFrame,
    plan: StoredPlan,
    *,
    baseline: str | None = None,
    images: Mapping[str, DomainImages] | None = None,
    manifests: Sequence[tuple[str, Mapping[str, Any]]] = (),
    seen: Mapping[str, str] | None = None,
) -> str:
    """The page of a plan, from its rows (COLUMNS, after `name_methods`) in any order.

    `baseline`: the method that others are compared with at first, or its name without the backbone; None for ncc where
    it is there, else the last on the leaderboard. Raises LeaderboardError for an unknown one. `images`: by domain.
    `manifests`: file name and content, the newest first. `seen`: states of domains that may have no rows yet.
    """
    rows = rows.sort_values(["method", "domain", "task"], ignore_index=True)
    board = leaderboard(rows, plan, {**(seen or {}), **seen_states(rows)})
    methods = board.methods["method"].tolist()
    episodes, first = align(rows, plan, methods), _baseline(methods, baseline)
    pairs = differences.every_pair(episodes, board)
    axis, panels = differences.panels(pairs, methods, first)
    columns, lines = table(board)
    runs, further_runs = shown_runs(manifests)
    return render(
        **_facts(board),
        columns=columns,
        lines=lines,
        diagram=critical.diagram(board),
        charts={figure: curves.charts(episodes, figure) for figure in curves.FIGURES},
        scatter=speed.scatter(rows, board),
        pairs=pairs,
        axis=axis,
        panels=panels,
        baseline=first,
        shown=[i < SHOWN_AT_FIRST or i == first for i in range(len(methods))],
        cards=cards(board, episodes, images or {}),
        runs=runs,
        further_runs=further_runs,
        data=_data(pairs, methods),
        geometry={"critical": critical, "curves": curves, "differences": differences, "speed": speed},
    )


def _facts(board: Leaderboard) -> dict[str, Any]:
    """What the page's words are about."""
    return {
        "board": board,
        "plan": board.plan,
        "methods": board.methods["method"].tolist(),
        "backbones": sorted(board.methods["backbone"].unique()),
        "headline": _headline(board),
        "ranks_elsewhere": bool(board.methods[["avg_rank_official10", "avg_rank_papers13"]].notna().any(axis=None)),
        "mixed": mixed_domains(board.cells),
        "incomplete": bool((board.cells["n"] < board.cells["planned"]).any()),
    }


def _baseline(methods: Sequence[str], wanted: str | None) -> int:
    """The method of that name, else the first by name that begins with it. None: the usual one, else the last."""
    if wanted in methods:
        return methods.index(wanted)
    found = [name for name in sorted(methods) if name.split(" ")[0] == (wanted or USUAL_BASELINE)]
    if not found and wanted is not None:
        hint = did_you_mean(wanted, methods)
        raise LeaderboardError(f"no method {wanted!r} to compare with.{hint} Known: {', '.join(sorted(methods))}")
    return methods.index(found[0]) if found else len(methods) - 1


def _headline(board: Leaderboard) -> str:
    """One sentence: who has the lowest average rank, and who the highest mean."""
    complete = board.methods.dropna(subset=["avg_rank"])
    if complete.empty:
        return "No method has all planned episodes yet."
    leaders = complete.loc[complete["avg_rank"] == complete["avg_rank"].min(), "method"].tolist()
    best = complete.sort_values(["all_pct", "method"], ascending=[False, True]).iloc[0]
    ranks = f"{_listed(leaders)} {'has' if len(leaders) == 1 else 'share'} the lowest average rank"
    joint = " and" if leaders == [best["method"]] else f"; {best['method']} has"
    return f"{ranks} ({complete['avg_rank'].min():.2f}){joint} the highest mean accuracy ({best['all_pct']:.1f} %)."


def _data(pairs: differences.Pairs, methods: Sequence[str]) -> dict[str, Any]:
    """What the page's script needs to draw the forest plot for another baseline."""
    effects = [
        [None if math.isnan(value) else round(value, DECIMALS) for value in effect]
        for effect in pairs.effects.reshape(-1, 2).tolist()
    ]
    return {"methods": list(methods), "rows": len(pairs.rows), "domains": pairs.domains, "effects": effects}


def _listed(words: Sequence[str]) -> str:
    """As in "a, b and c"."""
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
