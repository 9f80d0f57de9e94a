"""Finetuning: a head that starts as nearest centroid, and the network or its last stage, trained on the support set.

The baseline of every comparison, in the forms of Triantafillou et al.: Meta-Dataset (ICLR 2020, arXiv:1903.03096; Adam,
all layers, a new linear head) and Chen et al.: A Closer Look at Few-shot Classification (ICLR 2019, arXiv:1904.04232;
"Baseline++", a cosine head). Idea: nothing is spared, so nothing but the start and a low rate keeps a few images from
being learned by heart.

Both start their heads at random; this starts from the class means of the frozen features. A cosine head with the means
as its weights is nearest centroid by cosine (Qi, Brown, Lowe: Low-Shot Learning with Imprinted Weights, CVPR 2018,
arXiv:1712.07136, who finetune from there too); a linear head with W_c = 2 m_c, b_c = -|m_c|^2 (Proto-MAML, in the
Meta-Dataset paper) is nearest centroid by distance. Meta-Dataset's best setting (200 steps at rate 0.01, a random head)
was found for weights trained for it; the rates here are the best of a few tried on valid classes of the pocket suite,
some of them in domains that the backbone had not seen. 40 steps as URL and TSA take. Normalisation keeps its running
statistics; its scales and shifts are trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear

from adapters._hyperparameters import Count, Positive
from adapters._optimizers import descend
from adapters._prototypes import CosinePredictor, class_means, cosine
from adapters._split_network import AdaptedPredictor, Begun, SplitNetwork, network_of, working_copy
from adapters.contract import Predictor, Support
from backbones.contract import Backbone

VERSION = "1"
SCALE = 10.0

Layers = Literal["all", "last"]
Head = Literal["cosine", "linear"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finetune:
    """10 * cos(f(q), w_c) or f(q) . w_c + b_c, with f and the head fitted to the support set by `tune`.

    `layers`: "last" trains the last child module that has parameters (layer4 of a ResNet), "all" every parameter. `lr`
    is the network's rate, `lr_head` the head's. Raises ValueError for a backbone without parameters.
    """

    needs: ClassVar = frozenset({"images"})
    takes: ClassVar = "images"
    backbone: Backbone | nn.Module = field(repr=False)
    layers: Layers = "all"
    head: Head = "cosine"
    lr: Positive = 3e-4
    lr_head: Positive = 1e-3
    steps: Count = 40

    def __post_init__(self) -> None:
        if next(network_of(self.backbone).parameters(), None) is None:
            raise ValueError("the backbone has no parameters to finetune")

    @torch.inference_mode(False)
    def adapt(
        self, support: Support, *, rng: torch.Generator | None = None, losses: list[Tensor] | None = None
    ) -> Predictor:
        assert support.images is not None, "the harness fills what the adapter names in `needs`"
        network, parameters = thawed(self.backbone, self.layers)
        begun = network.begin(support.images)
        labels = support.labels.clone().to(network.device)  # autograd saves no tensor of inference mode
        head = tune(
            network,
            parameters,
            begun,
            labels,
            support.way,
            head=self.head,
            lr=self.lr,
            lr_head=self.lr_head,
            steps=self.steps,
            losses=losses,
        )
        if len(head) == 1:
            return AdaptedPredictor(network, CosinePredictor(head[0], SCALE))
        return LinearHeadPredictor(network, *head)


@dataclass(frozen=True, slots=True, eq=False)
class LinearHeadPredictor:
    """weight f(x) + bias: images (m, 3, s, s) -> logits (m, way)."""

    network: SplitNetwork
    weight: Tensor  # (way, d)
    bias: Tensor  # (way,)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        return linear(self.network(images), self.weight, self.bias)


def thawed(backbone: Backbone | nn.Module, layers: Layers) -> tuple[SplitNetwork, list[nn.Parameter]]:
    """A copy of the network, and those of its parameters that are trained."""
    network = network_of(backbone)
    part = _last_part(network) if layers == "last" else ""
    whole = working_copy(network, list(network.get_submodule(part).parameters()))
    parameters = list(whole.get_submodule(part).requires_grad_().parameters())
    names = [name for name, _ in (*network.named_modules(), *network.named_parameters())]
    trained = {name for name in names if not part or f"{name}.".startswith(f"{part}.")}
    return SplitNetwork(whole, trained), parameters


@torch.enable_grad()
def tune(
    network: SplitNetwork,
    parameters: Sequence[nn.Parameter],
    begun: Begun,
    labels: Tensor,
    way: int,
    *,
    head: Head,
    lr: float,
    lr_head: float,
    steps: int,
    losses: list[Tensor] | None = None,
) -> list[Tensor]:
    """Minimise the mean cross-entropy of the head's scores over the network's `parameters`, in place, and the head.

    `begun`: the support images, through `network.begin`; labels (n,) on the network's device. Returns the weights
    (way, d) and, of a linear head, the bias (way,). The loss before each step is appended to `losses` if a list is
    given.
    """
    with torch.no_grad():
        means = class_means(network.finish(begun), labels, way)
    start = [means] if head == "cosine" else [2 * means, -means.square().sum(1)]
    own = [nn.Parameter(value) for value in start]
    optimizer = torch.optim.Adam([{"params": parameters, "lr": lr}, {"params": own, "lr": lr_head}])

    def loss() -> Tensor:
        features = network.finish(begun)
        scores = SCALE * cosine(features, own[0]) if head == "cosine" else linear(features, *own)
        return cross_entropy(scores, labels)

    descend(optimizer, loss, steps, losses)
    for parameter in parameters:
        parameter.requires_grad_(False).grad = None
    return [value.detach() for value in own]


def _last_part(network: nn.Module) -> str:
    """Name of the last child module that has parameters, inside whatever merely wraps it; "", the whole network, if
    there is none."""
    path: list[str] = []
    while names := [name for name, child in network.named_children() if next(child.parameters(), None) is not None]:
        path.append(names[-1])
        network = network.get_submodule(names[-1])
        if len(names) > 1:
            break
    return ".".join(path)
