"""How sure a plan's leaderboard is: both intervals of every cell, every pair of methods tested on the same episodes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from results.data_interval import ClassDesign, data_interval
from results.errors import LeaderboardError
from results.leaderboard import contaminated_domains
from results.plain import records_of
from results.significance import (
    Friedman,
    episodes_needed,
    friedman,
    holm,
    nemenyi_cd,
    sign_test_p,
    wilcoxon_p,
    win_tie_loss,
)
from results.stats import mean_ci95, paired_difference
from results.store import StoredPlan

ALL = "all"  # in the place of a domain: every domain of the plan
CELL = ["method", "domain", "mean_pct", "ci95_pct", "ci95_data_pct", "classes", "claimed"]
PAIR = ["method", "other", "domain", "n", "diff_pct", "ci95_pct", "ci95_data_pct", "claimed", "wilcoxon_p", "sign_p"]
PAIR += ["episodes_needed"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evidence:
    """Cells that lack an episode are left out, and so is a method that lacks one anywhere from what is over all.

    `ci95_data_pct` counts the classes and images too, and is NaN where the classes of the episodes are not known or
    the same in all of them; `claimed`: whether 94 to 96% coverage is claimed for it. `wilcoxon_holm` and `sign_holm`:
    p, adjusted over all pairs and domains, or over all pairs in the lines of domain "all". `episodes_needed`: per
    domain, for a power of 0.8 at 0.05; NaN where the difference is zero or a domain has one episode only.
    """

    plan: StoredPlan
    cells: pd.DataFrame  # method, domain, mean_pct, ci95_pct, ci95_data_pct, classes, claimed
    pairs: pd.DataFrame  # method, other, domain, n, diff_pct ... episodes_needed, wilcoxon_holm, sign_holm, wins ...
    friedman: Friedman | None  # of the domains' mean accuracies; None with less than two complete methods
    critical_difference: float  # Nemenyi's, of average ranks at 0.05; NaN without `friedman`
    incomplete: tuple[str, ...]  # methods that lack an episode somewhere
    contaminated: frozenset[str]  # domains whose very classes a backbone was trained on; they count like the others


def evidence(rows: pd.DataFrame, plan: StoredPlan, designs: Mapping[str, ClassDesign]) -> Evidence:
    """All that is known from the rows of a plan (`ResultStore.rows` with the column `method` from `name_methods`).

    designs: per domain which classes the planned episodes hold, in order of task; domains may be missing.
    """
    if rows.empty:
        raise LeaderboardError(f"no episode of plan {plan.plan_hash} is done yet; run the benchmark first")
    tables = {domain: _complete(rows, domain, planned) for domain, planned in plan.domains.items()}
    done = [(domain, str(method)) for domain, table in tables.items() for method in table]
    cells = pd.DataFrame([_cell(m, d, tables[d][m].to_numpy(), designs.get(d)) for d, m in done], columns=CELL)
    methods = sorted(rows["method"].unique())
    everywhere = [name for name in methods if all(name in table for table in tables.values())]
    pairs = [
        _pair(a, b, d, table, designs.get(d))
        for d, table in tables.items()
        for a, b in combinations(map(str, table), 2)
    ]
    by_domain = _adjusted(pd.DataFrame(pairs, columns=PAIR))
    overall = [_overall(a, b, by_domain, tables) for a, b in combinations(everywhere, 2)]
    tested = [frame for frame in (by_domain, _adjusted(pd.DataFrame(overall, columns=PAIR))) if len(frame)]
    pairs_tested = pd.concat(tested, ignore_index=True) if tested else by_domain
    ranked = None
    if len(everywhere) > 1:
        ranked = friedman(cells.pivot(index="domain", columns="method", values="mean_pct").loc[[*tables], everywhere])
    return Evidence(
        plan=plan,
        cells=cells,
        pairs=pairs_tested.merge(_counts(rows, everywhere), on=["method", "other", "domain"], how="left"),
        friedman=ranked,
        critical_difference=nemenyi_cd(len(everywhere), len(tables)) if ranked else math.nan,
        incomplete=tuple(name for name in methods if name not in everywhere),
        contaminated=contaminated_domains(rows),
    )


def as_json(found: Evidence) -> dict[str, Any]:
    """The evidence as plain values; what is NaN becomes None."""
    ranked = found.friedman
    plan = found.plan
    return {
        "plan": plan.plan_hash,
        "benchmark": plan.benchmark,
        "split": plan.split,
        "seed": plan.seed,
        "episodes": plan.tasks,
        "incomplete": list(found.incomplete),
        "contaminated": [domain for domain in plan.domains if domain in found.contaminated],
        "cells": records_of(found.cells),
        "pairs": records_of(found.pairs),
        "friedman": ranked
        and {"chi2": ranked.statistic, "p": ranked.p, "average_ranks": ranked.average_ranks.to_dict()},
        "nemenyi_critical_difference": None if math.isnan(found.critical_difference) else found.critical_difference,
    }


def _complete(rows: pd.DataFrame, domain: str, planned: int) -> pd.DataFrame:
    """Accuracies in percent of a domain, tasks by methods that have all of them."""
    own = rows[rows["domain"] == domain]
    repeated = own[own.duplicated(["method", "task"])]
    if len(repeated):
        method, task = repeated[["method", "task"]].iloc[0]
        raise LeaderboardError(f"method {method!r} has two results for task {task} of domain {domain!r}")
    table = 100 * own.pivot(index="task", columns="method", values="accuracy").sort_index()
    return table.loc[:, table.notna().sum() == planned].dropna()


def _cell(method: str, domain: str, values: np.ndarray, design: ClassDesign | None) -> tuple:
    mean, ci95 = mean_ci95(values)
    if design is None:
        return method, domain, mean, ci95, math.nan, None, False
    data = data_interval(values, design)
    return method, domain, mean, ci95, data.ci95_data, design.classes, data.claimed


def _pair(method: str, other: str, domain: str, table: pd.DataFrame, design: ClassDesign | None) -> tuple:
    a, b = table[method].to_numpy(), table[other].to_numpy()
    difference, ci95 = paired_difference(a, b)
    data = None if design is None else data_interval(a - b, design)
    counted = (math.nan, False) if data is None else (data.ci95_data, data.claimed)
    needed = episodes_needed(a - b) if len(a) > 1 else None
    return method, other, domain, len(a), difference, ci95, *counted, wilcoxon_p(a, b), sign_test_p(a, b), needed


def _overall(method: str, other: str, by_domain: pd.DataFrame, tables: Mapping[str, pd.DataFrame]) -> tuple:
    """A pair over all domains, each of the same weight; domains are sampled independently of each other."""
    lines = by_domain[(by_domain["method"] == method) & (by_domain["other"] == other)]
    squares = np.square(lines[["ci95_pct", "ci95_data_pct"]].to_numpy(float)).sum(axis=0)
    ci95, data = (float(half) / len(lines) for half in np.sqrt(squares))
    difference = float(lines["diff_pct"].mean())
    a, b = (np.concatenate([table[name].to_numpy() for table in tables.values()]) for name in (method, other))
    within = a - b - np.repeat(lines["diff_pct"].to_numpy(), lines["n"]) + difference
    needed = episodes_needed(within) if lines["n"].min() > 1 else None
    needed = None if needed is None else math.ceil(needed / len(lines))
    counted = data, bool(lines["claimed"].all())
    return method, other, ALL, len(a), difference, ci95, *counted, wilcoxon_p(a, b), sign_test_p(a, b), needed


def _adjusted(pairs: pd.DataFrame) -> pd.DataFrame:
    pairs["episodes_needed"] = pairs["episodes_needed"].astype(float)
    return pairs.assign(wilcoxon_holm=holm(pairs["wilcoxon_p"]), sign_holm=holm(pairs["sign_p"]))


def _counts(rows: pd.DataFrame, everywhere: list[str]) -> pd.DataFrame:
    """Episodes won, tied and lost, by domain and, for methods that are complete everywhere, over all."""
    counts = win_tie_loss(rows)
    whole = counts[counts["method"].isin(everywhere) & counts["other"].isin(everywhere)]
    total = whole.groupby(["method", "other"], as_index=False)[["wins", "ties", "losses"]].sum()
    return pd.concat([counts, total.assign(domain=ALL)], ignore_index=True)
