import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from backbones.checkpoints import import_checkpoint
from backbones.contract import BackboneCard
from backbones.errors import BackboneError, BadWeights
from backbones.resnet18 import ResNet18
from backbones.weights import card_path, load_weights, save_weights, weights_digest

WIDTHS = (4, 4, 8, 8)


def state_dict() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return dict(ResNet18(WIDTHS).state_dict())


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


def test_saved_weights_come_back_with_their_card(tmp_path: Path) -> None:
    out = tmp_path / "new" / "w.safetensors"
    card = BackboneCard(name="w", arch="resnet18", widths=WIDTHS, trained_on={"icons": ("train",)}, seed=3)
    written = save_weights(state_dict(), card, out)
    state, read = load_weights(out)
    assert read == written
    assert read.weights_sha256 == weights_digest(state_dict())
    assert all(torch.equal(state[key], value) for key, value in state_dict().items())
    assert sorted(p.name for p in out.parent.iterdir()) == ["w.json", "w.safetensors"]


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: data[:1000] + b"\x55" + data[1001:]])
def test_weights_that_are_not_the_cards_are_refused(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    out = tmp_path / "w.safetensors"
    save_weights(state_dict(), BackboneCard(name="w", arch="resnet18", widths=WIDTHS), out)
    out.write_bytes(damage(out.read_bytes()))
    with pytest.raises(BadWeights, match=r"w\.safetensors: sha256 is"):
        load_weights(out)


def test_weights_without_card_or_with_a_broken_one_are_refused(tmp_path: Path) -> None:
    out = tmp_path / "w.safetensors"
    save_weights(state_dict(), BackboneCard(name="w", arch="resnet18", widths=WIDTHS), out)
    card = json.loads(card_path(out).read_text())
    card_path(out).write_text(json.dumps(card | {"widths": "wide"}))
    with pytest.raises(BadWeights, match=r"w\.json: not a backbone card .*widths"):
        load_weights(out)
    card_path(out).unlink()
    with pytest.raises(BadWeights, match=r"w\.json: cannot be read \(No such file or directory\)"):
        load_weights(out)


def test_weights_are_saved_as_safetensors_only(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match=r"w\.pth: weights are written as \.safetensors"):
        save_weights(state_dict(), BackboneCard(name="w", arch="resnet18", widths=WIDTHS), tmp_path / "w.pth")


@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "module.backbone."])
def test_checkpoint_is_imported_without_head_and_uniform_prefix(prefix: str, tmp_path: Path) -> None:
    head = {"cls_fn.0.weight": torch.zeros(5, 8), "cls_fn.0.bias": torch.zeros(5)}
    state = {f"{prefix}{key}": value for key, value in state_dict().items()} | head
    card = import_checkpoint(checkpoint(tmp_path, state), "resnet18", None, tmp_path / "url.safetensors")
    assert (card.name, card.widths, card.stem_padding, card.seen("icons")) == ("url", WIDTHS, 1, "unknown")
    assert card.weights_sha256 == weights_digest(state_dict())


def test_bare_state_dict_and_other_float_types_are_imported_as_float32(tmp_path: Path) -> None:
    halves = {key: v.half() if v.is_floating_point() else v for key, v in state_dict().items()}
    torch.save(halves, tmp_path / "bare.pt")
    import_checkpoint(tmp_path / "bare.pt", "resnet18", WIDTHS, tmp_path / "x.safetensors")
    state, _ = load_weights(tmp_path / "x.safetensors")
    assert {v.dtype for v in state.values()} == {torch.float32, torch.int64}


def test_numbers_that_training_scripts_keep_are_no_obstacle(tmp_path: Path) -> None:
    file = checkpoint(tmp_path, state_dict(), best_val_acc=np.float64(71.5), losses=[np.float32(1.0)], n=np.int64(3))
    assert import_checkpoint(file, "resnet18", None, tmp_path / "x.safetensors").widths == WIDTHS


def test_what_the_user_knows_of_the_training_data_goes_on_the_card(tmp_path: Path) -> None:
    file = checkpoint(tmp_path, state_dict())
    card = import_checkpoint(
        file, "resnet18", None, tmp_path / "x.safetensors", trained_on={"ilsvrc_2012": ["train"]}, stem_padding=2
    )
    assert (card.seen("ilsvrc_2012"), card.seen("mnist"), card.stem_padding) == ("seen", "unseen", 2)


def test_mistyped_key_is_named(tmp_path: Path) -> None:
    state = state_dict()
    state["layer3.1.bn2.wieght"] = state.pop("layer3.1.bn2.weight")
    text = refused(checkpoint(tmp_path, state), tmp_path)
    assert "lacks 'layer3.1.bn2.weight' and has unknown 'layer3.1.bn2.wieght'" in text


def test_missing_key_is_named(tmp_path: Path) -> None:
    state = state_dict()
    del state["layer2.0.downsample.1.num_batches_tracked"]
    assert "lacks 'layer2.0.downsample.1.num_batches_tracked'" in refused(checkpoint(tmp_path, state), tmp_path)


def test_network_of_another_kind_is_refused_with_its_first_keys(tmp_path: Path) -> None:
    state = state_dict() | {f"layer5.{i}.weight": torch.zeros(1) for i in range(9)}
    assert "'layer5.0.weight', 'layer5.1.weight', 'layer5.2.weight' and 6 more" in refused(
        checkpoint(tmp_path, state), tmp_path
    )


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
    ],
)
def test_wrong_value_is_named(key: str, value: Any, says: str, tmp_path: Path) -> None:
    text = refused(checkpoint(tmp_path, state_dict() | {key: value}), tmp_path)
    assert repr(key) in text
    assert says in text


def test_absent_file_folder_and_plain_text_are_refused(tmp_path: Path) -> None:
    assert "No such file" in refused(tmp_path / "none.pth", tmp_path)
    (tmp_path / "folder").mkdir()
    assert "directory" in refused(tmp_path / "folder", tmp_path)
    (tmp_path / "note.pth").write_text("weights to follow\n")
    assert "no checkpoint" in refused(tmp_path / "note.pth", tmp_path)
    (tmp_path / "empty.pth").touch()
    refused(tmp_path / "empty.pth", tmp_path)


def test_checkpoint_without_state_dict_is_refused(tmp_path: Path) -> None:
    torch.save([torch.zeros(2)], tmp_path / "list.pth")
    assert "no state_dict" in refused(tmp_path / "list.pth", tmp_path)


@pytest.mark.parametrize("legacy", [False, True])
def test_truncated_checkpoint_is_refused_wherever_it_ends(legacy: bool, tmp_path: Path) -> None:
    file = tmp_path / "c.pth"
    torch.save({"state_dict": state_dict()}, file, _use_new_zipfile_serialization=not legacy)
    whole = file.read_bytes()
    for end in (1, 2, 10, 100, 1000, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:end])
        refused(file, tmp_path)


def test_flipped_bit_in_the_tensors_of_a_checkpoint_is_found(tmp_path: Path) -> None:
    file = checkpoint(tmp_path, state_dict())
    with zipfile.ZipFile(file) as archive:
        largest = max(archive.infolist(), key=lambda member: member.file_size)
        middle = archive.read(largest)[100:140]
    data = bytearray(file.read_bytes())
    data[data.index(middle)] ^= 4
    file.write_bytes(data)
    assert "damaged, CRC of" in refused(file, tmp_path)


class Harmful:
    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch ran",)


@pytest.mark.parametrize("raw", [True, False])
def test_code_in_a_checkpoint_is_refused_and_not_run(
    raw: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = checkpoint(tmp_path, state_dict(), args=Harmful()) if not raw else tmp_path / "raw.pth"
    if raw:
        file.write_bytes(pickle.dumps({"state_dict": Harmful()}, protocol=2))
    assert "asks to run posix.system" in refused(file, tmp_path)
    assert not (tmp_path / "ran").exists()


def test_unknown_architecture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadWeights, match="'vit'. Known: resnet18"):
        import_checkpoint(checkpoint(tmp_path, state_dict()), "vit", None, tmp_path / "x.safetensors")
