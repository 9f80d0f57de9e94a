"""`python -m benches.coverage_ncc`: coverage where accuracies come from a classifier, not from the model assumed.

Classes are Gaussian clouds of different widths; nearest centroid is tried on five-way, five-shot episodes of ten
queries a class, drawn from a pool of forty images a class. Which classes meet in an episode matters here.
"""

import argparse
import sys
from collections.abc import Sequence

import numpy as np

from results.data_interval import class_design, data_interval, disjoint_ci95
from results.stats import mean_ci95

WAY, SHOTS, QUERIES, IMAGES, DIM = 5, 5, 10, 40, 8


def pool(classes: int, images: int, rng: np.random.Generator) -> np.ndarray:
    """(classes, images, DIM) features of a new draw of classes and images."""
    centres, widths = rng.standard_normal((classes, 1, DIM)), np.exp(rng.normal(0.35, 0.4, (classes, 1, 1)))
    return centres + widths * rng.standard_normal((classes, images, DIM))


def accuracies(features: np.ndarray) -> np.ndarray:
    """Percent correct (n,) of nearest centroid on episodes (n, WAY, SHOTS + QUERIES, DIM), support first."""
    centroids, queries = features[:, :, :SHOTS].mean(axis=2), features[:, :, SHOTS:]
    distances = np.square(queries[:, :, :, None] - centroids[:, None, None]).sum(axis=-1)
    return 100 * (distances.argmin(axis=-1) == np.arange(WAY)[:, None]).mean(axis=(1, 2))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line for each number of classes."""
    parser = argparse.ArgumentParser("python -m benches.coverage_ncc", description="coverage under a real classifier")
    parser.add_argument("--repeats", type=int, default=300)
    parser.add_argument("--episodes", type=int, default=600)
    parser.add_argument("--classes", type=int, nargs="+", default=(30, 100))
    options = parser.parse_args(arguments)
    rng, shape = np.random.default_rng(0), (2000, WAY, SHOTS + QUERIES, DIM)
    fresh = [accuracies(pool(2000 * WAY, SHOTS + QUERIES, rng).reshape(shape)).mean() for _ in range(40)]
    truth, n = float(np.mean(fresh)), options.episodes
    print(f"true mean {truth:.2f}%; {options.repeats} draws of {n} episodes each")
    for classes in options.classes:
        found = []
        for _ in range(options.repeats):
            chosen = rng.random((n, classes)).argsort(axis=1)[:, :WAY]
            images = rng.random((n, WAY, IMAGES)).argsort(axis=2)[:, :, : SHOTS + QUERIES]
            values = accuracies(pool(classes, IMAGES, rng)[chosen[:, :, None], images])
            mean, ci95 = mean_ci95(values)
            data = data_interval(values, class_design(list(chosen))).ci95_data
            apart, ci95_apart, _ = disjoint_ci95(values, list((chosen[:, :, None] * IMAGES + images).reshape(n, -1)))
            held = abs(mean - truth) <= ci95, abs(mean - truth) <= data, abs(apart - truth) <= ci95_apart
            found.append((*(100 * h for h in held), ci95, data, ci95_apart))
        a, b, c, *halves = np.nanmean(found, axis=0)
        whole = f"ci95 ±{halves[0]:.1f} holds {a:.1f}%, ci95_data ±{halves[1]:.1f} {b:.1f}%"
        print(f"{classes} classes: {whole}, disjoint episodes ±{halves[2]:.1f} {c:.1f}%")
    return 0


if __name__ == "__main__":
    sys.exit(main())
