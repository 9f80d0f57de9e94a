"""Published checkpoints to weights with a card: read without running code from them, and held strictly to a network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor

from backbones.architectures import ARCHITECTURES, Architecture, build
from backbones.contract import BackboneCard
from backbones.errors import BackboneError, BadWeights, did_you_mean
from backbones.normalisation import parse
from backbones.registry import IMPORTED
from backbones.resnet18_film import is_of_domain
from backbones.torch_files import read_state
from backbones.weights import check_keys, checked_state, save_weights, some

WRAPPER_PREFIXES = ("module.", "backbone.", "encoder.")
# The end of the keys that count training steps: not used at test, and absent from checkpoints of torch before 0.4.1.
COUNTER = "num_batches_tracked"


def import_checkpoint(
    file: Path,
    arch: str,
    widths: Sequence[int] | None,
    out: Path,
    *,
    base: Path | None = None,
    stem_padding: int = 1,
    image_size: int | None = None,
    normalisation: str | None = None,
    trained_on: Mapping[str, Sequence[str]] | None = None,
    licence: str = "unknown",
    citation: str = "",
) -> BackboneCard:
    """Convert a checkpoint in a published layout to `out` (.safetensors) and its card.

    `file`: of torch.save, or .safetensors; the state dict bare or in a dict. `base`: the shared network's checkpoint,
    where `file` holds the part of one domain (SUR-pnf). `widths`: None reads them off the checkpoint. `image_size`
    (pixels) and `normalisation`: None takes those of the published weights. `trained_on`: domain -> splits the weights
    were trained on, if the user knows them all; None makes every domain "unknown".
    Every key of the network must be there in its shape. Only classifier heads may be left over; the card's notes name
    them. Raises BadWeights naming the file and the keys, BackboneError for options that do not fit.
    """
    architecture = _importable(arch)
    if out.resolve() in {source.resolve() for source in (file, base) if source is not None}:
        raise BackboneError(f"{out}: would replace the checkpoint that is read; choose another --out")
    state, heads = _network_state(file, arch, base)
    card = BackboneCard(
        name=out.stem,
        arch=arch,
        widths=tuple(widths) if widths else _widths(state, architecture, file),
        stem_padding=stem_padding,
        image_size=architecture.image_size if image_size is None else image_size,
        normalisation=normalisation or architecture.normalisation,
        licence=licence,
        citation=citation,
        training_data_known=trained_on is not None,
        trained_on={domain: tuple(splits) for domain, splits in (trained_on or {}).items()},
        notes=f"left out of the checkpoint: {some(heads)}" if heads else "",
    )
    parse(card.normalisation)
    card = msgspec.structs.replace(card, command=_command(card, file, base, out))
    return save_weights(checked_state(state, build(card).state_dict(), file), card, out)


def _importable(arch: str) -> Architecture:
    if arch not in IMPORTED:
        hint = did_you_mean(arch, IMPORTED)
        raise BadWeights(f"no importer for architecture {arch!r}.{hint} Known: {', '.join(IMPORTED)}")
    return ARCHITECTURES[arch]


def _network_state(file: Path, arch: str, base: Path | None) -> tuple[dict[str, Any], list[str]]:
    """The entries of the network in a checkpoint, which must have its keys, and the keys of the heads beside them."""
    found, heads = _trunk(read_state(file), arch)
    state, expected = found, _narrow_state(arch)
    if base is not None:
        state = _completed(found, file, base, arch)
    elif not any(key.endswith(COUNTER) for key in found):
        state = found | {key: torch.tensor(0) for key in expected if key.endswith(COUNTER)}
    check_keys(state, expected, file, "" if state.keys() == expected.keys() else _hint(found, arch))
    return state, heads


def _trunk(state: Mapping[str, Any], arch: str) -> tuple[dict[str, Any], list[str]]:
    """Entries that are not of heads, less the wrapper prefixes that all of them carry, and the keys of the heads."""
    heads = ARCHITECTURES[arch].heads
    bare = {key: key for key in state}
    for prefix in WRAPPER_PREFIXES:
        trunk = [short for short in bare.values() if not short.startswith(heads)]
        if trunk and all(short.startswith(prefix) for short in trunk):
            bare = {key: short.removeprefix(prefix) for key, short in bare.items()}
    left_out = [key for key, short in bare.items() if short.startswith(heads)]
    return {short: state[key] for key, short in bare.items() if not short.startswith(heads)}, left_out


def _completed(own: Mapping[str, Any], file: Path, base: Path, arch: str) -> dict[str, Any]:
    """The shared network in `base` with a domain's own part, all of it, in the place of its batch statistics."""
    shared_arch = ARCHITECTURES[arch].base
    if shared_arch is None:
        raise BackboneError(f"--base {base}: a checkpoint of {arch} is whole; leave --base out")
    wanted = {key: value for key, value in _narrow_state(arch).items() if is_of_domain(key)}
    check_keys(own, wanted, file, "; beside --base, the part of one domain alone is wanted")
    shared, _ = _network_state(base, shared_arch, None)
    return shared | dict(own)


def _hint(state: Mapping[str, Any], arch: str) -> str:
    """What else the checkpoint may be, if its keys tell."""
    if ARCHITECTURES[arch].base and state and all(map(is_of_domain, state)):
        return f"; it is the part of one domain: give the checkpoint of the {ARCHITECTURES[arch].base} with --base"
    for name in IMPORTED:
        if _lasting(_narrow_state(name)) == _lasting(_trunk(state, name)[0]):
            return f"; its keys are those of --arch {name}"
    return ""


def _lasting(keys: Iterable[str]) -> set[str]:
    return {key for key in keys if not key.endswith(COUNTER)}


def _narrow_state(arch: str) -> dict[str, Tensor]:
    """The state dict of the narrowest network of that kind, for its keys."""
    return build(BackboneCard(name=arch, arch=arch, widths=(1,) * len(ARCHITECTURES[arch].width_keys))).state_dict()


def _widths(state: Mapping[str, Any], architecture: Architecture, file: Path) -> tuple[int, ...]:
    """Output channels of the convolutions that tell them."""
    kernels = [state[key] for key in architecture.width_keys]
    if not all(isinstance(kernel, Tensor) and kernel.ndim == 4 for kernel in kernels):
        raise BadWeights(f"{file}: {some(architecture.width_keys)} must be kernels with four dimensions")
    return tuple(len(kernel) for kernel in kernels)


def _command(card: BackboneCard, file: Path, base: Path | None, out: Path) -> str:
    """The command that makes the same weights and card, with names of files in place of paths."""
    choices = {
        "--arch": card.arch,
        "--widths": ",".join(map(str, card.widths)),
        "--base": base.name if base is not None else "",
        "--stem-padding": str(card.stem_padding) if len(ARCHITECTURES[card.arch].stem_paddings) > 1 else "",
        "--image-size": str(card.image_size),
        "--normalisation": f"'{card.normalisation}'",
        "--trained-on": _trained_on(card),
        "--out": out.name,
    }
    given = " ".join(f"{option} {value}" for option, value in choices.items() if value)
    return f"metabench weights import {file.name} {given}"


def _trained_on(card: BackboneCard) -> str:
    words = ",".join(f"{name}={'+'.join(parts)}" for name, parts in card.trained_on.items())
    return words or ("none" if card.training_data_known else "")
