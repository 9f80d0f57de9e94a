"""What every measure needs of representations: checked arrays, unit vectors, class means."""

import numpy as np
from numpy.typing import ArrayLike

from results.errors import AnalysisError

_TINY = 1e-30


def rows_of(x: ArrayLike) -> np.ndarray:
    """(n, d) in float64. Raises AnalysisError for another shape, for no row, and for NaN or infinity."""
    array = np.asarray(x, dtype=np.float64)
    if array.ndim != 2 or 0 in array.shape:
        raise AnalysisError(f"representations are (n, d) with n and d of at least one, not {array.shape}")
    if not np.isfinite(array).all():
        raise AnalysisError("representations hold NaN or infinity")
    return array


def labels_of(labels: ArrayLike, n: int) -> np.ndarray:
    """(n,) integers from 0. Raises AnalysisError for another shape or other values."""
    array = np.asarray(labels)
    if array.shape != (n,) or not np.issubdtype(array.dtype, np.integer) or array.min() < 0:
        raise AnalysisError(f"labels are {n} integers from 0, one for each representation, not {array.shape}")
    return array


def unit(x: ArrayLike) -> np.ndarray:
    """Rows (n, d) at length one; a row of zeros stays as it is."""
    array = rows_of(x)
    return array / np.maximum(np.linalg.norm(array, axis=1, keepdims=True), _TINY)


def shots_of(labels: np.ndarray, way: int) -> np.ndarray:
    """(way,) samples in each class. Raises AnalysisError when a class of 0..way-1 has none or there is another."""
    shots = np.bincount(labels, minlength=way)
    if len(shots) != way or not shots.all():
        raise AnalysisError(f"labels are not those of {way} classes with a sample in each: {shots.tolist()}")
    return shots


def class_means(z: ArrayLike, labels: ArrayLike) -> np.ndarray:
    """(way, d) means of the rows z (n, d) by label; each of 0..way-1 occurs."""
    rows = rows_of(z)
    own = labels_of(labels, len(rows))
    way = int(own.max()) + 1
    sums = np.zeros((way, rows.shape[1]))
    np.add.at(sums, own, rows)
    return sums / shots_of(own, way)[:, None]
