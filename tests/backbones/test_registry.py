import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import backbones
from backbones.contract import BackboneCard
from backbones.errors import BackboneError, BadWeights, UnknownBackbone
from backbones.registry import IMPORTED, SHIPPED
from backbones.resnet18 import ResNet18
from backbones.weights import save_weights

IMAGES = torch.rand(3, 3, 84, 84, generator=torch.Generator().manual_seed(0)) * 2 - 1


def tiny_weights(folder: Path, **fields: Any) -> Path:
    """A saved ResNet-18 of widths 4, 4, 8, 8."""
    card = BackboneCard(name="tiny", arch="resnet18", widths=(4, 4, 8, 8), **fields)
    state = ResNet18((4, 4, 8, 8)).state_dict()
    save_weights(state, card, folder / "tiny.safetensors")
    return folder / "tiny.safetensors"


def test_listing_the_names_imports_no_torch() -> None:
    code = "import sys, backbones; print(backbones.known()); assert not {'torch', 'transformers'} & set(sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "resnet18-pocket-random" in result.stdout


@pytest.mark.parametrize("name", [name for name in backbones.known() if name != "resnet18-random"])
def test_every_known_backbone_is_frozen_and_embeds(name: str) -> None:
    backbone = backbones.load(name)
    assert backbone.name == name
    assert not backbone.module.training
    assert not any(p.requires_grad for p in backbone.module.parameters())
    features = backbone.embed(IMAGES)
    assert features.shape == (3, backbone.feature_dim)
    assert features.dtype == torch.float32
    assert backbone.maps(IMAGES).shape[0] == 3


def test_every_shipped_card_has_its_weights_and_provenance() -> None:
    for file in SHIPPED.glob("*.json"):
        card = backbones.load(file.stem).card
        assert card.command
        assert card.seed is not None
        assert card.training_data_known
        assert not any(card.contaminated(domain, split) for domain in card.trained_on for split in ("valid", "test"))
        assert file.with_suffix(".safetensors").stat().st_size < 3_000_000


def test_full_width_random_network_has_512_features() -> None:
    assert backbones.load("resnet18-random").feature_dim == 512


def test_random_baseline_is_the_same_every_time_and_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    one = backbones.load("resnet18-pocket-random")
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    two = backbones.load("resnet18-pocket-random")
    assert backbones.identity(one) == backbones.identity(two)
    assert torch.equal(one.embed(IMAGES), two.embed(IMAGES))


def test_embedding_and_maps_leave_a_frozen_backbone_unchanged() -> None:
    backbone = backbones.load("resnet18-pocket-random")
    before = {key: value.clone() for key, value in backbone.module.state_dict().items()}
    with torch.enable_grad():
        features = backbone.embed(IMAGES)
        backbone.maps(IMAGES)
    assert not features.requires_grad
    assert all(torch.equal(value, before[key]) for key, value in backbone.module.state_dict().items())


def test_features_of_an_embedding_can_be_trained_on() -> None:
    head = torch.nn.Linear(128, 2)
    head(backbones.load("resnet18-pocket-random").embed(IMAGES)).sum().backward()
    assert head.weight.grad is not None


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_dtypes_are_honoured_and_named_in_the_identity(dtype: torch.dtype) -> None:
    for name in ("resnet18-pocket-random", "raw-pixels"):
        reference, backbone = backbones.load(name), backbones.load(name, dtype=dtype)
        assert backbone.embed(IMAGES).dtype == backbone.maps(IMAGES).dtype == dtype
        torch.testing.assert_close(backbone.embed(IMAGES).float(), reference.embed(IMAGES), atol=0.2, rtol=0.1)
        assert backbones.identity(backbone) != backbones.identity(reference)


def test_embedding_is_the_mean_of_the_maps() -> None:
    backbone = backbones.load("resnet18-pocket-random", dtype=torch.float64)
    torch.testing.assert_close(backbone.embed(IMAGES), backbone.maps(IMAGES).mean(dim=(2, 3)))


def test_raw_pixels_are_block_means_of_the_image() -> None:
    image = torch.arange(3 * 32 * 32, dtype=torch.float32).reshape(1, 3, 32, 32) / 3072
    backbone = backbones.load("raw-pixels")
    expected = image.reshape(1, 3, 16, 2, 16, 2).mean(dim=(3, 5))
    torch.testing.assert_close(backbone.maps(image), expected)
    torch.testing.assert_close(backbone.embed(image), expected.flatten(1))
    assert backbone.card.seen("mnist") == "unseen"


@pytest.mark.parametrize(("padding", "sizes"), [(1, [41, 41, 21, 11, 6]), (2, [42, 42, 21, 11, 6])])
def test_stem_padding_decides_the_sizes_of_the_maps(padding: int, sizes: list[int]) -> None:
    network, seen = ResNet18((4, 4, 8, 8), padding), []
    for part in (network.conv1, network.layer1, network.layer2, network.layer3, network.layer4):
        part.register_forward_hook(lambda module, args, out: seen.append(out.shape[-1]))
    network(torch.zeros(1, 3, 84, 84))
    assert seen == sizes


def test_weights_file_can_be_named_by_path_or_given_to_resnet18(tmp_path: Path) -> None:
    file = tiny_weights(tmp_path)
    by_path, by_name = backbones.load(str(file)), backbones.load("resnet18", weights=file)
    assert by_path.name == by_name.name == "tiny"
    assert backbones.identity(by_path) == backbones.identity(by_name)


def test_unknown_name_teaches_the_known_ones() -> None:
    with pytest.raises(
        UnknownBackbone, match=r"no backbone 'raw-pixel'. Did you mean 'raw-pixels'\? Known: .*resnet18"
    ):
        backbones.load("raw-pixel")


@pytest.mark.parametrize("form", ["hf:FOLDER_OR_ID", "timm:NAME_OR_FOLDER", "open_clip:ARCH/WEIGHTS"])
def test_the_name_of_a_library_alone_says_what_comes_after_it(form: str) -> None:
    with pytest.raises(UnknownBackbone, match=f"nothing stands after the colon; write it as {form}"):
        backbones.load(form[: form.index(":") + 1])


@pytest.mark.parametrize("name", ["url/model_best.pth.tar", "net.pth", "net.pt", "net.ckpt"])
def test_a_checkpoint_that_is_not_imported_says_how_to_import_it(name: str) -> None:
    with pytest.raises(UnknownBackbone) as raised:
        backbones.load(name)
    assert str(raised.value).endswith(f"import it first: metabench weights import {name} --out NAME.safetensors")


@pytest.mark.parametrize("name", IMPORTED)
def test_architecture_without_weights_is_not_listed_and_says_how_to_get_them(name: str) -> None:
    assert name not in backbones.known()
    with pytest.raises(BackboneError, match=f"--backbone FILE.safetensors, .* CHECKPOINT --arch {name} "):
        backbones.load(name)


def test_weights_of_another_architecture_than_the_named_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match=r"tiny\.safetensors: its card says resnet18, not resnet34"):
        backbones.load("resnet34", weights=tiny_weights(tmp_path))


def test_weights_for_a_backbone_that_takes_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="'raw-pixels' takes no weights file"):
        backbones.load("raw-pixels", weights=tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"normalisation": "imagenet"}, "imagenet"),
        ({"resize": "pil"}, "pil"),
        ({"stem_padding": 3}, "stem padding 1 or 2"),
    ],
)
def test_card_that_asks_for_something_unknown_is_refused(fields: dict, says: str, tmp_path: Path) -> None:
    with pytest.raises(BadWeights, match=says):
        backbones.load(str(tiny_weights(tmp_path, **fields)))
