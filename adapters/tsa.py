"""TSA: task-specific adapters inside the frozen network and a linear map behind it, learned on each support set.

Li, Liu, Bilen: Cross-domain Few-shot Learning with Task-specific Adapters (CVPR 2022, arXiv:2107.00358); released code
VICO-UoE/URL, models/tsa.py. Idea: beside each 3x3 convolution of the four stages stands a small adapter (alpha; best is
a residual 1x1 convolution that starts near zero), behind the network URL's d x d map (beta), and both are trained so
that nearest centroid classifies the support set itself. Normalisation keeps its running statistics.

As the released code does it: 40 full-batch steps of Adadelta without decay, every sample counted in its own prototype,
the same rates for 1-shot and 5-shot tasks. A residual vector becomes a matrix where a convolution changes the number of
channels. With optimize="beta" the adapters stay in place as they start. The low-rank form that its README speaks of is
not in that code, nor here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from adapters import url
from adapters._batches import batch
from adapters._hyperparameters import Count, Positive
from adapters._optimizers import descend
from adapters._prototypes import CosinePredictor, class_means, cosine
from adapters._residual_adapters import AdaptedNetwork, Form, Init, Kind, Precision, convolutions
from adapters._split_network import AdaptedPredictor, Begun
from adapters.contract import Predictor, Support
from backbones.contract import Backbone

VERSION = "1"
SCALE = 10.0

Optimize = Literal["alpha", "beta", "alpha+beta"]


def official(
    domain: str, seen: bool, setting: str, *, kind: Kind = "residual", form: Form = "matrix"
) -> dict[str, Any]:
    """The released rates: by whether the backbone has seen the domain and by the adapter, the same for all settings."""
    if form == "vector":
        return {"lr": 0.05, "lr_beta": 0.1} if seen else {"lr": 1.0, "lr_beta": 1.0}
    if kind == "serial":
        return {"lr": 0.001, "lr_beta": 0.1} if seen else {"lr": 0.01, "lr_beta": 1.0}
    return {"lr": 0.05, "lr_beta": 0.1} if seen else {"lr": 0.5, "lr_beta": 1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpecificAdapters:
    """10 * cos(B f(q), p_c), where the adapters in f and the map B are fitted to the support set by `tune`.

    Defaults are the rates of residual matrices on unseen domains; `official` has those of the other forms. `lr` is the
    adapters' rate, `lr_beta` the map's. With dtype="bf16" the network computes in bfloat16, for processors that have
    instructions for it; what is trained stays in float32. Raises ValueError for a backbone without 3x3 convolutions.
    """

    needs: ClassVar = frozenset({"images"})
    takes: ClassVar = "images"
    backbone: Backbone | nn.Module = field(repr=False)
    kind: Kind = "residual"
    form: Form = "matrix"
    optimize: Optimize = "alpha+beta"
    init: Init = "eye"
    lr: Positive = 0.5
    lr_beta: Positive = 1.0
    steps: Count = 40
    dtype: Precision = "auto"

    def __post_init__(self) -> None:
        convolutions(self.backbone)

    @property
    def stochastic(self) -> bool:
        """Only a random start draws from rng."""
        return self.init == "random"

    @torch.inference_mode(False)
    def adapt(
        self, support: Support, *, rng: torch.Generator | None = None, losses: list[Tensor] | None = None
    ) -> Predictor:
        assert support.images is not None, "the harness fills what the adapter names in `needs`"
        start: dict[str, Any] = {"kind": self.kind, "form": self.form, "init": self.init, "precision": self.dtype}
        network = AdaptedNetwork(self.backbone, convolutions(self.backbone), **start, rng=rng)
        begun = network.begin(support.images)
        labels, way = support.labels.to(network.device), support.way
        rates: dict[str, Any] = {"lr": self.lr, "lr_beta": self.lr_beta}
        beta = tune(network, begun, labels, way, optimize=self.optimize, **rates, steps=self.steps, losses=losses)
        with torch.no_grad():
            prototypes = class_means(network.finish(begun), labels, way)
            prototypes = prototypes if beta is None else prototypes @ beta.t()
        return AdaptedPredictor(network, CosinePredictor(prototypes, SCALE, beta))


@torch.enable_grad()
def tune(
    network: AdaptedNetwork,
    begun: Begun,
    labels: Tensor,
    way: int,
    *,
    optimize: Optimize,
    lr: float,
    lr_beta: float,
    steps: int,
    losses: list[Tensor] | None = None,
) -> Tensor | None:
    """Minimise the mean cross-entropy of 10 * cos(B f(x_i), B p_c) over the adapters of the network, in place, and B.

    `begun`: the support images, through `network.begin`; labels (n,) on the network's device. p_c are the class means
    of f(x_i). Returns B (d, d), which starts at the identity, or None if it is not optimized. The loss before each step
    is appended to `losses` if a list is given.
    """
    if optimize == "beta":
        with torch.no_grad():
            features = network.finish(begun)
        return url.align(batch([Support(labels, way, features)]), lr=lr_beta, steps=steps, losses=losses)[0]
    alpha, beta = list(network.parameters.values()), None
    groups = [{"params": alpha, "lr": lr}]
    if optimize == "alpha+beta":
        beta = nn.Parameter(torch.eye(begun.feature_dim, dtype=network.dtype, device=network.device))
        groups.append({"params": [beta], "lr": lr_beta})
    optimizer = torch.optim.Adadelta(groups)

    def loss() -> Tensor:
        features = network.finish(begun)
        features = features if beta is None else features @ beta.t()
        return cross_entropy(SCALE * cosine(features, class_means(features, labels, way)), labels)

    descend(optimizer, loss, steps, losses)
    return None if beta is None else beta.detach()
