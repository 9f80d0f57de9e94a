import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from backbones.contract import BackboneCard
from backbones.errors import BackboneError, BadWeights
from backbones.resnet18 import ResNet18
from backbones.weights import card_path, load_weights, save_weights, weights_digest

WIDTHS = (4, 4, 8, 8)


def state_dict() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return dict(ResNet18(WIDTHS).state_dict())


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
