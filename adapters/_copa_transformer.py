"""CoPA with heads that attend to the places of a feature map, in place of linear ones.

Released code tmlr-group/CoPA, models/transformer.py, with `--encoder.type transformer` (Tian et al., NeurIPS 2024,
arXiv:2410.12474). Each head puts a class token before the places of a map, adds position embeddings to all, lets them
attend to each other (8 heads of attention, a residual, normalisation, a linear map) and gives what becomes of the class
token. Everything starts at identity and zero but the position embeddings, which are drawn anew for every task.

In one block the class token asks and nobody else is heard, and what it asks is the same for every image. So per head of
attention one vector is compared with the places as they are, and keys and values are formed of their weighted mean:
the same numbers without n * places * d^2 products. The keys' bias moves no softmax and is left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, linear, pad

from adapters._optimizers import descend
from adapters._prototypes import class_means, cosine
from adapters.contract import Predictor, Support
from adapters.copa_tsa import contrast

HEADS = 8
NORM_EPS = 1e-6
POSITION_STD = 0.02


class AttentionHead(nn.Module):
    """Places (n, p, d) -> (n, d). Positions are drawn from rng in float32, so that every precision starts the same."""

    def __init__(self, places: int, d: int, rng: torch.Generator, like: Tensor) -> None:
        super().__init__()
        if d % HEADS:
            raise ValueError(f"heads='transformer' needs features of a multiple of {HEADS}, not {d}")
        zeros, identity = like.new_zeros(d), torch.eye(d, dtype=like.dtype, device=like.device)
        positions = torch.randn(1 + places, d, generator=rng, device=rng.device) * POSITION_STD
        self.token, self.positions = nn.Parameter(zeros), nn.Parameter(positions.to(like))
        self.query, self.query_bias = nn.Parameter(identity), nn.Parameter(zeros.clone())
        self.key = nn.Parameter(identity.clone())
        self.value, self.value_bias = nn.Parameter(identity.clone()), nn.Parameter(zeros.clone())
        self.norm, self.norm_bias = nn.Parameter(torch.ones_like(zeros)), nn.Parameter(zeros.clone())
        self.output, self.output_bias = nn.Parameter(identity.clone()), nn.Parameter(zeros.clone())

    def forward(self, places: Tensor) -> Tensor:
        d = places.shape[2]
        token = self.token + self.positions[0]
        added = torch.cat([token[None], self.positions[1:]])  # (1 + p, d): what is the same in every image
        query = linear(token, self.query, self.query_bias).view(HEADS, -1)
        asked = torch.einsum("he,hed->hd", query, self.key.view(HEADS, -1, d)) * math.sqrt(HEADS / d)
        scores = (added @ asked.t()).repeat(len(places), 1, 1)  # (n, 1 + p, heads)
        scores = scores + pad(places @ asked.t(), (0, 0, 1, 0))
        attention = scores.softmax(1)
        heard = torch.einsum("nph,npd->nhd", attention[:, 1:], places) + torch.einsum("nph,pd->nhd", attention, added)
        values = torch.einsum("nhd,hed->nhe", heard, self.value.view(HEADS, -1, d)).flatten(1) + self.value_bias
        normed = layer_norm(token + values, (d,), self.norm, self.norm_bias, NORM_EPS)
        return linear(normed, self.output, self.output_bias)


@dataclass(frozen=True, slots=True, eq=False)
class AttentionPredictor:
    """scale * cos(head(q), prototype): maps (m, d, h, w) -> logits (m, way)."""

    prototypes: Tensor  # (way, d), in the space of `represent`
    scale: float
    head: AttentionHead

    @torch.no_grad()
    def represent(self, maps: Tensor) -> Tensor:
        """Maps (m, d, h, w) -> (m, d)."""
        return self.head(places_of(maps).to(self.prototypes.dtype))

    @torch.no_grad()
    def __call__(self, maps: Tensor) -> Tensor:
        return self.scale * cosine(self.represent(maps), self.prototypes)


def places_of(maps: Tensor) -> Tensor:
    """Maps (n, d, h, w) -> places (n, h * w, d), row by row; float64 stays, anything else becomes float32."""
    return maps.to(torch.float64 if maps.dtype == torch.float64 else torch.float32).flatten(2).transpose(1, 2)


@torch.inference_mode(False)
def adapt(
    support: Support,
    *,
    lr: float,
    weight_decay: float,
    tau: float,
    steps: int,
    scale: float,
    rng: torch.Generator | None,
    losses: list[Tensor] | None = None,
) -> Predictor:
    """The predictor of a task, by `align` on its maps; rng None is seed 0."""
    assert support.maps is not None, "the harness fills what the adapter names in `needs`"
    places, labels = (
        places_of(support.maps.clone()),
        support.labels.clone(),
    )  # autograd saves no tensor of inference mode
    prototypes = class_means(places.flatten(1), labels, support.way).view(support.way, *places.shape[1:])
    rng = rng or torch.Generator().manual_seed(0)
    _, p, d = places.shape
    of_images, of_prototypes = (AttentionHead(p, d, rng, places) for _ in range(2))
    rates: dict[str, Any] = {"lr": lr, "weight_decay": weight_decay, "tau": tau}
    align(of_images, of_prototypes, places, prototypes, labels, **rates, steps=steps, losses=losses)
    with torch.no_grad():
        return AttentionPredictor(of_prototypes(prototypes), scale, of_images.requires_grad_(False))


@torch.enable_grad()
def align(
    of_images: AttentionHead,
    of_prototypes: AttentionHead,
    places: Tensor,
    prototypes: Tensor,
    labels: Tensor,
    *,
    lr: float,
    weight_decay: float,
    tau: float,
    steps: int,
    losses: list[Tensor] | None = None,
) -> None:
    """Minimise CoPA's symmetric contrastive loss over both heads, in place: images (n, p, d), prototypes (way, p, d).

    Adam with L2 decay toward zero of everything, as released. The loss before each step is appended to `losses` if a
    list is given.
    """
    parameters = [*of_images.parameters(), *of_prototypes.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=lr, weight_decay=weight_decay)

    def loss() -> Tensor:
        return contrast(math.exp(tau) * cosine(of_images(places), of_prototypes(prototypes)), labels)

    descend(optimizer, loss, steps, losses)
    for parameter in parameters:
        parameter.grad = None
