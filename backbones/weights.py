"""Weights as safetensors with a JSON card beside them, and the strict importer of published checkpoints.

Nothing here runs code out of a file: safetensors holds arrays only, and checkpoints are read with `weights_only=True`.
"""

from __future__ import annotations

import hashlib
import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from backbones.architectures import build
from backbones.contract import BackboneCard
from backbones.errors import BackboneError, BadWeights
from backbones.resnet18 import ResNet18
from results.files import write_whole

State = Mapping[str, Tensor]

HEAD_PREFIX = "cls_fn."
WRAPPER_PREFIXES = ("module.", "backbone.")
_numpy_scalar = np.float64(0).__reduce__()[0]  # public numpy has no name for it
# Numbers that training scripts keep beside the weights (best accuracy, loss curves). Both names of the same function.
_NUMPY_SCALARS: list[Any] = [
    (_numpy_scalar, "numpy.core.multiarray.scalar"),
    (_numpy_scalar, "numpy._core.multiarray.scalar"),
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i4", "i8", "u1", "?")),
]
# What torch.load is known to raise on bytes that are not a checkpoint; it promises no common base.
_UNREADABLE = (
    pickle.UnpicklingError, zipfile.BadZipFile, struct.error, RuntimeError, ValueError, EOFError, OSError, KeyError,
    IndexError, AttributeError, TypeError, AssertionError, ImportError, OverflowError, MemoryError,
)  # fmt: skip


def card_path(weights: Path) -> Path:
    """Where the card of a weights file lies: the same name with .json."""
    return weights.with_suffix(".json")


def save_weights(state: State, card: BackboneCard, out: Path) -> BackboneCard:
    """Write `state` to `out` (.safetensors) and `card`, completed by the sha256 of the weights, beside it."""
    if out.suffix != ".safetensors":
        raise BackboneError(f"{out}: weights are written as .safetensors; choose such a name")
    data = _encoded(state)
    card = msgspec.structs.replace(card, weights_sha256=hashlib.sha256(data).hexdigest())
    write_whole(out, data)
    write_whole(card_path(out), msgspec.json.format(msgspec.json.encode(card), indent=2) + b"\n")
    return card


def weights_digest(state: State) -> str:
    """The sha256 that `save_weights` would put on the card."""
    return hashlib.sha256(_encoded(state)).hexdigest()


def load_weights(file: Path) -> tuple[dict[str, Tensor], BackboneCard]:
    """The tensors of a .safetensors file and its card; BadWeights if either is missing or they disagree."""
    for path in (file, card_path(file)):
        _readable(path)
    data = file.read_bytes()
    try:
        card = msgspec.json.decode(card_path(file).read_bytes(), type=BackboneCard)
    except (msgspec.MsgspecError, BadWeights) as error:
        raise BadWeights(f"{card_path(file)}: not a backbone card ({error})") from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != card.weights_sha256:
        raise BadWeights(f"{file}: sha256 is {digest}, its card says {card.weights_sha256 or 'nothing'}")
    try:
        return safetensors.torch.load(data), card
    except SafetensorError as error:
        raise BadWeights(f"{file}: not a safetensors file ({error})") from error


def import_checkpoint(
    file: Path,
    arch: str,
    widths: Sequence[int] | None,
    out: Path,
    *,
    stem_padding: int = 1,
    trained_on: Mapping[str, Sequence[str]] | None = None,
    licence: str = "unknown",
    citation: str = "",
) -> BackboneCard:
    """Convert a checkpoint in the published URL / SDL layout to `out` (.safetensors) and its card.

    `widths`: None reads them off the checkpoint. `trained_on`: domain -> splits the weights were trained on, if the
    user knows them all; None makes every domain "unknown". Every key of the network must be there in its shape;
    only classifier heads (`cls_fn.*`) may be left over. Raises BadWeights naming the file and the keys.
    """
    if arch != "resnet18":
        raise BadWeights(f"no importer for architecture {arch!r}. Known: resnet18")
    state = _trunk(_read_checkpoint(file))
    widths = tuple(widths) if widths else _widths(state, file)
    card = BackboneCard(
        name=out.stem,
        arch=arch,
        widths=widths,
        stem_padding=stem_padding,
        licence=licence,
        citation=citation,
        training_data_known=trained_on is not None,
        trained_on={domain: tuple(splits) for domain, splits in (trained_on or {}).items()},
        command=f"metabench weights import {file.name} --arch {arch} --widths {','.join(map(str, widths))} "
        f"--stem-padding {stem_padding} --out {out.name}",
    )
    return save_weights(checked_state(state, build(card).state_dict(), file), card, out)


def checked_state(state: Mapping[str, Any], expected: State, file: Path) -> dict[str, Tensor]:
    """`state` in the dtypes of `expected`, if it has exactly its keys and shapes and finite values; else BadWeights."""
    _check_keys(state, expected, file)
    for key, want in expected.items():
        have = state[key]
        if not isinstance(have, Tensor) or have.is_floating_point() != want.is_floating_point():
            raise BadWeights(f"{file}: key {key!r} does not hold numbers of the right kind ({want.dtype} wanted)")
        if have.shape != want.shape:
            raise BadWeights(
                f"{file}: key {key!r} has shape {tuple(have.shape)}, the network of these widths {tuple(want.shape)}"
            )
        if not torch.isfinite(have).all():
            raise BadWeights(f"{file}: key {key!r} holds NaN or infinite values")
    return {key: state[key].to(want.dtype) for key, want in expected.items()}


def _encoded(state: State) -> bytes:
    return safetensors.torch.save({key: value.detach().cpu().contiguous() for key, value in state.items()})


def _check_keys(state: Mapping[str, Any], expected: State, file: Path) -> None:
    missing = [key for key in expected if key not in state]
    unexpected = [key for key in state if key not in expected]
    if missing or unexpected:
        faults = [f"{kind} {_some(keys)}" for kind, keys in (("lacks", missing), ("has unknown", unexpected)) if keys]
        raise BadWeights(f"{file}: not the weights of this network: {' and '.join(faults)}")


def _some(keys: list[str]) -> str:
    more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
    return ", ".join(map(repr, keys[:3])) + more


def _readable(file: Path) -> None:
    try:
        file.open("rb").close()
    except OSError as error:
        hint = "; a card is written by `metabench weights import`" if file.suffix == ".json" else ""
        raise BadWeights(f"{file}: cannot be read ({error.strerror}){hint}") from error


def _read_checkpoint(file: Path) -> dict[str, Any]:
    """The state dict in a torch.save file. Zip members are held against their CRC, which torch itself does not do."""
    _readable(file)
    try:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                if bad := archive.testzip():
                    raise BadWeights(f"{file}: damaged, CRC of {bad!r} is wrong; fetch it again")
        with torch.serialization.safe_globals(_NUMPY_SCALARS), warnings.catch_warnings(action="ignore"):
            checkpoint = torch.load(file, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        if code := re.search(r"GLOBAL (\S+)", str(error)):
            reason = (
                f"asks to run {code[1]} when it is read, which is refused: only tensors and plain values are loaded"
            )
        else:
            reason = "truncated, damaged or no checkpoint of torch.save"
        raise BadWeights(f"{file}: {reason}") from error
    state = checkpoint.get("state_dict", checkpoint) if isinstance(checkpoint, dict) else None
    if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
        raise BadWeights(f"{file}: holds no state_dict; a checkpoint in the published layout is wanted")
    return state


def _trunk(state: dict[str, Any]) -> dict[str, Any]:
    """The entries of the trunk: heads dropped, a wrapper prefix that all of them carry taken off."""
    for prefix in WRAPPER_PREFIXES:
        trunk = [key for key in state if not key.startswith(HEAD_PREFIX)]
        if trunk and all(key.startswith(prefix) for key in trunk):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return {key: value for key, value in state.items() if not key.startswith(HEAD_PREFIX)}


def _widths(state: Mapping[str, Any], file: Path) -> tuple[int, ...]:
    """Output channels of the stem and of the first convolution of each later layer."""
    _check_keys(state, ResNet18((1, 1, 1, 1)).state_dict(), file)
    kernels = [state["conv1.weight"], *(state[f"layer{i}.0.conv1.weight"] for i in (2, 3, 4))]
    if not all(isinstance(kernel, Tensor) and kernel.ndim == 4 for kernel in kernels):
        raise BadWeights(f"{file}: the kernels of conv1 and layer2..4.0.conv1 must have four dimensions")
    return tuple(len(kernel) for kernel in kernels)
