"""In how many directions representations spread.

Diagnostics of Ouali, Hudelot, Tami: Spatial Contrastive Learning for Few-Shot Classification (ECML 2021,
arXiv:2012.13831), and the effective rank of Roy, Vetterli (EUSIPCO 2007).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from results.analysis.vectors import rows_of, unit

SHARE = 0.8
_ROUNDING = 1e-12


class Spectrum(NamedTuple):
    """Of n representations: `singular_values` (d,) as parts of the largest, and `explained` (d,), the share of the
    variance in the first 1, 2, ... principal components; `components_80`: how many hold 80% of it. NaN, and 0
    components, where all representations are one point."""

    singular_values: np.ndarray
    explained: np.ndarray
    components_80: int


def spectrum(z: ArrayLike) -> Spectrum:
    """The spectrum of z (n, d) around its mean; n points span n - 1 directions at most, the rest are zeros."""
    rows = rows_of(z)
    values = np.zeros(rows.shape[1])
    found = np.linalg.svd(rows - rows.mean(0), compute_uv=False)
    values[: len(found)] = found
    if values[0] <= _ROUNDING * max(1.0, np.abs(rows).max()):
        nothing = np.full(len(values), np.nan)
        return Spectrum(nothing, nothing, 0)
    explained = np.cumsum(values**2) / np.sum(values**2)
    return Spectrum(values / values[0], explained, int(np.searchsorted(explained, SHARE)) + 1)


def effective_rank(z: ArrayLike) -> float:
    """exp of the entropy of the singular values of z (n, d) as unit vectors, not centred: from 1 to min(n, d).

    Near 1 when all representations lie in one direction: the collapse that distances between classes do not show.
    """
    values = np.linalg.svd(unit(z), compute_uv=False)
    if not values.any():
        return 1.0
    shares = values[values > 0] / values.sum()
    return float(np.exp(-np.sum(shares * np.log(shares))))
