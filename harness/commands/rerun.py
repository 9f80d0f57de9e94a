"""What `metabench rerun` does: the same request again in a new folder, held to what the manifest says."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
from rich.console import Console

from harness.cells import Run, prepare
from harness.commands.run import request_of
from harness.config import benchmark_file
from harness.console import print_json, say
from harness.errors import HarnessError
from harness.manifest_facts import file_hash, identities, keys_of, rows_hash
from harness.read_manifest import Manifest, read_manifest
from harness.run import carry_out
from results.files import write_whole
from results.rerun import compare_rows, comparison_as_json, counted, rows_of, unequal, write_comparison

PATHS = ("weights", "records", "episodes", "features")
NAMES = ("datasets", "trained_on")
OWN_VECTORS = "own-embeddings"
REPEATS = "repeats.sha256"
"""File with the hash of the manifest that a folder's rows repeat, written before the first of them."""
STORE = "results.sqlite"
COMPARISON = "comparison.csv"
MOST_SHOWN = 20


def repeat(
    manifest: Path, out: Path | None, changes: Mapping[str, Any], console: Console, *, as_json: bool = False
) -> bool:
    """Repeat the run of a manifest in `out`, and say in which rows it differs; whether it does not.

    Nothing of the original is used: neither its rows nor embeddings. `changes`: options that are not the original's.
    Raises HarnessError, before anything is computed, where benchmark, records, weights or methods are not those of the
    manifest. A repetition that was stopped goes on in its folder.
    """
    facts, original = read_manifest(manifest), manifest.resolve().parents[1]
    out, repeats = (out or original / "reruns" / manifest.stem).resolve(), file_hash(manifest)
    _check_place(out, original, repeats)
    story = Console(quiet=True) if as_json else console
    with _folder_of(facts):
        current = _prepared(manifest, facts, out, changes)
        before = _rows(original, current)
        cautions = [*_other_versions(facts), *_altered(before, facts, current)]
        for line in cautions:
            story.print(f"caution   {line}", style="yellow", highlight=False, markup=False)
        write_whole(out / REPEATS, repeats.encode())
        carry_out(current, story)
    shutil.rmtree(current.request.vectors, ignore_errors=True)
    compared = compare_rows(before, _rows(out, current))
    write_comparison(compared, out / COMPARISON)
    if as_json:
        print_json({**comparison_as_json(compared), "cautions": cautions, "comparison": str(out / COMPARISON)})
    for line in (*unequal(compared, MOST_SHOWN), counted(compared)):
        story.print(line, highlight=False, markup=False, soft_wrap=True)
    say(story, f"wrote {out / COMPARISON}")
    return bool((compared["state"] == "equal").all())


def _check_place(out: Path, original: Path, repeats: str) -> None:
    """Refuse a folder whose rows would pass for repeated ones. `repeats`: the manifest's hash. Raises HarnessError."""
    if not (original / STORE).is_file():
        raise HarnessError(f"{original / STORE}: the original's rows are not there to compare with")
    if out == original:
        raise HarnessError(f"{out}: is where the original lies; choose another --out")
    if (out / COMPARISON).exists():
        raise HarnessError(f"{out}: holds a finished repetition ({COMPARISON}); choose another --out")
    begun = out / REPEATS
    if (out / STORE).exists() and not (begun.is_file() and begun.read_text() == repeats):
        raise HarnessError(f"{out}: holds rows that are not of this repetition; choose another --out")


def _prepared(manifest: Path, facts: Manifest, out: Path, changes: Mapping[str, Any]) -> Run:
    """The run that is to be carried out, all of whose inputs are the manifest's."""
    options = _changed(facts.options, changes)
    benchmark = options.pop("benchmark")
    file = benchmark_file(benchmark)
    if file.is_file() and file_hash(file) != facts.benchmark_file.sha256:
        raise HarnessError(f"{file}: is not the benchmark file of {manifest}: it was edited since")
    options |= {name: Path(options[name]) for name in PATHS if options[name] is not None}
    options |= {name: tuple(options[name]) for name in NAMES if options[name] is not None}
    request = request_of(benchmark, out=out, options=options)
    current = prepare(dataclasses.replace(request, vectors=out / OWN_VECTORS))
    for what, (here, there) in _other(msgspec.to_builtins(facts), identities(current)).items():
        raise HarnessError(f"{manifest}: {what} is {there}, and {here} now; nothing was computed")
    return current


def _changed(options: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The options of the repetition; of the original's those about Ray fall with Ray."""
    away = {"address": None, "gpus_per_worker": None} if changes.get("engine") == "local" else {}
    return {**options, **away, **changes}


def _other(facts: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What differs, as it is now and as the manifest has it, by its name; the most telling first."""
    parts: dict[str, tuple[Any, Any]] = {}
    for kind, words in {"specs": "the dataset_spec.json of", "records": "the images (records) of"}.items():
        for domain in {**found[kind], **facts[kind]}:
            parts[f"{words} {domain}"] = found[kind].get(domain), facts[kind].get(domain)
    for what, name in {"weights": "the backbone's weights", "backbone_hash": "the backbone (its identity)"}.items():
        parts[name] = found[what], facts[what]
    for domain, methods in facts["adapters"].items():
        for method, adapter_hash in methods.items():
            now = found["adapters"].get(domain, {}).get(method)
            parts[f"the configuration of {method} on {domain}"] = now, adapter_hash
    parts |= {name: (found[name], facts[name]) for name in ("flags", "plan")}
    return {name: pair for name, pair in parts.items() if pair[0] != pair[1]}


def _other_versions(facts: Manifest) -> Iterator[str]:
    for name, before in facts.packages.items():
        try:
            now = version(name)
        except PackageNotFoundError:
            now = "not installed"
        if now != before:
            yield f"{name} is {now}, the original had {before}"


def _altered(original: pd.DataFrame, facts: Manifest, current: Run) -> Iterator[str]:
    if rows_hash(original.set_index("key")["accuracy"].to_dict(), current) != facts.rows.sha256:
        yield "the original's rows are not those that its manifest was written for"


@contextlib.contextmanager
def _folder_of(facts: Manifest) -> Iterator[None]:
    """The folder that the original's relative paths start from, where it is still there."""
    folder = Path(facts.folder)
    with contextlib.chdir(folder) if folder.is_dir() else contextlib.nullcontext():
        yield


def _rows(out: Path, current: Run) -> pd.DataFrame:
    """The rows of a run as they are stored in `out`; none where it does not have the plan."""
    return rows_of(out / STORE, current.plan.hash, list(keys_of(current)))
