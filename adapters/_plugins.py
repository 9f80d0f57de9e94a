"""Finding the file behind an adapter's name, importing it, and the one class that it offers."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import sys
from collections.abc import Callable
from functools import lru_cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from adapters._hyperparameters import unknown
from adapters.contract import Adapter, Support
from adapters.errors import AdapterError, BadAdapter, UnknownAdapter

GROUP = "metabench.adapters"
_ROOM = Path(__file__).resolve().parent
_NOT_METHODS = frozenset({"contract", "registry", "errors", "checks"})
_READABLE = frozenset(Support._fields) - {"labels", "way"}
_QUERY_FORMS = frozenset({"features", "maps", "images"})
_OPTIONAL_TRAITS = ("transductive", "stochastic", "batched", "over_backbones", "views")


class Plugin(NamedTuple):
    """An adapter's class and what its file says beside it."""

    name: str
    adapter_class: type[Any]
    version: str
    official: Callable[..., dict[str, Any]] | None


_plugins: dict[type, Plugin] = {}  # every class found so far


def room_files() -> dict[str, Path]:
    """Names of the methods in this folder and their files."""
    files = (path for path in _ROOM.glob("*.py") if not path.stem.startswith("_") and path.stem not in _NOT_METHODS)
    return {_command_name(path): path for path in files}


def installed() -> dict[str, EntryPoint]:
    """Names of the methods that other distributions offer. A name of this room is ours: nothing replaces it."""
    ours = room_files()
    return {entry.name: entry for entry in _entry_points(tuple(sys.path)) if entry.name not in ours}


@lru_cache(maxsize=1)  # looking into every distribution takes 10 ms
def _entry_points(_where: tuple[str, ...]) -> EntryPoints:
    return entry_points(group=GROUP)


def find(name: str) -> Plugin:
    """The plug-in of that name, or in the file of that path. Raises UnknownAdapter or BadAdapter."""
    path = Path(name)
    if name.endswith(".py") and path.resolve().parent == _ROOM:
        name = _command_name(path)
    files = room_files()
    if name in files:
        module = f"adapters.{files[name].stem}"
        return _offered(name, _imported(lambda: importlib.import_module(module), f"adapter file '{files[name]}'"))
    elsewhere = installed()
    if name in elsewhere:
        return _offered(name, _imported(elsewhere[name].load, f"adapter '{name}' ({elsewhere[name].value})"))
    if not name.endswith(".py"):
        raise UnknownAdapter(unknown("no adapter", name, files.keys() | elsewhere.keys()))
    if _command_name(path) in files.keys() | elsewhere.keys():
        raise BadAdapter(f"adapter file '{path}': there is already an adapter '{_command_name(path)}'; rename the file")
    return _offered(_command_name(path), _imported(lambda: _import_file(path), f"adapter file '{path}'"))


def check_inputs(name: str, adapter: Any) -> None:
    """Refuse `needs` and `takes` that mean nothing; those of a class that are properties are left to its instances."""
    needs, takes = getattr(adapter, "needs", None), getattr(adapter, "takes", None)
    if not isinstance(needs, property) and not (isinstance(needs, frozenset) and needs <= _READABLE):
        raise BadAdapter(f"adapter '{name}': needs must be a frozenset of: {', '.join(sorted(_READABLE))}")
    if not isinstance(takes, property) and takes not in _QUERY_FORMS:
        raise BadAdapter(f"adapter '{name}': takes must be one of: {', '.join(sorted(_QUERY_FORMS))}")


def plugin_of(adapter_class: type) -> Plugin:
    """The plug-in that a class came from, also of a class that was imported directly."""
    module = sys.modules[adapter_class.__module__]
    name = module.__name__.rpartition(".")[2].replace("_", "-")
    return _plugins.get(adapter_class) or _described(name, adapter_class)


def _command_name(path: Path) -> str:
    return path.stem.replace("_", "-")


def _import_file(path: Path) -> ModuleType:
    """Run a user's file as a module of its own, named by its content: an edited file is another module."""
    try:
        source = path.read_bytes()
    except OSError as error:
        raise UnknownAdapter(f"no adapter file '{path}': {error.strerror}") from error
    name = f"metabench_plugin_{path.stem}_{_fingerprint(source)}"
    if name not in sys.modules:
        module = ModuleType(name)
        module.__file__ = str(path.resolve())
        code = compile(source, path, "exec")
        sys.modules[name] = module  # dataclasses look their module up while the file runs
        try:
            exec(code, module.__dict__)  # the very bytes that were fingerprinted, not what a second reading finds
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]


def _imported(run: Callable[[], Any], what: str) -> Any:
    try:
        return run()
    except AdapterError:
        raise
    except Exception as error:  # a plug-in is foreign code: it may raise anything
        reason = str(error).splitlines()[0] if str(error) else "no message"
        raise BadAdapter(f"{what} cannot be imported: {type(error).__name__}: {reason}") from error


def _offered(name: str, source: Any) -> Plugin:
    """The one adapter class of a module (or the class that an entry point names), checked and completed."""
    adapter_class = source if inspect.isclass(source) else _only_class(name, source)
    if not getattr(getattr(adapter_class, "__dataclass_params__", None), "frozen", False):
        raise BadAdapter(f"adapter '{name}': {adapter_class.__name__} must be a dataclass(frozen=True)")
    check_inputs(name, adapter_class)
    for trait in _OPTIONAL_TRAITS:
        if not hasattr(adapter_class, trait):
            setattr(adapter_class, trait, getattr(Adapter, trait))
    if adapter_class not in _plugins:
        _plugins[adapter_class] = _described(name, adapter_class)
    return _plugins[adapter_class]


def _only_class(name: str, module: ModuleType) -> type:
    offered = {
        thing
        for label, thing in vars(module).items()
        if inspect.isclass(thing) and thing.__module__ == module.__name__ and not label.startswith("_")
        if callable(getattr(thing, "adapt", None))
    }
    if len(offered) != 1:
        found = ", ".join(sorted(thing.__name__ for thing in offered)) or "none"
        raise BadAdapter(
            f"adapter '{name}': {module.__file__} must define one public class with an adapt method; found: {found}"
        )
    return offered.pop()


def _described(name: str, adapter_class: type) -> Plugin:
    module = sys.modules[adapter_class.__module__]
    version, file = getattr(module, "VERSION", None), getattr(module, "__file__", None)
    if version is None:
        version = _fingerprint(Path(file).read_bytes()) if file else "unknown"  # typed into a notebook: no file
    return Plugin(name, adapter_class, str(version), getattr(module, "official", None))


def _fingerprint(source: bytes) -> str:
    return hashlib.sha256(source).hexdigest()[:12]
