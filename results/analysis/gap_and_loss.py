"""Validation loss against the gap: representations are moved apart, or together, and the loss is taken at each place.

The way of Liang et al.: Mind the Gap (NeurIPS 2022, arXiv:2203.02053, section 4), which CoPA's motivation takes up:
images move along the gap, prototypes against it, and both are set to length one again.
"""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from results.analysis.gap import gap_vector
from results.analysis.vectors import labels_of, unit

SCALE = 10.0
SHIFTS = (-1.0, -0.5, -0.25, -0.1, -0.05, 0.0, 0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.0)
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
    """(shift, gap, along, loss) for images z (n, d), prototypes c (way, d) and validation images `queries` (m, d).

    Images move by shift/2 along the direction of the gap, prototypes by shift/2 against it. `gap`: `gap_norm` of z and
    c after that; `along`: its part in the old direction, negative where the two kinds have passed each other; `loss`:
    cross-entropy of 10 * cosine between queries and prototypes. Where there is no gap there is no direction: these are
    NaN then, but at shift 0.
    """
    images, prototypes, asked = unit(z), unit(c), unit(queries)
    delta = gap_vector(images, prototypes)
    length = float(np.linalg.norm(delta))
    direction = delta / max(length, _NO_GAP)
    lines = []
    for shift in np.asarray(shifts, dtype=np.float64).tolist():
        if length < _NO_GAP and shift != 0:
            lines.append((shift, np.nan, np.nan, np.nan))
            continue
        step = shift / 2 * direction
        moved = unit(prototypes - step)
        now = gap_vector(images + step, moved)
        loss = cross_entropy(SCALE * unit(asked + step) @ moved.T, query_labels)
        lines.append((shift, float(np.linalg.norm(now)), float(now @ direction), loss))
    return pd.DataFrame(lines, columns=["shift", "gap", "along", "loss"])
