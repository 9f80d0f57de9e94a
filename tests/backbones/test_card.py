import msgspec
import pytest

import backbones
from backbones.contract import BackboneCard
from backbones.errors import BadWeights
from backbones.several import joint_card
from backbones.weights import save_weights

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


WHOLE = BackboneCard(name="whole", arch="resnet18", training_data_known=True, trained_on={"ilsvrc_2012": ("all",)})


def test_training_on_all_classes_is_seen_and_contaminates_every_split() -> None:
    assert WHOLE.seen("ilsvrc_2012") == "seen"
    assert all(WHOLE.contaminated("ilsvrc_2012", split) for split in ("train", "valid", "test"))
    assert not WHOLE.contaminated("omniglot")


def test_a_domain_of_which_the_test_classes_alone_were_trained_on_is_unseen_and_contaminated() -> None:
    card = msgspec.structs.replace(WHOLE, trained_on={"dtd": ("test",)})
    assert (card.seen("dtd"), card.contaminated("dtd")) == ("unseen", True)


def test_train_classes_is_another_word_for_train() -> None:
    card = BackboneCard(name="n", arch="a", trained_on={"dtd": ("train-classes", "train", "valid")})
    assert card.trained_on == {"dtd": ("train", "valid")}
    assert card.seen("dtd") == "seen"


def test_a_part_written_as_text_is_one_part() -> None:
    assert msgspec.structs.replace(CARD, trained_on={"dtd": "train"}).trained_on == {"dtd": ("train",)}
    with pytest.raises(BadWeights, match=r"dtd: no part 'tests'\. Did you mean 'test'"):
        msgspec.structs.replace(CARD, trained_on={"dtd": "tests"})


def test_several_backbones_have_seen_what_any_of_them_has() -> None:
    joint = joint_card([WHOLE, CARD])
    assert joint.trained_on == {**WHOLE.trained_on, **CARD.trained_on}
    assert joint.contaminated("ilsvrc_2012")
    assert (joint.seen("icons"), joint.seen("mnist")) == ("seen", "unseen")
    unknown = joint_card([WHOLE, BackboneCard(name="n", arch="a")])
    assert (unknown.seen("ilsvrc_2012"), unknown.seen("mnist")) == ("seen", "unknown")


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (("tests",), r"dtd: no part 'tests'\. Did you mean 'test'\? Known: all, test, train, valid"),
        ((), "dtd: no part given"),
    ],
)
def test_a_part_that_does_not_exist_is_one_line_that_names_the_card_and_the_domain(parts, words) -> None:
    with pytest.raises(BadWeights, match=f"card of backbone 'net': trained_on: {words}"):
        msgspec.structs.replace(CARD, trained_on={"dtd": parts})


def test_a_card_on_disk_with_such_a_part_is_named_by_its_file(tmp_path) -> None:
    backbone = backbones.load("resnet18-pocket-random")
    save_weights(backbone.module.state_dict(), CARD, tmp_path / "mine.safetensors")
    card = tmp_path / "mine.json"
    card.write_text(card.read_text().replace('"valid"', '"vlaid"'))
    with pytest.raises(
        BadWeights, match=r"mine\.json: not a backbone card .* no part 'vlaid'\. Did you mean 'valid'\?"
    ):
        backbones.load(str(tmp_path / "mine.safetensors"))
