"""The theorems of CoPA's paper, each in a form that holds: left side, right side, and the slack between them.

Tian, Liu, Zhou, Liu, Zhang, Han: Mind the Gap Between Prototypes and Images in Cross-domain Finetuning (NeurIPS 2024,
arXiv:2410.12474). Similarity is the inner product; none of the bounds needs unit length.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from results.analysis.gap import gap_vector
from results.analysis.vectors import class_means, labels_of, rows_of, shots_of
from results.errors import AnalysisError


class Bound(NamedTuple):
    """`left` >= `right` up to rounding; `slack`: left - right."""

    left: float
    right: float
    slack: float


def ncc_loss_bound(z: ArrayLike, labels: ArrayLike, *, scale: float = 1.0) -> Bound:
    """Theorem 3.1: the nearest-centroid loss of z (n, d), whose prototypes are its class means, from below.

    With l_ij = scale * z_i . c_j,  L = 1/n sum_i [log sum_j exp l_ij - l_{i,y_i}]
                                      >= log N_C - 1/n sum_i l_{i,y_i} + 1/(n N_C) sum_i sum_j l_ij    (Jensen),
    equal where the N_C scores of every sample are equal. The printed form has no log N_C and a constant alpha so small
    that its right side is never above 0, where a cross-entropy cannot be anyway.
    """
    rows = rows_of(z)
    own = labels_of(labels, len(rows))
    logits = scale * rows @ class_means(rows, own).T
    true = logits[np.arange(len(rows)), own].mean()
    return _bound(logsumexp(logits, axis=1).mean() - true, np.log(logits.shape[1]) - true + logits.mean())


def shared_map_bounds(features: ArrayLike, labels: ArrayLike, theta: ArrayLike) -> tuple[Bound, Bound]:
    """Theorem 3.2: the squared gap after a shared linear map z = f Theta, from below and from above.

    m ||Theta||_F^2 ||Delta||^2 <= ||Delta Theta||^2 <= M ||Theta||_F^2 ||Delta||^2, with m and M the least and the
    largest squared cosine between the features' gap Delta and a column of Theta (d, d'). Features (n, d) are rows,
    prototypes their class means, nothing is normalised: with rows of Theta, or unit length after the map, it fails.
    Raises AnalysisError where the cosines are not defined: no gap (equal shots), or a column of zeros.
    """
    rows, matrix = rows_of(features), rows_of(theta)
    delta = gap_vector(rows, class_means(rows, labels), normalize=False)
    norms, length = np.linalg.norm(matrix, axis=0), float(np.linalg.norm(delta))
    if length <= 1e-12 * np.abs(rows).max() or not norms.all():
        raise AnalysisError("no cosine with a gap of zero (equal shots) or a column of zeros")
    squared_cosines = (delta @ matrix / (length * norms)) ** 2
    size = np.sum(norms**2) * length**2
    mapped = rows @ matrix
    after = np.sum(gap_vector(mapped, class_means(mapped, labels), normalize=False) ** 2)
    return _bound(after, squared_cosines.min() * size), _bound(squared_cosines.max() * size, after)


def contrastive_loss_bound(z: ArrayLike, c: ArrayLike, labels: ArrayLike, *, tau: float = 1.0) -> Bound:
    """Theorem 5.1: CoPA's loss of images z (n, d) and prototypes c (way, d), from below.

    L = 1/n sum_i [log sum_j exp s_ij - s_ii] + 1/n sum_i [log sum_j exp s_ji - s_ii], s_ij = z_i . c_{y_j} / tau
      >= 2 log n - 2/n sum_i s_ii + 2/n sum_i sum_k |C_k|/n z_i . c_k / tau,    equal where all s are equal.
    The paper prints it without 2 log n.
    """
    logits, own, shots = _scores(z, c, labels, tau)
    true = logits[np.arange(len(own)), own].mean()
    right = 2 * np.log(len(own)) - 2 * true + 2 * (logits @ shots).sum() / len(own) ** 2
    return _bound(_contrastive_loss(logits, own, shots), right)


def contrastive_loss_floor(z: ArrayLike, c: ArrayLike, labels: ArrayLike, *, tau: float = 1.0) -> Bound:
    """CoPA's loss is never below 2 sum_k |C_k|/n log |C_k|: the n pseudo-labels repeat a class's prototype.

    It is attained where every image finds its own prototype with certainty, and prototypes score their images alike;
    so the loss of a task with more than one shot never reaches 0.
    """
    logits, own, shots = _scores(z, c, labels, tau)
    return _bound(_contrastive_loss(logits, own, shots), 2 * np.sum(shots * np.log(shots)) / len(own))


def _scores(z: ArrayLike, c: ArrayLike, labels: ArrayLike, tau: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n, way) scores, (n,) labels, (way,) samples in each class."""
    images, prototypes = rows_of(z), rows_of(c)
    own = labels_of(labels, len(images))
    return images @ prototypes.T / tau, own, shots_of(own, len(prototypes))


def _contrastive_loss(logits: np.ndarray, own: np.ndarray, shots: np.ndarray) -> float:
    """Of scores (n, way): a prototype stands once for each of its samples, among prototypes and among losses."""
    true = logits[np.arange(len(own)), own].mean()
    among_prototypes = logsumexp(logits, axis=1, b=shots).mean()
    among_images = logsumexp(logits, axis=0)[own].mean()
    return float(among_prototypes + among_images - 2 * true)


def _bound(left: float, right: float) -> Bound:
    return Bound(float(left), float(right), float(left - right))
