"""Weights as safetensors, which holds arrays and nothing else, with a JSON card beside them."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from backbones.contract import BackboneCard
from backbones.errors import BackboneError, BadWeights
from results.files import write_whole

State = Mapping[str, Tensor]


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
        check_readable(path)
    data = file.read_bytes()
    try:
        card = msgspec.json.decode(card_path(file).read_bytes(), type=BackboneCard)
    except msgspec.MsgspecError as error:
        raise BadWeights(f"{card_path(file)}: not a backbone card ({error})") from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != card.weights_sha256:
        raise BadWeights(f"{file}: sha256 is {digest}, its card says {card.weights_sha256 or 'nothing'}")
    return tensors_of(data, file), card


def tensors_of(data: bytes, file: Path) -> dict[str, Tensor]:
    """The tensors in the bytes of a .safetensors file; BadWeights, naming `file`, if they are none."""
    try:
        return safetensors.torch.load(data)
    except SafetensorError as error:
        raise BadWeights(f"{file}: not a safetensors file ({error})") from error


def checked_state(state: Mapping[str, Any], expected: State, file: Path) -> dict[str, Tensor]:
    """`state` in the dtypes of `expected`, if it has exactly its keys and shapes and finite values; else BadWeights."""
    check_keys(state, expected, file)
    checked = {}
    for key, want in expected.items():
        have = state[key]
        if not _is_plain(have) or have.is_floating_point() != want.is_floating_point():
            raise BadWeights(f"{file}: key {key!r} does not hold numbers of the right kind ({want.dtype} wanted)")
        if have.shape != want.shape:
            raise BadWeights(
                f"{file}: key {key!r} has shape {tuple(have.shape)}, the network of these widths {tuple(want.shape)}"
            )
        checked[key] = have.to(want.dtype)
        if not torch.isfinite(checked[key]).all():
            raise BadWeights(f"{file}: key {key!r} holds NaN or infinite values")
    return checked


def _is_plain(value: Any) -> bool:
    """Whether it is a tensor with all of its numbers at hand: not sparse, quantised, or without storage."""
    return isinstance(value, Tensor) and value.layout == torch.strided and not (value.is_quantized or value.is_meta)


def _encoded(state: State) -> bytes:
    return safetensors.torch.save({key: value.detach().cpu().contiguous() for key, value in state.items()})


def check_keys(state: Mapping[str, Any], expected: State, file: Path, hint: str = "") -> None:
    """BadWeights, ending in `hint`, unless the two have the same keys."""
    missing = [key for key in expected if key not in state]
    unexpected = [key for key in state if key not in expected]
    if missing or unexpected:
        faults = [f"{kind} {some(keys)}" for kind, keys in (("lacks", missing), ("has unknown", unexpected)) if keys]
        meant = difflib.get_close_matches(unexpected[0], missing, n=1, cutoff=0.8) if unexpected else []
        typo = f" ({unexpected[0]!r} may be meant for {meant[0]!r})" if meant else ""
        raise BadWeights(f"{file}: not the weights of this network: {' and '.join(faults)}{typo}{hint}")


def some(keys: Sequence[str]) -> str:
    """The first three of them, in quotes, and how many more there are."""
    more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
    return ", ".join(map(repr, keys[:3])) + more


def check_readable(file: Path) -> None:
    """BadWeights if the file cannot be opened."""
    try:
        file.open("rb").close()
    except OSError as error:
        hint = "; a card is written by `metabench weights import`" if file.suffix == ".json" else ""
        raise BadWeights(f"{file}: cannot be read ({error.strerror}){hint}") from error
