"""Axes for hand-drawn figures: round steps, positions, and labels that do not cover each other."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

FLAT = 1e-6
"""Values that differ by less are drawn in the middle of an axis of length one."""


class Tick(NamedTuple):
    """A marked value: where it lies, in the figure's units, and what it is called."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Axis:
    """Values from `low` to `high` on the figure's units from `start` to `stop`. `log`: equal ratios, equal lengths."""

    low: float
    high: float
    start: float
    stop: float
    ticks: tuple[Tick, ...] = ()
    log: bool = False

    def at(self, value: float) -> float:
        """Where a value lies."""
        low, high, value = (math.log10(v) if self.log else v for v in (self.low, self.high, value))
        return self.start + (value - low) / (high - low) * (self.stop - self.start)


def linear(low: float, high: float, start: float, stop: float, *, most: int = 5) -> Axis:
    """An axis that holds low..high and ends on round values, with at most `most` steps between."""
    if high - low < FLAT:
        low, high = low - 0.5, high + 0.5
    step = nice_step(low, high, most)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    last = max(last, first + 1)
    axis = Axis(first * step, last * step, start, stop)
    ticks = tuple(Tick(axis.at(i * step), f"{i * step:.6g}") for i in range(first, last + 1))
    return Axis(axis.low, axis.high, start, stop, ticks)


def snug(low: float, high: float, start: float, stop: float, *, most: int, margin: float) -> Axis:
    """An axis that ends a `margin` (part of its length) outside low..high; round values between are marked."""
    step, room = nice_step(low, high, most), margin * (high - low)
    axis = Axis(low - room, high + room, start, stop)
    marked = range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    ticks = tuple(Tick(axis.at(i * step), f"{i * step:.6g}".replace("-", "−")) for i in marked)
    return Axis(axis.low, axis.high, start, stop, ticks)


def logarithmic(low: float, high: float, start: float, stop: float) -> Axis:
    """An axis of positive values with a margin on both sides; ticks at 1, 2, 5 or only 1 of each power of ten."""
    margin = (high / low) ** 0.06 if high > low else 2.0
    axis = Axis(low / margin, high * margin, start, stop, log=True)
    powers = range(math.floor(math.log10(axis.low)), math.ceil(math.log10(axis.high)) + 1)
    for factors in ((1, 2, 5), (1,)):
        values = [v for p in powers for v in (f * 10.0**p for f in factors) if axis.low <= v <= axis.high]
        if len(values) <= 8:
            break
    ticks = tuple(Tick(axis.at(value), f"{value:.6g}") for value in values)
    return Axis(axis.low, axis.high, start, stop, ticks, log=True)


def nice_step(low: float, high: float, most: int) -> float:
    """The smallest of 1, 2 and 5 times a power of ten that takes at most `most` steps from low to high."""
    rough = max(high - low, 1e-9) / most
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions near the wanted ones, in their order, at least `gap` apart and within low..high if there is room."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    places: dict[int, float] = {}
    floor = low
    for i in order:
        places[i] = max(wanted[i], floor)
        floor = places[i] + gap
    ceiling = high
    for i in reversed(order):
        places[i] = min(places[i], ceiling)
        ceiling = places[i] - gap
    return [places[i] for i in range(len(wanted))]
