"""Ridge regression to the one-hot labels, on frozen features, in closed form.

Bertinetto, Henriques, Torr, Vedaldi: Meta-Learning with Differentiable Closed-Form Solvers (ICLR 2019,
arXiv:1805.08136). Idea: the weights of a least-squares classifier need no descent, and for fewer images than
dimensions only a system of as many equations as there are images.

The paper learns the penalty and a scale and shift of the scores with the backbone. Over a frozen one the penalty is a
hyper-parameter (1, as in scikit-learn's RidgeClassifier) and the scores are left as they are; the intercept bears no
penalty: features and labels are centred.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from adapters._hyperparameters import Positive
from adapters._linear_scores import LinearPredictor, prepared
from adapters._prototypes import one_hot, support_features
from adapters.contract import Predictor, Support

VERSION = "1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ridge:
    """Least squares to one-hot labels + penalty |W|^2. `unit_length`: on l2-normalised features."""

    needs: ClassVar = frozenset({"features"})
    takes: ClassVar = "features"
    penalty: Positive = 1.0
    unit_length: bool = False

    @torch.no_grad()
    def adapt(self, support: Support, *, rng: torch.Generator | None = None) -> Predictor:
        features = prepared(support_features(support), self.unit_length)
        targets = one_hot(support.labels, support.way, features.dtype)
        mean, share = features.mean(0), targets.mean(0)
        weight = least_squares(features - mean, targets - share, self.penalty).t()
        return LinearPredictor(weight, share - weight @ mean, self.unit_length)


def least_squares(rows: Tensor, targets: Tensor, penalty: float) -> Tensor:
    """argmin |X W - Y|^2 + penalty |W|^2: X (n, d), Y (n, way) -> W (d, way), by the smaller of the two systems."""
    n, d = rows.shape
    if n <= d:
        return rows.t() @ _solve(rows @ rows.t(), targets, penalty)
    return _solve(rows.t() @ rows, rows.t() @ targets, penalty)


def _solve(gram: Tensor, right: Tensor, penalty: float) -> Tensor:
    gram.diagonal().add_(penalty)
    return torch.cholesky_solve(right, torch.linalg.cholesky_ex(gram).L)
