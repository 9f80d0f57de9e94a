"""From a name to an adapter: files of this folder, entry points of other distributions, and files by path.

A plug-in is one file that defines one public frozen dataclass with an `adapt` method. The adapter is called as the
file, with dashes: copa_tsa.py is copa-tsa. Files whose names start with `_` are helpers. The file may also have

    VERSION = "1"                              # same version, same answers; without it every edit is a new version
    def official(domain, seen, setting): ...   # the published hyper-parameters for a test domain, as a dict; what
                                               # they depend on besides, as keyword-only arguments with defaults

Listing imports none of the files.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters._hyperparameters import NOT_HYPERPARAMETERS, converted, typed
from adapters._plugins import check_inputs, find, installed, plugin_of, room_files
from adapters.contract import Adapter
from adapters.errors import BadHyperparameter

if TYPE_CHECKING:
    from torch import nn

    from backbones.contract import Backbone


def known() -> list[str]:
    """Names of all adapters that load without a path, sorted."""
    return sorted(room_files().keys() | installed().keys())


def load(name: str | Path, *, backbone: Backbone | nn.Module | None = None, **hyperparameters: Any) -> Adapter:
    """The adapter of that name with these hyper-parameters, the others at their defaults.

    `name` is one of `known()` or the path of a plug-in file ("my_method.py"). Values may be text, as from a command
    line. `backbone` goes to adapters that have a field of that name and is left aside by the others.

    Raises UnknownAdapter, BadAdapter (a faulty plug-in file) or BadHyperparameter, each with one line.
    """
    plugin = find(str(name))
    arguments = converted(plugin.name, plugin.adapter_class, hyperparameters)
    if any(field.name == "backbone" for field in dataclasses.fields(plugin.adapter_class)):
        if backbone is None:
            raise BadHyperparameter(f"adapter '{plugin.name}' works on the network itself: load it with backbone=...")
        arguments["backbone"] = backbone
    try:
        adapter = plugin.adapter_class(**arguments)
    except ValueError as error:  # a __post_init__ that refuses a combination
        raise BadHyperparameter(f"adapter '{plugin.name}': {error}") from error
    check_inputs(plugin.name, adapter)
    return adapter


def official_hyperparameters(
    name: str | Path, domain: str, seen: bool, setting: str, given: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The published hyper-parameters for a test domain, {} where they are the same for all.

    `seen`: the backbone was trained on the domain's train classes. `setting`: "standard", "5shot" or "1shot". `given`:
    the user's own hyper-parameters; where published rates depend on some of them, `official` of the adapter's file
    takes these as keyword-only arguments.

    Raises UnknownAdapter, BadAdapter or BadHyperparameter, each with one line.
    """
    plugin = find(str(name))
    if plugin.official is None:
        return {}
    wanted = {key for key, kind in signature(plugin.official).parameters.items() if kind.kind is kind.KEYWORD_ONLY}
    wanted &= {field.name for field in dataclasses.fields(plugin.adapter_class)}
    chosen = {key: value for key, value in (given or {}).items() if key in wanted}
    return plugin.official(domain, seen, setting, **typed(plugin.name, plugin.adapter_class, chosen))


def has_official(name: str | Path) -> bool:
    """Whether the adapter comes with published hyper-parameters by test domain."""
    return find(str(name)).official is not None


def tells_losses(adapter: Adapter) -> bool:
    """Whether `adapt` takes a list `losses`, to which it appends the loss before each step."""
    return "losses" in signature(adapter.adapt).parameters


def hyperparameters_of(adapter: Adapter) -> dict[str, Any]:
    """All hyper-parameters of an adapter, as `load` takes them."""
    fields = [field.name for field in dataclasses.fields(plugin_of(type(adapter)).adapter_class)]
    return {field: getattr(adapter, field) for field in fields if field not in NOT_HYPERPARAMETERS}


def configuration(adapter: Adapter) -> dict[str, Any]:
    """What decides the adapter's answers, for hashing and for the rows: name, version, all hyper-parameters; of a file
    (the weights of a meta-trained method) its content, wherever it lies."""
    plugin = plugin_of(type(adapter))
    hyperparameters = {key: _recorded(value) for key, value in hyperparameters_of(adapter).items()}
    return {"name": plugin.name, "version": plugin.version, "hyperparameters": hyperparameters}


def _recorded(value: Any) -> Any:
    return f"sha256:{hashlib.sha256(value.read_bytes()).hexdigest()}" if isinstance(value, Path) else value
