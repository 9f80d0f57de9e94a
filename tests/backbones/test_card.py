import msgspec
import pytest

from backbones.contract import BackboneCard

CARD = BackboneCard(
    name="net",
    arch="resnet18",
    widths=(16, 32, 64, 128),
    training_data_known=True,
    trained_on={"icons": ("train",), "emoji": ("train", "test"), "odd": ("valid",)},
)


def test_card_survives_json() -> None:
    assert msgspec.json.decode(msgspec.json.encode(CARD), type=BackboneCard) == CARD


def test_card_with_a_misspelt_field_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="trained_upon"):
        msgspec.json.decode(b'{"name": "n", "arch": "resnet18", "trained_upon": {}}', type=BackboneCard)


@pytest.mark.parametrize(
    ("domain", "state"), [("icons", "seen"), ("emoji", "seen"), ("odd", "unseen"), ("mnist", "unseen")]
)
def test_known_training_data_makes_every_domain_seen_or_unseen(domain: str, state: str) -> None:
    assert CARD.seen(domain) == state


def test_without_knowledge_of_the_training_data_domains_are_unknown() -> None:
    partly = msgspec.structs.replace(CARD, training_data_known=False)
    assert partly.seen("mnist") == "unknown"
    assert partly.seen("icons") == "seen"
    assert BackboneCard(name="n", arch="resnet18").seen("icons") == "unknown"


def test_only_training_on_the_split_itself_contaminates_it() -> None:
    assert CARD.contaminated("emoji", "test")
    assert not CARD.contaminated("icons", "test")
    assert CARD.contaminated("odd", "valid")
    assert not CARD.contaminated("mnist", "test")
