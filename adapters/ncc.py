"""Nearest centroid: no adaptation, the baseline that every adapter has to beat.

Snell, Swersky, Zemel: Prototypical Networks for Few-shot Learning (NeurIPS 2017, arXiv:1703.05175). Idea: a class
is the mean of its support features. The paper scores by squared Euclidean distance; the cross-domain literature
(Li, Liu, Bilen: URL, ICCV 2021, arXiv:2103.13841) by 10 * cosine, which is the default here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from adapters._hyperparameters import Positive
from adapters._prototypes import CosinePredictor, EuclideanPredictor, class_means, support_features
from adapters.contract import Predictor, Support

VERSION = "1"


@dataclass(frozen=True, slots=True, kw_only=True)
class NearestCentroid:
    """Class means, scored by scale * cosine or, with distance="l2", by minus the squared distance (unscaled)."""

    needs: ClassVar = frozenset({"features"})
    takes: ClassVar = "features"
    distance: Literal["cosine", "l2"] = "cosine"
    scale: Positive = 10.0

    @torch.no_grad()
    def adapt(self, support: Support, *, rng: torch.Generator | None = None) -> Predictor:
        prototypes = class_means(support_features(support), support.labels, support.way)
        if self.distance == "l2":
            return EuclideanPredictor(prototypes)
        return CosinePredictor(prototypes, self.scale)
