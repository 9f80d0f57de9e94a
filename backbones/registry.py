"""Names to frozen backbones. Torch is imported when a backbone is loaded, not before."""

from __future__ import annotations

import difflib
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from backbones.contract import Backbone, BackboneCard
from backbones.errors import BackboneError, UnknownBackbone

if TYPE_CHECKING:
    import torch
    from torch import nn

SHIPPED = Path(__file__).parent / "shipped"
RANDOM_SEED = 0
# the architectures of `metabench weights import`, by name, so that listing them needs no torch
IMPORTED = ("resnet12", "resnet18", "resnet18-film", "resnet34", "resnet50")
_BUILT_IN = {
    "raw-pixels": BackboneCard(name="raw-pixels", arch="raw-pixels", licence="none", training_data_known=True),
    "resnet18-pocket-random": BackboneCard(
        name="resnet18-pocket-random", arch="resnet18", widths=(16, 32, 64, 128), training_data_known=True
    ),
    "resnet18-random": BackboneCard(
        name="resnet18-random", arch="resnet18", widths=(64, 128, 256, 512), training_data_known=True
    ),
}


def known() -> list[str]:
    """The names `load` takes, beside a path ending in .safetensors; those of `IMPORTED` need `weights`."""
    return sorted({*IMPORTED, *_BUILT_IN, *(card.stem for card in SHIPPED.glob("*.json"))})


def load(name: str, *, weights: Path | None = None, device: str = "cpu", dtype: torch.dtype | None = None) -> Backbone:
    """The backbone of that name, frozen, on `device` in `dtype` (None: float32).

    `name` is one of `known()` or the path of a .safetensors file; `weights` is that file for a name in `IMPORTED`.
    `a+b+c` is three of them side by side, with features (n, 3, d).
    Raises UnknownBackbone, BadWeights, or BackboneError when `weights` is missing or not wanted, or sizes differ.
    """
    import torch

    from backbones.frozen import FrozenBackbone
    from backbones.several import SeveralBackbones

    names = split_name(name)
    if len(names) > 1:
        if not all(names):
            raise BackboneError(f"backbone {name!r}: there is a + too many; several are written as a+b+c")
        return SeveralBackbones([load(each, weights=weights, device=device, dtype=dtype) for each in names])
    card, module = _make(name, Path(weights) if weights is not None else None)
    return FrozenBackbone(card, module, device=torch.device(device), dtype=dtype or torch.float32)


def split_name(name: str) -> list[str]:
    """The names in "a+b+c"; the path of a file is one name."""
    return [name] if Path(name).is_file() else name.split("+")


def members_of(backbone: Backbone) -> tuple[Backbone, ...]:
    """The networks in it: itself, unless it is several side by side."""
    return getattr(backbone, "members", (backbone,))


def identity(backbone: Backbone) -> str:
    """Hex digest of all that decides an embedding: network, weights, preprocessing, dtype. Keys rows and caches."""
    members = members_of(backbone)
    if len(members) > 1:
        return hashlib.sha256("+".join(map(identity, members)).encode()).hexdigest()
    card = backbone.card
    parts = {
        "arch": card.arch,
        "widths": card.widths,
        "stem_padding": card.stem_padding,
        "image_size": card.image_size,
        "resize": card.resize,
        "normalisation": card.normalisation,
        "weights": card.weights_sha256,
        "dtype": str(backbone.dtype),
    }
    return hashlib.sha256(msgspec.json.encode(parts, order="sorted")).hexdigest()


def _make(name: str, weights: Path | None) -> tuple[BackboneCard, nn.Module]:
    if weights is not None and name not in IMPORTED:
        raise BackboneError(f"backbone {name!r} takes no weights file; for yours: resnet18 with {weights}")
    if name.endswith(".safetensors"):
        return _from_file(Path(name))
    if name in IMPORTED:
        return _of_architecture(name, weights)
    if name in _BUILT_IN:
        return _without_file(_BUILT_IN[name])
    if name in known():
        return _from_file(SHIPPED / f"{name}.safetensors")
    close = difflib.get_close_matches(name, known(), n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise UnknownBackbone(f"no backbone {name!r}.{hint} Known: {', '.join(known())}, or a path ending in .safetensors")


def _of_architecture(name: str, weights: Path | None) -> tuple[BackboneCard, nn.Module]:
    if weights is None:
        raise BackboneError(
            f"backbone {name!r} needs its weights: a .safetensors file with its card "
            f"(made by `metabench weights import CHECKPOINT --arch {name} --out FILE.safetensors`)"
        )
    card, module = _from_file(weights)
    if card.arch != name:
        raise BackboneError(f"{weights}: its card says {card.arch}, not {name}")
    return card, module


def _from_file(file: Path) -> tuple[BackboneCard, nn.Module]:
    from backbones.architectures import build
    from backbones.weights import checked_state, load_weights

    state, card = load_weights(file)
    module = build(card)
    module.load_state_dict(checked_state(state, module.state_dict(), file))
    return card, module


def _without_file(card: BackboneCard) -> tuple[BackboneCard, nn.Module]:
    """Initialised at random by a fixed seed, whatever the state of the global generator, which is left as it was."""
    import torch

    from backbones.architectures import build
    from backbones.weights import weights_digest

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(RANDOM_SEED)
        module = build(card)
    return msgspec.structs.replace(card, weights_sha256=weights_digest(module.state_dict()), seed=RANDOM_SEED), module
