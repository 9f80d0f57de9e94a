"""Names to frozen backbones. Torch is imported when a backbone is loaded, not before."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from backbones.contract import Backbone, BackboneCard
from backbones.errors import BackboneError, UnknownBackbone, did_you_mean
from backbones.names import own_network, split_name
from backbones.own_networks import from_entry_point, from_file, installed

if TYPE_CHECKING:
    import torch
    from torch import nn

    Made = tuple[BackboneCard, nn.Module]

SHIPPED = Path(__file__).parent / "shipped"
RANDOM_SEED = 0
# the architectures of `metabench weights import`, by name, so that naming them needs no torch
IMPORTED = ("resnet12", "resnet18", "resnet18-film", "resnet34", "resnet50")
CHECKPOINTS = (".pth", ".pt", ".tar", ".ckpt")
"""How the names of files end that `metabench weights import` is for."""
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


_LIBRARIES = {
    "hf:": "backbones.huggingface",
    "timm:": "backbones.timm_models",
    "open_clip:": "backbones.open_clip_models",
}
FORMS = ("FILE.safetensors", "FILE.py:FACTORY", "hf:FOLDER_OR_ID", "timm:NAME_OR_FOLDER", "open_clip:ARCH/WEIGHTS")
"""What `load` takes beside the names in `known()`."""


def known() -> list[str]:
    """The names that `load` takes alone, beside `FORMS`; those of `IMPORTED` go with `weights`."""
    return sorted(set(_named()) - set(IMPORTED))


def load(
    name: str,
    *,
    weights: Path | None = None,
    device: str = "cpu",
    dtype: torch.dtype | None = None,
    compiled: bool = False,
) -> Backbone:
    """The backbone of that name, frozen, on `device` in `dtype` (None: float32).

    `name` is one of `known()`, of the form of one of `FORMS`, or in `IMPORTED` with `weights`, a .safetensors file.
    `a+b+c` is three of them side by side, with features (n, 3, d). `compiled`: embed through torch.compile.
    Raises UnknownBackbone, BadWeights, or BackboneError when `weights` is missing or not wanted, sizes differ, an
    optional library is missing or fails, or a hub cannot be reached.
    """
    import torch

    from backbones.frozen import FrozenBackbone, TwoTowerBackbone
    from backbones.several import SeveralBackbones

    names = split_name(name)
    if len(names) > 1:
        if not all(names):
            raise BackboneError(f"backbone {name!r}: there is a + too many; several are written as a+b+c")
        return SeveralBackbones(
            [load(each, weights=weights, device=device, dtype=dtype, compiled=compiled) for each in names]
        )
    card, module = _make(name, Path(weights) if weights is not None else None)
    towers = hasattr(module, "encode") and hasattr(module, "logit_scale")
    kind = TwoTowerBackbone if towers else FrozenBackbone
    return kind(card, module, device=torch.device(device), dtype=dtype or torch.float32, compiled=compiled)


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
    card = backbone.card
    return {
        "arch": card.arch,
        "widths": card.widths,
        "stem_padding": card.stem_padding,
        "image_size": card.image_size,
        "resize": card.resize,
        "normalisation": card.normalisation,
        "weights": card.weights_sha256,
        "dtype": str(backbone.dtype),
        "compiled": getattr(backbone, "compiled", False),
        "embedder": EMBEDDER_VERSION,
        **({"autocast": True} if getattr(backbone, "autocasts", False) else {}),
    }


def _make(name: str, weights: Path | None) -> Made:
    if weights is not None:
        if name not in IMPORTED:
            raise BackboneError(f"backbone {name!r} takes no weights file; for yours: resnet18 with {weights}")
        return _of_architecture(name, weights)
    for prefix, module in _LIBRARIES.items():
        if name == prefix:
            form = next(form for form in FORMS if form.startswith(prefix))
            raise UnknownBackbone(f"backbone {name!r}: nothing stands after the colon; write it as {form}")
        if name.startswith(prefix):
            return importlib.import_module(module).load(name.removeprefix(prefix))
    if name.endswith(".safetensors"):
        return _from_file(Path(name))
    own = own_network(name)
    if own is not None:
        return from_file(own)
    named = _named()
    if name in named:
        return named[name]()
    if name.endswith(CHECKPOINTS):
        command = f"metabench weights import {name} --out NAME.safetensors"
        raise UnknownBackbone(f"backbone {name!r} is a checkpoint; import it first: {command}")
    if name.endswith(".py"):
        raise UnknownBackbone(f"backbone file {name!r}: say which of its functions makes the network: {name}:FUNCTION")
    hint = did_you_mean(name, named)
    raise UnknownBackbone(f"no backbone {name!r}.{hint} Known: {', '.join(known())}, or {', '.join(FORMS)}")


def _named() -> dict[str, Callable[[], Made]]:
    """How each backbone with a name of its own is made. A name of ours is ours: nothing installed replaces it."""
    return {
        **{name: partial(from_entry_point, entry) for name, entry in installed().items()},
        **{card.stem: partial(_from_file, card.with_suffix(".safetensors")) for card in SHIPPED.glob("*.json")},
        **{name: partial(_without_file, card) for name, card in _BUILT_IN.items()},
        "efficientnet-lite0": _efficientnet_lite,
        **{name: partial(_of_architecture, name, None) for name in IMPORTED},
    }


def _efficientnet_lite() -> Made:
    from backbones import efficientnet_lite

    return efficientnet_lite.load()


def _of_architecture(name: str, weights: Path | None) -> Made:
    if weights is None:
        raise BackboneError(
            f"backbone {name!r} needs its weights: --backbone FILE.safetensors, which "
            f"`metabench weights import CHECKPOINT --arch {name} --out FILE.safetensors` makes"
        )
    card, module = _from_file(weights)
    if card.arch != name:
        raise BackboneError(f"{weights}: its card says {card.arch}, not {name}")
    return card, module


def _from_file(file: Path) -> Made:
    from backbones.architectures import build
    from backbones.weights import checked_state, load_weights

    state, card = load_weights(file)
    module = build(card)
    module.load_state_dict(checked_state(state, module.state_dict(), file))
    return card, module


def _without_file(card: BackboneCard) -> Made:
    """Initialised at random by a fixed seed, whatever the state of the global generator, which is left as it was."""
    import torch

    from backbones.architectures import build
    from backbones.weights import weights_digest

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(RANDOM_SEED)
        module = build(card)
    return msgspec.structs.replace(card, weights_sha256=weights_digest(module.state_dict()), seed=RANDOM_SEED), module
