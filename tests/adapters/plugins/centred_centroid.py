"""Nearest centroid after moving the support mean to the origin (Wang et al. 2019, SimpleShot, arXiv:1911.04623)."""

from dataclasses import dataclass
from typing import ClassVar

from torch.nn.functional import normalize


@dataclass(frozen=True)
class CentredCentroid:
    needs: ClassVar = frozenset({"features"})
    takes: ClassVar = "features"
    scale: float = 10.0

    def adapt(self, support, *, rng=None):
        centre = support.features.float().mean(0)
        centred = normalize(support.features.float() - centre)
        sums = centred.new_zeros(support.way, len(centre)).index_add(
            0, support.labels, centred
        )  # directions of the means
        return lambda queries: self.scale * normalize(queries.float() - centre) @ normalize(sums).t()
