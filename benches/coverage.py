"""`python -m benches.coverage`: how often 95% intervals hold the mean over all classes and images, by simulation.

In this world a class adds a normal effect to the accuracy of its queries, each of its images another, and an episode
has noise of its own: accuracy = 70 - 8 log(way / 5) + mean over classes (class + images drawn) + noise, in percent.
The images that an episode draws of a class deviate from that class's pool by what sampling ten of forty without
replacement gives. The mean over another draw of everything, 70 - 8 E log(way / 5), is known.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from harness.console import console as terminal
from results.data_interval import class_design, data_interval
from results.stats import mean_ci95

CLASS_COUNTS = (10, 15, 30, 50, 100, 200)
IMAGES, DRAWN = 40, 10  # of a class: in the pool, in an episode
MEAN, BY_LOG_WAY = 70.0, -8.0


class World(NamedTuple):
    """Standard deviations in percentage points; `way`: fixed, or None for 5 to 50 (all classes, if they are fewer)."""

    classes: int
    way: int | None = None
    of_classes: float = 12.0
    of_images: float = 8.0
    of_noise: float = 8.0  # in an episode of five ways; smaller by sqrt(5 / way) in others
    skewed: bool = False  # class effects: exponential, with a few hard classes, instead of normal
    episodes: int = 600

    @property
    def ways(self) -> np.ndarray:
        """The ways that an episode may have, each as likely."""
        most = min(50, self.classes)
        return np.arange(min(5, most), most + 1) if self.way is None else np.array([self.way])

    @property
    def truth(self) -> float:
        """Mean accuracy over all classes, images and episodes that there could be."""
        return float((MEAN + BY_LOG_WAY * np.log(self.ways / 5)).mean())


KINDS = (World(30), World(30, way=5), World(30, way=5, of_classes=3.0, of_images=3.0), World(30, skewed=True))


class Coverage(NamedTuple):
    """How often, in percent of its draws, a world's truth lay in each interval, and the intervals' mean half widths."""

    episodes_pct: float
    data_pct: float
    claimed_pct: float  # draws for which the interval claims its coverage
    ci95: float
    ci95_data: float


def draw(world: World, rng: np.random.Generator) -> tuple[np.ndarray, list[np.ndarray]]:
    """One pool and its episodes: accuracies (n,) and the classes of each."""
    ways = rng.choice(world.ways, world.episodes)
    chosen = rng.random((world.episodes, world.classes)).argsort(axis=1).argsort(axis=1) < ways[:, None]
    normal = rng.standard_normal(world.classes)
    effects = world.of_classes * (1 - rng.exponential(1, world.classes) if world.skewed else normal)
    images = world.of_images * rng.standard_normal((world.classes, IMAGES))
    deviation = np.sqrt(images.var(axis=1, ddof=1) / DRAWN * (1 - DRAWN / IMAGES))
    of_class = effects + images.mean(axis=1) + deviation * rng.standard_normal(chosen.shape)
    noise = world.of_noise * np.sqrt(5 / ways) * rng.standard_normal(world.episodes)
    accuracies = MEAN + BY_LOG_WAY * np.log(ways / 5) + (chosen * of_class).sum(axis=1) / ways + noise
    return accuracies, [np.flatnonzero(row) for row in chosen]


def coverage(world: World, repeats: int, seed: int = 0) -> Coverage:
    """Draw a world again and again, and count how often its intervals hold its true mean."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(repeats):
        accuracies, classes = draw(world, rng)
        mean, ci95 = mean_ci95(accuracies)
        data, error = data_interval(accuracies, class_design(classes)), abs(mean - world.truth)
        found.append((100 * (error <= ci95), 100 * (error <= data.ci95_data), 100 * data.claimed, ci95, data.ci95_data))
    return Coverage(*np.mean(found, axis=0).tolist())


def main(arguments: Sequence[str] | None = None, console: Console | None = None) -> int:
    """Print the table of measured coverage."""
    parser = argparse.ArgumentParser("python -m benches.coverage", description="measured coverage of 95% intervals")
    parser.add_argument("--repeats", type=int, default=1000, help="draws of each world (1000)")
    parser.add_argument("--classes", type=int, nargs="+", default=CLASS_COUNTS, help="numbers of classes")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    table = Table("classes", "ways", "class effects", "ci95 holds", "ci95_data holds", "claimed", "ci95", "ci95_data")
    for column in table.columns:
        column.justify = "right"
    for kind in KINDS:
        for classes in options.classes:
            world = kind._replace(classes=classes)
            table.add_row(*_line(world, coverage(world, options.repeats, options.seed)))
        table.add_section()
    doubt = 196 * np.sqrt(0.95 * 0.05 / options.repeats)
    shown = console or terminal()
    shown.print(table)
    shown.print(f"{options.repeats} draws a row, of 600 episodes each; at 95% the shares are known to ±{doubt:.1f}")
    shown.print("claimed: share of draws that say that they have 30 classes and 10 degrees of freedom")
    return 0


def _line(world: World, found: Coverage) -> list[str]:
    ways = f"{world.ways[0]}" if world.way else f"{world.ways[0]}-{world.ways[-1]}"
    shape = "skewed" if world.skewed else f"normal, sd {world.of_classes:g}"
    held = [f"{value:.1f}%" for value in found[:3]]
    return [f"{world.classes}", ways, shape, *held, f"±{found.ci95:.2f}", f"±{found.ci95_data:.2f}"]


if __name__ == "__main__":
    sys.exit(main())
