"""Rows for what becomes of results: a store of 13 domains x 600 episodes x 20 methods into every output."""

import hashlib
import json
from pathlib import Path

import numpy as np

from benches.rows import Measurement, Setting, median_seconds, peak_growth_mib, row
from harness.leaderboard import tabulated
from results.entries import Entry
from results.identity import Row
from results.outputs.write import write_outputs
from results.ranks import PAPERS13
from results.store import ResultStore

METHODS, EPISODES = 20, 600
PLAN = hashlib.sha256(b"plan").hexdigest()


@row
def outputs_156k(setting: Setting) -> Measurement:
    """Seconds from a store to every file; the baseline reads the same rows and writes mean and interval alone."""
    store = make_store(setting.folder / "results.sqlite", setting)
    ours, plain = median_seconds(
        lambda: write_all(store, setting.folder / "ours"),
        lambda: _plain(store, setting.folder / "plain"),
        min(setting.repeats, 3),
    )
    return Measurement(ours, "s", plain, f"{_rows(setting):,} rows; baseline: pandas, both long forms, means in CSV")


@row
def outputs_156k_memory(setting: Setting) -> Measurement:
    """What that adds to the peak memory of a process; the baseline is the same pandas code."""
    store = make_store(setting.folder / "results.sqlite", setting)
    ours = peak_growth_mib(write_all, store, setting.folder / "ours")
    return Measurement(
        ours, "MiB", peak_growth_mib(_plain, store, setting.folder / "plain"), f"{_rows(setting):,} rows"
    )


def make_store(path: Path, setting: Setting) -> Path:
    """A finished run of made-up accuracies."""
    random = np.random.default_rng(0)
    hashes = {domain: [_sha(domain, task) for task in range(setting.scaled(EPISODES, 2))] for domain in PAPERS13}
    with ResultStore(path) as store:
        records = {domain: _sha("records", domain) for domain in PAPERS13}
        store.record_plan(PLAN, "meta-dataset-mdl", "test", 0, setting.scaled(EPISODES, 2), hashes, records, "standard")
        entries = [_entry(f"method{method}" if method else "ncc", d) for method in range(METHODS) for d in PAPERS13]
        store.record_entries(PLAN, entries)
        store.add([_row(entry, task, h, random) for entry in entries for task, h in enumerate(hashes[entry.domain])])
    return path


def write_all(store: Path, folder: Path) -> None:
    """What `metabench leaderboard` does for its files."""
    with ResultStore(store, create=False) as opened:
        rows, board = tabulated(opened, PLAN)
    write_outputs(board, rows, folder)


def _plain(path: Path, folder: Path) -> None:
    """All rows as they are, and the table of means, by pandas alone."""
    folder.mkdir(exist_ok=True)
    with ResultStore(path, create=False) as store:
        rows = store.rows(PLAN)
    rows.to_csv(folder / "episodes.csv", index=False)
    rows.to_parquet(folder / "episodes.parquet")
    cells = rows.groupby(["domain", "adapter"])["accuracy"].agg(["mean", "std", "count"])
    cells.assign(ci95=1.96 * cells["std"] / np.sqrt(cells["count"])).unstack().to_csv(folder / "leaderboard.csv")


def _entry(method: str, domain: str) -> Entry:
    return Entry(
        method=method,
        backbone="net",
        domain=domain,
        adapter_hash=_sha(method, domain),
        backbone_hash=_sha("net"),
        flags=json.dumps({"pixels": "exact", "hyper": "official"}),
        seen="seen" if domain in PAPERS13[:8] else "unseen",
    )


def _row(entry: Entry, task: int, episode_hash: str, random: np.random.Generator) -> Row:
    return Row(
        key=_sha(entry.adapter_hash, task),
        domain=entry.domain,
        split="test",
        task=task,
        episode_hash=episode_hash,
        protocol_hash=_sha("protocol"),
        records_hash=_sha("records", entry.domain),
        spec_hash=_sha("spec", entry.domain),
        plan_hash=PLAN,
        seed=0,
        adapter=entry.method,
        adapter_version="1",
        hyperparameters=json.dumps({"lr": 0.1, "steps": 40}),
        adapter_hash=entry.adapter_hash,
        backbone=entry.backbone,
        backbone_hash=entry.backbone_hash,
        weights_sha256=_sha("weights"),
        dtype="float32",
        flags=entry.flags,
        seen=entry.seen,
        way=10,
        n_support=300,
        n_query=100,
        accuracy=float(random.integers(30, 100)) / 100,
        wall_s=float(random.random()),
        created="2026-01-01T00:00:00+00:00",
    )


def _rows(setting: Setting) -> int:
    return len(PAPERS13) * METHODS * setting.scaled(EPISODES, 2)


def _sha(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()
