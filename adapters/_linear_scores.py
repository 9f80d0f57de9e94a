"""Linear scores of features, and the way to scikit-learn's solvers and back."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from threadpoolctl import ThreadpoolController
from torch import Tensor
from torch.nn.functional import normalize

from adapters._prototypes import support_features
from adapters.contract import Support


@dataclass(frozen=True, slots=True, eq=False)
class LinearPredictor:
    """weight q + bias: features (m, d) -> logits (m, way)."""

    weight: Tensor  # (way, d)
    bias: Tensor  # (way,)
    unit_length: bool  # divide each query by its l2 norm first

    @torch.no_grad()
    def __call__(self, features: Tensor) -> Tensor:
        return prepared(features.to(self.weight.dtype), self.unit_length) @ self.weight.t() + self.bias


def prepared(features: Tensor, unit_length: bool) -> Tensor:
    """Features (n, d), divided by their l2 norms if `unit_length`; a vector of zeros stays one."""
    return normalize(features, dim=1) if unit_length else features


def to_numpy(support: Support, unit_length: bool) -> tuple[np.ndarray, np.ndarray]:
    """The support set as solvers on the host take it: float64 features (n, d) and labels (n,)."""
    assert support.features is not None, "the harness fills what the adapter names in `needs`"
    features = prepared(support.features.detach().double(), unit_length)
    return features.cpu().numpy(), support.labels.cpu().numpy()


def back_to_torch(support: Support, weight: np.ndarray, bias: np.ndarray) -> tuple[Tensor, Tensor]:
    """What a solver found, in the precision and on the device that the support's features are computed in."""
    like = support_features(support)
    return torch.from_numpy(weight).to(like), torch.from_numpy(bias).to(like)


@contextmanager
def solving() -> Iterator[None]:
    """Around the solvers of scikit-learn: one BLAS thread, and no warning that classes have few images.

    With one thread the last bits depend on no count of workers, and on matrices of this size more threads only wait for
    each other.
    """
    with _blas().limit(limits=1, user_api="blas"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The number of unique classes is greater than 50%")
        yield


@functools.cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()
