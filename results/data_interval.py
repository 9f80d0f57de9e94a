"""Intervals that count the data too: how far would a mean move on other classes and images of the same domain?

All episodes of a domain are drawn, with replacement, from one pool of classes and images. The conventional interval is
about the draw of episodes only: with many episodes it shrinks to nothing around the mean *of this pool* (Lafargue et
al. 2024, arXiv:2409.02850). `data_interval` adds the draw of the pool, and `disjoint_ci95` is that paper's own way.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from results.errors import StatisticsError
from results.stats import Z95

CLASSES_CLAIMED = 30  # from here on, and with this much to go by, coverage was measured to be 94 to 96%
DEGREES_CLAIMED = 10.0
FEWEST_DEGREES = 2.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClassDesign:
    """Which classes the episodes of a domain hold, made ready for `data_interval`; from `class_design`.

    Episodes and shares are weighted by sqrt(way), since noise is smaller the more classes an episode averages over, and
    freed of what depends on the way alone.
    """

    classes: int  # different classes
    weights: np.ndarray  # (n,) sqrt(way)
    by_way: np.ndarray  # (n, 1 or 2) orthonormal: constant and log(way), weighted
    shares: np.ndarray  # (n, classes) 1 / way for each class of an episode, weighted, orthogonal to `by_way`
    own: np.ndarray  # (n,) squared length of each row of `shares`
    spectrum: np.ndarray  # (classes,) eigenvalues of shares' shares
    overlap: float  # mean over pairs of episodes of (classes in common) / (way * other way): 1 / classes, about


@dataclass(frozen=True, slots=True, kw_only=True)
class DataInterval:
    """Half width in the unit of the values; NaN where all episodes hold the same classes, so that nothing tells.

    `class_sd`: estimated standard deviation of what single classes, with their images, do to an episode of their own.
    """

    ci95_data: float
    class_sd: float
    classes: int
    degrees: float  # of freedom

    @property
    def claimed(self) -> bool:
        """Whether 94 to 96% coverage is claimed; elsewhere it is below (few classes) or above (little to go by)."""
        return self.classes >= CLASSES_CLAIMED and self.degrees >= DEGREES_CLAIMED


def class_design(classes: Sequence[ArrayLike]) -> ClassDesign:
    """From the class ids of each episode, n arrays (way,) of any hashable ids, each class once an episode."""
    ways = np.array([np.size(ids) for ids in classes], dtype=np.int64)
    if not ways.size or not ways.all():
        raise StatisticsError("a data interval needs one episode or more, and a class or more in each")
    known, columns = np.unique(np.concatenate([np.asarray(ids) for ids in classes]), return_inverse=True)
    shares = np.zeros((len(ways), len(known)))
    shares[np.arange(len(ways)).repeat(ways), columns] = 1 / ways.repeat(ways)
    if not np.allclose(shares.sum(axis=1), 1):
        episode = int(np.argmin(np.isclose(shares.sum(axis=1), 1)))
        raise StatisticsError(f"episode {episode} names a class twice; give each of its classes once")
    pairs = max(1, len(ways) * (len(ways) - 1))
    overlap = (np.square(shares.sum(axis=0)).sum() - np.square(shares).sum()) / pairs
    weights = np.sqrt(ways)
    regressors = [np.ones(len(ways)), np.log(ways)] if ways.min() < ways.max() else [np.ones(len(ways))]
    by_way, _ = np.linalg.qr(np.stack(regressors, axis=1) * weights[:, None])
    free = _residual(shares * weights[:, None], by_way)
    return ClassDesign(
        classes=len(known),
        weights=weights,
        by_way=by_way,
        shares=free,
        own=np.square(free).sum(axis=1),
        spectrum=np.linalg.eigvalsh(free.T @ free).clip(min=0),
        overlap=float(overlap),
    )


def data_interval(values: ArrayLike, design: ClassDesign) -> DataInterval:
    """95% interval of the mean over other classes, images and episodes; values (n,): accuracies or paired differences.

    An episode's value is taken to be a function of its way, plus the mean over its classes of an effect of each class
    (which holds those of its images), plus noise: the multiple membership model (Browne, Goldstein & Rasbash 2001,
    Statistical Modelling 1:103-124). Two episodes then go together by var(effect) * (classes in common) / (ways'
    product), and

        var(mean) = s^2 / n + var(effect) * (mean of that over pairs of episodes).

    var(effect) is estimated from products of residuals of different episodes only, as Haseman & Elston (1972, Behavior
    Genetics 2:3-19) do, so that noise of any spread biases it little; negative estimates count as none. The quantile
    is Student's with Satterthwaite's degrees of freedom, at most classes - 1. It assumes that classes are drawn
    independently from a larger population: where they come in families (alphabets), give the families as classes.
    """
    accuracies = np.asarray(values, dtype=np.float64)
    n = len(design.weights)
    if accuracies.shape != (n,):
        raise StatisticsError(f"{n} episodes have their classes given, but the values have shape {accuracies.shape}")
    if not np.isfinite(accuracies).all():
        raise StatisticsError(f"value of episode {int(np.argmin(np.isfinite(accuracies)))} is not a finite number")
    if n <= design.by_way.shape[1] + 1 or design.classes < 2 or design.own.sum() < 1e-9:
        return DataInterval(ci95_data=np.nan, class_sd=np.nan, classes=design.classes, degrees=0.0)
    effect, noise = _variances(accuracies, design)
    spectrum = design.spectrum
    # Variance of the estimate under normal effects and noise: 2 tr((W V)^2) / tr(W K)^2 with W = K = shares shares'.
    doubt = 2 * np.square(spectrum * (spectrum * effect + noise)).sum() / np.square(spectrum).sum() ** 2
    of_episodes, of_data = float(accuracies.var(ddof=1)) / n, effect * design.overlap
    total = of_episodes + of_data
    spread = 2 * of_episodes**2 / (n - 1) + doubt * design.overlap**2
    degrees = 2 * total**2 / spread if spread else float(n - 1)
    degrees = float(np.clip(degrees, min(FEWEST_DEGREES, design.classes - 1), design.classes - 1))
    half = max(_quantile(degrees) * np.sqrt(total), Z95 * np.sqrt(of_episodes))
    return DataInterval(ci95_data=float(half), class_sd=float(np.sqrt(effect)), classes=design.classes, degrees=degrees)


def disjoint_ci95(values: ArrayLike, images: Sequence[ArrayLike]) -> tuple[float, float, int]:
    """Mean, half width of the 95% interval and number of those episodes that share no image with an earlier one.

    Sampling without replacement (arXiv:2409.02850, section 3): images (n arrays of ids that name an image in its whole
    domain) are used once, so that episodes are independent draws of images, and Student's interval holds for another
    draw of them. Classes are shared nonetheless, and few episodes are left where they are large.
    """
    accuracies, kept = np.asarray(values, dtype=np.float64), []
    used: set[object] = set()
    if accuracies.shape != (len(images),):
        raise StatisticsError(f"{len(images)} episodes have images given, but the values have {accuracies.shape}")
    for episode, ids in enumerate(images):
        own = set(np.asarray(ids).tolist())
        if used.isdisjoint(own):
            used |= own
            kept.append(episode)
    if len(kept) < 2:
        return float(accuracies[kept].mean()) if kept else np.nan, np.nan, len(kept)
    chosen = accuracies[kept]
    half = _quantile(len(kept) - 1) * chosen.std(ddof=1) / np.sqrt(len(kept))
    return float(chosen.mean()), float(half), len(kept)


def _variances(values: np.ndarray, design: ClassDesign) -> tuple[float, float]:
    """Variance of class effects and of noise (of an episode of one class), by two moments; none is negative."""
    residual, own, shares = _residual(values * design.weights, design.by_way), design.own, design.shares
    between = np.square(shares.T @ residual).sum() - (own * np.square(residual)).sum()  # over pairs of two episodes
    leverage = np.square(design.by_way).sum(axis=1)
    moments = np.array(
        [
            [np.square(design.spectrum).sum() - np.square(own).sum(), (own * leverage).sum()],
            [own.sum(), len(own) - design.by_way.shape[1]],
        ]
    )
    effect, noise = np.linalg.solve(moments, [between, np.square(residual).sum()])
    return max(float(effect), 0.0), max(float(noise), 0.0)


def _residual(columns: np.ndarray, basis: np.ndarray) -> np.ndarray:
    return columns - basis @ (basis.T @ columns)


def _quantile(degrees: float) -> float:
    from scipy.stats import t

    return float(t.ppf(0.975, degrees))
