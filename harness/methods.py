"""From the adapters that a user names to the configuration that each domain gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import adapters
import backbones
from adapters.contract import Adapter
from backbones.contract import Backbone
from harness.config import Setting
from harness.errors import HarnessError, NoNetwork, unknown
from harness.inputs import PROVIDED, check_needs
from results.identity import canonical_hash

Hyper = Literal["official", "fixed"]
"""Where hyper-parameters that the user does not give come from: published tables by test domain, or, for all domains
alike, what these tables say of an unseen domain that they do not name."""
HYPERS: tuple[Hyper, ...] = get_args(Hyper)
ANY_DOMAIN = "any"


@dataclass(frozen=True)
class Method:
    """An adapter as asked for: `given` are the user's own hyper-parameters; they win over the published ones."""

    name: str
    given: Mapping[str, str]

    @property
    def label(self) -> str:
        """Its name on the leaderboard."""
        name = Path(self.name).stem.replace("_", "-") if self.name.endswith(".py") else self.name
        settings = ", ".join(f"{key}={value}" for key, value in sorted(self.given.items()))
        return f"{name}({settings})" if settings else name


@dataclass(frozen=True)
class Configured:
    """A method on one domain: its adapter, all of its hyper-parameters, their hash, and where they come from ("fixed"
    also where nothing is published by domain)."""

    method: Method
    adapter: Adapter
    name: str
    version: str
    hyperparameters: Mapping[str, Any]
    adapter_hash: str
    hyper: Hyper

    @cached_property
    def label(self) -> str:
        """Its name on the leaderboard, which says so if published rates were left aside."""
        aside = self.hyper == "fixed" and adapters.has_official(self.method.name)
        return f"{self.method.label} (fixed)" if aside else self.method.label

    @property
    def wants_features(self) -> bool:
        """Whether it reads embeddings."""
        return "features" in {*self.adapter.needs, self.adapter.takes}

    @property
    def wants_maps(self) -> bool:
        """Whether it reads maps."""
        return "maps" in {*self.adapter.needs, self.adapter.takes}

    @property
    def wants_images(self) -> bool:
        """Whether each of its episodes reads images: themselves, or to make views of them."""
        return bool(self.adapter.views or "images" in {*self.adapter.needs, self.adapter.takes})

    @property
    def wants_backbone(self) -> bool:
        """Whether it works on the network itself or on what only the network can make."""
        return self.wants_images or self.wants_maps or hasattr(self.adapter, "backbone")


def parse_methods(texts: Sequence[str]) -> list[Method]:
    """Methods as written on the command line or in a benchmark file; the same one twice counts once."""
    parsed = [Method(_absolute(name), given) for text in texts for name, given in adapters.parse_list(text)]
    methods = {method.label: method for method in parsed}
    if not methods:
        raise HarnessError("--adapters names no adapter; write it as ncc,url")
    for method in parsed:
        if methods[method.label].name != method.name:
            raise HarnessError(f"{method.name} and {methods[method.label].name} would both be called {method.label!r}")
    return list(methods.values())


def _absolute(name: str) -> str:
    """A plug-in file by its whole path, since workers may stand in another folder; other names as they are."""
    return str(Path(name).absolute()) if name.endswith(".py") else name


def checked_hyper(hyper: str) -> Hyper:
    """Where hyper-parameters come from. Raises HarnessError for anything unknown."""
    for known in HYPERS:
        if hyper == known:
            return known
    raise unknown("--hyper", hyper, HYPERS)


def configure(
    method: Method, domain: str, seen: str, setting: Setting, backbone: Backbone, hyper: Hyper = "official"
) -> Configured:
    """Resolve the published rates for a domain, or the one setting that serves all; a domain of unknown state gets the
    rates of unseen ones."""
    if not adapters.has_official(method.name):
        hyper = "fixed"
    test = (domain, seen == "seen") if hyper == "official" else (ANY_DOMAIN, False)
    published = adapters.official_hyperparameters(method.name, *test, setting, method.given)
    try:
        adapter = adapters.load(method.name, backbone=backbone, **{**published, **method.given})
    except NoNetwork as error:
        raise HarnessError(f"adapter {method.name!r} needs the network itself: {error}") from error
    check_needs(method.name, adapter, getattr(backbone, "offers", PROVIDED))
    networks = len(backbones.members_of(backbone))
    if networks > 1 and not adapter.over_backbones:
        raise HarnessError(f"adapter {method.name!r} works on one network, not {networks} ({backbone.name})")
    facts = adapters.configuration(adapter)
    adapter_hash = canonical_hash(facts)
    return Configured(method, adapter, facts["name"], facts["version"], facts["hyperparameters"], adapter_hash, hyper)
