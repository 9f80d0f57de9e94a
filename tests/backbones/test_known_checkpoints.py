"""What is written down about well-known checkpoints."""

import tomllib

import msgspec
import pytest

from backbones.contract import BackboneCard
from backbones.foreign import KNOWN_CHECKPOINTS, Facts, facts_about

TABLE = tomllib.loads(KNOWN_CHECKPOINTS.read_text())


def card(library, name):
    facts = facts_about(library, name)
    return BackboneCard(name=name, arch="", **msgspec.structs.asdict(facts))


def test_every_entry_is_well_formed_and_cites_a_paper():
    assert set(TABLE) == {"hf", "timm", "open_clip", "packages"}
    for library in TABLE.values():
        for entry in library.values():
            assert "arXiv:" in msgspec.convert(entry, Facts).citation


@pytest.mark.parametrize(
    ("library", "name", "imagenet", "elsewhere"),
    [
        ("hf", "google/vit-base-patch16-224", True, "unseen"),
        ("timm", "resnet50.a1_in1k", True, "unseen"),
        ("packages", "efficientnet-lite0", True, "unseen"),
        ("hf", "facebook/dinov2-small", True, "unknown"),
        ("hf", "openai/clip-vit-base-patch32", False, "unknown"),
        ("hf", "somebody/else", False, "unknown"),
    ],
)
def test_imagenet_networks_have_seen_its_test_classes_and_those_of_the_web_nobody_knows(
    library, name, imagenet, elsewhere
):
    assert card(library, name).contaminated("ilsvrc_2012", "test") == imagenet
    assert card(library, name).seen("omniglot") == elsewhere
