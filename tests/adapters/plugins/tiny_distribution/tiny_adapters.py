"""A class is as near as its nearest support image, by cosine (Cover and Hart 1967), with hyper-parameters by domain."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch.nn.functional import normalize

VERSION = "1"


def official(domain, seen, setting):
    return {"scale": 10.0 if domain == "reds" else 5.0}


@dataclass(frozen=True, kw_only=True)
class NearestImage:
    needs: ClassVar = frozenset({"features"})
    takes: ClassVar = "features"
    scale: float = 1.0

    def adapt(self, support, *, rng=None):
        images = normalize(support.features.float())
        other = support.labels[None] != torch.arange(support.way)[:, None]  # (way, n)

        def scores(queries):
            cosines = normalize(queries.float()) @ images.t()
            return self.scale * cosines[:, None].masked_fill(other, -2).amax(2)

        return scores
