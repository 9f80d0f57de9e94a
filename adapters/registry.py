"""From a name to an adapter: files of this folder, entry points of other distributions, and files by path.

A plug-in is one file that defines one public frozen dataclass with an `adapt` method. The adapter is called as the
file, with dashes: copa_tsa.py is copa-tsa. Files whose names start with `_` are helpers. The file may also have

    VERSION = "1"                              # same version, same answers; without it every edit is a new version
    def official(domain, seen, setting): ...   # the published hyper-parameters for a test domain, as a dict

Listing imports none of the files.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters._hyperparameters import NOT_HYPERPARAMETERS, converted
from adapters._plugins import find, installed, plugin_of, room_files
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
        return plugin.adapter_class(**arguments)
    except ValueError as error:  # a __post_init__ that refuses a combination
        raise BadHyperparameter(f"adapter '{plugin.name}': {error}") from error


def official_hyperparameters(name: str | Path, domain: str, seen: bool, setting: str) -> dict[str, Any]:
    """The published hyper-parameters for a test domain, {} where they are the same for all.

    `seen`: the backbone was trained on the domain's train classes. `setting`: "standard", "5shot" or "1shot".
    """
    official = find(str(name)).official
    return official(domain, seen, setting) if official else {}


def configuration(adapter: Adapter) -> dict[str, Any]:
    """What decides the adapter's answers, for hashing and for the rows: name, version, all hyper-parameters."""
    plugin = plugin_of(type(adapter))
    fields = [field.name for field in dataclasses.fields(plugin.adapter_class)]
    hyperparameters = {field: getattr(adapter, field) for field in fields if field not in NOT_HYPERPARAMETERS}
    return {"name": plugin.name, "version": plugin.version, "hyperparameters": hyperparameters}
