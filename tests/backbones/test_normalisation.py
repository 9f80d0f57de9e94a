import pytest
import torch
from torch import Tensor, nn

from adapters._residual_adapters import AdaptedNetwork, convolutions
from backbones.contract import BackboneCard
from backbones.errors import BadWeights
from backbones.frozen import FrozenBackbone
from backbones.normalisation import Normalised, describe, normalised, parse
from backbones.resnet18 import ResNet18

IMAGENET = "mean 0.485,0.456,0.406 std 0.229,0.224,0.225"
IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


def by_hand(images: Tensor) -> Tensor:
    """Channel statistics of ImageNet taken out of images brought to [0, 1], as torchvision does."""
    mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]], dtype=images.dtype)[:, :, None, None]
    return ((images + 1) / 2 - mean) / std


def frozen(network: nn.Module, normalisation: str, dtype: torch.dtype = torch.float64) -> FrozenBackbone:
    card = BackboneCard(name="x", arch="resnet18", widths=(4, 4, 8, 8), normalisation=normalisation)
    return FrozenBackbone(card, network, device=torch.device("cpu"), dtype=dtype)


def test_mean_and_std_of_images_in_0_1_are_applied_to_images_in_minus_1_1() -> None:
    mean, std = parse(IMAGENET)
    torch.testing.assert_close((IMAGES.double() - mean) / std, by_hand(IMAGES.double()))


def test_minus_1_1_leaves_images_as_they_are() -> None:
    network = nn.Identity()
    assert parse("[-1, 1]").is_identity
    assert parse("mean 0.5,0.5,0.5 std 0.5,0.5,0.5").is_identity
    assert not parse(IMAGENET).is_identity
    assert normalised(network, "[-1, 1]") is network


@pytest.mark.parametrize(
    "values", [((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), ((0.48145466, 0.4578275, 0.40821073), (0.3, 1, 0.26))]
)
def test_statistics_survive_the_way_through_the_card_to_the_last_digit(values: tuple) -> None:
    mean, std = parse(describe(*values))
    expected = torch.tensor(values, dtype=torch.float64)
    assert torch.equal(mean.flatten(), 2 * expected[0] - 1)
    assert torch.equal(std.flatten(), 2 * expected[1])


def test_statistics_of_one_half_are_described_as_minus_1_1() -> None:
    assert describe([0.5] * 3, [0.5] * 3) == "[-1, 1]"


@pytest.mark.parametrize(
    "text",
    [
        "imagenet",
        "mean 0.485,0.456 std 0.229,0.224,0.225",
        "mean 0.485,0.456,x std 0.229,0.224,0.225",
        "mean 0.485,0.456,0.406 std 0.229,0,0.225",
        "mean nan,0.456,0.406 std 0.229,0.224,0.225",
        "",
    ],
)
def test_other_normalisations_are_refused_in_one_line_that_says_what_is_known(text: str) -> None:
    with pytest.raises(BadWeights, match=r"neither '\[-1, 1\]' nor like 'mean 0.485") as caught:
        parse(text)
    assert repr(text) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_backbone_and_its_module_take_images_in_minus_1_1_and_normalise_them() -> None:
    network = ResNet18((4, 4, 8, 8)).double().eval()
    images = IMAGES.double()
    with torch.no_grad():
        expected, maps = network(by_hand(images)), network.maps(by_hand(images))
    backbone = frozen(network, IMAGENET)
    assert isinstance(backbone.module, Normalised)
    assert backbone.module.network is network
    assert backbone.feature_dim == 8
    torch.testing.assert_close(backbone.embed(images), expected)
    torch.testing.assert_close(backbone.module(images), expected)
    torch.testing.assert_close(backbone.maps(images), maps)


def test_normalisation_adds_nothing_to_the_weights() -> None:
    network = ResNet18((4, 4, 8, 8))
    assert list(Normalised(network, parse(IMAGENET)).state_dict()) == [f"network.{key}" for key in network.state_dict()]


def test_normalised_network_follows_dtype() -> None:
    assert frozen(ResNet18((4, 4, 8, 8)), IMAGENET, torch.float32).embed(IMAGES).dtype == torch.float32


def test_image_adapters_work_inside_a_normalised_network() -> None:
    backbone = frozen(ResNet18((4, 4, 8, 8)), IMAGENET)
    names = convolutions(backbone)
    assert names[0] == "network.layer1.0.conv1"
    assert len(names) == 16
    adapted = AdaptedNetwork(backbone, names)
    for value in adapted.parameters.values():
        value.data.zero_()
    with torch.no_grad():
        torch.testing.assert_close(adapted(IMAGES.double()), backbone.embed(IMAGES))
