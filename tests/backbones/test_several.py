"""Backbones side by side: features, what they have seen together, identity."""

import pytest
import torch

import backbones
from backbones.contract import BackboneCard
from backbones.errors import BackboneError, UnknownBackbone
from backbones.several import joint_card
from backbones.weights import save_weights

IMAGES = torch.rand(2, 3, 84, 84, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture
def other(tmp_path):
    """A backbone like resnet18-pocket-random with other weights, as a file."""
    first = backbones.load("resnet18-pocket-random")
    state = {key: value * 2 for key, value in first.module.state_dict().items()}
    path = tmp_path / "other.safetensors"
    card = BackboneCard(name="other", arch="resnet18", widths=(16, 32, 64, 128), trained_on={"a": ("train",)})
    save_weights(state, card, path)
    return path


def test_features_and_maps_of_each_lie_side_by_side_in_the_order_of_the_names(other):
    several = backbones.load(f"resnet18-pocket-random+{other}")
    alone = [backbones.load("resnet18-pocket-random"), backbones.load(str(other))]
    features, maps = several.embed(IMAGES), several.maps(IMAGES)
    assert (features.shape, maps.shape, several.feature_dim) == ((2, 2, 128), (2, 2, 128, 6, 6), 128)
    for k, backbone in enumerate(alone):
        assert torch.equal(features[:, k], backbone.embed(IMAGES))
        assert torch.equal(maps[:, k], backbone.maps(IMAGES))
    assert not torch.equal(features[:, 0], features[:, 1])
    assert not any(parameter.requires_grad for parameter in several.module.parameters())


def test_they_are_known_by_all_names_and_weights(other):
    several = backbones.load(f"resnet18-pocket-random+{other}")
    assert several.name == "resnet18-pocket-random+other"
    shas = [member.card.weights_sha256 for member in backbones.members_of(several)]
    assert several.card.weights_sha256 == "+".join(shas)


def test_identity_depends_on_every_member_and_on_the_order(other):
    name = "resnet18-pocket-random"
    identities = [backbones.identity(backbones.load(each)) for each in (name, str(other), f"{name}+{other}")]
    identities.append(backbones.identity(backbones.load(f"{other}+{name}")))
    identities.append(backbones.identity(backbones.load(f"{name}+{name}")))
    assert len(set(identities)) == 5


def card(known=True, **trained_on):
    return BackboneCard(name="x", arch="resnet18", training_data_known=known, trained_on=trained_on)


def test_a_domain_is_seen_if_any_has_seen_it_and_unseen_only_if_all_are_known_not_to_have():
    first, second, unknown = card(a=("train",)), card(a=("valid",), b=("train", "test")), card(known=False)
    joint = joint_card([first, second])
    assert [joint.seen(domain) for domain in "abc"] == ["seen", "seen", "unseen"]
    assert joint.trained_on["a"] == ("train", "valid")
    assert joint.contaminated("b")
    assert [joint_card([first, unknown]).seen(domain) for domain in "abc"] == ["seen", "unknown", "unknown"]


def test_backbones_of_other_sizes_are_refused_in_one_line():
    with pytest.raises(BackboneError, match=r"features of one size, not raw-pixels 768, resnet18-pocket-random 128"):
        backbones.load("raw-pixels+resnet18-pocket-random")


def test_an_unknown_member_is_named():
    with pytest.raises(UnknownBackbone, match="no backbone 'raw-pixel'. Did you mean 'raw-pixels'"):
        backbones.load("raw-pixels+raw-pixel")


def test_a_file_with_a_plus_in_its_name_is_one_backbone(other, tmp_path):
    path = tmp_path / "a+b.safetensors"
    other.rename(path)
    other.with_suffix(".json").rename(path.with_suffix(".json"))
    assert backbones.members_of(backbones.load(str(path)))[0].feature_dim == 128
    assert backbones.split_name(str(path)) == [str(path)]
