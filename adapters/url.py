"""URL's pre-classifier alignment: one linear map of the features, learned on the support set of each task.

Li, Liu, Bilen: Universal Representation Learning from Multiple Domains for Few-shot Classification (ICCV 2021,
arXiv:2103.13841); released code VICO-UoE/URL, models/pa.py. Idea: a d x d matrix, started at the identity, is
trained so that nearest centroid classifies the support set itself.

As the released code does it: 40 full-batch steps of Adadelta, learning rate 0.1 on domains that the backbone was
trained on and 1.0 elsewhere, no decay, every sample counted in its own prototype (so in 1-shot its own cosine is
always 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from adapters._cosine_gradient import CosineScores
from adapters._hyperparameters import Count, Positive
from adapters._optimizers import Adadelta
from adapters._prototypes import CosinePredictor, class_means, one_hot, support_features
from adapters.contract import Predictor, Support

VERSION = "1"
SCALE = 10.0


def official(domain: str, seen: bool, setting: str) -> dict[str, Any]:
    """The released rates: by whether the backbone has seen the domain, the same for all settings."""
    return {"lr": 0.1 if seen else 1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class PreClassifierAlignment:
    """10 * cos(W q, W p_c) with W fitted to the support set by `align`. Defaults are the rates for unseen domains."""

    needs: ClassVar = frozenset({"features"})
    takes: ClassVar = "features"
    lr: Positive = 1.0
    steps: Count = 40

    def adapt(self, support: Support, *, rng: torch.Generator | None = None) -> Predictor:
        features = support_features(support)
        weight = align(features, support.labels, support.way, lr=self.lr, steps=self.steps)
        return CosinePredictor(class_means(features, support.labels, support.way) @ weight.t(), SCALE, weight)


@torch.no_grad()
def align(
    features: Tensor, labels: Tensor, way: int, *, lr: float, steps: int, losses: list[Tensor] | None = None
) -> Tensor:
    """Minimise the mean cross-entropy of 10 * cos(W x_i, W p_c) over W (d, d), from the identity; returns W.

    p_c are the class means of the features (n, d): W is linear, so averaging before or after it is the same. With
    X = [x; p] the rows, U = X W^T, the gradient is dL/dW = (dL/dU)^T X, and dL/dscores = 10/n (softmax - one-hot).
    The loss before each step is appended to `losses` if a list is given.
    """
    n, d = features.shape
    members = one_hot(labels, way, features.dtype).t()  # (way, n)
    rows = torch.cat([features, class_means(features, labels, way)])
    weight = torch.eye(d, dtype=features.dtype, device=features.device)
    gradient = torch.empty_like(weight)
    cosines = CosineScores(n, way, d, like=features)
    optimizer = Adadelta(weight, lr)
    for _ in range(steps):
        torch.mm(rows, weight.t(), out=cosines.embedded)
        logits = SCALE * cosines.forward()
        if losses is not None:
            losses.append((logits.logsumexp(0) - (logits * members).sum(0)).mean())
        cosines.backward(logits.softmax(0).sub_(members).mul_(SCALE / n))
        torch.mm(cosines.gradient.t(), rows, out=gradient)
        optimizer.step(gradient)
    return weight
