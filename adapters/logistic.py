"""Logistic regression on frozen features.

Tian, Wang, Krishnan, Tenenbaum, Isola: Rethinking Few-Shot Image Classification: a Good Embedding Is All You Need?
(ECCV 2020, arXiv:2003.11539). Idea: with a good backbone, a linear classifier fitted to the support set is enough.

The defaults are those of the classifier in VICO-UoE/URL, models/losses.py: no penalty, raw features. A support set of
fewer images than dimensions is separable, so nothing but the solver's stopping rule (scikit-learn's L-BFGS, 1000
iterations, tolerance 1e-4) bounds the weights. `penalty=1, unit_length=true, copies=5` is the setting of that paper and
of Ouali, Hudelot, Tami: Spatial Contrastive Learning for Few-Shot Classification (ECML 2021, arXiv:2012.13831): in
place of each support image five augmented copies of it. The released codes give a one-hot vector of the predicted
class; the logits here are the model's log-odds, with the same maximum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from adapters._hyperparameters import Count, NonNegative
from adapters._linear_scores import LinearPredictor, back_to_torch, solving, to_numpy
from adapters.contract import Predictor, Support, Views

VERSION = "1"
MAX_ITERATIONS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Logistic:
    """Multinomial logistic regression minimising the summed log-loss + penalty/2 |W|^2 (the intercept is free).

    `unit_length`: on l2-normalised features. `copies`: fit to so many augmented copies of each image, not to itself.
    """

    needs: ClassVar = frozenset({"features"})
    takes: ClassVar = "features"
    penalty: NonNegative = 0.0
    unit_length: bool = False
    copies: Count = 0

    @property
    def views(self) -> Views | None:
        """The copies it asks for."""
        return Views(self.copies) if self.copies else None

    def adapt(self, support: Support, *, rng: torch.Generator | None = None) -> Predictor:
        features, labels = to_numpy(support, self.unit_length)
        originals = len(labels) // (1 + self.copies) if self.copies else 0
        features, labels = features[originals:], labels[originals:]
        model = LogisticRegression(C=1 / self.penalty if self.penalty else np.inf, max_iter=MAX_ITERATIONS)
        with solving():
            model.fit(features, labels)
        weight, bias = model.coef_, model.intercept_
        if support.way == 2:  # scikit-learn then keeps the log-odds of the second class only
            halves = np.array([-0.5, 0.5])
            weight, bias = halves[:, None] * weight, halves * bias
        return LinearPredictor(*back_to_torch(support, weight, bias), self.unit_length)
