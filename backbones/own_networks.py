"""Networks of the user's own: a function in a Python file, or an entry point of another distribution.

`factory()` gives a torch module that maps images (n, 3, s, s) in [-1, 1] to features (n, d), or a pair of it and a
`BackboneCard`. The module may have `maps(images) -> (n, d, h, w)` and a `card`. Without a card images are 84 pixels
and what it was trained on is unknown. A factory that starts from random weights gives the same ones every time.
"""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import msgspec

from backbones.contract import RESIZE, BackboneCard
from backbones.errors import BackboneError, UnknownBackbone
from backbones.names import Own

if TYPE_CHECKING:
    from torch import nn

GROUP = "metabench.backbones"
SEED = 0


def installed() -> dict[str, EntryPoint]:
    """Names of the backbones that other distributions offer."""
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def from_entry_point(entry: EntryPoint) -> tuple[BackboneCard, nn.Module]:
    """The network of an installed distribution. Raises BackboneError if its factory is faulty."""
    from backbones.foreign import attempt

    factory = attempt(entry.load, f"backbone {entry.name!r} ({entry.value}) cannot be imported")
    return _made(entry.name, factory)


def from_file(own: Own) -> tuple[BackboneCard, nn.Module]:
    """The network that a function in a file makes; modules beside the file can be imported by it.

    Raises UnknownBackbone if there is no such file or function, BackboneError if it is faulty.
    """
    from backbones.foreign import attempt

    file = own.file.expanduser().resolve()
    with _importable(file.parent):
        module = attempt(lambda: _module(file), f"backbone file '{own.file}' cannot be imported")
        factory = getattr(module, own.factory, None)
        if not callable(factory):
            found = [name for name, thing in vars(module).items() if inspect.isfunction(thing) and name[0] != "_"]
            raise UnknownBackbone(
                f"backbone file '{own.file}' has no function {own.factory!r}; it has {', '.join(found) or 'none'}"
            )
        return _made(f"{file.stem}:{own.factory}", factory)


def _made(name: str, factory: Callable[[], Any]) -> tuple[BackboneCard, nn.Module]:
    import torch

    from backbones.foreign import attempt, digest_of, measured_dim

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        made = attempt(factory, f"backbone {name!r}: its factory fails")
    network, card = made if isinstance(made, tuple) and len(made) == 2 else (made, getattr(made, "card", None))
    if not isinstance(network, torch.nn.Module) or not isinstance(card, BackboneCard | None):
        given = type(network).__name__ + ("" if card is None else f" and {type(card).__name__}")
        raise BackboneError(
            f"backbone {name!r}: its factory must return a torch module, or one and a BackboneCard, not {given}"
        )
    card = card or BackboneCard(name=name, arch="own network")
    if card.resize != RESIZE:
        raise BackboneError(f"backbone {name!r} wants images resized as {card.resize!r}; known: {RESIZE!r}")
    arch = f"{card.arch}, {getattr(factory, '__qualname__', name)} of {_source_digest(factory, network)}"
    card = msgspec.structs.replace(card, arch=arch, weights_sha256=digest_of(network))
    feature_dim = measured_dim(network, card)
    if getattr(network, "feature_dim", None) != feature_dim:  # it may be a property of theirs
        network.feature_dim = feature_dim  # type: ignore[assignment]
    return card, network


def _module(file: Path) -> ModuleType:
    """The file run as a module of its own, named by its content: an edited file is another module."""
    try:
        source = file.read_bytes()
    except OSError as error:
        raise UnknownBackbone(f"no backbone file '{file}': {error.strerror}") from error
    name = f"metabench_backbone_{file.stem}_{hashlib.sha256(source).hexdigest()[:12]}"
    if name not in sys.modules:
        module = ModuleType(name)
        module.__file__ = str(file)
        code = compile(source, file, "exec")
        sys.modules[name] = module  # pickling and dataclasses look their module up
        try:
            exec(code, module.__dict__)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Modules in `folder` can be imported, after those that can be anyway."""
    sys.path.append(str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def _source_digest(factory: Callable[[], Any], network: nn.Module) -> str:
    """sha256 over the files that the factory and the classes of the network's modules, but for torch's, come from."""
    classes = {type(module) for module in network.modules()}
    places = {factory, *(each for each in classes if each.__module__.partition(".")[0] != "torch")}
    sources = set()
    for place in places:
        file = getattr(sys.modules.get(place.__module__), "__file__", None)
        if file is not None and Path(file).is_file():
            sources.add(hashlib.sha256(Path(file).read_bytes()).hexdigest())
    return hashlib.sha256("".join(sorted(sources)).encode()).hexdigest()[:16]
