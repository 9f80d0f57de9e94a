"""Validation loss against the gap: representations are moved apart, or together, and the loss is taken at each place.

The way of Liang et al.: Mind the Gap (NeurIPS 2022, arXiv:2203.02053, section 4), which CoPA's motivation takes up:
images move along the gap, prototypes against it, and both are set to length one again.
"""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from results.analysis.gap import gap_norm, gap_vector
from results.analysis.vectors import labels_of, unit

SCALE = 10.0
SHIFTS = np.linspace(-1.0, 2.0, 13)
"""How much is added to the gap before lengths are restored; 0 leaves representations as they are."""
_NO_GAP = 1e-6


def cross_entropy(logits: ArrayLike, labels: ArrayLike) -> float:
    """Mean cross-entropy of logits (m, way) with labels (m,)."""
    scores = np.asarray(logits, dtype=np.float64)
    own = labels_of(labels, len(scores))
    return float(np.mean(logsumexp(scores, axis=1) - scores[np.arange(len(own)), own]))


def gap_and_loss(
    z: ArrayLike, c: ArrayLike, queries: ArrayLike, query_labels: ArrayLike, *, shifts: ArrayLike = SHIFTS
) -> pd.DataFrame:
    """(shift, gap, loss) for images z (n, d), prototypes c (way, d) and validation images `queries` (m, d).

    Images move by shift/2 along the direction of the gap, prototypes by shift/2 against it. `gap`: `gap_norm` of z and
    c after that; `loss`: cross-entropy of 10 * cosine between queries and prototypes. Where there is no gap there is no
    direction: both are NaN but at shift 0.
    """
    images, prototypes, asked = unit(z), unit(c), unit(queries)
    delta = gap_vector(images, prototypes)
    length = float(np.linalg.norm(delta))
    lines = []
    for shift in np.asarray(shifts, dtype=np.float64).tolist():
        if length < _NO_GAP and shift != 0:
            lines.append((shift, np.nan, np.nan))
            continue
        step = shift / 2 * delta / max(length, _NO_GAP)
        moved = unit(prototypes - step)
        loss = cross_entropy(SCALE * unit(asked + step) @ moved.T, query_labels)
        lines.append((shift, gap_norm(images + step, moved), loss))
    return pd.DataFrame(lines, columns=["shift", "gap", "loss"])
