"""Ranks: with statistical ties, by the rule of the Meta-Dataset leaderboard, and of the plain means."""

import math
from collections.abc import Collection

import numpy as np
import pandas as pd

from results.errors import StatisticsError

COLUMNS = ("dataset", "method", "accuracy", "ci95")
OFFICIAL10 = (
    "ilsvrc_2012",
    "omniglot",
    "aircraft",
    "cu_birds",
    "dtd",
    "quickdraw",
    "fungi",
    "vgg_flower",
    "traffic_sign",
    "mscoco",
)  # the data sets of the Meta-Dataset leaderboard, in its order
PAPERS13 = (*OFFICIAL10, "mnist", "cifar10", "cifar100")  # with the three that CNAPs added (arXiv:1906.07697)
RANK_COLUMNS = ("avg_rank", "avg_rank_plain", "avg_rank_official10", "avg_rank_papers13")


def average_ranks(cells: pd.DataFrame) -> pd.DataFrame:
    """Rank of every method on every data set: cells(dataset, method, accuracy, ci95) -> (dataset, method, rank).

    accuracy and ci95 (half width of the 95% interval) share one unit. Within a data set the best remaining mean is
    taken; every remaining method within sqrt(ci_best^2 + ci^2) of it is tied with it; all tied methods get the
    average of the places they fill, and the rest goes on below them. Ties are with the best only, so they are not
    transitive. Sorted by data set and method; the average over data sets is the caller's groupby.
    Source: leaderboard of github.com/google-research/meta-dataset.
    """
    _check(cells)
    cells = cells[list(COLUMNS)].sort_values(["dataset", "method"], ignore_index=True)
    means, intervals, ranks = cells["accuracy"].to_numpy(float), cells["ci95"].to_numpy(float), np.empty(len(cells))
    for rows in cells.groupby("dataset", observed=True).indices.values():
        ranks[rows] = _greedy(means[rows].tolist(), intervals[rows].tolist())
    return cells[["dataset", "method"]].assign(rank=ranks)


def rank_columns(cells: pd.DataFrame, domains: Collection[str]) -> pd.DataFrame:
    """Every average rank that a table may be asked for, a column each: cells(dataset, method, accuracy, ci95).

    Index: method, sorted. `avg_rank`: statistical ties, mean over all `domains`; `avg_rank_plain`: ranks of the means
    alone, equal means share the average place, over all `domains`; `avg_rank_official10` and `avg_rank_papers13`:
    statistical ties over the ten data sets of the Meta-Dataset leaderboard, or those and the papers' further three.
    NaN where a method lacks one of the data sets that a column is about, or `domains` does; a method that lacks some
    is still ranked on those it has. Cells of other data sets than `domains` are left out.
    """
    _check(cells)
    cells = cells[cells["dataset"].isin(list(domains))]
    statistical = average_ranks(cells).pivot(index="method", columns="dataset", values="rank")
    means = cells.pivot(index="method", columns="dataset", values="accuracy")
    plain = means.rank(axis=0, ascending=False, method="average")
    wanted = ((statistical, domains), (plain, domains), (statistical, OFFICIAL10), (statistical, PAPERS13))
    columns = [_mean_over(ranks, list(names)) for ranks, names in wanted]
    return pd.DataFrame(dict(zip(RANK_COLUMNS, columns, strict=True)), index=means.index, dtype=float)


def leading(ranks: pd.DataFrame) -> pd.Series:
    """Which cells are printed in bold: ranks(dataset, method, rank) -> bool by row, in the order and index of `ranks`.

    All whose rank equals the lowest of their data set, so that all who tie with the best are bold, even at rank 2, as
    the notebook of the Meta-Dataset leaderboard has it. Of average ranks only the lowest is bold.
    """
    return ranks["rank"] == ranks.groupby("dataset", observed=True)["rank"].transform("min")


def _mean_over(ranks: pd.DataFrame, domains: list[str]) -> pd.Series:
    """Mean rank over `domains`, NaN for a method that lacks one of them."""
    return ranks.reindex(columns=domains).mean(axis=1, skipna=False)


def _greedy(means: list[float], intervals: list[float]) -> list[float]:
    """Ranks of one data set; of equal best means the first one leads.

    A difference equal to the joint interval is a tie, compared in double precision without a tolerance, as the
    official notebook does: of decimals exactly at that distance (64.9 and 63.9, intervals 0.6 and 0.8) binary rounding
    decides, there and here.
    """
    ranks = [0.0] * len(means)
    remaining = list(range(len(means)))
    place = 1
    while remaining:
        best = max(remaining, key=means.__getitem__)
        tied = [i for i in remaining if means[best] - means[i] <= math.hypot(intervals[best], intervals[i])]
        for i in tied:
            ranks[i] = place + (len(tied) - 1) / 2
        place += len(tied)
        remaining = [i for i in remaining if i not in tied]
    return ranks


def _check(cells: pd.DataFrame) -> None:
    missing = [column for column in COLUMNS if column not in cells.columns]
    if missing:
        raise StatisticsError(f"ranks need the columns {', '.join(COLUMNS)}; missing: {', '.join(missing)}")
    accuracy, ci95 = cells["accuracy"].to_numpy(float), cells["ci95"].to_numpy(float)
    problems = {
        "no name": cells[["dataset", "method"]].isna().any(axis=1).to_numpy(),
        "no finite accuracy": ~np.isfinite(accuracy),
        "no interval": ~(np.isfinite(ci95) & (ci95 >= 0)),
        "two rows": cells.duplicated(["dataset", "method"]).to_numpy(),
    }
    for problem, rows in problems.items():
        if rows.any():
            cell = cells[rows].iloc[0]
            raise StatisticsError(f"no rank for method {cell['method']!r} on {cell['dataset']!r}: it has {problem}")
