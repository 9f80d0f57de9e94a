"""Convolutions that add and rectify in one pass: the same numbers as in three."""

import pytest
import torch
from torch import nn
from torch.nn.functional import relu

from backbones.folded import folded
from backbones.fused import fused
from backbones.resnet18 import ResNet18

IMAGES = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


def calls(function):
    """Names of what a joined network calls."""
    nodes = [node for node in function.graph.nodes if node.op in ("call_module", "call_function")]
    return [getattr(node.target, "__name__", str(node.target)) for node in nodes]  # str() of a function has an address


@pytest.mark.parametrize("method", ["forward", "maps"])
def test_a_resnet18_gives_the_same_bits_in_17_joined_convolutions(method):
    torch.manual_seed(0)
    network = folded(ResNet18((4, 6, 8, 10)).eval().requires_grad_(False).to(memory_format=torch.channels_last))
    joined = fused(network, method)
    pixels = IMAGES.contiguous(memory_format=torch.channels_last)
    assert torch.equal(joined(pixels), getattr(network, method)(pixels))
    assert sum("_convolve" in name for name in calls(joined)) == 17
    assert not any("relu" in name or "add" in name for name in calls(joined))


class Block(nn.Module):
    """Two convolutions, joined by `forward` in various ways."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.act = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(inplace=True)
        self.scale = nn.Parameter(torch.full((1, 4, 1, 1), 0.5))


class AddsToWhatIsReadLater(Block):
    def forward(self, x):
        y = self.a(x) * 1
        z = self.b(y)
        y += z
        return relu(y) + y


class Broadcasts(Block):
    def forward(self, x):
        return self.act(self.a(x) + self.scale)


class ReadsBoth(Block):
    def forward(self, x):
        y = self.a(x)
        return relu(y) - y


class Doubles(Block):
    def forward(self, x):
        y = self.a(x)
        return relu(y + y)


class InPlace(Block):
    def forward(self, x):
        y = relu(self.a(x))
        z = self.b(y)
        z += y
        return self.act(z)


class OfTwoConvolutions(Block):
    def forward(self, x):
        return relu(self.a(x) + self.b(self.a(x)))


@pytest.mark.parametrize("kind", [AddsToWhatIsReadLater, Broadcasts, ReadsBoth, Doubles, InPlace, OfTwoConvolutions])
def test_other_ways_to_add_and_rectify_give_the_same_numbers(kind):
    torch.manual_seed(0)
    network = kind().eval().requires_grad_(False)
    torch.testing.assert_close(fused(network, "forward")(IMAGES), network(IMAGES))


def test_a_network_that_cannot_be_traced_is_left_as_it_is():
    class Looks(Block):
        def forward(self, x):
            return self.act(self.a(x)) if x.sum() > 0 else x

    network = Looks()
    assert fused(network, "forward") == network.forward
