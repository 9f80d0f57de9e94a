"""Linear support vector machine on frozen features.

Cortes, Vapnik: Support-Vector Networks (Machine Learning 20, 1995); as a few-shot classifier Lee, Maji, Ravichandran,
Soatto: Meta-Learning with Differentiable Convex Optimization (CVPR 2019, arXiv:1904.03758). Idea: of all the
hyperplanes between two classes, the one farthest from both.

As in VICO-UoE/URL, models/losses.py: features standardised by the support's mean and deviation, then scikit-learn's
SVC, linear kernel, C = 1, one machine for each pair of classes, and the class that wins most pairs. There the answer
is a one-hot vector of that class. Here the logits count won pairs; sums of margins, squashed to less than a third,
order classes that won as many. Among equal winners the released code takes the one with the smallest label, which
depends on how classes are numbered: it gets one more vote here, unless `break_ties` leaves that to the margins. The
solver's tolerance is 1e-9 and not 1e-3, so that the order of the support does not show.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from torch import Tensor

from adapters._hyperparameters import Positive
from adapters._linear_scores import back_to_torch, prepared, solving, to_numpy
from adapters._prototypes import one_hot
from adapters.contract import Predictor, Support

VERSION = "1"
TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearSVM:
    """Pairs won on standardised features. `c`: weight of the errors; `unit_length`: on l2-normalised features."""

    needs: ClassVar = frozenset({"features"})
    takes: ClassVar = "features"
    c: Positive = 1.0
    unit_length: bool = False
    break_ties: bool = False

    def adapt(self, support: Support, *, rng: torch.Generator | None = None) -> Predictor:
        features, labels = to_numpy(support, self.unit_length)
        # nothing is drawn, but without a random_state the seed would come from NumPy's global generator
        scaler, machines = StandardScaler(), SVC(kernel="linear", C=self.c, tol=TOLERANCE, random_state=0)
        with solving():
            machines.fit(scaler.fit_transform(features), labels)
        # scikit-learn turns a single pair around: there positive means the second class
        sign = -1 if support.way == 2 else 1
        weight = sign * machines.coef_ / scaler.scale_
        bias = sign * machines.intercept_ - weight @ scaler.mean_
        return PairwisePredictor(*back_to_torch(support, weight, bias), support.way, self.unit_length, self.break_ties)


@dataclass(frozen=True, slots=True, eq=False)
class PairwisePredictor:
    """Won pairs, and margins within (-1/3, 1/3), of one separating plane per pair: (m, d) -> logits (m, way)."""

    weight: Tensor  # (pairs, d): pairs (0, 1), (0, 2), ... (way - 2, way - 1); positive for the first of the two
    bias: Tensor  # (pairs,)
    way: int
    unit_length: bool
    break_ties: bool

    @torch.no_grad()
    def __call__(self, features: Tensor) -> Tensor:
        margins = prepared(features.to(self.weight.dtype), self.unit_length) @ self.weight.t() + self.bias
        first, second = torch.triu_indices(self.way, self.way, offset=1, device=margins.device)
        won = (margins > 0).to(margins.dtype)
        votes, sums = (margins.new_zeros(len(margins), self.way) for _ in range(2))
        votes.index_add_(1, first, won).index_add_(1, second, 1 - won)
        sums.index_add_(1, first, margins).index_add_(1, second, -margins)
        logits = votes + sums / (3 * (sums.abs() + 1))
        return logits if self.break_ties else logits + one_hot(votes.argmax(1), self.way, votes.dtype)
