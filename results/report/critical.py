"""The critical-difference diagram (Demsar 2006, "Statistical Comparisons of Classifiers", JMLR 7, figure 1)."""

from collections.abc import Sequence
from typing import NamedTuple

from results.leaderboard import Leaderboard, mixed_domains
from results.report.scale import Axis, Tick
from results.significance import friedman, nemenyi_cd

WIDTH, ROW = 760, 22
START, STOP = 170, 590
AXIS_Y, FIRST_ROW = 56, 22
BAR_GAP = 7


class Name(NamedTuple):
    """A method's place: `x` on the axis, its label's `y`, and on which side that stands."""

    method: int
    name: str
    rank: str
    x: float
    y: float
    left: bool


class Diagram(NamedTuple):
    """`bars`: groups of methods whose ranks differ by less than the critical difference, as (x, x, y)."""

    axis: Axis
    names: list[Name]
    bars: list[tuple[float, float, float]]
    cd: float
    cd_end: float
    p: str
    domains: int
    height: float


def diagram(board: Leaderboard) -> Diagram | None:
    """Average ranks over domains, ties sharing theirs; None with fewer than two methods or domains that are complete.

    These are plain ranks of the means, as Friedman's test has them, not the leaderboard's with statistical ties.
    Domains contaminated for some methods alone are left out, as there.
    """
    left_out = mixed_domains(board.cells)
    means = board.cells.pivot(index="domain", columns="method", values="mean_pct")
    means = means.loc[[domain for domain in board.plan.domains if domain not in left_out]]
    means = means[[name for name in board.methods["method"] if means[name].notna().all()]]
    domains, count = means.shape
    if count < 2 or domains < 2:
        return None
    test, cd = friedman(means), nemenyi_cd(count, domains)
    places = {name: i for i, name in enumerate(board.methods["method"])}
    ranked = sorted(test.average_ranks.items(), key=lambda each: (each[1], str(each[0])))
    axis = Axis(1, count, START, STOP)
    axis = Axis(1, count, START, STOP, tuple(Tick(axis.at(rank), str(rank)) for rank in range(1, count + 1)))
    groups = cliques([rank for _, rank in ranked], cd)
    bars = [(axis.at(low) - 4, axis.at(high) + 4, AXIS_Y + 10.0 + BAR_GAP * i) for i, (low, high) in enumerate(groups)]
    first = AXIS_Y + FIRST_ROW + BAR_GAP * len(bars)
    half = (count + 1) // 2
    names = []
    for i, (name, rank) in enumerate(ranked):
        row = i if i < half else count - 1 - i
        names.append(Name(places[str(name)], str(name), f"{rank:.2f}", axis.at(rank), first + ROW * row, i < half))
    p = f"{test.p:.2g}" if test.p >= 1e-4 else "below 0.0001"
    return Diagram(axis, names, bars, cd, START + cd * (STOP - START) / (count - 1), p, domains, first + ROW * half)


def cliques(ranks: Sequence[float], cd: float) -> list[tuple[float, float]]:
    """The widest spans (lowest, highest) of sorted ranks that are at most `cd` apart, of two methods or more."""
    spans: list[tuple[int, int]] = []
    for first, low in enumerate(ranks):
        last = max(i for i, rank in enumerate(ranks) if rank - low <= cd)
        if last > first and (not spans or last > spans[-1][1]):
            spans.append((first, last))
    return [(ranks[first], ranks[last]) for first, last in spans]
