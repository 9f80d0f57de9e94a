"""Several seeds of one benchmark: its episodes pooled, and the spread of its seeds, named apart."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from results.errors import StatisticsError
from results.stats import mean_ci95
from results.store import StoredPlan


def over_seeds(cells: pd.DataFrame) -> pd.DataFrame:
    """Mean of each method on each domain over seeds: cells(method, domain, seed, accuracies (n,)), one row a seed.

    -> (method, domain, seeds, n, mean_pct, ci95_pct, ci95_seeds_pct), in the unit of the accuracies. `ci95_pct` is the
    conventional interval of all episodes together. `ci95_seeds_pct` is Student's interval of the seeds' means, with
    (seeds - 1) degrees of freedom, NaN for one seed: it also holds what a seed changes as a whole (a stochastic
    method's draw, a backbone's), and it is wide for few seeds. Neither counts the classes and images, which all seeds
    share. Raises StatisticsError where seeds differ in their number of episodes, since they would not weigh the same.
    """
    lines = []
    for (method, domain), group in cells.groupby(["method", "domain"], sort=False, observed=True):
        repeated = group["seed"][group["seed"].duplicated()]
        if len(repeated):
            raise StatisticsError(f"method {method!r} on {domain!r}: seed {repeated.iloc[0]} is given twice")
        sizes = {len(accuracies) for accuracies in group["accuracies"]}
        if len(sizes) > 1:
            raise StatisticsError(
                f"method {method!r} on {domain!r}: seeds have {' and '.join(map(str, sorted(sizes)))} episodes; "
                "give them the same number"
            )
        mean, ci95 = mean_ci95(np.concatenate(list(group["accuracies"])))
        between = seeds_ci95([mean_ci95(accuracies)[0] for accuracies in group["accuracies"]])
        lines.append((method, domain, len(group), sizes.pop() * len(group), mean, ci95, between))
    columns = ["method", "domain", "seeds", "n", "mean_pct", "ci95_pct", "ci95_seeds_pct"]
    return pd.DataFrame(lines, columns=columns)


def seeds_ci95(means: Sequence[float]) -> float:
    """Half width of Student's 95% interval of the mean of seeds' means (s,); NaN for a single seed."""
    from scipy.stats import t

    values = np.asarray(means, dtype=np.float64)
    if not np.isfinite(values).all():
        raise StatisticsError(f"mean of seed {int(np.argmin(np.isfinite(values)))} is not a finite number")
    if values.size < 2:
        return float("nan")
    return float(t.ppf(0.975, values.size - 1) * values.std(ddof=1) / np.sqrt(values.size))


def same_but_for_seed(plans: Sequence[StoredPlan]) -> None:
    """Raise StatisticsError, naming what differs, unless plans have different seeds and nothing else different."""
    first = plans[0]
    for plan in plans[1:]:
        for name in ("benchmark", "split", "tasks"):
            if getattr(plan, name) != getattr(first, name):
                raise StatisticsError(
                    f"plans {first.plan_hash[:12]} and {plan.plan_hash[:12]} differ in their {name} "
                    f"({getattr(first, name)} and {getattr(plan, name)}), not in their seed only"
                )
        if dict(plan.domains) != dict(first.domains):
            raise StatisticsError(f"plans {first.plan_hash[:12]} and {plan.plan_hash[:12]} differ in their domains")
    seeds = [plan.seed for plan in plans]
    twice = next((seed for seed in seeds if seeds.count(seed) > 1), None)
    if twice is not None:
        raise StatisticsError(f"two plans have seed {twice}; each seed counts once")
