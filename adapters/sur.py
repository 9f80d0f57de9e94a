"""SUR: selecting among the representations of several frozen backbones by one weight each, learned on the support set.

Dvornik, Schmid, Mairal: Selecting Relevant Features from a Multi-domain Representation for Few-shot Classification
(ECCV 2020, arXiv:2003.09338); released code dvornikita/SUR, and models/sur.py of VICO-UoE/URL. Idea: with one backbone
per training domain, a task needs few of them; their normalised features, each multiplied by a weight between 0 and 1,
are put side by side, and the weights are trained so that nearest centroid classifies the support set itself.

As the released code does it: weights are sigmoids of parameters that start at 0, 40 full-batch steps of Adadelta whose
rate is 3000 divided by the number of classes, every sample counted in its own prototype. The paper finds the weights
with "stochastic gradient descent". Cosines are not formed from the K * d concatenated values at every step, but from
the K products of each sample with each prototype, which no step changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from adapters._hyperparameters import Count, Positive
from adapters._optimizers import descend
from adapters._prototypes import NORM_FLOOR, class_means, cosine
from adapters.contract import Predictor, Support

VERSION = "1"
SCALE = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectingRelevantFeatures:
    """10 * cos(z(q), mean of z over class c), z the weighted features of K backbones, weights fitted by `select`.

    Reads features (n, K, d); of a single backbone (n, d) there is nothing to select. `lr` is divided by the number of
    classes.
    """

    needs: ClassVar = frozenset({"features"})
    takes: ClassVar = "features"
    over_backbones: ClassVar = True
    lr: Positive = 3000.0
    steps: Count = 40

    @torch.inference_mode(False)
    def adapt(
        self, support: Support, *, rng: torch.Generator | None = None, losses: list[Tensor] | None = None
    ) -> Predictor:
        assert support.features is not None, "the harness fills what the adapter names in `needs`"
        labels, way = support.labels.clone(), support.way  # autograd saves no tensor of inference mode
        features = unit_features(support.features)
        selection = select(features, labels, way, lr=self.lr / way, steps=self.steps, losses=losses)
        weighted = (features * selection.sigmoid()[:, None]).flatten(1)
        return SelectedPredictor(class_means(weighted, labels, way), selection)


@dataclass(frozen=True, slots=True, eq=False)
class SelectedPredictor:
    """Features (m, K, d) -> logits (m, way)."""

    prototypes: Tensor  # (way, K * d), in the space of `represent`
    selection: Tensor  # (K,), before the sigmoid

    @torch.no_grad()
    def represent(self, features: Tensor) -> Tensor:
        """Features (m, K, d) -> (m, K * d): of unit length in each backbone, then weighted."""
        features = unit_features(features).to(self.prototypes.dtype)
        return (features * self.selection.sigmoid()[:, None]).flatten(1)

    @torch.no_grad()
    def __call__(self, features: Tensor) -> Tensor:
        return SCALE * cosine(self.represent(features), self.prototypes)


def unit_features(features: Tensor) -> Tensor:
    """Features (n, K, d), or (n, d) for K = 1, in unit length for each backbone: float64 stays, else float32."""
    features = features.to(torch.float64 if features.dtype == torch.float64 else torch.float32)
    return normalize(features if features.ndim == 3 else features[:, None], dim=2)


@torch.enable_grad()
def select(
    features: Tensor, labels: Tensor, way: int, *, lr: float, steps: int, losses: list[Tensor] | None = None
) -> Tensor:
    """Minimise the mean cross-entropy of the weighted features' scores over the selection (K,), from 0; returns it.

    features (n, K, d) are of unit length for each backbone. The loss before each step is appended to `losses` if a list
    is given.
    """
    means = class_means(features.flatten(1), labels, way).view(way, *features.shape[1:])
    products = torch.einsum("nkd,ckd->nck", features, means)
    squares, mean_squares = features.square().sum(2), means.square().sum(2)  # (n, K), (way, K)
    selection = nn.Parameter(features.new_zeros(features.shape[1]))
    optimizer = torch.optim.Adadelta([selection], lr=lr)

    def loss() -> Tensor:
        weights = selection.sigmoid().square()
        norms = _root(squares @ weights)[:, None] * _root(mean_squares @ weights)
        return cross_entropy(SCALE * (products @ weights) / norms, labels)

    descend(optimizer, loss, steps, losses)
    return selection.detach()


def _root(squares: Tensor) -> Tensor:
    """Norms from their squares; that of a vector of zeros scores 0 against everything and has no gradient."""
    return squares.clamp_min(NORM_FLOOR).sqrt()
