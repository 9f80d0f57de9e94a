"""URL's pre-classifier alignment: one linear map of the features, learned on the support set of each task.

Li, Liu, Bilen: Universal Representation Learning from Multiple Domains for Few-shot Classification (ICCV 2021,
arXiv:2103.13841); released code VICO-UoE/URL, models/pa.py. Idea: a d x d matrix, started at the identity, is
trained so that nearest centroid classifies the support set itself.

As the released code does it: 40 full-batch steps of Adadelta, learning rate 0.1 on domains that the backbone was
trained on and 1.0 elsewhere, no decay, every sample counted in its own prototype (so in 1-shot its own cosine is
always 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from adapters._batches import Batch, adapt_in_batches, identities
from adapters._cosine_gradient import CosineScores
from adapters._hyperparameters import Count, Positive
from adapters._optimizers import Adadelta
from adapters.contract import Predictor, Support

VERSION = "1"
SCALE = 10.0


def official(domain: str, seen: bool, setting: str) -> dict[str, Any]:
    """The released rates: by whether the backbone has seen the domain, the same for all settings."""
    return {"lr": 0.1 if seen else 1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class PreClassifierAlignment:
    """10 * cos(W q, W p_c) with W fitted to the support set by `align`. Defaults are the rates for unseen domains."""

    needs: ClassVar = frozenset({"features"})
    takes: ClassVar = "features"
    batched: ClassVar = True
    lr: Positive = 1.0
    steps: Count = 40

    def adapt(
        self, support: Support, *, rng: torch.Generator | None = None, losses: list[Tensor] | None = None
    ) -> Predictor:
        return adapt_in_batches([support], partial(self._adapt_batch, losses=losses), SCALE)[0]

    def adapt_many(self, supports: list[Support]) -> list[Predictor]:
        """The predictors of several tasks, one descent for each batch."""
        return [*adapt_in_batches(supports, self._adapt_batch, SCALE)]

    def _adapt_batch(self, tasks: Batch, *, losses: list[Tensor] | None = None) -> list[tuple[Tensor, Tensor]]:
        weights = align(tasks, lr=self.lr, steps=self.steps, losses=losses)
        return [*zip(tasks.class_means() @ weights.mT, weights, strict=True)]


@torch.no_grad()
def align(tasks: Batch, *, lr: float, steps: int, losses: list[Tensor] | None = None) -> Tensor:
    """Minimise the mean cross-entropy of 10 * cos(W x_i, W p_c) over W, from the identity, for each task.

    p_c are the class means of the features x_i: W is linear, so averaging before or after it is the same. With
    X = [x; p] the rows, U = X W^T, the gradient is dL/dW^T = X^T dL/dU, and dL/dscores = 10/n (softmax - one-hot).
    Returns the W, (tasks, d, d). The tasks' summed loss before each step is appended to `losses` if a list is given.
    """
    rows = torch.cat([tasks.features, tasks.class_means()], 1)
    weights_t = identities(tasks)
    gradient = torch.empty_like(weights_t)
    cosines = CosineScores(*tasks.shape, like=rows)
    optimizer = Adadelta(weights_t, lr)
    absent = tasks.shots.clamp_max(1).log()  # 0 for classes, -inf for padding
    share = SCALE * tasks.present / tasks.sizes
    for _ in range(steps):
        torch.bmm(rows, weights_t, out=cosines.embedded)
        scores = cosines.forward()
        logits = torch.add(absent, scores, alpha=SCALE)
        if losses is not None:
            per_sample = logits.logsumexp(1, keepdim=True) - SCALE * (scores * tasks.members).sum(1, keepdim=True)
            losses.append((per_sample * tasks.present / tasks.sizes).sum())
        cosines.backward(logits.softmax(1).sub_(tasks.members).mul_(share))
        torch.bmm(rows.mT, cosines.gradient, out=gradient)
        optimizer.step(gradient)
    return weights_t.mT
