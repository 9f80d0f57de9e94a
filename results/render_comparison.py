"""A comparison of two methods for the terminal: the verdict, then a line for each domain and group."""

import math
from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd
from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from results.comparison import Comparison
from results.render import CONTAMINATED, MARKS, NOTHING

COLOURS = {"a": "green", "b": "red", "": ""}
SMALLEST_P = 1e-4
NARROW = 112
ALL_P = {"Wilcoxon\np": "wilcoxon_p", "Wilcoxon\nHolm": "wilcoxon_holm", "sign\np": "sign_p", "sign\nHolm": "sign_holm"}
FEW_P = {"Wilcoxon\nHolm": "wilcoxon_holm"}


def render(comparison: Comparison, *, width: int = 120) -> list[RenderableType]:
    """What to print, in order; a terminal narrower than NARROW gets one p."""
    plan, n = comparison.plan, int(comparison.domains["n"].sum())
    planned = int(comparison.domains["planned"].sum())
    on = f" · both on {comparison.backbone}" if comparison.backbone else ""
    facts = (
        f" · {plan.split} · seed {plan.seed} · plan {plan.plan_hash[:12]}{on} · {n:,} of {planned:,} episodes paired"
    )
    return [
        Text.assemble((plan.benchmark, "bold"), facts),
        Text(comparison.verdict, style="bold"),
        Text(f"A = {comparison.a}\nB = {comparison.b}", style="dim"),
        _table(comparison, ALL_P if width >= NARROW else FEW_P),
        Text("\n".join(_legend(comparison)), style="dim"),
    ]


def _table(comparison: Comparison, tests: Mapping[str, str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1 if len(tests) > 1 else 0, 0, 0))
    for column in ("domain", ""):
        table.add_column(column, no_wrap=True)
    for column in ("n", "A", "B", "A - B", *tests, "won/tied/lost", "needed"):
        table.add_column(column, justify="right", no_wrap=True)
    for line in comparison.domains.to_dict("records"):
        table.add_row(*_line(line, tests))
    table.add_section()
    for group in comparison.groups.to_dict("records"):
        shown = _difference(group["diff_pct"], group["ci95_pct"], group["better"])
        table.add_row(f"mean {group['group']}", "", str(group["domains"]), "", "", shown)
    return table


def _line(line: Mapping[Hashable, Any], tests: Mapping[str, str]) -> list[RenderableType]:
    n, planned, counts = line["n"], line["planned"], (line["wins"], line["ties"], line["losses"])
    return [
        Text(line["domain"] + (f" {CONTAMINATED}" if line["contaminated"] else "")),
        Text(MARKS[line["seen"]], style="dim"),
        f"{n}" if n == planned else f"{n}/{planned}",
        *(NOTHING if pd.isna(line[side]) else f"{line[side]:.2f}" for side in ("a_pct", "b_pct")),
        _difference(line["diff_pct"], line["ci95_pct"], line["better"]),
        *(_p(line[test]) for test in tests.values()),
        "/".join(map(str, counts)) if n else NOTHING,
        NOTHING if pd.isna(line["needed"]) else f"{line['needed']:,.0f}",
    ]


def _difference(difference: float, ci95: float, better: str) -> RenderableType:
    if math.isnan(difference):
        return NOTHING
    interval = "" if math.isnan(ci95) else f" ±{ci95:.2f}"
    return Text(f"{difference:+.2f}{interval}", style=COLOURS[better])


def _p(p: float) -> RenderableType:
    if math.isnan(p):
        return NOTHING
    return f"<{SMALLEST_P:.0e}".replace("e-0", "e-") if p < SMALLEST_P else f"{p:.4f}"


def _legend(comparison: Comparison) -> list[str]:
    lines = [
        "means in %, A - B in points ±95% interval over the paired episodes; in colour where it is resolved: the "
        "interval leaves out zero and Wilcoxon's p, adjusted by Holm over these domains, is below 0.05",
        "needed: paired episodes that would resolve a difference as large as the one measured, with a chance of 80%",
    ]
    if comparison.domains["contaminated"].any():
        lines.append(f"{CONTAMINATED}: a backbone was trained on these very classes; counted in the mean over all only")
    if (comparison.domains["n"] < comparison.domains["planned"]).any():
        lines.append("n/planned: only episodes that both have done count")
    return lines
