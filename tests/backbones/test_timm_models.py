"""Models of timm, where it can be imported (it needs a torchvision that fits torch; CPU builds have none)."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import backbones
from backbones.errors import BackboneError

try:
    import timm
except (ImportError, RuntimeError) as error:  # a torchvision of another build raises RuntimeError
    timm = None
    WHY = f"timm cannot be imported: {error}"

needs_timm = pytest.mark.skipif(timm is None, reason="" if timm else WHY)
KINDS = {
    "resnet10t": ({}, 176, (512, 6, 6)),
    "vit_tiny_patch16_224": ({"img_size": 32, "embed_dim": 24, "depth": 2, "num_heads": 2}, 32, (24, 2, 2)),
    "vit_base_patch16_siglip_224": ({"img_size": 32, "embed_dim": 24, "depth": 2, "num_heads": 2}, 32, (24, 2, 2)),
    "swin_tiny_patch4_window7_224": (
        {"img_size": 56, "embed_dim": 8, "depths": (1, 1), "num_heads": (2, 2)},
        56,
        (16, 7, 7),
    ),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """The folder of a model with random weights, as timm saves it."""
    root = tmp_path_factory.mktemp("models")

    def saved(name) -> Path:
        if not (root / name).exists():
            torch.manual_seed(0)
            options = KINDS[name][0]
            model = timm.create_model(name, num_classes=5, **options)
            timm.models.save_for_hf(model, root / name, model_args=options, safe_serialization=True)
        return root / name

    return saved


def refused(name) -> str:
    with pytest.raises(BackboneError) as caught:
        backbones.load(name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@needs_timm
@pytest.mark.parametrize("name", KINDS)
def test_features_are_those_of_the_library_on_pixels_normalised_its_way(name, models):
    backbone: Any = backbones.load(f"timm:{models(name)}")
    model = timm.create_model(f"local-dir:{models(name)}", pretrained=True, num_classes=0).eval()
    _, size, maps = KINDS[name]
    images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    data = timm.data.resolve_model_data_config(model)
    mean, std = (torch.tensor(data[key])[:, None, None] for key in ("mean", "std"))
    with torch.no_grad():
        expected = model(((images + 1) / 2 - mean) / std)
    torch.testing.assert_close(backbone.embed(images), expected, atol=1e-5, rtol=1e-4)
    assert (backbone.card.image_size, backbone.feature_dim) == (size, maps[0])
    assert backbone.maps(images).shape == (2, *maps)
    assert backbone.name == f"timm:{name}"


@needs_timm
@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"])
def test_maps_hold_each_patch_where_it_lies_in_the_image(name, models):
    backbone = backbones.load(f"timm:{models(name)}")
    size = backbone.card.image_size
    image = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    other = image.clone()
    other[:, :, : size // 4, -size // 4 :] = 1  # the top right corner
    moved = (backbone.maps(other) - backbone.maps(image)).norm(dim=1)[0]
    row, column = divmod(int(moved.argmax()), moved.shape[1])
    assert row < moved.shape[0] / 2 <= column


@needs_timm
def test_an_unknown_name_suggests_the_nearest_and_a_hub_out_of_reach_is_told_at_once(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert "Did you mean 'timm:resnet18.a1_in1k'?" in refused("timm:resnet18.a1_in1")
    assert "cannot be reached for timm/resnet18.a1_in1k" in refused("timm:resnet18.a1_in1k")
    assert "there is no folder nothing-here; give one of timm's `save_for_hf`" in refused("timm:./nothing-here")


def test_a_missing_library_gives_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    assert refused("timm:resnet18").endswith("timm is not installed: pip install -e '.[timm]' in your clone")


def test_a_library_that_cannot_be_imported_says_what_it_lacks(monkeypatch, tmp_path):
    (tmp_path / "timm.py").write_text("import torchvision_of_this_torch")
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "timm cannot be imported (No module named 'torchvision_of_this_torch')" in refused("timm:resnet18")


def test_a_folder_that_is_only_called_like_the_library_is_not_taken_for_it(monkeypatch, tmp_path):
    (tmp_path / "timm").mkdir()
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert "timm is not installed" in refused("timm:resnet18")
