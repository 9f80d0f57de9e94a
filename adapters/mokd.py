"""MOKD: one linear map of the features that makes them depend on the labels, measured by kernels.

Tian, Liu, Liu, Du, Cheung, Han: MOKD: Cross-domain Finetuning for Few-shot Classification via Maximizing Optimized
Kernel Dependence (ICML 2024, arXiv:2405.18786); released code HongduanTian/MOKD. Idea: nearest centroid losses leave
samples of different classes similar. Write K for the Gaussian kernel of the mapped, l2-normalised features and L for
that of the one-hot labels; the map descends on n (gamma HSIC(K, K) - HSIC(K, L)), HSIC being the unbiased estimate of
the Hilbert-Schmidt independence criterion (Song et al., JMLR 13, 2012). Before, the bandwidths are chosen for the
largest test power, HSIC / deviation, of the features as they come.

Where code and paper differ, this follows the code: the scale is the best of 15, chosen once for K and L, for both
terms; it multiplies the median squared distance, which is taken anew at every step and gets no gradient; 40 steps of
Adadelta with L2 decay of the map toward zero. The estimate needs four images: smaller tasks keep the features as they
are. In one-shot tasks HSIC(K, L) is zero whatever the map. Distances and powers within rounding of zero count as zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from adapters._batches import Batch, adapt_in_batches, identities
from adapters._hsic import distances, hsic_gradient, kernel, others, power
from adapters._hyperparameters import Count, NonNegative, Positive
from adapters._optimizers import Adadelta
from adapters.contract import Predictor, Support

VERSION = "1"
SCALE = 10.0
BANDWIDTHS = (0.001, 0.01, 0.1, 0.2, 0.25, 0.5, 0.75, 0.8, 0.9, 1.0, 1.25, 1.5, 2.0, 5.0, 10.0)
LEAST = 4  # images, for the estimate
NORM_FLOOR = 1e-12
POWER_ROUNDING = 1000  # in units of the precision

_DECAYED = {"ilsvrc_2012", "omniglot", "aircraft", "cu_birds", "dtd", "quickdraw", "fungi", "vgg_flower"}
_GAMMA_3 = {"ilsvrc_2012", "dtd", "fungi", "vgg_flower", "traffic_sign", "mscoco", "cifar10", "cifar100"}


def official(domain: str, seen: bool, setting: str) -> dict[str, Any]:
    """The released rates: by the name of the domain, whatever the backbone has seen, and gamma by the setting too."""
    return {
        "lr": 1.0 if domain in {"traffic_sign", "mnist"} else 0.25,
        "weight_decay": 0.25 if domain in _DECAYED else 0.0,
        "gamma": {"1shot": 0.0, "5shot": 1.0}.get(setting, 3.0 if domain in _GAMMA_3 else 1.0),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class MOKD:
    """10 * cos(W q, W p_c) with W fitted to the support set by `align`. Defaults are the rates of unlisted domains."""

    needs: ClassVar = frozenset({"features"})
    takes: ClassVar = "features"
    batched: ClassVar = True
    lr: Positive = 0.25
    weight_decay: NonNegative = 0.0
    gamma: NonNegative = 1.0
    steps: Count = 40

    def adapt(self, support: Support, *, rng: torch.Generator | None = None) -> Predictor:
        return self.adapt_many([support])[0]

    def adapt_many(self, supports: list[Support]) -> list[Predictor]:
        """The predictors of several tasks, one descent for each batch."""
        return [*adapt_in_batches(supports, self._adapt_batch, SCALE)]

    def _adapt_batch(self, tasks: Batch) -> list[tuple[Tensor, Tensor]]:
        rates = {"lr": self.lr, "weight_decay": self.weight_decay, "gamma": self.gamma}
        weights = align(tasks, **rates, steps=self.steps)
        return [*zip(tasks.class_means() @ weights.mT, weights, strict=True)]


@torch.no_grad()
def align(tasks: Batch, *, lr: float, weight_decay: float, gamma: float, steps: int) -> Tensor:
    """Minimise n (gamma HSIC(K, K) - HSIC(K, L)) over W, from the identity, for each task; returns W (tasks, d, d).

    HSIC(K, L) is linear in L and symmetric, so for M = 2 gamma K - L its gradient with respect to k_ij, i != j, is
    [m_ij + sum(M) / ((n-1)(n-2)) - (row_i(M) + row_j(M)) / (n-2)] / (n (n-3)), diagonals being zero.
    From there k_ij = exp(-|u_i - u_j|^2 / 2 s), u = z / |z| and z = W x give dL/du and dL/dz row by row.
    """
    features, n, identity = tasks.features, tasks.sizes, identities(tasks)
    weights_t = identity.clone()
    pairs, bandwidth = others(tasks), best_bandwidth(tasks)
    of_labels, _ = kernel(distances(tasks.members.mT, pairs), bandwidth)
    optimizer = Adadelta(weights_t, lr)
    for _ in range(steps):
        mapped = features @ weights_t
        norms = torch.linalg.vector_norm(mapped, dim=2, keepdim=True).clamp_min_(NORM_FLOOR)
        units = mapped / norms
        of_features, width = kernel(distances(units, pairs), bandwidth)
        pull = hsic_gradient(2 * gamma * of_features - of_labels, n).mul_(of_features)
        along = pull.mul_(2 * n / width) @ units  # dL/du, up to a multiple of u, which has no effect
        along -= (along * units).sum(2, keepdim=True) * units
        gradient = features.mT @ (along / norms)
        optimizer.step(gradient.add_(weights_t, alpha=weight_decay))
    return weights_t.where(n >= LEAST, identity).mT


def best_bandwidth(tasks: Batch) -> Tensor:
    """The one of BANDWIDTHS with the largest test power between features and labels; 1 if none has any.

    (tasks, 1, 1).
    """
    pairs, rows = others(tasks), (normalize(tasks.features, dim=2), tasks.members.mT)
    samples, targets = (distances(x, pairs) for x in rows)
    powers = torch.stack([power(kernel(samples, b)[0], kernel(targets, b)[0], tasks) for b in BANDWIDTHS])
    best = powers.new_tensor(BANDWIDTHS).take(powers.argmax(0))
    return torch.where(powers.amax(0) > POWER_ROUNDING * torch.finfo(powers.dtype).eps, best, 1.0)
