"""Random views of training images, as tensors.

Geometry: shift, rotation, scale, flip. Colour: the ranges of URL's batch reader (brightness 1/8, contrast and
saturation 20%) plus inverted polarity and grey, and low resolution: domains that are met after training may be white on
black, colourless or enlarged from a few pixels.
"""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """How strong each change is: ranges are +- around no change, `*_chance` is the fraction of images changed.

    Coarse images are shrunk to between `coarsest` and half of their size, and enlarged again.
    """

    shift_px: float = 8.0
    rotation_deg: float = 10.0
    scale: float = 0.15
    flip_chance: float = 0.0
    brightness: float = 0.125
    contrast: float = 0.2
    saturation: float = 0.2
    invert_chance: float = 0.25
    grey_chance: float = 0.25
    coarse_chance: float = 0.4
    coarsest: float = 1 / 12

    def __call__(self, images: Tensor, rng: Generator) -> Tensor:
        """(n, s, s, 3) uint8 -> (n, 3, s, s) float32 in [-1, 1], every image changed in its own way."""
        x = images.permute(0, 3, 1, 2).float().div_(255)  # a channels_last view of the same layout
        return self._colours(self._coarsen(self._move(x, rng), rng), rng).clamp_(0, 1).mul_(2).sub_(1)

    def _move(self, x: Tensor, rng: Generator) -> Tensor:
        n, _, size, _ = x.shape
        turn = _around(0, self.rotation_deg * math.pi / 180, n, rng)
        zoom = 1 / _around(1, self.scale, n, rng)
        mirror = 1 - 2 * _chance(self.flip_chance, n, rng).float()
        shift = _around(0, 2 * self.shift_px / size, 2 * n, rng).view(n, 2)
        cos, sin = turn.cos() * zoom, turn.sin() * zoom
        matrix = torch.stack([cos * mirror, -sin, shift[:, 0], sin * mirror, cos, shift[:, 1]], dim=1).view(n, 2, 3)
        grid = affine_grid(matrix, list(x.shape), align_corners=False)
        return grid_sample(x, grid, padding_mode="border", align_corners=False)

    def _coarsen(self, x: Tensor, rng: Generator) -> Tensor:
        n, _, size, _ = x.shape
        low = max(1, int(size * self.coarsest))
        small = int(torch.randint(low, max(low, size // 2) + 1, (), generator=rng))
        chosen = _chance(self.coarse_chance, n, rng)
        if chosen.any():
            shrunk = interpolate(x[chosen], size=(small, small), mode="bilinear", antialias=True)
            x[chosen] = interpolate(shrunk, size=(size, size), mode="bilinear", align_corners=True)
        return x

    def _colours(self, x: Tensor, rng: Generator) -> Tensor:
        n = len(x)
        luma = (x * torch.tensor(_LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
        vividness = _around(1, self.saturation, n, rng) * ~_chance(self.grey_chance, n, rng)
        x = torch.lerp(luma.expand_as(x), x, vividness.view(n, 1, 1, 1))
        mean = luma.mean(dim=(1, 2, 3), keepdim=True)
        x = (x - mean) * _around(1, self.contrast, n, rng).view(n, 1, 1, 1) + mean
        x = x + _around(0, self.brightness, n, rng).view(n, 1, 1, 1)
        invert = _chance(self.invert_chance, n, rng).view(n, 1, 1, 1)
        return torch.where(invert, 1 - x, x)


def _around(centre: float, radius: float, n: int, rng: Generator) -> Tensor:
    """(n,) uniform in centre +- radius."""
    return centre + radius * (2 * torch.rand(n, generator=rng) - 1)


def _chance(p: float, n: int, rng: Generator) -> Tensor:
    """(n,) bool, each true with probability p."""
    return torch.rand(n, generator=rng) < p
