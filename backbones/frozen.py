"""A network and its card as a Backbone: frozen, in one dtype, on one device."""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import convert_conv2d_weight_memory_format

from backbones.contract import BackboneCard, Network
from backbones.errors import BackboneError
from backbones.normalisation import normalised


class FrozenBackbone:
    """The one implementation of `contract.Backbone`. `network` is a `contract.Network`; its normalisation is added."""

    def __init__(self, card: BackboneCard, network: nn.Module, *, device: torch.device, dtype: torch.dtype) -> None:
        self.name, self.card = card.name, card
        # channels_last is 1.2-2 times as fast on CPUs; torch has no such kernel in float64, where it only adds copies
        # and makes the last bit depend on the number of threads
        self._format = torch.contiguous_format if dtype == torch.float64 else torch.channels_last
        self.feature_dim = cast(Network, network).feature_dim
        self._has_maps = hasattr(network, "maps")
        self.module = normalised(network, card.normalisation).to(device, dtype).eval().requires_grad_(False)
        convert_conv2d_weight_memory_format(self.module, self._format)
        self._device, self.dtype = device, dtype

    @torch.no_grad()
    def embed(self, images: Tensor) -> Tensor:
        """(n, 3, s, s) in [-1, 1] -> (n, d) in this backbone's dtype and on its device."""
        return self.module(self._input(images))

    @torch.no_grad()
    def maps(self, images: Tensor) -> Tensor:
        """(n, 3, s, s) in [-1, 1] -> (n, d, h, w), the features before pooling. Raises BackboneError without maps."""
        if not self._has_maps:
            raise BackboneError(f"backbone {self.name!r} has no maps: give its module maps(images) -> (n, d, h, w)")
        return cast(Network, self.module).maps(self._input(images))

    def _input(self, images: Tensor) -> Tensor:
        return images.to(self._device, self.dtype).contiguous(memory_format=self._format)


class TwoTowerBackbone(FrozenBackbone):
    """A network of images and texts in one space. `logit_scale`: what it multiplies their cosines by."""

    def __init__(self, card: BackboneCard, network: nn.Module, *, device: torch.device, dtype: torch.dtype) -> None:
        self._towers = cast(Any, network)
        self.logit_scale: float = self._towers.logit_scale  # before `dtype` rounds it
        super().__init__(card, network, device=device, dtype=dtype)

    @torch.no_grad()
    def encode(self, texts: list[str]) -> Tensor:
        """n texts -> (n, d), in the space of `embed`; lengths are not normalised."""
        return self._towers.encode(texts)
