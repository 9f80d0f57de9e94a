"""How sure a leaderboard is, for the terminal: one screen for up to five methods."""

import math
from collections.abc import Hashable, Mapping
from itertools import combinations
from typing import Any

import pandas as pd
from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from results.evidence import ALL, Evidence

MOST_METHODS = 5  # whose pairs fit side by side
STARS = ((0.001, "***"), (0.01, "**"), (0.05, "*"))
ASSUMPTIONS = (
    "± over episodes, then ± over classes and images too (classes: independent draws); ~: too few to claim 95%",
    "Friedman, Nemenyi: domains are independent blocks; only the order of methods in each counts; rough under ten",
    "Wilcoxon: episodes are independent, differences symmetric about their median",
    "sign test: episodes are independent; the size of differences does not count",
    "Holm: p adjusted for all pairs and domains (over all: for all pairs); * < 0.05, ** < 0.01, *** < 0.001",
    "the tests speak of these classes and images; whether others would agree is what the second ± says",
    "episodes needed (n): per domain, to tell the two apart with power 0.8 at 0.05, if the difference is as measured",
)


def render_evidence(found: Evidence) -> list[RenderableType]:
    """What to print, in order: cells with both intervals, ranks, pairs over all, wins and losses, pairs by domain."""
    methods = sorted(found.cells["method"].unique())
    plan = found.plan
    title = f" · {plan.split} · {plan.tasks} episodes per domain · seed {plan.seed} · plan {plan.plan_hash[:12]}"
    parts: list[RenderableType] = [Text.assemble((plan.benchmark, "bold"), title), "", _cells(found, methods), ""]
    if found.friedman is not None:
        parts += [_ranks(found), "", _overall(found), "", _wins(found), ""]
    if 1 < len(methods) <= MOST_METHODS:
        parts += [_by_domain(found, methods), ""]
    elif len(methods) > MOST_METHODS:
        parts.append(Text(f"{len(methods)} methods: pairs by domain are in --json", style="dim"))
    return [*parts, Text("\n".join([*_cautions(found), *ASSUMPTIONS]), style="dim")]


def _cautions(found: Evidence) -> list[str]:
    """What the tables above leave out, or count although it proves little."""
    lines = []
    if found.incomplete:
        lines.append(f"episodes are missing: {', '.join(found.incomplete)}; only complete cells and methods are tested")
    if found.contaminated:
        lines.append("†: a backbone was trained on these very test classes: proves little, counts all the same")
    return lines


def _cells(found: Evidence, methods: list[str]) -> Table:
    cells = {(cell["method"], cell["domain"]): cell for cell in found.cells.to_dict("records")}
    table = _table("domain", "classes", *methods)
    for domain in found.plan.domains:
        own = [cells[method, domain] for method in methods if (method, domain) in cells]
        classes = own[0]["classes"] if own else math.nan
        shown = []
        for method in methods:
            cell = cells.get((method, domain))
            if cell is None:
                shown.append("–")
                continue
            shown.append(f"{cell['mean_pct']:.1f} ±{cell['ci95_pct']:.1f} {_data(cell, 1)}")
        table.add_row(_named(found, domain), "–" if pd.isna(classes) else f"{classes:g}", *shown)
    return table


def _ranks(found: Evidence) -> Text:
    assert found.friedman is not None
    count, ranks = len(found.plan.domains), found.friedman.average_ranks.sort_values(kind="stable")
    order = ", ".join(f"{method} {rank:.2f}" for method, rank in ranks.items())
    apart = [
        f"{better}–{worse}"
        for better, worse in combinations(ranks.index, 2)
        if ranks[worse] - ranks[better] > found.critical_difference
    ]
    return Text(
        f"Friedman over {count} domain{'s' if count > 1 else ''}: chi² {found.friedman.statistic:.2f}, "
        f"p {_p(found.friedman.p)}; average ranks of the means: {order}\n"
        f"Nemenyi: ranks further apart than {found.critical_difference:.2f} differ at 0.05: "
        f"{', '.join(apart) or 'none do'}"
    )


def _overall(found: Evidence) -> Table:
    table = _table("over all domains", "difference", "Wilcoxon p", "Holm", "sign p", "Holm", "episodes needed")
    for line in found.pairs[found.pairs["domain"] == ALL].to_dict("records"):
        p = [_p(line[name]) for name in ("wilcoxon_p", "wilcoxon_holm", "sign_p", "sign_holm")]
        difference = f"{line['diff_pct']:+.2f} ±{line['ci95_pct']:.2f} {_data(line, 2)}"
        table.add_row(f"{line['method']} − {line['other']}", difference, *p, _needed(line["episodes_needed"]))
    return table


def _wins(found: Evidence) -> Table:
    lines = found.pairs[found.pairs["domain"] == ALL]
    counts: dict[tuple[str, str], tuple[int, int, int]] = {}
    for line in lines.to_dict("records"):
        won, tied, lost = (int(line[name]) for name in ("wins", "ties", "losses"))
        counts[line["method"], line["other"]] = won, tied, lost
        counts[line["other"], line["method"]] = lost, tied, won
    methods = sorted({method for method, _ in counts})
    table = _table("episodes won/tied/lost", *(f"against {method}" for method in methods))
    for method in methods:
        shown = ["/".join(map(str, counts[method, other])) if method != other else "" for other in methods]
        table.add_row(method, *shown)
    return table


def _by_domain(found: Evidence, methods: list[str]) -> Table:
    """Difference, stars of Holm's Wilcoxon, and episodes needed, pair by pair."""
    lines = {(line["method"], line["other"], line["domain"]): line for line in found.pairs.to_dict("records")}
    pairs = list(combinations(methods, 2))
    table = _table("domain", *(f"{method}\n− {other}" for method, other in pairs))
    roomy = len(methods) < MOST_METHODS - 1
    for domain in found.plan.domains:
        shown = []
        for pair in pairs:
            line = lines.get((*pair, domain))
            if line is None:
                shown.append("–")
                continue
            stars = next((mark for limit, mark in STARS if line["wilcoxon_holm"] < limit), "")
            intervals = f" ±{line['ci95_pct']:.2f} {_data(line, 2)}" if roomy else ""
            needed = f" n {_needed(line['episodes_needed'])}" if roomy else ""
            shown.append(f"{line['diff_pct']:+.2f}{intervals}{stars:3}{needed}")
        table.add_row(_named(found, domain), *shown)
    return table


def _named(found: Evidence, domain: str) -> Text:
    return Text(f"{domain} †" if domain in found.contaminated else domain)


def _table(first: str, *columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    table.add_column(Text(first))
    for name in columns:
        table.add_column(Text(name), justify="right", overflow="fold")
    return table


def _data(line: Mapping[Hashable, Any], decimals: int) -> str:
    """The interval that counts the data, with a mark where its coverage is not claimed; nothing where there is none."""
    half = line["ci95_data_pct"]
    return "" if math.isnan(half) else f"±{half:.{decimals}f}{' ' if line['claimed'] else '~'}"


def _p(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else f"{p:.0e}" if p > 0 else "0"


def _needed(episodes: float) -> str:
    return "–" if pd.isna(episodes) else f"{episodes:,.0f}"
