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
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from adapters import _copa_transformer
from adapters._batches import Batch, adapt_in_batches, identities
from adapters._cosine_gradient import CosineScores
from adapters._hyperparameters import Count, LogScale, NonNegative, Positive
from adapters._optimizers import Adam
from adapters.contract import Predictor, Support

VERSION = "1"
SCALE = 10.0


Heads = Literal["linear", "transformer"]


def official(domain: str, seen: bool, setting: str, *, heads: Heads = "linear") -> dict[str, Any]:
    """The released rates: by the name of the domain and by the heads, whatever the backbone has seen."""
    far = domain in {"traffic_sign", "mnist"}
    rates = {"linear": (1e-3, 5e-3), "transformer": (1e-4, 1e-3)}
    return {"lr": rates[heads][far], "weight_decay": 0.0 if far else 0.1}


@dataclass(frozen=True, slots=True, kw_only=True)
class CoPA:
    """10 * cos(F q, G p_c) with the heads F and G fitted to the support set by `align`. Defaults suit most domains.

    heads="transformer" attends to the places of maps (`adapters._copa_transformer`) and learns at a tenth of the rate.
    """

    lr: Positive = 1e-3
    weight_decay: NonNegative = 0.1
    tau: LogScale = 2.0
    steps: Count = 50
    heads: Heads = "linear"

    @property
    def needs(self) -> frozenset[str]:
        """Features, or maps to attend to."""
        return frozenset({self.takes})

    @property
    def takes(self) -> str:
        """The same of queries."""
        return "features" if self.heads == "linear" else "maps"

    @property
    def batched(self) -> bool:
        """Only linear heads are fitted to several tasks at once."""
        return self.heads == "linear"

    @property
    def stochastic(self) -> bool:
        """Only position embeddings are drawn from rng."""
        return self.heads == "transformer"

    def adapt(
        self, support: Support, *, rng: torch.Generator | None = None, losses: list[Tensor] | None = None
    ) -> Predictor:
        if self.heads == "transformer":
            rates: dict[str, Any] = {"lr": self.lr, "weight_decay": self.weight_decay, "tau": self.tau}
            return _copa_transformer.adapt(support, **rates, steps=self.steps, scale=SCALE, rng=rng, losses=losses)
        return adapt_in_batches([support], partial(self._adapt_batch, losses=losses), SCALE)[0]

    def adapt_many(self, supports: list[Support]) -> list[Predictor]:
        """The predictors of several tasks, one descent for each batch."""
        return [*adapt_in_batches(supports, self._adapt_batch, SCALE)]

    def _adapt_batch(self, tasks: Batch, *, losses: list[Tensor] | None = None) -> list[tuple[Tensor, Tensor]]:
        rates: dict[str, Any] = {"lr": self.lr, "weight_decay": self.weight_decay, "tau": self.tau}
        of_images, of_prototypes = align(tasks, **rates, steps=self.steps, losses=losses)
        return [*zip(tasks.class_means() @ of_prototypes.mT, of_images, strict=True)]


@torch.no_grad()
def align(
    tasks: Batch, *, lr: float, weight_decay: float, tau: float, steps: int, losses: list[Tensor] | None = None
) -> Tensor:
    """Minimise the symmetric contrastive loss over both heads F and G, from identities, for each task.

    The released loss compares n samples with n copies of prototypes, one per sample; the pair (i, i) is the positive.
    Copies of one prototype score alike, so with l_ci = e^tau cos(G p_c, F x_i) and n_c samples in class c it equals

        1/2n sum_i [ log sum_c n_c exp l_ci - l_{y_i,i} ]  +  1/2n sum_c n_c log sum_i exp l_ci  -  1/2n sum_i l_{y_i,i}

    whose gradient with respect to l_ci is (softmax_c(l + log n_c) + n_c softmax_i(l) - 2 one-hot) / 2n.
    Returns the heads (2, tasks, d, d): of images, of prototypes. The tasks' summed loss before each step is appended
    to `losses` if a list is given.
    """
    features, members, shots, sizes, present = tasks
    prototypes = tasks.class_means()
    heads_t = torch.stack([identities(tasks)] * 2)
    gradient = torch.empty_like(heads_t)
    cosines = CosineScores(*tasks.shape, like=features)
    optimizer = Adam(heads_t, lr, weight_decay)
    log_shots, absent = shots.log(), present.log()  # -inf for padding
    scale = math.exp(tau)
    share = scale * present / (2 * sizes)
    for _ in range(steps):
        torch.bmm(features, heads_t[0], out=cosines.samples)
        torch.bmm(prototypes, heads_t[1], out=cosines.prototypes)
        logits = scale * cosines.forward()
        weighted, among_samples = logits + log_shots, logits + absent
        if losses is not None:
            rows = weighted.logsumexp(1, keepdim=True) - 2 * (logits * members).sum(1, keepdim=True)
            columns = shots * among_samples.logsumexp(2, keepdim=True)
            losses.append((rows * present / (2 * sizes)).sum() + (columns / (2 * sizes)).sum())
        contrast = weighted.softmax(1).addcmul_(among_samples.softmax(2), shots).sub_(members, alpha=2)
        cosines.backward(contrast.mul_(share))
        torch.bmm(features.mT, cosines.samples_gradient, out=gradient[0])
        torch.bmm(prototypes.mT, cosines.prototypes_gradient, out=gradient[1])
        optimizer.step(gradient)
    return heads_t.mT
