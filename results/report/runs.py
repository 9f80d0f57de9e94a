"""The manifests of a plan's runs, as shown on the page."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

MOST = 5


class ShownRun(NamedTuple):
    """One run: its manifest's file name, what is read at a glance, and all of it."""

    name: str
    facts: list[tuple[str, str]]
    content: str


def shown_runs(manifests: Sequence[tuple[str, Mapping[str, Any]]]) -> tuple[list[ShownRun], int]:
    """The first few manifests (file name, content), and how many are left out."""
    shown = [ShownRun(name, _facts(content), _pretty(content)) for name, content in manifests[:MOST]]
    return shown, len(manifests) - len(shown)


def _facts(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    backbone, packages = manifest.get("backbone"), manifest.get("packages")
    found = {
        "finished": manifest.get("finished"),
        "command": " ".join(["metabench", *map(str, manifest.get("command") or [])]),
        "backbone": backbone.get("name") if isinstance(backbone, Mapping) else None,
        "hyper-parameters": manifest.get("hyper"),
        "device": manifest.get("device"),
        "workers": manifest.get("workers"),
        "machine": manifest.get("platform"),
        "versions": ", ".join(f"{name} {version}" for name, version in packages.items())
        if isinstance(packages, Mapping)
        else None,
    }
    return [(key, str(value)) for key, value in found.items() if value]


def _pretty(manifest: Mapping[str, Any]) -> str:
    return json.dumps(manifest, indent=2, ensure_ascii=False)
