"""Names to frozen backbones. Torch is imported when a backbone is loaded, not before."""

from __future__ import annotations

import difflib
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from backbones.contract import Backbone, BackboneCard
from backbones.errors import BackboneError, UnknownBackbone

if TYPE_CHECKING:
    import torch

    from backbones.architectures import Network

SHIPPED = Path(__file__).parent / "shipped"
RANDOM_SEED = 0
EMBEDDER_VERSION = 2
"""How a network is computed: raised when the last bits of features change. 2: batch normalisation is folded."""
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
    """The names `load` takes, beside a path ending in .safetensors; `resnet18` needs `weights`."""
    return sorted({"resnet18", *_BUILT_IN, *(card.stem for card in SHIPPED.glob("*.json"))})


def load(
    name: str,
    *,
    weights: Path | None = None,
    device: str = "cpu",
    dtype: torch.dtype | None = None,
    compiled: bool = False,
) -> Backbone:
    """The backbone of that name, frozen, on `device` in `dtype` (None: float32).

    `name` is one of `known()` or the path of a .safetensors file; `weights` is that file for the name `resnet18`.
    `a+b+c` is three of them side by side, with features (n, 3, d). `compiled`: embed through torch.compile.
    Raises UnknownBackbone, BadWeights, or BackboneError when `weights` is missing or not wanted, or sizes differ.
    """
    import torch

    from backbones.frozen import FrozenBackbone
    from backbones.several import SeveralBackbones

    names = split_name(name)
    if len(names) > 1:
        if not all(names):
            raise BackboneError(f"backbone {name!r}: there is a + too many; several are written as a+b+c")
        return SeveralBackbones(
            [load(each, weights=weights, device=device, dtype=dtype, compiled=compiled) for each in names]
        )
    card, module = _make(name, Path(weights) if weights is not None else None)
    return FrozenBackbone(card, module, device=torch.device(device), dtype=dtype or torch.float32, compiled=compiled)


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
    return hashlib.sha256(msgspec.json.encode(identity_parts(backbone), order="sorted")).hexdigest()


def identity_parts(backbone: Backbone) -> dict[str, Any]:
    """What the identity of one network is made of, by name."""
    import torch

    card = backbone.card
    blank = torch.zeros(1, 3, card.image_size, card.image_size)
    return {
        "arch": card.arch,
        "widths": card.widths,
        "stem_padding": card.stem_padding,
        "image_size": card.image_size,
        "resize": card.resize,
        "normalisation": card.normalisation,
        "weights": card.weights_sha256,
        "dtype": str(getattr(backbone, "dtype", None) or backbone.embed(blank).dtype),
        "compiled": getattr(backbone, "compiled", False),
        "embedder": EMBEDDER_VERSION,
    }


def _make(name: str, weights: Path | None) -> tuple[BackboneCard, Network]:
    if weights is not None and name != "resnet18":
        raise BackboneError(f"backbone {name!r} takes no weights file; for yours: resnet18 with {weights}")
    if name.endswith(".safetensors"):
        return _from_file(Path(name))
    if name == "resnet18":
        if weights is None:
            raise BackboneError(
                "backbone 'resnet18' needs its weights: a .safetensors file with its card "
                "(made by `metabench weights import CHECKPOINT --arch resnet18 --out FILE.safetensors`)"
            )
        return _from_file(weights)
    if name in _BUILT_IN:
        return _without_file(_BUILT_IN[name])
    if name in known():
        return _from_file(SHIPPED / f"{name}.safetensors")
    close = difflib.get_close_matches(name, known(), n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise UnknownBackbone(f"no backbone {name!r}.{hint} Known: {', '.join(known())}, or a path ending in .safetensors")


def _from_file(file: Path) -> tuple[BackboneCard, Network]:
    from backbones.architectures import build
    from backbones.weights import checked_state, load_weights

    state, card = load_weights(file)
    module = build(card)
    module.load_state_dict(checked_state(state, module.state_dict(), file))
    return card, module


def _without_file(card: BackboneCard) -> tuple[BackboneCard, Network]:
    """Initialised at random by a fixed seed, whatever the state of the global generator, which is left as it was."""
    import torch

    from backbones.architectures import build
    from backbones.weights import weights_digest

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(RANDOM_SEED)
        module = build(card)
    return msgspec.structs.replace(card, weights_sha256=weights_digest(module.state_dict()), seed=RANDOM_SEED), module
