"""Accuracy against seconds per episode."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from results.leaderboard import Leaderboard
from results.report.scale import Axis, linear, logarithmic

WIDTH, HEIGHT = 760, 380
LEFT, RIGHT, TOP, BOTTOM = 46, 734, 16, 46
CHARACTER, LINE = 6.6, 13
Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


class Dot(NamedTuple):
    """One method; `label_x`, `label_y` and `anchor` place its name where it covers nothing, if it can."""

    method: int
    name: str
    x: float
    y: float
    label_x: float
    label_y: float
    anchor: str
    words: str


class Scatter(NamedTuple):
    """`front`: the methods that no other one beats in both, as (x, y) from the fastest to the best."""

    x: Axis
    y: Axis
    dots: list[Dot]
    front: list[tuple[float, float]]


def scatter(rows: pd.DataFrame, board: Leaderboard) -> Scatter | None:
    """Mean accuracy over all domains against mean seconds per episode; None where no method has all its episodes."""
    seconds = rows.groupby(["method", "domain"])["wall_s"].mean().groupby("method").mean()
    summary = board.methods.assign(wall_s=board.methods["method"].map(seconds))
    shown = summary[summary["all_pct"].notna() & (summary["wall_s"] > 0)]
    if shown.empty:
        return None
    accuracy, wall_s = shown["all_pct"].tolist(), shown["wall_s"].tolist()
    x = logarithmic(min(wall_s), max(wall_s), LEFT, RIGHT)
    y = linear(min(accuracy), max(accuracy), HEIGHT - BOTTOM, TOP)
    points = [(x.at(s), y.at(a)) for s, a in zip(wall_s, accuracy, strict=True)]
    taken = [(px - 6, py - 6, px + 6, py + 6) for px, py in points]
    dots = []
    for method, name, point, s, a in zip(shown.index, shown["method"], points, wall_s, accuracy, strict=True):
        label_x, label_y, anchor = _place(name, point, taken)
        dots.append(
            Dot(
                int(method),
                name,
                *point,
                label_x,
                label_y,
                anchor,
                f"{name}: {a:.1f} % at {seconds_in_words(s)} per episode",
            )
        )
    best, front = -1.0, []
    for point, a in sorted(zip(points, accuracy, strict=True), key=lambda each: (each[0][0], -each[1])):
        if a > best:
            best = a
            front.append(point)
    return Scatter(x, y, dots, front)


def seconds_in_words(seconds: float) -> str:
    """0.0123 -> "12.3 ms"."""
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"


def _place(name: str, point: tuple[float, float], taken: list[Box]) -> tuple[float, float, str]:
    """The first free place beside, above or below a point for its name, which is then taken."""
    (x, y), width = point, CHARACTER * len(name)
    places = [(x + 9, y + 4, "start"), (x - 9, y + 4, "end"), (x, y - 10, "middle"), (x, y + 20, "middle")]
    places += [(x + 9, y + 17, "start"), (x - 9, y - 9, "end")]
    boxes = [_box(place, width) for place in places]
    free = [i for i, box in enumerate(boxes) if not any(_overlap(box, other) for other in taken)]
    inside = [i for i in free if boxes[i][0] >= LEFT and boxes[i][2] <= WIDTH]
    chosen = (inside or free or [0])[0]
    taken.append(boxes[chosen])
    return places[chosen]


def _box(place: tuple[float, float, str], width: float) -> Box:
    x, y, anchor = place
    left = x - {"start": 0.0, "middle": width / 2, "end": width}[anchor]
    return left, y - LINE + 3, left + width, y + 3


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
