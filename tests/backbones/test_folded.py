"""Networks with their batch normalisation folded: the same function, and the network itself as it was."""

import pytest
import torch
from torch import nn

from backbones.contract import BackboneCard
from backbones.errors import BackboneError
from backbones.folded import folded
from backbones.frozen import FrozenBackbone
from backbones.resnet18 import ResNet18

WIDTHS = (4, 6, 8, 10)
IMAGES = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


def norms(network):
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]


def trained_like(network):
    """In eval mode, with statistics and scales far from those of a fresh network."""
    generator = torch.Generator().manual_seed(1)
    for norm in norms(network):
        for tensor in (norm.running_mean, norm.running_var, norm.weight, norm.bias):
            if tensor is not None:
                tensor.data.copy_(torch.rand(tensor.shape, generator=generator) + 0.2)
    return network.eval().requires_grad_(False)


def resnet():
    torch.manual_seed(0)
    return trained_like(ResNet18(WIDTHS))


def frozen(network, dtype=torch.float32, device="cpu", **options):
    card = BackboneCard(name="net", arch="resnet18", widths=WIDTHS, image_size=32)
    return FrozenBackbone(card, network, device=torch.device(device), dtype=dtype, **options)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 0.05)]
)
def test_features_and_maps_are_those_of_the_plain_network(dtype, tolerance):
    plain, backbone = resnet().to(dtype), frozen(resnet(), dtype)
    for expected, given in (
        (plain(IMAGES.to(dtype)), backbone.embed(IMAGES)),
        (plain.maps(IMAGES.to(dtype)), backbone.maps(IMAGES)),
    ):
        assert given.dtype == dtype
        assert (given - expected).abs().max() <= tolerance * expected.abs().max()


def test_every_normalisation_of_a_resnet18_is_folded_and_its_kernels_keep_their_layout():
    network = resnet().to(memory_format=torch.channels_last)
    fast = folded(network)
    assert len(norms(network)) == 20
    assert norms(fast) == []
    kernels = [module.weight for module in fast.modules() if isinstance(module, nn.Conv2d)]
    assert len(kernels) == 20
    assert all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)
    assert not any(tensor.requires_grad for tensor in fast.parameters())


def test_the_network_that_adapters_get_stays_as_it_was():
    backbone = frozen(resnet())
    before = {name: tensor.clone() for name, tensor in backbone.module.state_dict().items()}
    backbone.embed(IMAGES)
    assert isinstance(backbone.module, ResNet18)
    assert len(norms(backbone.module)) == 20
    after = backbone.module.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_only_kernels_that_change_are_held_twice():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
    fast = folded(trained_like(network))
    assert fast[0].weight is network[0].weight
    assert fast[4].bias is network[4].bias
    assert fast[2].weight is not network[2].weight


def test_weights_are_not_held_twice_by_those_who_never_embed():
    backbone = frozen(resnet())
    assert "_fast" not in vars(backbone)
    backbone.embed(IMAGES)
    assert "_fast" in vars(backbone)


class SharedConv(nn.Module):
    """One convolution before two normalisations."""

    def __init__(self):
        super().__init__()
        self.conv, self.a, self.b = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.BatchNorm2d(4)

    def forward(self, x):
        return self.a(self.conv(x)) + self.b(self.conv(x))


class ReadTwice(SharedConv):
    """A convolution whose output is also read without normalisation."""

    def forward(self, x):
        y = self.conv(x)
        return self.a(y) + y


class DataDependent(SharedConv):
    """Python that looks at numbers, which no trace can follow."""

    def forward(self, x):
        y = self.a(self.conv(x))
        return y if y.sum() > 0 else -y


@pytest.mark.parametrize("make", [SharedConv, ReadTwice, DataDependent])
def test_where_folding_would_be_wrong_or_cannot_be_found_the_network_stays(make):
    network = trained_like(make())
    assert folded(network) is network


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(nn.Conv2d(3, 4, 3, bias=True, groups=1), nn.BatchNorm2d(4)),
        nn.Sequential(nn.Conv2d(3, 6, 3, groups=3, stride=2), nn.BatchNorm2d(6, affine=False)),
        nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3)),
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)),
    ],
)
def test_biases_groups_and_norms_of_other_kinds_give_the_same_numbers(network):
    trained_like(network.double())
    torch.testing.assert_close(folded(network)(IMAGES.double()), network(IMAGES.double()), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_nothing_is_computed_elsewhere_than_on_the_device_of_the_network(dtype):
    backbone = frozen(resnet(), dtype, "meta")
    for given, shape in ((backbone.embed(IMAGES), (3, 10)), (backbone.maps(IMAGES), (3, 10, 2, 2))):
        assert (given.device.type, given.dtype, given.shape) == ("meta", dtype, shape)


def test_a_compiler_that_fails_is_one_line_that_says_what_to_leave_out(monkeypatch):
    def compile(function):
        def fails(images):
            raise RuntimeError("no C++ compiler\nand much more")

        return fails

    monkeypatch.setattr(torch, "compile", compile)
    with pytest.raises(
        BackboneError, match=r"torch\.compile does not work here \(no C\+\+ compiler\); leave out --compile$"
    ):
        frozen(resnet(), compiled=True).embed(IMAGES)


def test_a_compiled_backbone_embeds_through_the_compiler(monkeypatch):
    asked = []
    monkeypatch.setattr(torch, "compile", lambda function: asked.append(function) or function)
    backbone = frozen(resnet(), compiled=True)
    assert torch.equal(backbone.embed(IMAGES), frozen(resnet()).embed(IMAGES))
    assert torch.equal(backbone.maps(IMAGES), frozen(resnet()).maps(IMAGES))
    assert len(asked) == 2


class Alias(nn.Module):
    """A network of somebody's own that calls a normalisation by a second name."""

    def __init__(self):
        super().__init__()
        self.net, self.feature_dim = resnet(), WIDTHS[-1]
        self.stem = nn.Sequential(self.net.conv1, self.net.bn1)

    def forward(self, images):
        x = self.stem(images).relu()
        return self.net.layer4(self.net.layer3(self.net.layer2(self.net.layer1(x)))).mean(dim=(2, 3))


def test_networks_that_are_not_ours_are_computed_as_they_are():
    network = trained_like(Alias())
    assert torch.equal(frozen(network).embed(IMAGES), network(IMAGES))


def test_a_hook_in_a_network_of_ours_is_called():
    network = resnet()
    network.register_forward_pre_hook(lambda module, images: (2 * images[0],))
    assert torch.equal(frozen(network).embed(IMAGES), network(IMAGES))


def test_maps_of_another_shape_are_refused():
    network = resnet()
    network.maps = lambda images: images.flatten(2)
    network.register_forward_hook(lambda *call: None)
    with pytest.raises(BackboneError, match=r"its maps are \(3, 3, 1024\); \(n, d, h, w\) are wanted"):
        frozen(network).maps(IMAGES)
