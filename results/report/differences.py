"""Every method against every other, on the same episodes: what the forest plot shows for a baseline of one's choice."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from results.leaderboard import GROUPS, Leaderboard, domains_of
from results.report.aligned import Episodes
from results.report.scale import Axis, snug
from results.stats import paired_difference

WIDTH, ROW, TOP = 320, 18, 6
START, STOP = 98, 216
STEPS, MARGIN = 5, 0.04
"""Steps that may be as many as five are short enough for a mark beside zero."""


class Pairs(NamedTuple):
    """`rows`: domains, contaminated ones with a †, then "mean seen" and so on. `effects`: (methods, methods, rows, 2),
    of the first minus the second the mean and half width of the 95% interval in percentage points, NaN where an
    episode lacks."""

    rows: list[str]
    domains: int
    effects: np.ndarray


class Effect(NamedTuple):
    """One row of a panel: positions of the mean and of the ends of its interval; `sign` is 0 where that holds zero."""

    row: str
    y: float
    x: float
    low: float
    high: float
    sign: int
    words: str


class Panel(NamedTuple):
    """One method against the baseline."""

    method: int
    name: str
    verdict: str
    effects: list[Effect | None]


def every_pair(episodes: Episodes, board: Leaderboard) -> Pairs:
    """Paired differences of all pairs of methods on each domain and on average over its seen, unseen and all domains.

    Domains are sampled independently of each other: the interval of a mean over D domains is sqrt(sum of squared
    intervals) / D, as on the leaderboard.
    """
    domains, count = list(board.plan.domains), len(episodes.methods)
    effects = np.full((count, count, len(domains), 2), np.nan)
    for at, domain in enumerate(domains):
        accuracies, complete = episodes.accuracy_pct[episodes.of(domain)].T, episodes.complete(domain)
        for i in complete:
            for j in complete:
                effects[i, j, at] = (0.0, 0.0) if i == j else paired_difference(accuracies[i], accuracies[j])
    groups = {group: domains_of(board.plan, board.seen, board.contaminated, group) for group in GROUPS}
    filled = {group: [domains.index(d) for d in names] for group, names in groups.items() if names}
    whole = np.isfinite(effects).all(axis=(2, 3))
    means = [_average(effects[:, :, places], whole) for places in filled.values()]
    named = [f"{domain} †" if domain in board.contaminated else domain for domain in domains]
    stacked = np.concatenate([effects, *(mean[:, :, None] for mean in means)], axis=2)
    return Pairs([*named, *(f"mean {group}" for group in filled)], len(domains), stacked)


def panels(pairs: Pairs, methods: Sequence[str], baseline: int) -> tuple[Axis, list[Panel]]:
    """The forest plot of all methods but the baseline, on one axis."""
    effects = pairs.effects[:, baseline]
    reach = np.stack([effects[..., 0] - effects[..., 1], effects[..., 0] + effects[..., 1]])
    low, high = np.nanmin(reach, initial=0.0), np.nanmax(reach, initial=0.0)
    axis = snug(float(low), float(high) if high > low else 1.0, START, STOP, most=STEPS, margin=MARGIN)
    return axis, [_panel(pairs, methods, i, axis, effects[i]) for i in range(len(methods)) if i != baseline]


def _panel(pairs: Pairs, methods: Sequence[str], method: int, axis: Axis, effects: np.ndarray) -> Panel:
    drawn = [_effect(row, i, pairs, axis, *effects[i]) for i, row in enumerate(pairs.rows)]
    signs = [effect.sign for effect in drawn[: pairs.domains] if effect is not None]
    verdict = f"better on {signs.count(1)}, worse on {signs.count(-1)} of {pairs.domains} domains"
    return Panel(method, methods[method], verdict, drawn)


def _effect(row: str, i: int, pairs: Pairs, axis: Axis, difference: float, ci95: float) -> Effect | None:
    if np.isnan(difference):
        return None
    sign = 0 if abs(difference) <= ci95 else int(np.sign(difference))
    y = row_y(i, pairs.domains)
    ends = axis.at(difference - ci95), axis.at(difference + ci95)
    return Effect(row, y, axis.at(difference), *ends, sign, f"{difference:+.2f} ±{ci95:.2f}".replace("-", "−"))


def row_y(i: int, domains: int) -> float:
    """Where row i lies; averages keep a little distance from the domains."""
    return TOP + ROW * (i + 0.5) + (6 if i >= domains else 0)


def _average(effects: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """(methods, methods, 2) over the axis of domains; NaN where a pair lacks any domain of the plan."""
    mean = effects[..., 0].mean(axis=2)
    ci95 = np.sqrt(np.square(effects[..., 1]).sum(axis=2)) / effects.shape[2]
    return np.where(whole[..., None], np.stack([mean, ci95], axis=2), np.nan)
