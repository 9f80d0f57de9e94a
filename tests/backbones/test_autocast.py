"""Half precision on a GPU: float32 weights under autocast. Here asked for on the CPU, whose autocast is the same."""

import copy

import pytest
import torch
from torch import nn

import backbones
from backbones.contract import BackboneCard
from backbones.frozen import FrozenBackbone
from backbones.resnet18 import ResNet18
from backbones.weights import weights_digest

CPU = torch.device("cpu")
SEEN = []  # dtypes of what `Attending` computed with: images, the convolution's result, normalisation


class Attending(nn.Module):
    """A convolution, which autocast computes in half, and a layer normalisation, which it does not."""

    feature_dim = 8

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 5, stride=4), nn.LayerNorm(8)

    def forward(self, images):
        features = self.conv(images).mean((2, 3))
        SEEN.append((images.dtype, features.dtype, self.norm.weight.dtype))
        return self.norm(features)


def frozen(network, dtype, **options):
    card = BackboneCard(name="net", arch="net", weights_sha256=weights_digest(network.state_dict()))
    return FrozenBackbone(card, copy.deepcopy(network), device=CPU, dtype=dtype, **options)


@pytest.fixture
def images():
    return torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_products_are_in_half_precision_and_weights_and_normalisation_in_float32(images, dtype):
    SEEN.clear()
    backbone = frozen(Attending(), dtype, autocast=True)
    features = backbone.embed(images)
    assert features.dtype == dtype
    assert [(torch.float32, dtype, torch.float32)] == SEEN
    assert {parameter.dtype for parameter in backbone.module.parameters()} == {dtype}


@pytest.mark.parametrize("what", ["embed", "maps"])
def test_features_are_nearer_to_those_in_float32_than_with_rounded_weights(images, what):
    torch.manual_seed(0)
    network = ResNet18((8, 8, 16, 16))
    exact, rounded, cast = (
        getattr(frozen(network, dtype, autocast=autocast), what)(images).float()
        for dtype, autocast in ((torch.float32, None), (torch.bfloat16, False), (torch.bfloat16, True))
    )
    assert (cast - exact).abs().max() < 0.02 * exact.abs().max()
    assert not torch.equal(cast, rounded)


def test_a_cpu_computes_with_rounded_weights_unless_told_and_float32_is_never_cast():
    assert not frozen(Attending(), torch.bfloat16).autocasts
    assert not frozen(Attending(), torch.float32, autocast=True).autocasts


def test_features_made_under_autocast_are_never_taken_for_others():
    network = ResNet18((4, 4, 4, 4))
    plain, cast = (frozen(network, torch.bfloat16, autocast=autocast) for autocast in (False, True))
    assert backbones.identity(plain) != backbones.identity(cast)
