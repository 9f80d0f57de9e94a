"""From one row per episode and method to means, changes from the frozen features, and the claims about the gap."""

import numpy as np
import pandas as pd

from results.analysis.measures import MEASURES
from results.stats import mean_ci95, paired_difference

FROZEN = "frozen"
"""The name of the state before adaptation: the backbone's features and their class means."""
NARROWS, WIDENS = "url", "copa"
"""Methods of which CoPA's paper says that they narrow and widen the gap of the frozen features."""
CLAIM = f"gap({NARROWS}) < gap({FROZEN}) < gap({WIDENS})"
_ROUNDING = 1e-5
"""Gaps of float32 features that differ by less do not differ."""


def summary(episodes: pd.DataFrame) -> pd.DataFrame:
    """One line for each domain, method and measure; lines keep the order of the episodes' domains and methods.

    `episodes`: domain, method, task and the columns of MEASURES; NaN where a measure is not defined in an episode.
    Columns: domain, method, measure, mean, ci95, n (episodes where it is defined), and against "frozen" on the same
    episodes: change, change_ci95, share_lower and share_higher (of episodes); NaN without "frozen" or for it.
    """
    lines = []
    for domain in episodes["domain"].unique():
        here = episodes[episodes["domain"] == domain]
        frozen = _by_task(here, FROZEN)
        for method in here["method"].unique():
            own = _by_task(here, method)
            base = frozen if method != FROZEN else frozen.iloc[:0]
            lines += [(domain, method, measure, *_line(own[measure], base[measure])) for measure in MEASURES]
    columns = ["mean", "ci95", "n", "change", "change_ci95", "share_lower", "share_higher"]
    return pd.DataFrame(lines, columns=["domain", "method", "measure", *columns])


def direction(episodes: pd.DataFrame, measure: str = "gap") -> pd.DataFrame:
    """Whether gap(url) < gap(frozen) < gap(copa), one line per domain; empty unless all three were measured.

    Columns: domain, episodes, the three means, `narrows_share` (of episodes where url's gap is below the frozen one),
    `narrows` (holds: the paired 95% interval of the difference is on the claimed side of 0; fails: on the other;
    unclear: around it), the same of copa as `widens_share` and `widens`, `both_share` (of episodes in the full order)
    and `verdict` (holds if both do, fails if one does, else unclear).
    """
    methods = episodes["method"].unique()
    url, copa = (next((m for m in methods if _base(m) == name), None) for name in (NARROWS, WIDENS))
    if url is None or copa is None or FROZEN not in methods:
        return pd.DataFrame()
    lines = []
    for domain in episodes["domain"].unique():
        here = episodes[episodes["domain"] == domain]
        low, middle, high = (_by_task(here, name)[measure] for name in (url, FROZEN, copa))
        narrows, widens = _verdict(middle, low), _verdict(high, middle)
        verdict = next((each for each in ("fails", "unclear") if each in (narrows, widens)), "holds")
        lines.append(
            {
                "domain": domain,
                "episodes": len(middle),
                NARROWS: low.mean(),
                FROZEN: middle.mean(),
                WIDENS: high.mean(),
                "narrows_share": _less(low, middle).mean(),
                "narrows": narrows,
                "widens_share": _less(middle, high).mean(),
                "widens": widens,
                "both_share": (_less(low, middle) & _less(middle, high)).mean(),
                "verdict": verdict,
            }
        )
    return pd.DataFrame(lines)


def mean_sweep(sweeps: pd.DataFrame) -> pd.DataFrame:
    """Means at each shift: domain, method, shift, gap, along, loss, loss_ci95, n.

    `sweeps`: domain, method, task and the columns of `gap_and_loss`; episodes without a gap to widen (NaN) are left out
    at all shifts.
    """
    keys = ["domain", "method", "task"]
    movable = sweeps[sweeps.groupby(keys)["loss"].transform(lambda losses: losses.notna().all())]
    lines = [
        (*key, part["gap"].mean(), part["along"].mean(), *mean_ci95(part["loss"]), len(part))
        for key, part in movable.groupby(["domain", "method", "shift"], sort=False)
    ]
    return pd.DataFrame(lines, columns=["domain", "method", "shift", "gap", "along", "loss", "loss_ci95", "n"])


def best_shifts(sweeps: pd.DataFrame) -> pd.DataFrame:
    """Where validation loss is least: domain, method, n, best_shift of the mean loss, loss_change there against shift
    0 with its paired interval (loss_change_ci95; it is picked from the same episodes, so it flatters itself a little),
    and share_wider, of episodes whose own least loss is at a shift above 0."""
    lines = []
    for (domain, method), part in sweeps.groupby(["domain", "method"], sort=False):
        losses = part.pivot(index="task", columns="shift", values="loss").dropna()
        if losses.empty:
            lines.append((domain, method, 0, *[np.nan] * 4))
            continue
        best = losses.mean().idxmin()
        change = paired_difference(losses[best], losses[0.0])
        lines.append((domain, method, len(losses), best, *change, (losses.idxmin(axis=1) > 0).mean()))
    columns = ["n", "best_shift", "loss_change", "loss_change_ci95", "share_wider"]
    return pd.DataFrame(lines, columns=["domain", "method", *columns])


def _by_task(rows: pd.DataFrame, method: str) -> pd.DataFrame:
    return rows[rows["method"] == method].set_index("task").sort_index()


def _line(own: pd.Series, frozen: pd.Series) -> tuple[float, ...]:
    values = own.dropna()
    mean, ci95 = mean_ci95(values) if len(values) else (np.nan, np.nan)
    pairs = pd.DataFrame({"own": own, "frozen": frozen}).dropna()
    if pairs.empty:
        return mean, ci95, len(values), *[np.nan] * 4
    differences = pairs["own"] - pairs["frozen"]
    change = paired_difference(pairs["own"], pairs["frozen"])
    return mean, ci95, len(values), *change, (differences < 0).mean(), (differences > 0).mean()


def _less(smaller: pd.Series, larger: pd.Series) -> pd.Series:
    return smaller < larger - _ROUNDING


def _verdict(larger: pd.Series, smaller: pd.Series) -> str:
    mean, ci95 = paired_difference(larger, smaller)
    margin = max(ci95, _ROUNDING)
    return "holds" if mean > margin else "fails" if mean < -margin else "unclear"


def _base(method: str) -> str:
    """A method's name without hyper-parameters and remarks: url of `url(lr=0.5)` and of `url (fixed)`."""
    return method.split("(")[0].strip()
