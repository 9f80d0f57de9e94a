"""Means and intervals over episodes."""

import numpy as np
from numpy.typing import ArrayLike

from results.errors import StatisticsError

Z95 = 1.96  # the benchmark's rounded 97.5% normal quantile, kept so that published intervals are comparable


def mean_ci95(accuracies: ArrayLike) -> tuple[float, float]:
    """Mean over episodes and half width of its 95% interval, in the unit of the input (n,).

    1.96 * std / sqrt(n) with the population standard deviation, as Meta-Dataset's `Trainer.evaluate` reports it
    (Triantafillou et al. 2020, arXiv:1903.03096).
    """
    values = _episodes(accuracies)
    return float(values.mean()), float(Z95 * values.std(ddof=0) / np.sqrt(values.size))


def paired_difference(a: ArrayLike, b: ArrayLike) -> tuple[float, float]:
    """Mean of a - b and half width of its 95% interval; a[i] and b[i] (n,) come from the same episode.

    The spread between easy and hard episodes, common to both methods, drops out, so that this interval is mostly far
    narrower than those of the two means.
    """
    first, second = _episodes(a), _episodes(b)
    if first.size != second.size:
        raise StatisticsError(f"paired values must come from the same episodes, got {first.size} and {second.size}")
    return mean_ci95(first - second)


class Running:
    """`mean_ci95` of values that come by and by, in the same time for the millionth as for the first.

    Moments of parts are united as by Chan, Golub and LeVeque 1983 (The American Statistician 37(3), 242-247).
    """

    def __init__(self) -> None:
        self.count = 0
        self._mean = self._squares = 0.0

    def add(self, accuracies: ArrayLike) -> None:
        """Further episodes (n,), at least one."""
        values = _episodes(accuracies)
        count, mean = self.count + values.size, float(values.mean())
        apart = mean - self._mean
        self._squares += float(((values - mean) ** 2).sum()) + apart**2 * self.count * values.size / count
        self._mean += apart * values.size / count
        self.count = count

    def mean_ci95(self) -> tuple[float, float]:
        """Of all so far. Raises StatisticsError before the first."""
        if not self.count:
            raise StatisticsError("a mean needs at least one value")
        return self._mean, float(Z95 * np.sqrt(self._squares) / self.count)


def _episodes(values: ArrayLike) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise StatisticsError(f"a mean needs one value per episode (n,) and at least one, got shape {array.shape}")
    if not np.isfinite(array).all():
        raise StatisticsError(f"value of episode {int(np.argmin(np.isfinite(array)))} is not a finite number")
    return array
