"""What every network from elsewhere goes through: its library, a trial run, its digest, what it was trained on."""

from __future__ import annotations

import importlib
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec
import torch
from torch import Tensor, nn

from backbones.contract import BackboneCard
from backbones.errors import BackboneError
from backbones.normalisation import normalised
from backbones.weights import weights_digest

KNOWN_CHECKPOINTS = Path(__file__).parent / "known_checkpoints.toml"
FACTS_FILE = "metabench.toml"
TOLERANCE = 1e-3  # of the largest feature; kernels chosen by batch size differ by about 1e-6
LONGEST = 300  # characters; some libraries list all that they know in their errors

Result = TypeVar("Result")


class Facts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a person has written down about a checkpoint; the fields are those of the card."""

    licence: str = "unknown"
    citation: str = ""
    training_data_known: bool = False
    trained_on: dict[str, tuple[str, ...]] = {}
    notes: str = ""


def needed(module: str, extra: str, backbone: str) -> Any:
    """The optional library `module`; BackboneError with the command that installs it."""
    try:
        library = importlib.import_module(module)
        if library.__file__ is None:  # a folder of that name in the working directory, taken for a package
            raise ModuleNotFoundError(f"No module named {module!r}", name=module)
        return library
    except (ImportError, RuntimeError) as error:  # torchvision beside another torch raises RuntimeError
        absent = isinstance(error, ModuleNotFoundError) and error.name == module
        fault = "is not installed" if absent else f"cannot be imported ({first_line(error)})"
        raise BackboneError(
            f"backbone {backbone!r}: {module} {fault}: pip install -e '.[{extra}]' in your clone"
        ) from error


def folder_here(path: str, writer: str, backbone: str) -> Path:
    """The folder of a model on this machine. Raises BackboneError if it is not there; `writer` is what makes one."""
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise BackboneError(f"backbone {backbone!r}: there is no folder {folder}; give one of {writer}")
    return folder


def facts_about(library: str, name: str, folder: Path | None = None) -> Facts:
    """What is known about a checkpoint: from the file metabench.toml in its folder if it lies in one, else from the
    table of well-known ones. Raises BackboneError if that file cannot be read as such."""
    own = folder / FACTS_FILE if folder is not None else None
    if own is None or not own.is_file():
        table: Mapping[str, Mapping[str, Any]] = tomllib.loads(KNOWN_CHECKPOINTS.read_text(encoding="utf-8"))
        return msgspec.convert(table[library].get(name, {}), Facts)
    try:
        return msgspec.convert(tomllib.loads(own.read_text(encoding="utf-8")), Facts)
    except ValueError as error:  # bad TOML, bad UTF-8 and msgspec's complaints are all ValueErrors
        raise BackboneError(f"{own}: {first_line(error)}; known: {', '.join(Facts.__struct_fields__)}") from error


def card_of(name: str, arch: str, network: nn.Module, facts: Facts, **pixels: Any) -> BackboneCard:
    """A card for a network of a library. `pixels`: image_size and normalisation, and `notes` to go before theirs."""
    notes = "; ".join(filter(None, [pixels.pop("notes", ""), facts.notes]))
    known = msgspec.structs.asdict(facts) | {"notes": notes}
    return BackboneCard(name=name, arch=arch, weights_sha256=digest_of(network), **pixels, **known)


def digest_of(network: nn.Module) -> str:
    """The sha256 of its weights, also where two names share them, which a safetensors file cannot."""
    tensors: dict[str, Tensor] = {}
    storages: set[int] = set()
    for key, value in network.state_dict().items():
        if isinstance(value, Tensor):
            storage = value.untyped_storage().data_ptr()
            tensors[key] = value.clone() if storage in storages else value
            storages.add(storage)
    return weights_digest(tensors)


def measured_dim(network: nn.Module, card: BackboneCard) -> int:
    """d, from a trial run. Puts the network into eval mode. Raises BackboneError as `features_of_noise` does."""
    return features_of_noise(network, card).shape[1]


@torch.no_grad()
def features_of_noise(network: nn.Module, card: BackboneCard) -> Tensor:
    """What the network makes of two images of noise in [-1, 1]: (2, d). Puts it into eval mode.

    Raises BackboneError if it fails, if features are not (n, d) or not finite, or if an image's features depend on
    what else is in the batch or on chance.
    """
    what = f"backbone {card.name!r}"
    noise = torch.rand(2, 3, card.image_size, card.image_size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    images = noise.to(next(network.parameters(), noise))
    whole = normalised(network, card.normalisation).to(images.device, images.dtype).eval()
    together = attempt(lambda: whole(images), f"{what} fails on images of {card.image_size} pixels")
    if not isinstance(together, Tensor) or together.ndim != 2 or len(together) != len(images):
        found = f"shape {tuple(together.shape)}" if isinstance(together, Tensor) else type(together).__name__
        raise BackboneError(f"{what}: {len(images)} images must give features of shape ({len(images)}, d), not {found}")
    if not torch.isfinite(together).all():
        raise BackboneError(f"{what}: its features of plain noise hold NaN or infinity; has its training diverged?")
    alone = attempt(lambda: whole(images[:1]), f"{what} fails on one image alone")
    if alone.shape != together[:1].shape or (alone - together[:1]).abs().max() > TOLERANCE * together.abs().max():
        raise BackboneError(
            f"{what}: an image's features change with the other images of the batch, or from call to call; "
            "batch statistics and random masks must be off in eval mode"
        )
    return together


def set_feature_dim(network: nn.Module, feature_dim: int, card: BackboneCard) -> None:
    """Give the network the `feature_dim` of a `contract.Network`, unless it says so already. Raises BackboneError
    where it says another, in a way that cannot be set."""
    said = getattr(network, "feature_dim", None)
    if said == feature_dim:
        return
    try:
        cast(Any, network).feature_dim = feature_dim
    except AttributeError as error:  # a property of theirs
        raise BackboneError(
            f"backbone {card.name!r}: its feature_dim is {said}, its features have {feature_dim}; correct that property"
        ) from error


def attempt(run: Callable[[], Result], what: str) -> Result:
    """`run()`; whatever foreign code raises becomes one line that begins with `what`."""
    try:
        return run()
    except BackboneError:
        raise
    except Exception as error:
        raise BackboneError(f"{what}: {type(error).__name__}: {first_line(error)}") from error


def first_line(error: BaseException) -> str:
    """What an error says, in one line of readable length."""
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), "no message")
    return line if len(line) <= LONGEST else f"{line[:LONGEST]} ..."
