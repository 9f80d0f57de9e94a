"""How close a class lies together on the sphere, how evenly everything covers it, and both of prototypes.

Wang, Isola: Understanding Contrastive Representation Learning through Alignment and Uniformity on the Hypersphere (ICML
2020, arXiv:2005.10242).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.distance import pdist
from scipy.special import logsumexp

from results.analysis.vectors import labels_of, rows_of, unit


def alignment(z: ArrayLike, labels: ArrayLike, *, alpha: float = 2.0) -> float:
    """Mean ||x - y||^alpha over all pairs of one class, z (n, d) as unit vectors; NaN if no class has two samples."""
    points = unit(z)
    own = labels_of(labels, len(points))
    first, second = np.triu_indices(len(points), 1)
    together = own[first] == own[second]
    if not together.any():
        return float("nan")
    return float(np.mean(pdist(points)[together] ** alpha))


def uniformity(z: ArrayLike, *, t: float = 2.0) -> float:
    """log of the mean exp(-t ||x - y||^2) over all pairs of z (n, d) as unit vectors: 0 for one point, lower the more
    evenly they are spread; NaN for a single one."""
    points = unit(z)
    if len(points) < 2:
        return float("nan")
    exponents = -t * pdist(points, "sqeuclidean")
    return float(logsumexp(exponents) - np.log(len(exponents)))


class PrototypeStatistics(NamedTuple):
    """Cosines between different prototypes, their mean angle in radians (APAD), and their uniformity."""

    max_cos: float
    min_cos: float
    mean_cos: float
    mean_angle: float
    uniformity: float


def prototype_statistics(c: ArrayLike, *, t: float = 2.0) -> PrototypeStatistics:
    """How prototypes c (way, d) lie to each other; NaN for a single one.

    A prototype is not compared with itself, so that all cosines may be negative: k prototypes in k - 1 dimensions or
    more are best at -1/(k - 1).
    """
    prototypes = rows_of(c)
    if len(prototypes) < 2:
        return PrototypeStatistics(*[float("nan")] * 5)
    cosines = np.clip(1.0 - pdist(unit(prototypes), "sqeuclidean") / 2, -1.0, 1.0)
    return PrototypeStatistics(
        max_cos=float(cosines.max()),
        min_cos=float(cosines.min()),
        mean_cos=float(cosines.mean()),
        mean_angle=float(np.arccos(cosines).mean()),
        uniformity=uniformity(prototypes, t=t),
    )
