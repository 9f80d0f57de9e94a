"""The manifest of a run that is to be repeated, checked before anything is done with it."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import msgspec

from harness.build_request import build_request
from harness.errors import HarnessError, unknown
from harness.manifest_facts import FORMAT

GIVEN_APART = ("benchmark_name", "out")


class File(msgspec.Struct, frozen=True):
    """A file as it was."""

    path: str
    sha256: str


class Rows(msgspec.Struct, frozen=True):
    """How many rows a run stands for, and the hash of their keys and accuracies."""

    number: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a repetition needs of a manifest (`harness.manifest` writes it). `options`: those of `build_request`."""

    format: int
    options: dict[str, Any]
    folder: str
    benchmark_file: File
    plan: str
    specs: dict[str, str]
    records: dict[str, str]
    weights: str
    backbone_hash: str
    adapters: dict[str, dict[str, str]]
    flags: dict[str, Any]
    rows: Rows
    packages: dict[str, str]


def read_manifest(path: Path) -> Manifest:
    """A manifest that can be repeated. Raises HarnessError naming the file for anything else."""
    if not path.is_file():
        raise HarnessError(f"{path}: no such manifest; every run writes one into OUT/manifests")
    try:
        content = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        if content.get("format") != FORMAT:
            raise HarnessError(f"{path}: a manifest of another form than {FORMAT}, which this version cannot repeat")
        manifest = msgspec.convert(content, Manifest)
    except msgspec.MsgspecError as error:
        raise HarnessError(f"{path}: is no manifest of a run ({error})") from error
    _check_options(path, manifest.options)
    return manifest


def _check_options(path: Path, options: dict[str, Any]) -> None:
    parameters = inspect.signature(build_request).parameters.values()
    known = {each.name: each.default is each.empty for each in parameters if each.name not in GIVEN_APART}
    known["benchmark"] = True
    for name in options:
        if name not in known:
            raise HarnessError(f"{path}: {unknown('option', name, known)}; it may be of a later version")
    for name, needed in known.items():
        if needed and name not in options:
            raise HarnessError(f"{path}: says nothing of the option {name!r}, which this version needs")
