"""Nearest neighbours in the frozen features: no training.

Cover, Hart: Nearest Neighbor Pattern Classification (IEEE Trans. Inf. Theory 13, 1967); a baseline of Triantafillou et
al.: Meta-Dataset (ICLR 2020, arXiv:1903.03096) and of VICO-UoE/URL, models/losses.py. Idea: the class of the most
similar support images.

Both released codes take one neighbour, by cosine or by Euclidean distance, and URL's gives 10 times its one-hot class.
The logits here are votes, plus at most one half for the nearest image of each class, which decides between classes
with as many votes and orders those with none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import msgspec
import torch
from torch import Tensor

from adapters._prototypes import EuclideanPredictor, cosine, support_features
from adapters.contract import Predictor, Support

VERSION = "1"


@dataclass(frozen=True, slots=True, kw_only=True)
class NearestNeighbours:
    """Votes of the `k` nearest support images (of all of them if there are fewer)."""

    needs: ClassVar = frozenset({"features"})
    takes: ClassVar = "features"
    k: Annotated[int, msgspec.Meta(ge=1)] = 1
    distance: Literal["cosine", "l2"] = "cosine"

    @torch.no_grad()
    def adapt(self, support: Support, *, rng: torch.Generator | None = None) -> Predictor:
        return NeighbourPredictor(support_features(support), support.labels, support.way, self.k, self.distance)


@dataclass(frozen=True, slots=True, eq=False)
class NeighbourPredictor:
    """Votes of the nearest + (0 to 1/2) for how near each class comes: features (m, d) -> logits (m, way)."""

    features: Tensor  # (n, d)
    labels: Tensor  # (n,)
    way: int
    k: int
    distance: Literal["cosine", "l2"]

    @torch.no_grad()
    def __call__(self, features: Tensor) -> Tensor:
        nearness = self._nearness(features.to(self.features.dtype))  # (m, n)
        neighbours = nearness.topk(min(self.k, len(self.labels)), dim=1).indices
        owners = self.labels.expand(len(nearness), -1)  # (m, n)
        votes, nearest = (nearness.new_zeros(len(nearness), self.way) for _ in range(2))
        votes.scatter_add_(1, owners.gather(1, neighbours), torch.ones_like(nearness[:, : neighbours.shape[1]]))
        return votes + nearest.scatter_reduce_(1, owners, nearness, "amax")

    def _nearness(self, queries: Tensor) -> Tensor:
        """Between 0 and 1/2, the more the nearer: (m, d) -> (m, n)."""
        if self.distance == "l2":
            return 0.5 / (1 - EuclideanPredictor(self.features)(queries))
        return (1 + cosine(queries, self.features)) / 4
