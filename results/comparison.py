"""Is A better than B on a plan: where, by how much, how sure. Only episodes that both have done are looked at."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from results.contenders import Contender
from results.errors import LeaderboardError
from results.leaderboard import GROUPS, contaminated_domains, domains_of, seen_states
from results.plain import records_of
from results.significance import DECIMALS, episodes_needed, holm, sign_test_p, wilcoxon_p
from results.stats import paired_difference
from results.store import StoredPlan

ALPHA = 0.05
FEWEST = 2
"""Episodes from which on a spread, and so an interval, can be spoken of."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Comparison:
    """A minus B on identical episodes, in percentage points; NaN where nothing is paired.

    `domains`: domain, seen, contaminated, n (paired episodes), planned, a_pct, b_pct (means over the paired ones),
    diff_pct, ci95_pct, wilcoxon_p, wilcoxon_holm, sign_p, sign_holm, wins, ties, losses (episodes), better ("a", "b"
    or "": not resolved), needed (paired episodes that would resolve the difference measured; NaN where it is
    resolved or zero).
    `groups`: group (seen | unseen | all), domains (number of them), diff_pct, ci95_pct, better.
    """

    a: str
    b: str
    backbone: str  # of both; "" where they have different ones
    plan: StoredPlan
    domains: pd.DataFrame
    groups: pd.DataFrame

    @property
    def verdict(self) -> str:
        """One or two sentences."""
        total = next(group for group in self.groups.to_dict("records") if group["group"] == "all")
        many, asked = total["domains"], len(self.domains)
        over = f"{many if many == asked else f'{many} of {asked}'} domain{'s' if asked != 1 else ''}"
        by = f"{abs(total['diff_pct']):.2f} points ±{total['ci95_pct']:.2f}"
        if total["better"]:
            better, worse = (self.a, self.b) if total["better"] == "a" else (self.b, self.a)
            first = f"{better} is better than {worse}: by {by} on average over {over}."
        else:
            found = f"{total['diff_pct']:+.2f} points ±{_number(total['ci95_pct'])} on average over {over}"
            first = f"Neither is shown to be better: {self.a} minus {self.b} is {found}."
        parts = [f"{word} on {', '.join(self._where(side))}" for side, word in self._sides() if self._where(side)]
        return " ".join([first, *self._split, f"By domain: {'; '.join(parts)}."])

    @property
    def _split(self) -> list[str]:
        """A sentence where the seen and the unseen domains do not say the same as all together."""
        groups = {str(group["group"]): group for group in self.groups.to_dict("records")}
        if {"seen", "unseen"} - set(groups) or len({group["better"] for group in groups.values()}) == 1:
            return []
        found = [f"{groups[g]['diff_pct']:+.2f} ±{_number(groups[g]['ci95_pct'])} on {g}" for g in ("seen", "unseen")]
        return [f"But {self.a} minus {self.b} is {' and '.join(found)} domains."]

    def _sides(self) -> Sequence[tuple[str, str]]:
        return ("a", f"{self.a} better"), ("b", f"{self.b} better"), ("", "not resolved")

    def _where(self, side: str) -> list[str]:
        return self.domains.loc[(self.domains["better"] == side) & (self.domains["n"] > 0), "domain"].tolist()


def compare(a: Contender, b: Contender, plan: StoredPlan, domains: Sequence[str] | None = None) -> Comparison:
    """Compare two contenders on the episodes that both have, on `domains` (default: all of the plan's).

    A domain is resolved where the interval of the mean difference leaves out zero and Wilcoxon's test, adjusted by
    Holm over the domains that are compared, has p < 0.05. Domains are sampled independently of each other, so the
    interval of an average over D domains is sqrt(sum of squared intervals) / D. Raises LeaderboardError when no
    episode is common.
    """
    both = pd.concat([a.rows, b.rows], ignore_index=True)
    seen, contaminated = seen_states(both), contaminated_domains(both)
    pairs = a.rows.merge(b.rows, on=["domain", "task"], suffixes=("_a", "_b")).sort_values(["domain", "task"])
    wanted = [domain for domain in plan.domains if domains is None or domain in domains]
    pairs = pairs[pairs["domain"].isin(wanted)]
    if pairs.empty:
        raise LeaderboardError(f"{a.name} and {b.name} have no episode in common on plan {plan.plan_hash[:12]}")
    parts = {str(domain): part for domain, part in pairs.groupby("domain", sort=False)}
    lines = [
        {
            "domain": domain,
            "seen": seen.get(domain, "unknown"),
            "contaminated": domain in contaminated,
            "planned": plan.domains[domain],
            **_domain(parts.get(domain, pairs.iloc[:0])),
        }
        for domain in wanted
    ]
    table = _resolved(pd.DataFrame(lines))
    names = (a.name, b.name) if a.label != b.label else (a.short + a.past, b.short + b.past)
    return Comparison(
        a=names[0],
        b=names[1],
        backbone=a.label if a.label == b.label else "",
        plan=plan,
        domains=table.assign(needed=_needed(table, parts)),
        groups=_groups(table, plan, seen, contaminated),
    )


def as_json(comparison: Comparison) -> dict[str, Any]:
    """The comparison as JSON has it: fields of `Comparison`, a list of objects for a table, null for NaN."""
    plan = comparison.plan
    return {
        "a": comparison.a,
        "b": comparison.b,
        "backbone": comparison.backbone or None,
        "plan": plan.plan_hash,
        "benchmark": plan.benchmark,
        "split": plan.split,
        "seed": plan.seed,
        "verdict": comparison.verdict,
        "domains": records_of(comparison.domains),
        "groups": records_of(comparison.groups),
    }


def _domain(pairs: pd.DataFrame) -> dict[str, float]:
    """What one domain's paired episodes say."""
    one, other = (100 * pairs[f"accuracy_{side}"].to_numpy() for side in "ab")
    n, differences = len(pairs), (one - other).round(DECIMALS)
    diff, ci95 = paired_difference(one, other) if n else (math.nan, math.nan)
    return {
        "n": n,
        "a_pct": one.mean() if n else math.nan,
        "b_pct": other.mean() if n else math.nan,
        "diff_pct": diff,
        "ci95_pct": ci95 if n >= FEWEST else math.nan,
        "wilcoxon_p": wilcoxon_p(one, other) if n else math.nan,
        "sign_p": sign_test_p(one, other) if n else math.nan,
        "wins": int((differences > 0).sum()),
        "ties": int((differences == 0).sum()),
        "losses": int((differences < 0).sum()),
    }


def _resolved(table: pd.DataFrame) -> pd.DataFrame:
    """With Holm's adjustment of both tests over the domains, and which side is better where."""
    done = table["n"] > 0
    for test in ("wilcoxon", "sign"):
        table[f"{test}_holm"] = np.nan
        table.loc[done, f"{test}_holm"] = holm(table.loc[done, f"{test}_p"])
    sure = (table["diff_pct"].abs() > table["ci95_pct"]) & (table["wilcoxon_holm"] < ALPHA)
    sides = np.where(table["diff_pct"] > 0, "a", "b")
    return table.assign(better=np.where(sure, sides, ""))


def _needed(table: pd.DataFrame, parts: Mapping[str, pd.DataFrame]) -> list[float]:
    """Paired episodes that would resolve each domain that is not, as one of so many domains (Bonferroni)."""
    needed, alpha = [], ALPHA / max(1, (table["n"] > 0).sum())
    for domain, better, n in table[["domain", "better", "n"]].itertuples(index=False):
        found = None
        if not better and n >= FEWEST:
            pairs = parts[domain]
            found = episodes_needed(100 * (pairs["accuracy_a"] - pairs["accuracy_b"]).to_numpy(), alpha=alpha)
        needed.append(math.nan if found is None else float(found))
    return needed


def _groups(
    table: pd.DataFrame, plan: StoredPlan, seen: Mapping[str, str], contaminated: Collection[str]
) -> pd.DataFrame:
    lines = []
    done = table[table["n"] > 0].set_index("domain")
    for group in GROUPS:
        part = done[done.index.isin(domains_of(plan, seen, contaminated, group))]
        if not len(part):
            continue
        diff = float(part["diff_pct"].mean())
        ci95 = float(np.sqrt(np.square(part["ci95_pct"].to_numpy()).sum()) / len(part))
        better = ("a" if diff > 0 else "b") if abs(diff) > ci95 else ""
        lines.append({"group": group, "domains": len(part), "diff_pct": diff, "ci95_pct": ci95, "better": better})
    return pd.DataFrame(lines)


def _number(value: float) -> str:
    return "?" if math.isnan(value) else f"{value:.2f}"
