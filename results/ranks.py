"""Average ranks with statistical ties, by the rule of the Meta-Dataset leaderboard."""

import math

import numpy as np
import pandas as pd

from results.errors import StatisticsError

COLUMNS = ("dataset", "method", "accuracy", "ci95")


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
    ranks = np.empty(len(cells))
    for rows in cells.groupby("dataset", observed=True).indices.values():
        group = cells.iloc[rows]
        ranks[rows] = _greedy(group["accuracy"].tolist(), group["ci95"].tolist())
    return cells[["dataset", "method"]].assign(rank=ranks)


def _greedy(means: list[float], intervals: list[float]) -> list[float]:
    """Ranks of one data set; of equal best means the first one leads."""
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
