"""Several stores into one: rows, plans and entries of runs that were spread over machines."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NamedTuple

from results.database import connect, reading
from results.entries import Entry
from results.errors import MergeError, StoreError
from results.identity import Row
from results.merged_plans import Source, check_same_plan, common_plans, plans_of

ROW_FIELDS = tuple(field.name for field in fields(Row))
ENTRY_FIELDS = tuple(field.name for field in fields(Entry))
ROWS_AT_ONCE = 500  # keys of one query
ROWS_OF_PLAN = (
    f"SELECT {', '.join(f'rows.{name}' for name in ROW_FIELDS)} FROM plan_domains"
    " JOIN plan_episodes USING (plan_hash, domain) JOIN rows USING (domain, records_hash, episode_hash)"
    " WHERE plan_domains.plan_hash = ?"
)
DECIDES = {"adapter_hash": "configuration", "backbone_hash": "weights", "flags": "options", "seen": "seen or unseen"}


class Merged(NamedTuple):
    """What came of one store: `rows` of the merged plans in it, how many of these were `new`, and how many are stored
    with an accuracy that differs (within the tolerance)."""

    path: Path
    rows: int
    new: int
    differing: int


@dataclass(frozen=True)
class Merge:
    """The hashes of the plans that were merged, and what came of each store."""

    plans: list[str]
    stores: list[Merged]


def merge(out: Path, inputs: Sequence[Path], *, plan: str | None = None, tolerance: float = 0.0) -> Merge:
    """Add to the store `out`, which is made where there is none, what the stores `inputs` hold of the same plans.

    All of it in one transaction, or nothing; merging again changes nothing, and the inputs are not written to. Rows
    that belong to no plan stay behind. `plan`: the beginning of a plan's hash; of that plan alone. `tolerance`: the
    most by which two accuracies (0 to 1) of one row may differ; the one that came first stands.

    Raises MergeError, naming store and plan, method or row: for stores with other plans (unless `plan` picks one that
    all have), other images of a domain, other configurations under one name, and accuracies beyond the tolerance.
    """
    check_paths(out, inputs)
    made = not out.exists()
    try:
        with ExitStack() as stack:
            sources = [Source(path, stack.enter_context(reading(path))) for path in inputs]
            target = Source(out, stack.enter_context(closing(connect(out))))
            filled = plan is None and plans_of(target)
            plans = common_plans([*([target] if filled else []), *sources], plan)
            with target.transaction():
                stores = [_add(target, source, plans, tolerance) for source in sources]
            return Merge(plans, stores)
    except BaseException:
        if made:
            out.unlink(missing_ok=True)
        raise


def check_paths(out: Path, inputs: Sequence[Path]) -> None:
    """Raise StoreError or MergeError, naming it, for an input that is not there or is the store that is merged into."""
    for path in inputs:
        if not path.is_file():
            raise StoreError(f"{path}: no such result store")
        if path.resolve() == out.resolve():
            raise MergeError(f"{path}: is what the others are merged into; what it holds stays, so leave it out")


def _add(target: Source, source: Source, plans: Sequence[str], tolerance: float) -> Merged:
    counts = [0, 0, 0]
    for plan in plans:
        _add_plan(target, source, plan)
        _add_entries(target, source, plan)
        for rows in source.portions(ROWS_OF_PLAN, (plan,), ROWS_AT_ONCE):
            for i, count in enumerate(_add_rows(target, source, rows, tolerance)):
                counts[i] += count
    return Merged(source.path, *counts)


def _add_plan(target: Source, source: Source, plan: str) -> None:
    check_same_plan(target, source, plan)
    target.write(
        "INSERT INTO plans VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (plan_hash) DO UPDATE SET"
        " created = min(created, excluded.created), last_used = max(last_used, excluded.last_used),"
        " setting = max(setting, excluded.setting)",  # one of them may come from an older store, which has ""
        source.fetch("SELECT * FROM plans WHERE plan_hash = ?", (plan,)),
    )
    for table in ("plan_domains", "plan_episodes"):
        found = source.fetch(f"SELECT * FROM {table} WHERE plan_hash = ?", (plan,))
        target.write(f"INSERT INTO {table} VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", found)


def _add_entries(target: Source, source: Source, plan: str) -> None:
    """Entries by method, backbone and domain; one backbone has the same weights in all of a plan's entries."""
    columns, marks = ", ".join(ENTRY_FIELDS), ", ".join("?" * (1 + len(ENTRY_FIELDS)))
    query = f"SELECT {columns} FROM plan_entries WHERE plan_hash = ?"
    for values in source.fetch(query, (plan,)):
        entry = dict(zip(ENTRY_FIELDS, values, strict=True))
        same = target.fetch(
            f"{query} AND backbone = ? AND (backbone_hash <> ? OR (method = ? AND domain = ?))",
            (plan, entry["backbone"], entry["backbone_hash"], entry["method"], entry["domain"]),
        )
        for found in (dict(zip(ENTRY_FIELDS, other, strict=True)) for other in same):
            _check_same_entry(target, source, entry, found)
        target.write(
            f"INSERT INTO plan_entries (plan_hash, {columns}) VALUES ({marks}) ON CONFLICT DO UPDATE SET"
            " contaminated = max(contaminated, excluded.contaminated)",
            [(plan, *values)],
        )


def _check_same_entry(target: Source, source: Source, entry: dict[str, str], found: dict[str, str]) -> None:
    other = [f"{what} ({entry[key]}, {found[key]})" for key, what in DECIDES.items() if entry[key] != found[key]]
    if other:
        raise MergeError(
            f"{source.path}: {entry['method']} on {entry['backbone']}, {entry['domain']}, was run with other "
            f"{' and '.join(other)} than in {target.path}; run it again on one side, or give it another name"
        )


def _add_rows(target: Source, source: Source, rows: list[tuple], tolerance: float) -> tuple[int, int, int]:
    """How many rows these are, how many of them are new, and how many are there with another accuracy."""
    at, marks = {name: i for i, name in enumerate(ROW_FIELDS)}, ", ".join("?" * len(rows))
    keys = [row[at["key"]] for row in rows]
    stored = dict(target.fetch(f"SELECT key, accuracy FROM rows WHERE key IN ({marks})", keys))
    differing = 0
    for row in rows:
        accuracy = row[at["accuracy"]]
        there = stored.get(row[at["key"]], accuracy)
        differing += there != accuracy
        if abs(there - accuracy) > tolerance:
            raise MergeError(
                f"{source.path}: {row[at['adapter']]} on {row[at['backbone']]}, {row[at['domain']]}, task "
                f"{row[at['task']]}: accuracy {accuracy:.6g}, and {there:.6g} is stored for the same row "
                f"({row[at['key']][:12]}); --tolerance keeps the first where machines round differently"
            )
    new = [row for row in rows if row[at["key"]] not in stored]
    values = ", ".join("?" * len(ROW_FIELDS))
    target.write(f"INSERT INTO rows ({', '.join(ROW_FIELDS)}) VALUES ({values})", new)
    return len(rows), len(new), differing
