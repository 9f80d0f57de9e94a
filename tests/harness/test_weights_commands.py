"""`metabench weights import` and `show`, as a user types them."""

import torch

import backbones
from backbones.architectures import build
from backbones.contract import BackboneCard

WIDTHS = (4, 4, 8, 8)
HEAD = {"cls_fn.weight": torch.zeros(5, 8), "cls_fn.bias": torch.zeros(5)}


def published(arch, part=lambda key: True):
    torch.manual_seed(0)
    state = build(BackboneCard(name=arch, arch=arch, widths=WIDTHS)).state_dict()
    return {"epoch": 3, "args": {}, "state_dict": {key: value for key, value in state.items() if part(key)} | HEAD}


def test_import_prints_the_card_and_show_prints_it_again(metabench, workspace):
    torch.save(published("resnet18"), workspace / "model_best.pth.tar")
    done = metabench(
        "weights", "import", "model_best.pth.tar", "--out", "url.safetensors",
        "--trained-on", "ilsvrc_2012,omniglot=all,dtd=train+valid", "--stem-padding", 2,
    )  # fmt: skip
    assert done.status == 0, done.err
    lines = {" ".join(line.split()) for line in done.out.splitlines()}
    assert lines >= {
        "wrote url.safetensors and its card",
        "architecture resnet18",
        "widths 4,4,8,8",
        "features d = 8",
        "stem padding 2",
        "images 84 x 84, tf1-align-corners-bilinear-squash, [-1, 1]",
        "trained on ilsvrc_2012 (train), omniglot (all), dtd (train+valid)",
        "notes left out of the checkpoint: 'cls_fn.weight', 'cls_fn.bias'",
        "use it with: --backbone url.safetensors",
    }
    assert any(line.startswith("sha256 ") and len(line) == 71 for line in lines)
    shown = metabench("weights", "show", "url.safetensors").out
    assert shown.strip() in done.out


def test_weights_of_unknown_training_data_say_what_follows(metabench, workspace):
    torch.save(published("resnet50"), workspace / "resnet50.pth")
    done = metabench("weights", "import", "resnet50.pth", "--arch", "resnet50", "--out", "r50.safetensors")
    assert done.error.endswith("has unknown 'cls_fn.weight', 'cls_fn.bias'")
    bare = {key: value for key, value in published("resnet50")["state_dict"].items() if key not in HEAD}
    torch.save(bare, workspace / "resnet50.pth")
    done = metabench("weights", "import", "resnet50.pth", "--arch", "resnet50", "--out", "r50.safetensors")
    assert "unknown: domains are shown as '?' and get the unseen rates" in done.out
    assert "224 x 224" in done.out
    assert "stem padding" not in done.out


def test_film_backbones_of_two_domains_stand_side_by_side(metabench, workspace):
    torch.save(published("resnet18"), workspace / "imagenet.pth.tar")
    for domain in ("omniglot", "fungi"):
        film = published("resnet18-film", lambda key: "film" in key or "running_" in key)
        film["state_dict"]["film_normalize.beta"] += len(domain)
        torch.save(film, workspace / f"{domain}.pth.tar")
        done = metabench(
            "weights", "import", f"{domain}.pth.tar", "--arch", "resnet18-film", "--base", "imagenet.pth.tar",
            "--trained-on", f"ilsvrc_2012,{domain}", "--out", f"{domain}.safetensors",
        )  # fmt: skip
        assert done.status == 0, done.err
    both = backbones.load(f"{workspace / 'omniglot.safetensors'}+{workspace / 'fungi.safetensors'}")
    features = both.embed(torch.zeros(3, 3, 84, 84))
    assert features.shape == (3, 2, 8)
    assert not torch.allclose(features[:, 0], features[:, 1])
    assert [both.card.seen(name) for name in ("ilsvrc_2012", "omniglot", "fungi", "dtd")] == ["seen"] * 3 + ["unseen"]


def test_show_checks_the_weights_against_their_card(metabench, workspace):
    torch.save(published("resnet18"), workspace / "x.pth")
    metabench("weights", "import", "x.pth", "--out", "x.safetensors")
    data = (workspace / "x.safetensors").read_bytes()
    (workspace / "x.safetensors").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert "x.safetensors: sha256 is" in metabench("weights", "show", "x.safetensors").error
    assert "import it first: metabench weights import x.pth" in metabench("weights", "show", "x.pth").error


def test_show_takes_whatever_can_be_a_backbone(metabench, workspace, monkeypatch):
    monkeypatch.setenv("HOME", str(workspace))
    torch.save(published("resnet18"), workspace / "x.pth")
    metabench("weights", "import", "x.pth", "--out", "x.safetensors", "--trained-on", "dtd")
    assert "trained on    dtd (train)" in metabench("weights", "show", "~/x.safetensors").out
    assert "widths        16,32,64,128" in metabench("weights", "show", "resnet18-pocket-random").out
    both = metabench("weights", "show", "resnet18-pocket+resnet18-pocket-random").out
    assert "trained on    icons (train), emoji (train), clipart (train), glyphs (train)" in both
