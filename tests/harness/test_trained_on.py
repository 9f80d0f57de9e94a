"""What a backbone was trained on: as written, as warned about, and as the leaderboard shows it."""

import csv

import msgspec
import pytest
import torch

import backbones
from backbones.contract import BackboneCard
from backbones.resnet18 import ResNet18
from backbones.weights import save_weights
from episodes.known_datasets import KNOWN, nearest_name
from harness.errors import HarnessError
from harness.trained_on import contaminated, doubtful_names, parse_trained_on, seen


def test_a_domain_alone_means_its_train_classes_and_parts_are_joined_by_plus():
    assert parse_trained_on(["omniglot", "ilsvrc_2012=all", "dtd=train-classes+valid"]) == {
        "omniglot": ("train",),
        "ilsvrc_2012": ("all",),
        "dtd": ("train", "valid"),
    }


def test_trained_on_none_is_known_to_be_none_of_the_domains(metabench, workspace):
    torch.save({"state_dict": ResNet18((2, 2, 2, 2)).state_dict()}, workspace / "a.pth")
    done = metabench("weights", "import", "a.pth", "--out", "a.safetensors", "--trained-on", "none")
    assert "trained on    none of a benchmark's domains" in done.out
    card = backbones.load(str(workspace / "a.safetensors")).card
    assert (card.training_data_known, card.trained_on, card.seen("omniglot")) == (True, {}, "unseen")
    assert "--trained-on none --out" in card.command


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["dtd=tests"], "--trained-on dtd: no part 'tests'. Did you mean 'test'? Known: all, test, train, valid"),
        (["dtd", "dtd=all"], "--trained-on dtd=all: names dtd twice"),
        (["=all"], "--trained-on =all: names no domain"),
        (["none", "dtd"], "--trained-on none,dtd: none stands alone"),
        (["dtd="], "--trained-on dtd: no part ''"),
    ],
)
def test_other_words_are_refused_in_one_line(words, error):
    with pytest.raises(HarnessError) as raised:
        parse_trained_on(words)
    assert str(raised.value).startswith(error)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("imagenet", "ilsvrc_2012"),
        ("ImageNet-1k", "ilsvrc_2012"),
        ("cub", "cu_birds"),
        ("vgg-flower", "vgg_flower"),
        ("omniglott", "omniglot"),
        ("laion", None),
    ],
)
def test_a_foreign_or_misspelt_name_is_recognised(written, meant):
    assert nearest_name(written) == meant


def test_no_two_data_sets_share_a_spelling():
    spellings = [spelling for known in KNOWN.values() for spelling in (known.name, *known.aliases)]
    assert len(spellings) == len(set(spellings))


def test_only_names_that_look_like_others_are_doubted():
    assert doubtful_names(["ilsvrc_2012", "ilsvrc_2012_v2", "mini_imagenet", "icons", "laion"]) == []
    assert doubtful_names(["cub"], own=["cub"]) == []
    assert doubtful_names(["my_brids"], own=["my_birds"]) == [
        "trained on 'my_brids': no data set of that name is known. Did you mean 'my_birds'?"
    ]


@pytest.mark.parametrize("domain", ["ilsvrc_2012_v2", "mini_imagenet"])
@pytest.mark.parametrize("part", ["all", "train"])
def test_whoever_was_trained_on_imagenet_knows_the_data_sets_made_of_it(domain, part):
    card = BackboneCard(name="n", arch="a", training_data_known=True, trained_on={"ilsvrc_2012": (part,)})
    assert (seen(card, domain), contaminated(card, domain, "test")) == ("seen", True)
    assert (seen(card, "omniglot"), contaminated(card, "omniglot", "test")) == ("unseen", False)
    assert contaminated(card, "ilsvrc_2012", "test") == (part == "all")


def test_a_run_on_a_data_set_made_of_imagenet_is_marked(run_ok, workspace):
    benchmark = workspace / "tiny.toml"
    benchmark.write_text(benchmark.read_text().replace('"reds"', '"mini_imagenet", folder = "reds"'))
    backbone, trained_on = backbones.load("resnet18-pocket-random"), {"ilsvrc_2012": ("all",)}
    card = msgspec.structs.replace(backbone.card, name="mine", training_data_known=True, trained_on=trained_on)
    save_weights(backbone.module.state_dict(), card, workspace / "mine.safetensors")
    out = run_ok("--backbone", "mine.safetensors").out
    assert "caution   mine was trained on the test classes of mini_imagenet: they prove little (†)" in out
    (line,) = [line for line in out.splitlines() if line.split()[:1] == ["mini_imagenet"]]
    assert line.split()[1] == "seen"
    assert "†" in line


def test_the_leaderboard_marks_what_the_backbone_was_trained_on(run_ok, workspace):
    backbone, trained_on = backbones.load("resnet18-pocket-random"), {"reds": ("all",), "bleus": ("train",)}
    card = msgspec.structs.replace(backbone.card, name="mine", trained_on=trained_on)
    save_weights(backbone.module.state_dict(), card, workspace / "mine.safetensors")
    out = run_ok("--backbone", "mine.safetensors").out
    assert "caution   mine says: trained on 'bleus': no data set of that name is known. Did you mean 'blues'?" in out
    assert "caution   mine was trained on the test classes of reds: they prove little (†)" in out
    (reds,) = [line for line in out.splitlines() if line.split()[:1] == ["reds"]]
    assert "†" in reds
    with (workspace / "runs/leaderboard.csv").open(newline="") as file:
        (line,) = csv.DictReader(file)
    assert line["contaminated"] == "reds"
    assert (line["seen_domains"], line["unseen_domains"], line["seen_mean"]) == ("", "blues", "")


def test_an_import_says_which_domain_names_look_misspelt(metabench, workspace):
    torch.save({"state_dict": ResNet18((2, 2, 2, 2)).state_dict()}, workspace / "a.pth")
    done = metabench("weights", "import", "a.pth", "--out", "a.safetensors", "--trained-on", "imagenet=all,omniglot")
    assert done.status == 0, done.err
    assert "trained on 'imagenet': no data set of that name is known. Did you mean 'ilsvrc_2012'?" in " ".join(
        done.out.split()
    )
    assert '"all"' in (workspace / "a.json").read_text()
