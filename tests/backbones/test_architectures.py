"""The kinds of networks: held to numbers of the published implementations, on weights drawn from a seed."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from adapters._residual_adapters import AdaptedNetwork, convolutions
from backbones.architectures import ARCHITECTURES, build
from backbones.contract import BackboneCard, Network
from backbones.errors import BadWeights
from backbones.registry import IMPORTED
from backbones.resnet18 import ResNet18
from backbones.resnet18_film import FilmResNet18

GOLDEN = Path(__file__).parents[1] / "golden" / "backbones" / "architectures.npz"
WIDTHS = {"resnet12": (64, 160, 320, 640)}
NARROW = (4, 4, 8, 8)


def network_of(arch: str, widths: tuple[int, ...] | None = None) -> nn.Module:
    return build(BackboneCard(name=arch, arch=arch, widths=widths or WIDTHS.get(arch, (64, 128, 256, 512))))


def drawn(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights that the golden features were computed with; see tests/golden/README.md."""
    random, values = np.random.RandomState(0), {}
    for key in sorted(state):
        if key.endswith("num_batches_tracked"):
            values[key] = torch.tensor(1)
            continue
        value = random.standard_normal(tuple(state[key].shape))
        if value.ndim == 4:
            value *= (2 / np.prod(value.shape[1:])) ** 0.5
        elif key.endswith("running_var"):
            value = 1 + value**2 / 4
        else:
            value = value / 8 + key.endswith(("weight", "gamma"))
        values[key] = torch.from_numpy(value)
    return values


@pytest.mark.parametrize("arch", ["resnet12", "resnet18-film", "resnet34", "resnet50"])
def test_features_and_keys_are_those_of_the_published_implementation(arch: str) -> None:
    network = network_of(arch).double().eval()
    with np.load(GOLDEN) as golden:
        expected, keys = golden[arch], set(golden[f"{arch}.keys"].tolist())
    heads = {key for key in keys if key.startswith(ARCHITECTURES[arch].heads)}
    assert set(network.state_dict()) == keys - heads
    network.load_state_dict(drawn(network.state_dict()))
    size = 96 if arch == "resnet50" else 84
    images = torch.from_numpy(np.random.RandomState(1).uniform(-1, 1, (2, 3, size, size)))
    with torch.no_grad():
        np.testing.assert_allclose(network(images).numpy(), expected, rtol=0, atol=1e-10 * abs(expected).max())


@pytest.mark.parametrize(
    ("arch", "parameters"),
    [
        ("resnet12", 12_424_320),
        ("resnet18", 11_171_904),
        ("resnet34", 21_280_064),
        ("resnet50", 25_557_032 - 1000 * 2049),
    ],
)
def test_number_of_parameters_is_the_published_one_without_the_classifier(arch: str, parameters: int) -> None:
    with torch.device("meta"):
        network = network_of(arch)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


@pytest.mark.parametrize(
    ("arch", "size", "maps"),
    [
        ("resnet12", 84, (8, 5, 5)),
        ("resnet18", 84, (8, 6, 6)),
        ("resnet18-film", 84, (8, 6, 6)),
        ("resnet34", 84, (8, 6, 6)),
        ("resnet50", 224, (32, 7, 7)),
    ],
)
def test_maps_have_the_published_shape_and_features_are_their_mean(
    arch: str, size: int, maps: tuple[int, int, int]
) -> None:
    network: Network = network_of(arch, NARROW).eval()  # type: ignore[assignment]
    images = torch.rand(2, 3, size, size) * 2 - 1
    assert network.maps(images).shape == (2, *maps)
    assert network.feature_dim == maps[0]
    torch.testing.assert_close(network(images), network.maps(images).mean(dim=(2, 3)))


@pytest.mark.parametrize(
    ("arch", "count"), [("resnet12", 12), ("resnet18", 16), ("resnet18-film", 16), ("resnet34", 32), ("resnet50", 16)]
)
def test_residual_adapters_find_the_3x3_convolutions_and_start_near_the_frozen_network(arch: str, count: int) -> None:
    network = network_of(arch, NARROW).double().eval()
    names = convolutions(network)
    assert len(names) == count
    images = torch.rand(3, 3, 64, 64, dtype=torch.float64) * 2 - 1
    adapted = AdaptedNetwork(network, names)
    for value in adapted.parameters.values():
        value.data.zero_()
    with torch.no_grad():
        torch.testing.assert_close(adapted(images), network(images))


def test_film_layers_that_are_the_identity_leave_the_plain_network() -> None:
    plain = ResNet18(NARROW).eval()
    film = FilmResNet18(NARROW).eval()
    film.load_state_dict(plain.state_dict(), strict=False)
    images = torch.rand(2, 3, 84, 84) * 2 - 1
    assert torch.equal(film(images), plain(images))
    film.get_parameter("layer3.1.film2.beta").data += 0.5
    assert not torch.allclose(film(images), plain(images))


@pytest.mark.parametrize("arch", IMPORTED)
def test_last_stage_is_the_last_child_so_that_methods_can_finetune_it_alone(arch: str) -> None:
    assert [name for name, _ in network_of(arch, NARROW).named_children()][-1] == "layer4"


def test_every_architecture_with_weights_is_known_by_name() -> None:
    assert set(IMPORTED) == {name for name, each in ARCHITECTURES.items() if each.width_keys}


@pytest.mark.parametrize(
    ("arch", "fields", "says"),
    [
        ("resnet50", {"stem_padding": 2}, "a resnet50 has 4 positive widths and stem padding 1, not"),
        ("resnet34", {"widths": (4, 4, 8)}, r"not \(4, 4, 8\) and 1"),
        ("resnet34", {"widths": (4, 4, 8, 0)}, "4 positive widths"),
        ("raw-pixels", {"widths": NARROW}, "0 positive widths"),
        ("resnet9", {}, "of architecture 'resnet9'. Known: raw-pixels, resnet12"),
    ],
)
def test_card_of_a_network_that_cannot_be_is_refused(arch: str, fields: dict, says: str) -> None:
    with pytest.raises(BadWeights, match=says):
        build(BackboneCard(**{"name": "x", "arch": arch, "widths": NARROW} | fields))
