"""Networks of the user's own: a function in a Python file, or an entry point of another distribution.

`factory()` gives a torch module that maps images (n, 3, s, s) in [-1, 1] to features (n, d), or a pair of it and a
`BackboneCard`. The module may have `maps(images) -> (n, d, h, w)` and a `card`. Without a card images are 84 pixels
and what it was trained on is unknown. A factory that starts from random weights gives the same ones every time.
"""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import msgspec

from backbones.contract import RESIZE, BackboneCard
from backbones.errors import BackboneError, UnknownBackbone
from backbones.names import Own

if TYPE_CHECKING:
    from torch import Tensor, nn

GROUP = "metabench.backbones"
SEED = 0
_FOLDERS: set[Path] = set()  # of the files that networks were made from in this process


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
    _refuse_twins(own, file.parent)
    with _importable(file.parent):
        module = attempt(lambda: _module(file), f"backbone file '{own.file}' cannot be imported")
        factory = getattr(module, own.factory, None)
        if not callable(factory):
            found = [name for name, thing in vars(module).items() if inspect.isfunction(thing) and name[0] != "_"]
            raise UnknownBackbone(
                f"backbone file '{own.file}' has no function {own.factory!r}; it has {', '.join(found) or 'none'}"
            )
        return _made(f"{file.stem}:{own.factory}", factory)


def _refuse_twins(own: Own, folder: Path) -> None:
    """Raises BackboneError where Python would take a module of another network's folder for one of this folder's."""
    _FOLDERS.add(folder)
    for beside in folder.glob("*.py"):
        loaded = _file_of(sys.modules.get(beside.stem))
        if loaded is not None and loaded.parent != folder and loaded.parent in _FOLDERS:
            raise BackboneError(
                f"backbone file '{own.file}': Python has loaded another {beside.name} already ({loaded}); rename one"
            )


def _made(name: str, factory: Callable[[], Any]) -> tuple[BackboneCard, nn.Module]:
    import torch

    from backbones.foreign import attempt, digest_of, features_of_noise, set_feature_dim

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        made = attempt(factory, f"backbone {name!r}: its factory fails")
    network, card = made if isinstance(made, tuple) and len(made) == 2 else (made, getattr(made, "card", None))
    if not isinstance(network, torch.nn.Module) or not isinstance(card, BackboneCard | None):
        given = type(network).__name__ + ("" if card is None else f" and {type(card).__name__}")
        raise BackboneError(
            f"backbone {name!r}: its factory must return a torch module, or one and a BackboneCard, not {given}"
        )
    card = BackboneCard(name=name, arch="own network") if card is None else card
    if card.resize != RESIZE:
        raise BackboneError(f"backbone {name!r} wants images resized as {card.resize!r}; known: {RESIZE!r}")
    features = _on_one_thread(partial(features_of_noise, network, card))
    sources = _digest([*_sources(factory, network), features.cpu().contiguous().view(torch.uint8).numpy().tobytes()])
    arch = f"{card.arch}, {getattr(factory, '__qualname__', name)} of {sources}"
    card = msgspec.structs.replace(card, arch=arch, weights_sha256=digest_of(network))
    set_feature_dim(network, features.shape[1], card)
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


def _on_one_thread(run: Callable[[], Tensor]) -> Tensor:
    """The same bits in every process of a machine, however many threads it has."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return run()
    finally:
        torch.set_num_threads(threads)


def _sources(factory: Callable[[], Any], network: nn.Module) -> list[bytes]:
    """The files that the factory and the classes of the network's modules, but for torch's, come from, and those beside
    them that they import from; sorted."""
    classes = {type(module) for module in network.modules()}
    places = {factory, *(each for each in classes if each.__module__.partition(".")[0] != "torch")}
    modules = [sys.modules[place.__module__] for place in places if place.__module__ in sys.modules]
    files: dict[Path, None] = {}
    while modules:
        module = modules.pop()
        file = _file_of(module)
        if file is None or file in files:
            continue
        files[file] = None
        modules += [each for each in _named_in(module) if getattr(_file_of(each), "parent", None) == file.parent]
    return sorted(file.read_bytes() for file in files)


def _named_in(module: ModuleType) -> list[ModuleType]:
    """The modules that a module's names are, or come from."""
    things = list(vars(module).values())
    names = {
        thing.__name__ if isinstance(thing, ModuleType) else getattr(thing, "__module__", None) for thing in things
    }
    return [sys.modules[name] for name in names if isinstance(name, str) and name in sys.modules]


def _file_of(module: ModuleType | None) -> Path | None:
    file = getattr(module, "__file__", None)
    return Path(file) if isinstance(file, str) and Path(file).is_file() else None


def _digest(contents: Iterable[bytes]) -> str:
    hashes = [hashlib.sha256(content).digest() for content in contents]
    return hashlib.sha256(b"".join(hashes)).hexdigest()[:16]
