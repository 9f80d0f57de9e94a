"""The scale of pixels that a network was trained on, and a wrapper that gives it images in [-1, 1] on that scale.

A card says it in one of two ways: `[-1, 1]`, or `mean 0.485,0.456,0.406 std 0.229,0.224,0.225`, which are to be taken
from, and divided out of, the red, green and blue of images in [0, 1].
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from backbones.contract import NORMALISATION
from backbones.errors import BadWeights

_NUMBERS = r"([^\s,]+),([^\s,]+),([^\s,]+)"
_MEAN_AND_STD = re.compile(rf"mean {_NUMBERS} std {_NUMBERS}")


class Normalisation(NamedTuple):
    """What the network sees of images x in [-1, 1]: (x - mean) / std. Both (3, 1, 1) in float64."""

    mean: Tensor
    std: Tensor

    @property
    def is_identity(self) -> bool:
        """Whether the network takes images in [-1, 1] as they are."""
        return not self.mean.any() and bool((self.std == 1).all())


def parse(text: str) -> Normalisation:
    """A card's `normalisation`; BadWeights if it is neither of the two forms."""
    if text == NORMALISATION:
        return Normalisation(*torch.tensor([[0.0] * 3, [1.0] * 3], dtype=torch.float64)[:, :, None, None])
    try:
        found = _MEAN_AND_STD.fullmatch(text)
        numbers = [float(each) for each in found.groups()] if found else []
    except ValueError:
        numbers = []
    if len(numbers) != 6 or not all(map(math.isfinite, numbers)) or min(numbers[3:]) <= 0:
        raise BadWeights(
            f"normalisation {text!r} is neither {NORMALISATION!r} nor like 'mean 0.485,0.456,0.406 std "
            "0.229,0.224,0.225' (numbers, every std above 0)"
        )
    mean, std = torch.tensor(numbers, dtype=torch.float64).view(2, 3, 1, 1)
    return Normalisation(2 * mean - 1, 2 * std)


def describe(mean: Sequence[float], std: Sequence[float]) -> str:
    """The text on a card for channel means and standard deviations of images in [0, 1]."""
    if all(value == 0.5 for value in (*mean, *std)):
        return NORMALISATION
    means, stds = (",".join(repr(float(value)) for value in values) for values in (mean, std))
    return f"mean {means} std {stds}"


class Normalised(nn.Module):
    """`network` behind its normalisation: takes images (n, 3, s, s) in [-1, 1]. It and its weights are `.network`."""

    mean: Tensor
    std: Tensor
    network: Any  # a contract.Network

    def __init__(self, network: nn.Module, normalisation: Normalisation) -> None:
        super().__init__()
        self.register_buffer("mean", normalisation.mean, persistent=False)
        self.register_buffer("std", normalisation.std, persistent=False)
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """(n, 3, s, s) in [-1, 1] -> (n, d)."""
        return self.network((images - self.mean) / self.std)

    def maps(self, images: Tensor) -> Tensor:
        """(n, 3, s, s) in [-1, 1] -> (n, d, h, w), the features before pooling."""
        return self.network.maps((images - self.mean) / self.std)


def normalised(network: nn.Module, text: str) -> nn.Module:
    """`network`, wrapped unless its card's `normalisation` says that it takes images in [-1, 1] as they are."""
    normalisation = parse(text)
    return network if normalisation.is_identity else Normalised(network, normalisation)
