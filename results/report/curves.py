"""Accuracy against the number of classes of an episode (ways) and the number of support images per class (shots).

After the analyses of Meta-Dataset (Triantafillou et al. 2020, arXiv:1903.03096, section 5), over bins of episodes. The
paper's shots are those of each class; rows keep an episode's total, so that shots here are its mean over classes.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from results.report.aligned import Episodes
from results.report.scale import Axis, linear, logarithmic, spread
from results.stats import mean_ci95

WIDTH, HEIGHT = 600, 340
LEFT, TOP, BOTTOM = 46, 14, 44
LABEL_GAP = 14
FEWEST_EPISODES = 10
"""Bins of fewer are left out."""
WAYS_PER_BIN = 5
FIGURES = {"ways": "classes in the episode (ways)", "shots": "support images per class (shots)"}


class Point(NamedTuple):
    """One bin of one method: positions of the mean and of the ends of its interval, and the same in words."""

    x: float
    y: float
    low: float
    high: float
    words: str


class Line(NamedTuple):
    """One method; `method` is its position on the leaderboard, `label_y` where its name goes."""

    method: int
    name: str
    points: list[Point]
    label_y: float


class Chart(NamedTuple):
    """A figure of lines. `scope`: a domain, or None for all. Without lines it says `why`."""

    scope: str | None
    x_title: str
    right: float
    x: Axis | None
    y: Axis | None
    lines: list[Line]
    why: str = ""


class Bin(NamedTuple):
    """Episodes with from `low` to below `high` ways or shots: their mean x, and (mean, ci95) of each method."""

    low: float
    high: float
    episodes: int
    x: float
    accuracies: list[tuple[float, float]]


def charts(episodes: Episodes, figure: str) -> list[Chart]:
    """The figure "ways" or "shots" over all domains, then for each of them."""
    scopes: list[str | None] = [None, *episodes.planned] if len(episodes.planned) > 1 else [None]
    return [_chart(episodes, figure, scope) for scope in scopes]


def binned(values: np.ndarray, accuracy_pct: np.ndarray, edges: Sequence[float]) -> list[Bin]:
    """Bins between neighbouring edges that have enough episodes. values (n,), accuracy_pct (n, methods)."""
    found = []
    for low, high in itertools.pairwise(edges):
        inside = (values >= low) & (values < high)
        if inside.sum() >= FEWEST_EPISODES:
            columns = accuracy_pct[inside].T
            means = [mean_ci95(column) for column in columns]
            found.append(Bin(low, high, int(inside.sum()), float(values[inside].mean()), means))
    return found


def edges_of(values: np.ndarray, figure: str) -> list[float]:
    """Ways in steps of five, shots in steps that double."""
    if figure == "ways":
        first, last = int(values.min()) // WAYS_PER_BIN, int(values.max()) // WAYS_PER_BIN
        return [float(WAYS_PER_BIN * i) for i in range(first, last + 2)]
    first, last = (int(np.floor(np.log2(v))) for v in (values.min(), values.max()))
    return [2.0**i for i in range(first, last + 2)]


def _chart(episodes: Episodes, figure: str, scope: str | None) -> Chart:
    empty = Chart(scope, FIGURES[figure], WIDTH, None, None, [])
    methods, inside = episodes.complete(scope), episodes.of(scope)
    if not methods:
        return empty._replace(why="No method has all planned episodes here yet.")
    values = (episodes.way if figure == "ways" else episodes.shots)[inside].astype(float)
    bins = binned(values, episodes.accuracy_pct[inside][:, methods], edges_of(values, figure))
    if len(bins) < 2:
        same = f"Every episode has {values.min():.4g} {figure}" if values.min() == values.max() else "Too few episodes"
        return empty._replace(why=f"{same}: there is nothing to set against each other.")
    names = [episodes.methods[i] for i in methods]
    right = WIDTH - min(160, 20 + 7.3 * max(map(len, names)))
    reach = [mean + sign * ci for b in bins for mean, ci in b.accuracies for sign in (-1, 1)]
    x_axis = linear if figure == "ways" else logarithmic
    x = x_axis(min(b.x for b in bins), max(b.x for b in bins), LEFT, right)
    y = linear(min(reach), max(reach), HEIGHT - BOTTOM, TOP)
    lines = [[_point(b, i, figure, name, x, y) for b in bins] for i, name in enumerate(names)]
    label_ys = spread([points[-1].y for points in lines], LABEL_GAP, TOP, HEIGHT - BOTTOM)
    named = zip(methods, names, lines, label_ys, strict=True)
    return empty._replace(right=right, x=x, y=y, lines=[Line(*each) for each in named])


def _point(b: Bin, method: int, figure: str, name: str, x: Axis, y: Axis) -> Point:
    mean, ci95 = b.accuracies[method]
    span = f"{b.low:.0f}–{b.high - 1:.0f}" if figure == "ways" else f"{b.low:g} to below {b.high:g}"
    words = f"{name}: {mean:.1f} ±{ci95:.1f} % at {span} {figure} ({b.episodes} episodes)"
    return Point(x.at(b.x), y.at(mean), y.at(mean - ci95), y.at(mean + ci95), words)
