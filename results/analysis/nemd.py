"""Normalised earth mover's distance between the classes of an embedding.

Of the poster on prototypical contrastive learning with alignment, uniformity and correlation (PAUC): embeddings that
coagulate around their prototypes have a high NEMD, an even distribution a low one. The poster gives the distance and
that it is taken on the unit sphere; which pairs are averaged and that both clouds get equal size is chosen here.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from results.analysis.spectra import effective_rank
from results.analysis.vectors import class_means, labels_of, unit


class Nemd(NamedTuple):
    """`nemd`: mean distance over `n_pairs` pairs of classes; `spread`: mean distance of a point from the mean of its
    class; `ratio`: nemd / spread. `effective_rank` is near 1 when everything has collapsed to one point, of which a low
    nemd says nothing. NaN where there is no pair of classes, and for the ratio where there is no spread."""

    nemd: float
    spread: float
    ratio: float
    n_pairs: int
    effective_rank: float


def nemd(z: ArrayLike, assignments: ArrayLike, *, max_pairs: int = 50, seed: int = 0) -> Nemd:
    """NEMD of embeddings z (n, d), set to length one, whose prototypes or classes are `assignments` (n,).

    The distance of two classes is the mean Euclidean distance of their points in the cheapest matching (W1); of the
    larger class as many points are drawn as the smaller has. Of more than `max_pairs` pairs so many are drawn. Fewer
    points make the distance larger: compare values of the same episodes only.
    """
    points = unit(z)
    classes, own = np.unique(labels_of(assignments, len(points)), return_inverse=True)
    clouds = [points[own == each] for each in range(len(classes))]
    spread = float(np.linalg.norm(points - class_means(points, own)[own], axis=1).mean())
    rng = np.random.default_rng(seed)
    first, second = np.triu_indices(len(classes), 1)
    if len(first) > max_pairs:
        chosen = np.sort(rng.choice(len(first), max_pairs, replace=False))
        first, second = first[chosen], second[chosen]
    distances = [_w1(clouds[i], clouds[j], rng) for i, j in zip(first, second, strict=True)]
    mean = float(np.mean(distances)) if distances else float("nan")
    ratio = mean / spread if spread > 0 else float("nan")
    return Nemd(mean, spread, ratio, len(distances), effective_rank(points))


def _w1(p: np.ndarray, q: np.ndarray, rng: np.random.Generator) -> float:
    """Of two clouds (n, d) and (m, d), brought to equal size."""
    size = min(len(p), len(q))
    p, q = (cloud if len(cloud) == size else cloud[rng.choice(len(cloud), size, replace=False)] for cloud in (p, q))
    costs = cdist(p, q)
    return float(costs[linear_sum_assignment(costs)].mean())
