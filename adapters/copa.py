"""CoPA: contrastive alignment of samples and prototypes by two separate linear heads.

Tian, Liu, Zhou, Liu, Zhang, Han: Mind the Gap Between Prototypes and Images in Cross-domain Finetuning (NeurIPS
2024, arXiv:2410.12474); released code tmlr-group/CoPA, models/adaptation.py. Idea: a prototype is more abstract
than an image, so each kind gets a d x d map of its own (URL's shared one narrows the gap between them); as in CLIP,
a symmetric cross-entropy pulls every image to the prototype of its class.

Where code and paper differ, this follows the code: prototypes are class means of the frozen features, computed once
(the paper's Y Y^T gives sums: the same after normalisation); the two cross-entropies are averaged, not added; 50
steps of Adam with L2 decay toward zero in place of plain gradient steps; scores are multiplied by e^tau in training
and by 10 at test.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from adapters._cosine_gradient import CosineScores
from adapters._hyperparameters import Count, NonNegative, Positive
from adapters._optimizers import Adam
from adapters._prototypes import CosinePredictor, class_means, one_hot, support_features
from adapters.contract import Predictor, Support

VERSION = "1"
SCALE = 10.0


def official(domain: str, seen: bool, setting: str) -> dict[str, Any]:
    """The released rates: by the name of the domain, whatever the backbone has seen."""
    if domain in {"traffic_sign", "mnist"}:
        return {"lr": 5e-3, "weight_decay": 0.0}
    return {"lr": 1e-3, "weight_decay": 0.1}


@dataclass(frozen=True, slots=True, kw_only=True)
class CoPA:
    """10 * cos(F q, G p_c) with the heads F and G fitted to the support set by `align`. Defaults suit most domains."""

    needs: ClassVar = frozenset({"features"})
    takes: ClassVar = "features"
    lr: Positive = 1e-3
    weight_decay: NonNegative = 0.1
    tau: float = 2.0
    steps: Count = 50
    heads: Literal["linear"] = "linear"

    def adapt(self, support: Support, *, rng: torch.Generator | None = None) -> Predictor:
        features = support_features(support)
        prototypes = class_means(features, support.labels, support.way)
        heads = align(
            features,
            support.labels,
            support.way,
            lr=self.lr,
            weight_decay=self.weight_decay,
            tau=self.tau,
            steps=self.steps,
        )
        return CosinePredictor(prototypes @ heads[1].t(), SCALE, heads[0])


@torch.no_grad()
def align(
    features: Tensor,
    labels: Tensor,
    way: int,
    *,
    lr: float,
    weight_decay: float,
    tau: float,
    steps: int,
    losses: list[Tensor] | None = None,
) -> Tensor:
    """Minimise the symmetric contrastive loss over both heads, from identities; returns (2, d, d): image, prototype.

    The released loss compares n samples with n copies of prototypes, one per sample; the pair (i, i) is the positive.
    Copies of one prototype score alike, so with l_ci = e^tau cos(G p_c, F x_i) and n_c samples in class c it equals

        1/2n sum_i [ log sum_c n_c exp l_ci - l_{y_i,i} ]  +  1/2n sum_c n_c log sum_i exp l_ci  -  1/2n sum_i l_{y_i,i}

    whose gradient with respect to l_ci is (softmax_c(l + log n_c) + n_c softmax_i(l) - 2 one-hot) / 2n.
    The loss before each step is appended to `losses` if a list is given.
    """
    n, d = features.shape
    members = one_hot(labels, way, features.dtype).t()  # (way, n)
    shots = members.sum(1, keepdim=True)  # (way, 1)
    log_shots = shots.log()
    prototypes = class_means(features, labels, way)
    heads = torch.eye(d, dtype=features.dtype, device=features.device).repeat(2, 1, 1)
    gradient = torch.empty_like(heads)
    cosines = CosineScores(n, way, d, like=features)
    optimizer = Adam(heads, lr, weight_decay)
    scale = math.exp(tau)
    for _ in range(steps):
        torch.mm(features, heads[0].t(), out=cosines.samples)
        torch.mm(prototypes, heads[1].t(), out=cosines.prototypes)
        logits = scale * cosines.forward()
        weighted = logits + log_shots
        if losses is not None:
            rows, columns = weighted.logsumexp(0), shots * logits.logsumexp(1, keepdim=True)
            losses.append((rows.sum() + columns.sum() - 2 * (logits * members).sum()) / (2 * n))
        contrast = weighted.softmax(0).addcmul_(logits.softmax(1), shots).sub_(members, alpha=2)
        cosines.backward(contrast.mul_(scale / (2 * n)))
        torch.mm(cosines.samples_gradient.t(), features, out=gradient[0])
        torch.mm(cosines.prototypes_gradient.t(), prototypes, out=gradient[1])
        optimizer.step(gradient)
    return heads
