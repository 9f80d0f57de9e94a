"""What one episode's logits and losses say, in a few numbers."""

from typing import NamedTuple

import numpy as np
from scipy.special import log_softmax


class LogitsSummary(NamedTuple):
    """Of the queries' logits. `loss`: mean cross-entropy (nats); `confidence`: mean softmax of the predicted class;
    `margins`: lowest, quartiles and highest of the logit of the true class minus the highest other one."""

    right: int
    queries: int
    loss: float
    confidence: float
    margins: tuple[float, ...]


def summarise(logits: np.ndarray, labels: np.ndarray) -> LogitsSummary:
    """The summary of logits (m, way), way >= 2, of queries with these labels (m,)."""
    own = np.arange(len(labels)), labels
    log_p = log_softmax(logits.astype(np.float64), axis=1)
    others = logits.astype(np.float64)
    others[own] = -np.inf
    margins = logits[own] - others.max(axis=1)
    return LogitsSummary(
        right=int((logits.argmax(axis=1) == labels).sum()),
        queries=len(labels),
        loss=float(-log_p[own].mean()),
        confidence=float(np.exp(log_p.max(axis=1)).mean()),
        margins=tuple(float(value) for value in np.quantile(margins, (0, 0.25, 0.5, 0.75, 1))),
    )
