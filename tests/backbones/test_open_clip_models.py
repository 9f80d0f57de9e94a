"""Models of OpenCLIP, where it can be imported (it needs a torchvision that fits torch; CPU builds have none)."""

import json
import sys
from typing import Any

import pytest
import safetensors.torch
import torch

import backbones
from backbones.errors import BackboneError

try:
    import open_clip
except (ImportError, RuntimeError) as error:  # a torchvision of another build raises RuntimeError
    open_clip = None
    WHY = f"open_clip cannot be imported: {error}"

needs_open_clip = pytest.mark.skipif(open_clip is None, reason="" if open_clip else WHY)
VISION = {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8}
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
TINY = {"embed_dim": 16, "vision_cfg": VISION, "text_cfg": TEXT}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Weights of an architecture `metabench-tiny`, which OpenCLIP knows from here on."""
    folder = tmp_path_factory.mktemp("open_clip")
    (folder / "metabench-tiny.json").write_text(json.dumps(TINY))
    open_clip.add_model_config(folder / "metabench-tiny.json")
    torch.manual_seed(0)
    model: Any = open_clip.create_model("metabench-tiny")
    safetensors.torch.save_file(model.state_dict(), folder / "weights.safetensors")
    return folder / "weights.safetensors"


def refused(name) -> str:
    with pytest.raises(BackboneError) as caught:
        backbones.load(name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@needs_open_clip
def test_images_and_texts_are_embedded_as_the_library_does(weights):
    backbone: Any = backbones.load(f"open_clip:metabench-tiny/{weights}")
    model: Any = open_clip.create_model("metabench-tiny", pretrained=str(weights)).eval()
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    mean = torch.tensor(open_clip.OPENAI_DATASET_MEAN)[:, None, None]
    std = torch.tensor(open_clip.OPENAI_DATASET_STD)[:, None, None]
    tokens = open_clip.get_tokenizer("metabench-tiny")(["a dog", "a cat"])
    with torch.no_grad():
        expected, texts = model.encode_image(((images + 1) / 2 - mean) / std), model.encode_text(tokens)
    torch.testing.assert_close(backbone.embed(images), expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(backbone.encode(["a dog", "a cat"]), texts)
    assert backbone.logit_scale == pytest.approx(model.logit_scale.exp().item())
    assert backbone.maps(images).shape == (2, 32, 4, 4)
    assert (backbone.name, backbone.card.image_size) == ("open_clip:metabench-tiny/weights", 32)


@needs_open_clip
def test_unknown_names_are_answered_with_known_ones(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert "Did you mean 'ViT-B-32'?" in refused("open_clip:ViT-B-31/openai")
    assert "weights of ViT-B-32 that OpenCLIP knows: openai, " in refused("open_clip:ViT-B-32/openia")
    assert "cannot be reached for laion/CLIP-ViT-B-32" in refused("open_clip:ViT-B-32/laion2b_s34b_b79k")


def test_a_missing_library_gives_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "open_clip", None)
    said = refused("open_clip:ViT-B-32/openai")
    assert said.endswith("open_clip is not installed: pip install -e '.[open-clip]' in your clone")
