"""The importer of published checkpoints: what it takes, what it refuses, and that it runs nothing."""

import argparse
import collections
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

import backbones
from backbones.architectures import build
from backbones.checkpoints import import_checkpoint
from backbones.contract import BackboneCard
from backbones.errors import BackboneError, BadWeights
from backbones.weights import load_weights, weights_digest

WIDTHS = (4, 4, 8, 8)


def state_dict(arch: str = "resnet18") -> dict[str, Tensor]:
    torch.manual_seed(0)
    return dict(build(BackboneCard(name=arch, arch=arch, widths=WIDTHS)).state_dict())


def checkpoint(folder: Path, state: dict[str, Any], **extra: Any) -> Path:
    file = folder / "model_best.pth.tar"
    torch.save({"epoch": 3, "args": {"lr": 0.1}, "state_dict": state, **extra}, file)
    return file


def refused(file: Path, tmp_path: Path) -> str:
    """The one line with which the importer refuses a file; nothing may have been written."""
    out = tmp_path / "out" / "x.safetensors"
    with pytest.raises(BadWeights) as caught:
        import_checkpoint(file, "resnet18", None, out)
    assert not out.parent.exists()
    text = str(caught.value)
    assert "\n" not in text
    assert str(file) in text
    return text


def test_bare_state_dict_and_other_float_types_are_imported_as_float32(tmp_path: Path) -> None:
    halves = {key: v.half() if v.is_floating_point() else v for key, v in state_dict().items()}
    torch.save(halves, tmp_path / "bare.pt")
    import_checkpoint(tmp_path / "bare.pt", "resnet18", WIDTHS, tmp_path / "x.safetensors")
    state, _ = load_weights(tmp_path / "x.safetensors")
    assert {v.dtype for v in state.values()} == {torch.float32, torch.int64}


def test_what_the_user_knows_of_the_training_data_goes_on_the_card(tmp_path: Path) -> None:
    file = checkpoint(tmp_path, state_dict())
    card = import_checkpoint(
        file, "resnet18", None, tmp_path / "x.safetensors", trained_on={"ilsvrc_2012": ["train"]}, stem_padding=2
    )
    assert (card.seen("ilsvrc_2012"), card.seen("mnist"), card.stem_padding) == ("seen", "unseen", 2)


def test_missing_key_is_named(tmp_path: Path) -> None:
    state = state_dict()
    del state["layer2.0.downsample.1.num_batches_tracked"]
    assert "lacks 'layer2.0.downsample.1.num_batches_tracked'" in refused(checkpoint(tmp_path, state), tmp_path)


def test_prefix_on_some_keys_only_is_refused(tmp_path: Path) -> None:
    state = {(f"module.{key}" if key.startswith("layer4") else key): value for key, value in state_dict().items()}
    text = refused(checkpoint(tmp_path, state), tmp_path)
    assert "lacks 'layer4.0.conv1.weight'" in text
    assert "has unknown 'module.layer4.0.conv1.weight'" in text


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("layer1.0.conv2.weight", torch.zeros(4, 4, 1, 1), "has shape (4, 4, 1, 1)"),
        ("bn1.running_var", torch.full((4,), float("nan")), "NaN"),
        ("bn1.weight", torch.ones(4, dtype=torch.int64), "float32 wanted"),
        ("bn1.weight", "ones", "float32 wanted"),
        ("bn1.weight", torch.ones(4).to_sparse(), "float32 wanted"),
        ("bn1.weight", torch.ones(4, device="meta"), "float32 wanted"),
        ("bn1.weight", torch.full((4,), 1e300, dtype=torch.float64), "infinite"),
    ],
)
def test_wrong_value_is_named(key: str, value: Any, says: str, tmp_path: Path) -> None:
    text = refused(checkpoint(tmp_path, state_dict() | {key: value}), tmp_path)
    assert repr(key) in text
    assert says in text


LINEAR = {"cls_fn.weight": torch.zeros(5, 8), "cls_fn.bias": torch.zeros(5)}
COSINE = {"cls_fn.scale": torch.tensor(10.0), "cls_fn.weight": torch.zeros(8, 5)}


@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "module.backbone."])
@pytest.mark.parametrize("head", [LINEAR, COSINE])
@pytest.mark.parametrize("copies", [1, 8])
def test_heads_and_a_uniform_prefix_are_taken_off(
    prefix: str, head: dict[str, Tensor], copies: int, tmp_path: Path
) -> None:
    heads = [f"cls_fn.{i}." if copies > 1 else "cls_fn." for i in range(copies)]
    state = {f"{prefix}{key}": value for key, value in state_dict().items()}
    state |= {f"{prefix}{key.replace('cls_fn.', each)}": value for each in heads for key, value in head.items()}
    card = import_checkpoint(checkpoint(tmp_path, state), "resnet18", None, tmp_path / "url.safetensors")
    assert (card.name, card.widths, card.stem_padding, card.seen("icons")) == ("url", WIDTHS, 1, "unknown")
    assert card.weights_sha256 == weights_digest(state_dict())
    assert card.notes.startswith(f"left out of the checkpoint: '{prefix}cls_fn.")
    assert card.notes.endswith(" and 13 more") == (copies == 8)


def test_head_outside_the_wrapper_of_the_trunk_is_a_head_too(tmp_path: Path) -> None:
    state = {f"module.backbone.{key}": value for key, value in state_dict().items()} | LINEAR
    card = import_checkpoint(checkpoint(tmp_path, state), "resnet18", None, tmp_path / "x.safetensors")
    assert card.weights_sha256 == weights_digest(state_dict())


def test_head_of_another_name_is_not_taken_for_one(tmp_path: Path) -> None:
    state = state_dict() | {"clf_fn.weight": torch.zeros(5, 8)}
    assert "has unknown 'clf_fn.weight'" in refused(checkpoint(tmp_path, state), tmp_path)


def test_checkpoint_of_torch_before_its_batch_norms_counted_is_imported(tmp_path: Path) -> None:
    state = {key: value for key, value in state_dict().items() if not key.endswith("num_batches_tracked")}
    card = import_checkpoint(checkpoint(tmp_path, state), "resnet18", None, tmp_path / "x.safetensors")
    assert card.weights_sha256 == weights_digest(state_dict())


def test_safetensors_of_others_are_imported_like_checkpoints(tmp_path: Path) -> None:
    file = tmp_path / "others.safetensors"
    safetensors.torch.save_file({f"module.{key}": value for key, value in state_dict().items()} | LINEAR, file)
    card = import_checkpoint(file, "resnet18", None, tmp_path / "x.safetensors")
    assert card.weights_sha256 == weights_digest(state_dict())


def test_checkpoint_is_never_replaced_by_what_is_made_of_it(tmp_path: Path) -> None:
    file = tmp_path / "own.safetensors"
    safetensors.torch.save_file(state_dict(), file)
    before = file.read_bytes()
    with pytest.raises(BackboneError, match="would replace the checkpoint that is read"):
        import_checkpoint(file, "resnet18", None, tmp_path / "." / "own.safetensors")
    assert file.read_bytes() == before


def test_mistyped_key_is_named_with_the_one_it_is_meant_for(tmp_path: Path) -> None:
    state = state_dict()
    state["layer3.1.bn2.wieght"] = state.pop("layer3.1.bn2.weight")
    assert refused(checkpoint(tmp_path, state), tmp_path).endswith(
        "lacks 'layer3.1.bn2.weight' and has unknown 'layer3.1.bn2.wieght' "
        "('layer3.1.bn2.wieght' may be meant for 'layer3.1.bn2.weight')"
    )


def test_of_many_unknown_keys_the_first_three_are_named(tmp_path: Path) -> None:
    state = state_dict() | {f"layer5.{i}.weight": torch.zeros(1) for i in range(9)}
    assert "'layer5.0.weight', 'layer5.1.weight', 'layer5.2.weight' and 6 more" in refused(
        checkpoint(tmp_path, state), tmp_path
    )


@pytest.mark.parametrize("arch", ["resnet12", "resnet34", "resnet50"])
def test_checkpoint_of_another_architecture_is_recognised(arch: str, tmp_path: Path) -> None:
    text = refused(checkpoint(tmp_path, state_dict(arch)), tmp_path)
    assert text.endswith(f"; its keys are those of --arch {arch}")


@pytest.mark.parametrize(
    ("arch", "wrap", "size", "normalisation"),
    [
        ("resnet12", lambda state: {"opt": argparse.Namespace(), "model": scl(state), "attention": None}, 84, "0.47"),
        ("resnet12", lambda state: {"opt": argparse.Namespace(), "model": state | CLASSIFIER}, 84, "0.47"),
        ("resnet34", lambda state: {"state_dict": state | LINEAR}, 84, "[-1, 1]"),
        ("resnet50", lambda state: collections.OrderedDict(state | FC), 224, "0.485"),
    ],
)  # fmt: skip
def test_layouts_of_scl_rfs_url_and_torchvision_are_imported_for_the_pixels_they_were_made_for(
    arch: str, wrap: Callable, size: int, normalisation: str, tmp_path: Path
) -> None:
    torch.save(wrap(state_dict(arch)), tmp_path / "published.pth")
    card = import_checkpoint(tmp_path / "published.pth", arch, None, tmp_path / "x.safetensors")
    assert (card.arch, card.widths, card.image_size) == (arch, WIDTHS, size)
    assert normalisation in card.normalisation
    assert card.weights_sha256 == weights_digest(state_dict(arch))
    backbone = backbones.load(str(tmp_path / "x.safetensors"))
    assert backbone.embed(torch.zeros(1, 3, size, size)).shape == (1, backbone.feature_dim)


CLASSIFIER = {"classifier.weight": torch.zeros(5, 8), "classifier.bias": torch.zeros(5)}
FC = {"fc.weight": torch.zeros(5, 32), "fc.bias": torch.zeros(5)}


def scl(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """As Ouali et al. save it: the network beside a projection head."""
    encoder = {f"encoder.{key}": value for key, value in (state | CLASSIFIER).items()}
    return encoder | {"head.net.0.weight": torch.zeros(8, 8), "head.net.2.weight": torch.zeros(2, 8)}


def test_image_size_and_normalisation_are_the_users_where_given(tmp_path: Path) -> None:
    statistics = "mean 0.5071,0.4867,0.4408 std 0.2675,0.2565,0.2761"
    file, out = checkpoint(tmp_path, state_dict("resnet12")), tmp_path / "x.safetensors"
    card = import_checkpoint(file, "resnet12", None, out, image_size=32, normalisation=statistics)
    assert (card.image_size, card.normalisation) == (32, statistics)
    assert f"--image-size 32 --normalisation '{statistics}' --out x.safetensors" in card.command
    with pytest.raises(BadWeights, match="normalisation 'cifar' is neither"):
        import_checkpoint(file, "resnet12", None, out, normalisation="cifar")


@pytest.mark.parametrize(("arch", "padding"), [("resnet18", 3), ("resnet34", 0), ("resnet50", 2), ("resnet12", 2)])
def test_stem_padding_that_the_architecture_does_not_have_is_refused(arch: str, padding: int, tmp_path: Path) -> None:
    file, out = checkpoint(tmp_path, state_dict(arch)), tmp_path / "x.safetensors"
    with pytest.raises(BadWeights, match=f"a {arch} has .* stem padding 1"):
        import_checkpoint(file, arch, None, out, stem_padding=padding)
    assert not out.exists()


def film_files(folder: Path, without: str = "") -> tuple[Path, Path, dict[str, Tensor]]:
    """The shared network, a domain's part as SUR-pnf saves it, and both together."""
    shared, whole = state_dict(), state_dict("resnet18-film")
    own = {key: torch.rand_like(value) + 0.5 for key, value in whole.items() if "film" in key or "running_" in key}
    torch.save({"args": {}, "state_dict": shared | LINEAR}, folder / "imagenet.pth.tar")
    published = {key: value for key, value in own.items() if key != without}
    torch.save({"args": {}, "state_dict": published | COSINE}, folder / "film.pth.tar")
    return folder / "imagenet.pth.tar", folder / "film.pth.tar", whole | shared | own


def test_film_layers_of_a_domain_are_joined_with_the_shared_network(tmp_path: Path) -> None:
    base, file, whole = film_files(tmp_path)
    card = import_checkpoint(file, "resnet18-film", None, tmp_path / "x.safetensors", base=base)
    assert (card.arch, card.widths) == ("resnet18-film", WIDTHS)
    assert card.weights_sha256 == weights_digest(whole)
    torch.save(whole, tmp_path / "whole.pth")
    assert (
        card.weights_sha256
        == import_checkpoint(tmp_path / "whole.pth", "resnet18-film", None, tmp_path / "y.safetensors").weights_sha256
    )


def test_part_of_a_domain_must_be_complete_although_the_shared_network_could_fill_it(tmp_path: Path) -> None:
    base, file, _ = film_files(tmp_path, without="layer2.0.bn1.running_var")
    with pytest.raises(BadWeights, match=r"film\.pth\.tar: .* lacks 'layer2.0.bn1.running_var'"):
        import_checkpoint(file, "resnet18-film", None, tmp_path / "x.safetensors", base=base)


def test_part_of_a_domain_without_the_shared_network_is_recognised(tmp_path: Path) -> None:
    _, file, _ = film_files(tmp_path)
    with pytest.raises(BadWeights, match="part of one domain: give the checkpoint of the resnet18 with --base"):
        import_checkpoint(file, "resnet18-film", None, tmp_path / "x.safetensors")


def test_base_is_for_architectures_published_in_parts(tmp_path: Path) -> None:
    base, _, _ = film_files(tmp_path)
    with pytest.raises(BackboneError, match="a checkpoint of resnet18 is whole; leave --base out"):
        import_checkpoint(checkpoint(tmp_path, state_dict()), "resnet18", None, tmp_path / "x.safetensors", base=base)


def test_base_of_another_architecture_is_refused(tmp_path: Path) -> None:
    _, file, _ = film_files(tmp_path)
    torch.save(state_dict("resnet34"), tmp_path / "other.pth")
    with pytest.raises(BadWeights, match=r"other\.pth: .* its keys are those of --arch resnet34"):
        import_checkpoint(file, "resnet18-film", None, tmp_path / "x.safetensors", base=tmp_path / "other.pth")


def test_command_on_the_card_makes_the_same_weights_again(tmp_path: Path) -> None:
    file = checkpoint(tmp_path, state_dict())
    card = import_checkpoint(
        file, "resnet18", None, tmp_path / "x.safetensors", stem_padding=2, trained_on={"dtd": ["train", "valid"]}
    )
    assert card.command == (
        "metabench weights import model_best.pth.tar --arch resnet18 --widths 4,4,8,8 --stem-padding 2 "
        "--image-size 84 --normalisation '[-1, 1]' --trained-on dtd=train,dtd=valid --out x.safetensors"
    )


def test_unknown_architecture_teaches_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(BadWeights, match=r"'resnet81'\. Did you mean 'resnet18'\? Known: resnet12, resnet18, "):
        import_checkpoint(checkpoint(tmp_path, state_dict()), "resnet81", None, tmp_path / "x.safetensors")
    with pytest.raises(BadWeights, match="no importer for architecture 'raw-pixels'"):
        import_checkpoint(checkpoint(tmp_path, state_dict()), "raw-pixels", None, tmp_path / "x.safetensors")
