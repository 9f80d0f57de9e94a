"""From the rows of a plan to its leaderboard: means, intervals, averages, ranks and paired differences."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from results.entries import CONFIGURATION, hyper_of
from results.errors import LeaderboardError, did_you_mean
from results.ranks import average_ranks, rank_columns
from results.stats import mean_ci95, paired_difference
from results.store import StoredPlan

GROUPS = ("seen", "unseen", "all")
COLUMNS = (*CONFIGURATION, "backbone", "task", "accuracy", "wall_s", "seen")  # of `Row`: all that a leaderboard reads


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Leaderboard:
    """One plan's results, in percent. Cells and averages that lack an episode are NaN."""

    plan: StoredPlan
    seen: Mapping[str, str]  # domain -> seen | unseen | unknown
    contaminated: frozenset[str]  # domains with a contaminated cell
    cells: pd.DataFrame  # method, domain, n, planned, mean_pct, ci95_pct, contaminated, rank
    # method, backbone, hyper, the RANK_COLUMNS, seen_pct, unseen_pct, all_pct; the best average rank (avg_rank) first
    methods: pd.DataFrame


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Differences:
    """Accuracy minus that of the baseline on the same episodes, in percentage points; NaN where an episode lacks."""

    baseline: str
    cells: pd.DataFrame  # method, domain, diff_pct, ci95_pct
    averages: pd.DataFrame  # method, group (seen | unseen | all), diff_pct, ci95_pct


def leaderboard(rows: pd.DataFrame, plan: StoredPlan, seen: Mapping[str, str]) -> Leaderboard:
    """Tabulate the rows of a plan (`ResultStore.rows`, with the column `method` from `name_methods`).

    Averages are plain means over domains: of the seen, of the unseen, and of all of them, those of unknown state
    included. Methods are ranked on a domain when all its planned episodes are done; a method that lacks an episode
    anywhere has no average and no average rank.

    A domain with a contaminated cell (its backbone was trained on the very classes) is left out of the means over seen
    and unseen domains, for every method, so that they compare. It stays in the mean over all, and in the ranks unless
    only some of its cells are contaminated: then it is not ranked.
    """
    _check(rows, plan)
    cells = _cells(rows, plan)
    complete = cells[~cells["domain"].isin(mixed_domains(cells))].dropna()
    complete = complete.rename(columns={"domain": "dataset", "mean_pct": "accuracy", "ci95_pct": "ci95"})
    ranks = average_ranks(complete).rename(columns={"dataset": "domain"})
    averages = rank_columns(complete, [d for d in plan.domains if d not in mixed_domains(cells)])
    cells = cells.merge(ranks, on=["method", "domain"], how="left")
    contaminated = contaminated_domains(rows)
    methods = _summary(rows, cells, averages, plan, seen, contaminated)
    return Leaderboard(plan=plan, seen=seen, contaminated=contaminated, cells=cells, methods=methods)


def paired(rows: pd.DataFrame, plan: StoredPlan, seen: Mapping[str, str], baseline: str = "ncc") -> Differences:
    """How far every other method is from the baseline, episode by episode.

    Domains are sampled independently of each other, so the interval of an average over D domains is
    sqrt(sum of squared intervals) / D.
    """
    _check(rows, plan)
    methods = sorted(rows["method"].unique())
    if baseline not in methods:
        hint = did_you_mean(baseline, methods)
        raise LeaderboardError(f"no method {baseline!r} to compare with.{hint} Known: {', '.join(methods) or 'none'}")
    accuracies, contaminated = _accuracies_pct(rows), contaminated_domains(rows)
    cells, averages = [], []
    for method in [name for name in methods if name != baseline]:
        found = {}
        for domain, planned in plan.domains.items():
            pair = [accuracies.get((name, domain), np.empty(0)) for name in (method, baseline)]
            whole = all(len(values) == planned for values in pair)
            found[domain] = paired_difference(*pair) if whole else (np.nan, np.nan)
            cells.append((method, domain, *found[domain]))
        groups = {group: domains_of(plan, seen, contaminated, group) for group in GROUPS}
        averages += [(method, group, *_average(found, domains)) for group, domains in groups.items()]
    return Differences(
        baseline=baseline,
        cells=pd.DataFrame(cells, columns=["method", "domain", "diff_pct", "ci95_pct"]),
        averages=pd.DataFrame(averages, columns=["method", "group", "diff_pct", "ci95_pct"]),
    )


def seen_states(rows: pd.DataFrame) -> dict[str, str]:
    """State of each domain for a whole leaderboard: seen if any of its backbones saw it, unseen if none of them did."""
    states = rows[["domain", "seen"]].drop_duplicates().groupby("domain", sort=False)["seen"].agg(set)
    return {
        str(domain): next(state for state in ("seen", "unknown", "unseen") if state in found)
        for domain, found in states.items()
    }


def contaminated_domains(rows: pd.DataFrame) -> frozenset[str]:
    """Domains whose very classes any backbone of a leaderboard was trained on."""
    return frozenset(rows.loc[rows["contaminated"].astype(bool), "domain"])


def mixed_domains(cells: pd.DataFrame) -> list[str]:
    """Domains of which some cells are contaminated and others not; a cell without any episode is neither."""
    kinds = cells[cells["n"] > 0].groupby("domain")["contaminated"].nunique()
    return [str(domain) for domain in kinds.index[kinds > 1]]


def domains_of(plan: StoredPlan, seen: Mapping[str, str], contaminated: Collection[str], group: str) -> list[str]:
    """The plan's domains that an average (seen | unseen | all) is taken over, in display order."""
    if group == "all":
        return list(plan.domains)
    return [d for d in plan.domains if seen.get(d, "unknown") == group and d not in contaminated]


def _check(rows: pd.DataFrame, plan: StoredPlan) -> None:
    if rows.empty:
        raise LeaderboardError(f"no episode of plan {plan.plan_hash} is done yet; run the benchmark first")
    strange = sorted(set(rows["domain"].unique()) - set(plan.domains))
    if strange:
        raise LeaderboardError(f"rows of domains that plan {plan.plan_hash} does not have: {', '.join(strange)}")


def _accuracies_pct(rows: pd.DataFrame) -> dict[tuple[str, str], np.ndarray]:
    """(method, domain) -> accuracies (n,) in percent, by task."""
    accuracies, tasks = 100.0 * rows["accuracy"].to_numpy(), rows["task"].to_numpy()
    found = {}
    for indices in rows.groupby(["method", "domain"]).indices.values():
        method, domain = rows[["method", "domain"]].iloc[indices[0]]
        in_order = indices[np.argsort(tasks[indices])]
        repeated = tasks[in_order][1:][np.diff(tasks[in_order]) == 0]
        if repeated.size:
            raise LeaderboardError(f"method {method!r} has two results for task {repeated[0]} of domain {domain!r}")
        found[method, domain] = accuracies[in_order]
    return found


def _cells(rows: pd.DataFrame, plan: StoredPlan) -> pd.DataFrame:
    """A line for every method on every domain; without a row there is no contamination either."""
    accuracies = _accuracies_pct(rows)
    cells = pd.DataFrame(
        [
            _cell(method, domain, planned, accuracies.get((method, domain), np.empty(0)))
            for method in sorted(rows["method"].unique())
            for domain, planned in plan.domains.items()
        ],
        columns=["method", "domain", "n", "planned", "mean_pct", "ci95_pct"],
    )
    marked = rows.assign(contaminated=rows["contaminated"].astype(bool)).groupby(["method", "domain"])["contaminated"]
    wanted = pd.MultiIndex.from_frame(cells[["method", "domain"]])
    return cells.assign(contaminated=marked.any().reindex(wanted, fill_value=False).to_numpy())


def _cell(method: str, domain: str, planned: int, accuracies: np.ndarray) -> tuple[str, str, int, int, float, float]:
    n = len(accuracies)
    mean, ci95 = mean_ci95(accuracies) if n == planned else (np.nan, np.nan)
    return method, domain, n, planned, mean, ci95


def _summary(
    rows: pd.DataFrame,
    cells: pd.DataFrame,
    averages: pd.DataFrame,
    plan: StoredPlan,
    seen: Mapping[str, str],
    contaminated: Collection[str],
) -> pd.DataFrame:
    means = cells.pivot(index="method", columns="domain", values="mean_pct")
    complete = means.notna().all(axis=1)
    facts = rows[["method", "backbone", "flags"]].drop_duplicates()
    facts = facts.assign(hyper=hyper_of(facts["flags"]))
    summary = facts.groupby("method")[["backbone", "hyper"]].agg(_joined)
    summary = summary.join(averages.where(complete.reindex(averages.index)))
    for group in GROUPS:
        summary[f"{group}_pct"] = means[domains_of(plan, seen, contaminated, group)].mean(axis=1).where(complete)
    return summary.rename_axis("method").reset_index().sort_values(["avg_rank", "method"], ignore_index=True)


def _joined(words: pd.Series) -> str:
    return "+".join(sorted(set(filter(None, words))))


def _average(found: Mapping[str, tuple[float, float]], domains: Sequence[str]) -> tuple[float, float]:
    """Mean difference over a group's domains and its interval; NaN for an empty group or when any domain lacks."""
    if not domains or np.isnan(list(found.values())).any():
        return np.nan, np.nan
    differences, intervals = np.transpose([found[domain] for domain in domains])
    return float(differences.mean()), float(np.sqrt(np.square(intervals).sum()) / len(domains))
