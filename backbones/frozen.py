"""A network and its card as a Backbone: frozen, in one dtype, on one device."""

import copy
from collections.abc import Callable
from functools import cached_property
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import convert_conv2d_weight_memory_format

from backbones.contract import BackboneCard, Network
from backbones.errors import BackboneError
from backbones.folded import folded, is_own
from backbones.fused import fused, is_available
from backbones.normalisation import normalised

HALF = (torch.bfloat16, torch.float16)


class FrozenBackbone:
    """The one implementation of `contract.Backbone`. `network` is a `contract.Network`; its normalisation is added.

    `module` is the network as its weights have it. `embed` and `maps` go through a copy that is made when one is
    first called: of our own architectures with batch normalisation folded into the convolutions (`backbones.folded`
    says what that holds twice) and ReLUs joined to them on CPUs (`backbones.fused`); with `compiled`, through
    torch.compile. In half precision on a GPU that copy has float32 weights and computes under autocast, so that what
    needs the range (softmax, layer and batch normalisation) keeps it; `autocasts` says whether it does.
    """

    def __init__(
        self,
        card: BackboneCard,
        network: nn.Module,
        *,
        device: torch.device,
        dtype: torch.dtype,
        compiled: bool = False,
        autocast: bool | None = None,
    ) -> None:
        """`autocast`: None leaves it to the device."""
        self.name, self.card = card.name, card
        self.autocasts = dtype in HALF and (device.type == "cuda" if autocast is None else autocast)
        # channels_last is 1.2-2 times as fast on CPUs; torch has no such kernel in float64, where it only adds copies
        # and makes the last bit depend on the number of threads
        self._format = torch.contiguous_format if dtype == torch.float64 else torch.channels_last
        self.feature_dim = cast(Network, network).feature_dim
        self._has_maps, self._is_own = hasattr(network, "maps"), is_own(network)
        whole = normalised(network, card.normalisation).to(device).eval().requires_grad_(False)
        self._full = self._laid_out(copy.deepcopy(whole).float()) if self.autocasts else None
        self.module = self._laid_out(whole.to(dtype))
        self.dtype, self.compiled = dtype, compiled
        self._device = device

    @torch.no_grad()
    def embed(self, images: Tensor) -> Tensor:
        """(n, 3, s, s) in [-1, 1] -> (n, d) in this backbone's dtype and on its device."""
        return self._embed(self._input(images))

    @torch.no_grad()
    def maps(self, images: Tensor) -> Tensor:
        """(n, 3, s, s) in [-1, 1] -> (n, d, h, w), the features before pooling. Raises BackboneError without maps."""
        if not self._has_maps:
            raise BackboneError(f"backbone {self.name!r} has no maps: give its module maps(images) -> (n, d, h, w)")
        maps = self._maps(self._input(images))
        if maps.ndim != 4 or len(maps) != len(images):
            raise BackboneError(f"backbone {self.name!r}: its maps are {tuple(maps.shape)}; (n, d, h, w) are wanted")
        return maps

    def _laid_out(self, network: nn.Module) -> nn.Module:
        convert_conv2d_weight_memory_format(network, self._format)
        return network

    @cached_property
    def _fast(self) -> Any:
        network = self.module if self._full is None else self._full
        return folded(network) if self._is_own else network

    @cached_property
    def _embed(self) -> Callable[[Tensor], Tensor]:
        return self._path("forward" if self._is_own or self.compiled else "__call__")

    @cached_property
    def _maps(self) -> Callable[[Tensor], Tensor]:
        return self._path("maps")

    def _path(self, method: str) -> Callable[[Tensor], Tensor]:
        function = getattr(self._fast, method)
        if self.compiled:
            function = _compiled(function)
        if self.autocasts:
            return self._autocast(function)
        joins = self._is_own and self._device.type == "cpu" and self.dtype in (torch.float32, torch.bfloat16)
        return fused(self._fast, method) if joins and not self.compiled and is_available() else function

    def _autocast(self, function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        def call(images: Tensor) -> Tensor:
            with torch.autocast(self._device.type, self.dtype):
                return function(images).to(self.dtype)

        return call

    def _input(self, images: Tensor) -> Tensor:
        # first to the device, then to the dtype: a copy out of pinned memory does not wait, with a conversion it would
        moved = images.to(self._device, non_blocking=images.is_pinned())
        return moved.to(torch.float32 if self.autocasts else self.dtype).contiguous(memory_format=self._format)


class TwoTowerBackbone(FrozenBackbone):
    """A network of images and texts in one space. `logit_scale`: what it multiplies their cosines by."""

    def __init__(self, card: BackboneCard, network: nn.Module, **options: Any) -> None:
        self._towers = cast(Any, network)
        self.logit_scale: float = self._towers.logit_scale  # before the backbone's dtype rounds it
        super().__init__(card, network, **options)

    @torch.no_grad()
    def encode(self, texts: list[str]) -> Tensor:
        """n texts -> (n, d), in the space of `embed`; lengths are not normalised."""
        return self._towers.encode(texts)


def _compiled(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """`function` through torch.compile. Raises BackboneError at its first call where that cannot be had."""
    fast = torch.compile(function)

    def call(images: Tensor) -> Tensor:
        try:
            return fast(images)
        except Exception as error:  # torch promises no base for what its compilers raise
            reason = str(error).strip().partition("\n")[0]
            raise BackboneError(f"torch.compile does not work here ({reason}); leave out --compile") from error

    return call
