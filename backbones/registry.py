"""Names to frozen backbones. Torch is imported when a backbone is loaded, not before."""

from __future__ import annotations

import difflib
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from backbones.contract import NORMALISATION, RESIZE, Backbone, BackboneCard
from backbones.errors import BackboneError, BadWeights, UnknownBackbone

if TYPE_CHECKING:
    import torch
    from torch import nn

    from backbones.frozen import FrozenBackbone

SHIPPED = Path(__file__).parent / "shipped"
RANDOM_SEED = 0
_BUILT_IN = {
    "raw-pixels": BackboneCard(name="raw-pixels", arch="raw-pixels", licence="none", training_data_known=True),
    "resnet18-pocket-random": BackboneCard(
        name="resnet18-pocket-random", arch="resnet18", widths=(16, 32, 64, 128), training_data_known=True
    ),
    "resnet18-random": BackboneCard(
        name="resnet18-random", arch="resnet18", widths=(64, 128, 256, 512), training_data_known=True
    ),
}


def known() -> list[str]:
    """The names `load` takes, beside a path ending in .safetensors; `resnet18` needs `weights`."""
    return sorted({"resnet18", *_BUILT_IN, *(card.stem for card in SHIPPED.glob("*.json"))})


def load(
    name: str, *, weights: Path | None = None, device: str = "cpu", dtype: torch.dtype | None = None
) -> FrozenBackbone:
    """The backbone of that name, frozen, on `device` in `dtype` (None: float32).

    `name` is one of `known()` or the path of a .safetensors file; `weights` is that file for the name `resnet18`.
    Raises UnknownBackbone, BadWeights, or BackboneError when `weights` is missing or not wanted.
    """
    import torch

    from backbones.frozen import FrozenBackbone

    module, card = _named(name, weights)
    return FrozenBackbone(card, module, device=torch.device(device), dtype=dtype or torch.float32)


def identity(backbone: Backbone) -> str:
    """Hex digest of all that decides an embedding: network, weights, preprocessing, dtype. Keys rows and caches."""
    import torch

    parameter = next(backbone.module.parameters(), None)
    card = backbone.card
    parts = {
        "arch": card.arch,
        "widths": card.widths,
        "stem_padding": card.stem_padding,
        "image_size": card.image_size,
        "resize": card.resize,
        "normalisation": card.normalisation,
        "weights": card.weights_sha256,
        "dtype": str(torch.float32 if parameter is None else parameter.dtype),
    }
    return hashlib.sha256(msgspec.json.encode(parts, order="sorted")).hexdigest()
