"""Augmented copies of an episode's support images, for adapters that ask for them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from adapters.contract import Views

RECIPE = "shift 8 px, flip, brightness, contrast and saturation 40%"
"""What `augmented` does, for row keys: the standard training augmentation of SCL (Ouali, Hudelot, Tami, ECML 2021,
arXiv:2012.13831), which its evaluation applies to each support image. Edges are repeated where an image moves away."""


def described(views: Views) -> str:
    """The wish and how it is granted, for row keys."""
    return f"{views.copies} copies: {RECIPE}"


def augmented(pixels: Tensor, views: Views, *, seed: int, episode_hash: str) -> Tensor:
    """(n, 3, s, s) in [-1, 1] -> (copies * n, 3, s, s), all images once, all images again, ...

    Copy k depends on the seed, the episode and k alone: every adapter that asks gets the same.
    """
    import torch

    from backbones.pretrain.augment import Augmentation

    none = {"rotation_deg": 0.0, "scale": 0.0, "invert_chance": 0.0, "grey_chance": 0.0, "coarse_chance": 0.0}
    augment = Augmentation(shift_px=8, flip_chance=0.5, brightness=0.4, contrast=0.4, saturation=0.4, **none)
    images = pixels.add(1).mul(127.5).round().byte().permute(0, 2, 3, 1)
    generators = [torch.Generator().manual_seed(_seed(seed, episode_hash, k)) for k in range(views.copies)]
    return torch.cat([augment(images, generator) for generator in generators])


def _seed(seed: int, episode_hash: str, copy: int) -> int:
    digest = hashlib.sha256(f"views/{seed}/{episode_hash}/{copy}".encode()).digest()
    return int.from_bytes(digest[:8], "little", signed=True)
