"""Several seeds of one benchmark: its episodes pooled, and the spread of its seeds, named apart."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from results.errors import StatisticsError
from results.stats import mean_ci95
from results.store import StoredPlan


def over_seeds(cells: pd.DataFrame) -> pd.DataFrame:
    """Mean of each method on each domain over seeds: cells(method, domain, seed, accuracies (n,)), one row a seed.

    -> (method, domain, seeds, n, mean_pct, ci95_pct, ci95_seeds_pct), in the unit of the accuracies. `ci95_pct` is the
    conventional interval of all episodes together. `ci95_seeds_pct` is Student's interval of the seeds' means, with
    (seeds - 1) degrees of freedom, NaN for one seed: it also holds what a seed changes as a whole (the
    draws of a stochastic method), and it is wide for few seeds. Neither counts the classes and images, which all seeds
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
    from scipy.special import stdtrit

    values = np.asarray(means, dtype=np.float64)
    if not np.isfinite(values).all():
        raise StatisticsError(f"mean of seed {int(np.argmin(np.isfinite(values)))} is not a finite number")
    if values.size < 2:
        return float("nan")
    return float(stdtrit(values.size - 1, 0.975) * values.std(ddof=1) / np.sqrt(values.size))


def cells_of_seeds(runs: Sequence[tuple[StoredPlan, pd.DataFrame]]) -> pd.DataFrame:
    """The cells that `over_seeds` takes, in percent, from each seed's plan and its rows (with the column `method`).

    A method on a domain is left out unless every seed has all its planned episodes. Raises StatisticsError when plans
    differ in more than their seed, or a method's seeds in its hyper-parameters, backbone or flags.
    """
    same_but_for_seed([plan for plan, _ in runs])
    _same_methods(pd.concat([rows for _, rows in runs]))
    lines = [
        (str(method), str(domain), plan.seed, 100 * group.sort_values("task")["accuracy"].to_numpy())
        for plan, rows in runs
        for (method, domain), group in rows.groupby(["method", "domain"], observed=True)
        if len(group) == plan.domains[str(domain)]
    ]
    cells = pd.DataFrame(lines, columns=["method", "domain", "seed", "accuracies"])
    seeds = cells.groupby(["method", "domain"])["seed"].transform("nunique")
    return cells[seeds == len(runs)].reset_index(drop=True)


def render_seeds(found: pd.DataFrame, plan: StoredPlan, seeds: Sequence[int]) -> list[RenderableType]:
    """What to print of `over_seeds`: domains down, methods across; the episodes' interval, then the seeds'."""
    lines = {(line["method"], line["domain"]): line for line in found.to_dict("records")}
    methods = sorted(found["method"].unique())
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("domain")
    for method in methods:
        table.add_column(Text(method), justify="right")
    for domain in plan.domains:
        own = [lines.get((method, domain)) for method in methods]
        table.add_row(domain, *map(_shown, own))
    protocol = f" · {plan.split} · {plan.tasks} episodes per domain and seed · seeds {', '.join(map(str, seeds))}"
    legend = (
        "accuracy in %, mean ±95% over the episodes of all seeds ±95% over the seeds' means (Student's t, "
        f"{len(seeds) - 1} degrees of freedom)\nneither counts the classes and images, which all seeds share"
    )
    return [Text.assemble((plan.benchmark, "bold"), protocol), "", table, "", Text(legend, style="dim")]


def same_but_for_seed(plans: Sequence[StoredPlan]) -> None:
    """Raise StatisticsError, naming what differs, unless plans have different seeds and nothing else different."""
    first = plans[0]
    for plan in plans[1:]:
        for name in ("benchmark", "split", "setting", "tasks"):
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


def _same_methods(rows: pd.DataFrame) -> None:
    for name in ("backbone_hash", "adapter_hash", "flags"):
        different = rows.groupby(["method", "domain"], observed=True)[name].nunique()
        if (different > 1).any():
            method, domain = different.index[different > 1][0]
            raise StatisticsError(
                f"method {method!r} on {domain!r} was not the same with all seeds ({name} differs); run the other "
                "seeds as this one was"
            )


def _shown(line: dict | None) -> str:
    return "–" if line is None else f"{line['mean_pct']:.1f} ±{line['ci95_pct']:.1f} ±{line['ci95_seeds_pct']:.1f}"
