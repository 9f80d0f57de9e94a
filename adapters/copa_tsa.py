"""CoPA+TSA: contrastive alignment of samples and prototypes, with adapters inside the network's middle stages.

Tian, Liu, Zhou, Liu, Zhang, Han: Mind the Gap Between Prototypes and Images in Cross-domain Finetuning (NeurIPS 2024,
arXiv:2410.12474), after Li, Liu, Bilen: Task-specific Adapters (CVPR 2022, arXiv:2107.00358); released code
tmlr-group/CoPA, tsa_adaptation. Idea: CoPA's two heads on features that TSA's residual 1x1 convolutions adapt; these
stand in stages 2 and 3 only. Prototypes are means of the features as they are at each step.

As the released code does it: 40 steps of Adam with L2 decay toward zero, on the adapters too, which learn at a fraction
of the heads' rate. Unlike it: queries are embedded once, after adaptation, instead of twice a step; parameters that no
output depends on are left out; d is the backbone's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from adapters._hyperparameters import Count, LogScale, NonNegative, Positive
from adapters._optimizers import descend
from adapters._prototypes import CosinePredictor, class_means, cosine, one_hot
from adapters._residual_adapters import AdaptedNetwork, Precision, convolutions
from adapters._split_network import AdaptedPredictor, Begun
from adapters.contract import Predictor, Support
from backbones.contract import Backbone

VERSION = "1"
SCALE = 10.0
STAGES = "23"


def official(domain: str, seen: bool, setting: str) -> dict[str, Any]:
    """The released rates: by the name of the domain, whatever the backbone has seen; a tenth in 1-shot tasks."""
    far = domain in {"traffic_sign", "mnist", "cifar10", "cifar100"}
    lr = 5e-3 if far else 1e-3
    weight_decay = 0.0 if domain in {"traffic_sign", "mnist"} else 0.1
    return {"lr": lr / 10 if setting == "1shot" else lr, "scale": 0.5 if far else 0.1, "weight_decay": weight_decay}


@dataclass(frozen=True, slots=True, kw_only=True)
class CoPATSA:
    """10 * cos(F f(q), G p_c), where the adapters in f and the heads F and G are fitted to the support set by `align`.

    Defaults suit most domains. `lr` is the heads' rate, `scale` * `lr` the adapters'. With dtype="bf16" the network
    computes in bfloat16; what is trained stays in float32. Raises ValueError for a backbone without 3x3 convolutions
    in stages called layer2 or layer3.
    """

    needs: ClassVar = frozenset({"images"})
    takes: ClassVar = "images"
    backbone: Backbone | nn.Module = field(repr=False)
    lr: Positive = 1e-3
    scale: Positive = 0.1
    weight_decay: NonNegative = 0.1
    tau: LogScale = 2.0
    steps: Count = 40
    dtype: Precision = "auto"

    def __post_init__(self) -> None:
        convolutions(self.backbone, STAGES)

    @torch.inference_mode(False)
    def adapt(
        self, support: Support, *, rng: torch.Generator | None = None, losses: list[Tensor] | None = None
    ) -> Predictor:
        assert support.images is not None, "the harness fills what the adapter names in `needs`"
        network = AdaptedNetwork(self.backbone, convolutions(self.backbone, STAGES), precision=self.dtype)
        begun = network.begin(support.images)
        labels, way = support.labels.to(network.device), support.way
        rates: dict[str, Any] = {"lr": self.lr, "scale": self.scale, "weight_decay": self.weight_decay}
        descent: dict[str, Any] = {"tau": self.tau, "steps": self.steps, "losses": losses}
        image_head, prototype_head = align(network, begun, labels, way, **rates, **descent)
        with torch.no_grad():
            prototypes = class_means(network.finish(begun), labels, way) @ prototype_head.t()
        return AdaptedPredictor(network, CosinePredictor(prototypes, SCALE, image_head))


@torch.enable_grad()
def align(
    network: AdaptedNetwork,
    begun: Begun,
    labels: Tensor,
    way: int,
    *,
    lr: float,
    scale: float,
    weight_decay: float,
    tau: float,
    steps: int,
    losses: list[Tensor] | None = None,
) -> Tensor:
    """Minimise the symmetric contrastive loss over the adapters of the network, in place, and both heads.

    `begun`: the support images, through `network.begin`; labels (n,) on the network's device. Returns the heads
    (2, d, d): image, prototype, which start at the identity. The loss before each step is appended to `losses` if a
    list is given.
    """
    identity = torch.eye(begun.feature_dim, dtype=network.dtype, device=network.device)
    heads = nn.Parameter(identity.repeat(2, 1, 1))
    alpha = list(network.parameters.values())
    groups: list[dict[str, Any]] = [{"params": [heads], "lr": lr}, {"params": alpha, "lr": lr * scale}]
    optimizer = torch.optim.Adam(groups, weight_decay=weight_decay)

    def loss() -> Tensor:
        features = network.finish(begun)
        prototypes = class_means(features, labels, way)
        scores = cosine(features @ heads[0].t(), prototypes @ heads[1].t())
        return contrast(math.exp(tau) * scores, labels)

    descend(optimizer, loss, steps, losses)
    return heads.detach()


def contrast(logits: Tensor, labels: Tensor) -> Tensor:
    """CoPA's loss of logits (n, way): among all samples' prototypes, and among all samples, each finds its own.

    It compares n samples with n copies of prototypes, one per sample; the copies of class c count as n_c in the
    softmax over prototypes and give n_c equal terms in the softmax over samples.
    """
    shots = one_hot(labels, logits.shape[1], logits.dtype).sum(0)
    among_prototypes = cross_entropy(logits + shots.log(), labels) + shots.log()[labels].mean()
    among_samples = (logits.logsumexp(0)[labels] - logits.gather(1, labels[:, None])[:, 0]).mean()
    return (among_prototypes + among_samples) / 2
