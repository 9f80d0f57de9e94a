"""How well classes are told apart as clusters."""

from numpy.typing import ArrayLike

from results.analysis.vectors import labels_of, unit


def davies_bouldin(z: ArrayLike, labels: ArrayLike) -> float:
    """Davies-Bouldin index (1979) of z (n, d) as unit vectors: lower is better, 0 is best.

    NaN unless there are at least two classes and one of them has two samples.
    """
    from sklearn.metrics import davies_bouldin_score

    points = unit(z)
    own = labels_of(labels, len(points))
    classes = len(set(own.tolist()))
    if not 2 <= classes < len(points):
        return float("nan")
    return float(davies_bouldin_score(points, own))
