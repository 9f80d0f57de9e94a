"""Which differences between methods are more than chance, by the tests that comparisons of classifiers use.

The choice of tests follows Demsar 2006, "Statistical Comparisons of Classifiers over Multiple Data Sets" (JMLR 7:1-30).
"""

import math
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from results.errors import StatisticsError

DECIMALS = 9  # of differences: 0.3 - 0.2 and 0.2 - 0.1 are a tie, whatever the floating point makes of them


class Friedman(NamedTuple):
    """`statistic`: chi-squared, (methods - 1) degrees of freedom, corrected for ties; `average_ranks`: 1 is best."""

    statistic: float
    p: float
    average_ranks: pd.Series


def wilcoxon_p(a: ArrayLike, b: ArrayLike) -> float:
    """Two-sided p of Wilcoxon's signed-rank test; a[i] and b[i] (n,) come from the same episode or domain.

    It assumes that the pairs are independent and that their differences lie symmetrically about the median. Many
    episodes end in a draw; zeros are ranked with the rest and then left out (Pratt 1959, JASA 54:655-667), so that
    their number counts. Exact for up to 50 pairs, or 13 with ties, else the normal approximation; 1 if all are equal.
    """
    from scipy.stats import wilcoxon

    differences = _differences(a, b)
    return float(wilcoxon(differences, zero_method="pratt").pvalue) if differences.any() else 1.0


def sign_test_p(a: ArrayLike, b: ArrayLike) -> float:
    """Two-sided p of the exact sign test on pairs (n,): are wins and losses equally likely? Draws are left out.

    It assumes that the pairs are independent, and nothing about the size of their differences.
    """
    from scipy.stats import binomtest

    differences = _differences(a, b)
    wins, losses = int((differences > 0).sum()), int((differences < 0).sum())
    return float(binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0


def holm(p: ArrayLike) -> np.ndarray:
    """p values (m,) of one family of tests, adjusted (Holm 1979, Scand. J. Statist. 6:65-70), in the same order.

    Calling those below alpha significant makes one or more false claims with probability alpha at most, however the
    tests depend on each other.
    """
    values = _finite(p, "p value")
    if ((values < 0) | (values > 1)).any():
        raise StatisticsError(f"p values lie between 0 and 1, got {values[(values < 0) | (values > 1)][0]:g}")
    order = np.argsort(values, kind="stable")
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)))
    return adjusted


def friedman(accuracies: pd.DataFrame) -> Friedman:
    """Friedman's test that all methods are alike: rows are blocks (domains), columns methods (two at least).

    It assumes independent blocks. p is from the chi-squared distribution, which is rough below about 10 blocks or 5
    methods (Demsar 2006, section 3.2.2). Raises StatisticsError naming the cell that is not a number.
    """
    from scipy.stats import chi2

    blocks, methods = accuracies.shape
    if methods < 2 or blocks < 1:
        raise StatisticsError(f"Friedman's test needs two methods and one block, got {methods} and {blocks}")
    lacking = ~np.isfinite(accuracies.to_numpy(float))
    if lacking.any():
        block, method = (int(i) for i in np.argwhere(lacking)[0])
        cell = f"method {accuracies.columns[method]!r} on {accuracies.index[block]!r}"
        raise StatisticsError(f"{cell}: no finite accuracy; Friedman's test needs every method in every block")
    ranks = accuracies.round(DECIMALS).rank(axis=1, ascending=False)
    average = ranks.mean().rename("average_rank")
    spread = ranks.to_numpy() - (methods + 1) / 2
    within = float(np.square(spread).sum())  # blocks * methods * (methods^2 - 1) / 12 where nothing is tied
    between = float(np.square(spread.sum(axis=0)).sum())
    statistic = (methods - 1) * between / within if within else 0.0
    return Friedman(statistic, float(chi2.sf(statistic, methods - 1)), average)


def nemenyi_cd(methods: int, blocks: int, alpha: float = 0.05) -> float:
    """Critical difference of average ranks: two of `methods` methods over `blocks` domains that are further apart
    differ (Nemenyi 1963; Demsar 2006, eq. after table 5).

    All pairs are counted as one family, on the assumption of independent blocks.
    """
    from scipy.stats import studentized_range

    if methods < 2 or blocks < 1 or not 0 < alpha < 1:
        raise StatisticsError(
            f"a critical difference needs two methods, one block and 0 < alpha < 1, got {methods}, {blocks}, {alpha}"
        )
    quantile = studentized_range.ppf(1 - alpha, methods, math.inf) / math.sqrt(2)
    return float(quantile * math.sqrt(methods * (methods + 1) / (6 * blocks)))


def win_tie_loss(rows: pd.DataFrame) -> pd.DataFrame:
    """Episodes that each method wins, ties and loses against each other one, by domain, on episodes that both have.

    rows(method, domain, task, accuracy) -> (method, other, domain, wins, ties, losses), every ordered pair of methods.
    """
    found = []
    for domain, group in rows.groupby("domain", sort=False, observed=True):
        table = group.pivot(index="task", columns="method", values="accuracy").round(DECIMALS)
        values = table.to_numpy(float)
        for i, method in enumerate(table.columns):
            for j, other in enumerate(table.columns):
                if i != j:
                    differences = values[:, i] - values[:, j]  # NaN, neither win nor tie nor loss, where one lacks
                    counts = [int((differences > 0).sum()), int((differences == 0).sum()), int((differences < 0).sum())]
                    found.append((method, other, domain, *counts))
    return pd.DataFrame(found, columns=["method", "other", "domain", "wins", "ties", "losses"])


def episodes_needed(differences: ArrayLike, *, power: float = 0.8, alpha: float = 0.05) -> int | None:
    """Episodes after which two methods are told apart with probability `power` by a two-sided paired test at `alpha`.

    differences: paired differences per episode (n,), n >= 2; their mean and spread are taken for the true ones. None
    where their mean is zero: no number of episodes shows a difference that is not there. The normal approximation with
    the correction of Guenther 1981 (The American Statistician 35:243-244) for the t distribution.
    """
    from scipy.stats import norm

    values = _finite(differences, "difference of episode")
    if len(values) < 2:
        raise StatisticsError(f"the spread of differences needs two episodes or more, got {len(values)}")
    if not (0 < power < 1 and 0 < alpha < 1):
        raise StatisticsError(f"power and alpha lie between 0 and 1, got {power} and {alpha}")
    mean, spread = abs(float(values.mean())), float(values.std(ddof=1))
    if mean <= 10.0**-DECIMALS:
        return None
    quantile = norm.isf(alpha / 2)
    return max(2, math.ceil(((quantile + norm.isf(1 - power)) * spread / mean) ** 2 + quantile**2 / 2))


def _differences(a: ArrayLike, b: ArrayLike) -> np.ndarray:
    first, second = _finite(a, "value of pair"), _finite(b, "value of pair")
    if first.size != second.size or not first.size:
        raise StatisticsError(f"paired values must come from the same episodes, got {first.size} and {second.size}")
    return (first - second).round(DECIMALS)


def _finite(values: ArrayLike, what: str) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise StatisticsError(f"one {what} after the other (n,) is needed, got shape {array.shape}")
    if not np.isfinite(array).all():
        raise StatisticsError(f"{what} {int(np.argmin(np.isfinite(array)))} is not a finite number")
    return array
