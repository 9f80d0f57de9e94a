"""The textbook forms of URL, CoPA and TSA, which the bench measures us against: autograd and torch's optimisers."""

import copy
import math

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, cosine_similarity, cross_entropy, normalize

URL_STEPS, COPA_STEPS, TSA_STEPS = 40, 50, 40


def class_means(features: Tensor, labels: Tensor, way: int) -> Tensor:
    """(n, d) -> (way, d), class by class."""
    return torch.stack([features[labels == c].mean(0) for c in range(way)])


def scores(queries: Tensor, prototypes: Tensor) -> Tensor:
    """10 * cosine of every pair, broadcast over (m, way, d)."""
    return 10 * cosine_similarity(queries[:, None], prototypes[None], dim=-1, eps=1e-30)


def url(features: Tensor, labels: Tensor, way: int, queries: Tensor, *, lr: float) -> Tensor:
    """Logits of the queries after URL's descent."""
    weight = nn.Parameter(torch.eye(features.shape[1], dtype=features.dtype))
    optimizer = torch.optim.Adadelta([weight], lr=lr)
    for _ in range(URL_STEPS):
        embedded = features @ weight.t()
        loss = cross_entropy(scores(embedded, class_means(embedded, labels, way)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return scores(queries @ weight.t(), class_means(features @ weight.t(), labels, way))


def copa(
    features: Tensor, labels: Tensor, way: int, queries: Tensor, *, lr: float, weight_decay: float, tau: float = 2.0
) -> Tensor:
    """Logits of the queries after CoPA's descent; as in the released code they are scored before each step too."""
    identity = torch.eye(features.shape[1], dtype=features.dtype)
    image_head, prototype_head = nn.Parameter(identity.clone()), nn.Parameter(identity.clone())
    optimizer = torch.optim.Adam([image_head, prototype_head], lr=lr, weight_decay=weight_decay)
    prototypes = class_means(features, labels, way)
    pairs = torch.arange(len(labels))

    @torch.no_grad()
    def answer() -> Tensor:
        return scores(queries @ image_head.t(), prototypes @ prototype_head.t())

    for _ in range(COPA_STEPS):
        answer()
        embedded = normalize(features @ image_head.t(), dim=1)
        expanded = normalize(prototypes @ prototype_head.t(), dim=1)[labels]
        logits = math.exp(tau) * embedded @ expanded.t()
        loss = (cross_entropy(logits, pairs) + cross_entropy(logits.t(), pairs)) / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return answer()


class BesideConvolution(nn.Module):
    """A frozen 3x3 convolution and, as a branch of its own, the 1x1 convolution that is trained."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.convolution = convolution
        c_out, c_in = convolution.weight.shape[:2]
        self.alpha = nn.Parameter(torch.eye(c_out, c_in).to(convolution.weight)[:, :, None, None] * 1e-4)

    def forward(self, x: Tensor) -> Tensor:
        return self.convolution(x) + conv2d(x, self.alpha, stride=self.convolution.stride)


def tsa(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    way: int,
    queries: Tensor,
    *,
    lr: float,
    lr_beta: float,
    steps: int = TSA_STEPS,
) -> Tensor:
    """Logits of the queries after TSA's descent, residual matrices at the 3x3 convolutions of the four stages."""
    network = copy.deepcopy(network).eval().requires_grad_(False)
    alpha = []
    for name, module in [*network.named_modules()]:
        if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
            beside = BesideConvolution(module)
            network.set_submodule(name, beside)
            alpha.append(beside.alpha)
    with torch.no_grad():
        beta = nn.Parameter(torch.eye(network(images[:1]).shape[1], dtype=images.dtype))
    optimizer = torch.optim.Adadelta([{"params": alpha, "lr": lr}, {"params": [beta], "lr": lr_beta}])
    for _ in range(steps):
        embedded = network(images) @ beta.t()
        loss = cross_entropy(scores(embedded, class_means(embedded, labels, way)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return scores(network(queries) @ beta.t(), class_means(network(images) @ beta.t(), labels, way))
