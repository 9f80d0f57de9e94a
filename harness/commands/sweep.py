"""What `metabench sweep` does: a run of all configurations, their table, and the best as a file for `run --config`."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

import adapters
from harness.build_request import backbone_choice
from harness.cells import Run, prepare
from harness.commands.run import request_of
from harness.config_file import write_config
from harness.console import counted, print_json, say
from harness.errors import HarnessError
from harness.run import carry_out
from results.entries import name_methods
from results.identity import canonical_hash
from results.leaderboard import COLUMNS
from results.store import ResultStore
from results.sweep import Sweep, as_json, render_sweep, sweep_table

KEPT = ("backbone", "weights", "records", "hyper", "dtype")
"""Options of a sweep that its winner needs in a run."""
NOT_CHOSEN: Mapping[str, Any] = {
    "episodes": None,
    "features": None,
    "trained_on": None,
    "pixels": "keep",
    "store_dtype": None,
    "compiled": False,
}


def sweep_grid(
    adapter: str,
    grid: Sequence[str],
    benchmark: str,
    *,
    out: Path,
    options: Mapping[str, Any],
    wants_json: bool,
    console: Console,
) -> None:
    """Run every configuration of the grid as `metabench run` would, and tell which is the best.

    Raises HarnessError for the test split, and for a grid that cannot be read.
    """
    if options["split"] == "test":
        raise HarnessError(
            "--split test: what is chosen by looking at the test classes says nothing of new ones; sweep on valid or "
            "train, then run the winner on test"
        )
    texts = configurations(adapter, grid)
    chosen = {**NOT_CHOSEN, **options, "adapters": ",".join(texts)}
    current = prepare(request_of(benchmark, out=out, options=chosen))
    carry_out(current, Console(quiet=True) if wants_json else console, with_report=False)
    found = _table(current)
    winner = _asked_for(found, current)
    path = out / "sweeps" / f"{_name(current)}.toml"
    _write_winner(path, winner, benchmark, options, found)
    _tell(found, path, wants_json, console)


def configurations(adapter: str, grid: Sequence[str]) -> list[str]:
    """The method with each combination of the grid's values, as texts for --adapters, in the order of the grid."""
    parsed = adapters.parse_list(adapter)
    if len(parsed) != 1:
        raise HarnessError(f"{adapter}: a sweep is over one method; write it as url or 'url(steps=20)'")
    name, given = parsed[0]
    values: dict[str, list[str]] = {}
    for text in grid:
        key, equals, words = (part.strip() for part in text.partition("="))
        found = [word.strip() for word in words.split(",") if word.strip()]
        if not key or not equals or not found:
            raise HarnessError(f"--grid {text}: write NAME=VALUE,VALUE, as in lr=0.1,0.5,1")
        if key in values or key in given:
            raise HarnessError(f"--grid {text}: {key} is given twice")
        values[key] = list(dict.fromkeys(found))
    combinations = itertools.product(*values.values())
    settings = [{**given, **dict(zip(values, combination, strict=True))} for combination in combinations]
    return [f"{name}({','.join(f'{key}={value}' for key, value in each.items())})" for each in settings]


def _name(current: Run) -> str:
    """The method's, and a hash of everything that was tried: another sweep has another file."""
    cells = [[cell.domain.name, cell.configured.adapter_hash] for cell in current.cells]
    tried = canonical_hash([current.plan.hash, current.backbone_hash, dict(current.flags), cells])
    return f"{current.cells[0].configured.name}-{tried[:8]}"


def _table(current: Run) -> Sweep:
    """The sweep's lines among those that the store has of its plan, perhaps on other backbones too."""
    labels = list(dict.fromkeys(cell.configured.label for cell in current.cells))
    with ResultStore(current.request.out / "results.sqlite", create=False) as store:
        entries = store.entries(current.plan.hash)
        own = entries[(entries["backbone_hash"] == current.backbone_hash) & entries["method"].isin(labels)]
        rows = name_methods(store.rows(current.plan.hash, COLUMNS), own)
        return sweep_table(rows, store.plan(current.plan.hash), labels)


def _asked_for(found: Sweep, current: Run) -> str:
    """The winner as text for --adapters, a plug-in file by its whole path."""
    method = next(cell.configured.method for cell in current.cells if cell.configured.label == found.winner)
    return f"{method.name}({','.join(f'{key}={value}' for key, value in method.given.items())})"


def _write_winner(path: Path, winner: str, benchmark: str, options: Mapping[str, Any], found: Sweep) -> None:
    kept = {name: options[name] for name in KEPT if options[name] is not None}
    kept = {name: str(value.absolute()) if isinstance(value, Path) else value for name, value in kept.items()}
    if "backbone" in kept:
        kept["backbone"] = backbone_choice(kept["backbone"], None, "float32").name
    best = found.cells["mean_pct"].max()
    plan = found.plan
    comment = (
        f"{winner}: the best of {len(found.cells)} on {plan.benchmark} {plan.split}, {best:.2f}% over "
        f"{counted(len(plan.domains), 'domain')}, {counted(plan.tasks, 'episode')} each, seed {plan.seed}\n"
        f"use it with: metabench run --config {path}"
    )
    file = str(Path(benchmark).absolute()) if benchmark.endswith(".toml") else benchmark
    write_config(path, {"benchmark": file, "adapters": [winner], **kept}, comment)


def _tell(found: Sweep, path: Path, wants_json: bool, console: Console) -> None:
    if wants_json:
        print_json({**as_json(found), "config": str(path)})
        return
    for part in render_sweep(found):
        console.print(part, highlight=False)
    say(console, f"wrote {path}: metabench run --config {path}")
