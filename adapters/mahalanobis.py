"""Class means with a Mahalanobis distance per class: the classifier of Simple CNAPS, on frozen features.

Bateni, Goyal, Masrani, Wood, Sigal: Improved Few-Shot Visual Classification (CVPR 2020, arXiv:1912.03432). Idea:
classes differ in spread, so each is measured by its own covariance, mixed with that of the whole support set the more
the fewer images it has, and with the identity.

As in VICO-UoE/URL, models/scm.py, with n_c images in class c and l = n_c / (n_c + 1),

    S_c = l Cov(class c) + (1 - l) Cov(support) + I,    logit_c = -(q - mean_c)^T S_c^-1 (q - mean_c)

with unbiased covariances. A class of one image has none: it counts as zero. The released code takes for it the variance
of that image's d numbers around their own mean, added to every entry of the matrix; `one_shot_quirk` does so too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from adapters._prototypes import class_means, support_features
from adapters.contract import Predictor, Support

VERSION = "1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mahalanobis:
    """Minus the squared distance to each class mean in the metric of the class. See the module for the quirk."""

    needs: ClassVar = frozenset({"features"})
    takes: ClassVar = "features"
    one_shot_quirk: bool = False

    @torch.no_grad()
    def adapt(self, support: Support, *, rng: torch.Generator | None = None) -> Predictor:
        features = support_features(support)
        means = class_means(features, support.labels, support.way)
        shots = support.labels.bincount(minlength=support.way).tolist()
        classes = features[support.labels.argsort()].split(shots)
        identity = torch.eye(features.shape[1], dtype=features.dtype, device=features.device)
        whole = covariance(features)
        factors = torch.empty(support.way, *identity.shape, dtype=features.dtype, device=features.device)
        for factor, rows in zip(factors, classes, strict=True):
            own = covariance(rows)
            if self.one_shot_quirk and len(rows) == 1:
                own = rows.var().expand_as(identity)
            share = len(rows) / (len(rows) + 1)
            factor.copy_(torch.linalg.cholesky_ex(share * own + (1 - share) * whole + identity).L)
        return MahalanobisPredictor(means, factors)


def covariance(rows: Tensor) -> Tensor:
    """Unbiased covariance of (n, d) rows, (d, d); zero for a single row."""
    centred = rows - rows.mean(0)
    return centred.t() @ centred / max(len(rows) - 1, 1)


@dataclass(frozen=True, slots=True, eq=False)
class MahalanobisPredictor:
    """-(q - mean)^T (L L^T)^-1 (q - mean): features (m, d) -> logits (m, way)."""

    prototypes: Tensor  # (way, d)
    factors: Tensor  # (way, d, d) lower triangular

    def represent(self, features: Tensor) -> Tensor:
        """Features (m, d), as they are."""
        return features.to(self.prototypes.dtype)

    @torch.no_grad()
    def __call__(self, features: Tensor) -> Tensor:
        queries = self.represent(features)
        whitened = (
            torch.linalg.solve_triangular(factor, (queries - mean).t(), upper=False)
            for mean, factor in zip(self.prototypes, self.factors, strict=True)
        )
        return torch.stack([-column.square().sum(0) for column in whitened], dim=1)
