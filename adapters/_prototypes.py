"""Class means, cosine scores and the predictors made of them, in matrix form and without host syncs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from adapters.contract import Support

NORM_FLOOR = 1e-30
"""Norms below this count as this, so that a zero vector scores 0 against everything (F.cosine_similarity's eps)."""


def support_features(support: Support) -> Tensor:
    """The support features (n, d) in the precision to compute in: float64 stays, anything else becomes float32."""
    features = support.features
    assert features is not None, "the harness fills what the adapter names in `needs`"
    if features.ndim != 2:
        raise ValueError(f"features of one backbone are (n, d), not {tuple(features.shape)}; `sur` reads several")
    return features.to(torch.float64 if features.dtype == torch.float64 else torch.float32)


def one_hot(labels: Tensor, way: int, dtype: torch.dtype) -> Tensor:
    """Labels (n,) -> (n, way) with a single 1 in each row."""
    return (labels[:, None] == torch.arange(way, device=labels.device)).to(dtype)


def class_means(features: Tensor, labels: Tensor, way: int) -> Tensor:
    """Mean feature of each class: (n, d), (n,) -> (way, d), as one product with the (way, n) averaging matrix."""
    members = one_hot(labels, way, features.dtype)
    return (members / members.sum(0)).t() @ features


def cosine(queries: Tensor, prototypes: Tensor) -> Tensor:
    """Cosine of every query with every prototype: (m, d), (way, d) -> (m, way)."""
    return _unit_rows(queries) @ _unit_rows(prototypes).t()


def _unit_rows(x: Tensor) -> Tensor:
    return x / torch.linalg.vector_norm(x, dim=1, keepdim=True).clamp_min(NORM_FLOOR)


@dataclass(frozen=True, slots=True, eq=False)
class CosinePredictor:
    """scale * cos(weight q, prototype): features (m, d) -> logits (m, way)."""

    prototypes: Tensor  # (way, d), already in the adapted space
    scale: float
    weight: Tensor | None = None  # (d, d) applied to queries; None leaves them as they are

    @torch.no_grad()
    def represent(self, features: Tensor) -> Tensor:
        """Features (m, d) in the space of the prototypes."""
        features = features.to(self.prototypes.dtype)
        return features if self.weight is None else features @ self.weight.t()

    @torch.no_grad()
    def __call__(self, features: Tensor) -> Tensor:
        return self.scale * cosine(self.represent(features), self.prototypes)


@dataclass(frozen=True, slots=True, eq=False)
class EuclideanPredictor:
    """-||q - prototype||^2: features (m, d) -> logits (m, way)."""

    prototypes: Tensor  # (way, d)

    def represent(self, features: Tensor) -> Tensor:
        """Features (m, d), as they are."""
        return features.to(self.prototypes.dtype)

    @torch.no_grad()
    def __call__(self, features: Tensor) -> Tensor:
        # |q|^2 - 2 q.p + |p|^2 would lose digits when q is close to p; this form forms the differences.
        exact = "donot_use_mm_for_euclid_dist"
        return -torch.cdist(self.represent(features), self.prototypes, compute_mode=exact).square()
