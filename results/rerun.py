"""A repeated run against the original, row by row."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from results.database import reading
from results.files import write_whole
from results.plain import records_of

COLUMNS = ["key", "domain", "task", "adapter", "backbone", "accuracy"]
"""Of `Row`: what is compared, and what a line needs to be found again."""
STATES = ("equal", "differs", "missing", "new")


def rows_of(store: Path, plan_hash: str, keys: Sequence[str]) -> pd.DataFrame:
    """The rows (COLUMNS) of a plan with these keys; the store is read only, and may lie where nobody can write."""
    columns = ", ".join(f"plan_episodes.{name}" if name == "task" else f"rows.{name}" for name in COLUMNS)
    query = (
        f"SELECT {columns} FROM plan_episodes JOIN rows USING (domain, episode_hash) WHERE plan_episodes.plan_hash = ?"
    )
    with reading(store) as connection:
        rows = pd.DataFrame(connection.execute(query, (plan_hash,)).fetchall(), columns=COLUMNS)
    return rows[rows["key"].isin(keys)]


def compare_rows(original: pd.DataFrame, repeated: pd.DataFrame) -> pd.DataFrame:
    """(domain, task, adapter, backbone, key, original, repeated, state), one line for each row of either, by key.

    Both frames have COLUMNS. `state`: "equal" to the bit, "differs", "missing" (the repeated run lacks it) or "new"
    (the original lacks it); accuracies (0 to 1) are NaN where there is none.
    """
    before, after = (
        frame.drop_duplicates("key").set_index("key").rename(columns={"accuracy": name})
        for name, frame in (("original", original), ("repeated", repeated))
    )
    both = before[["original"]].join(after[["repeated"]], how="outer")
    about = pd.concat([before, after])[["domain", "task", "adapter", "backbone"]]
    found = about[~about.index.duplicated()].join(both)
    found["state"] = "differs"
    found.loc[found["original"] == found["repeated"], "state"] = "equal"
    found.loc[found["repeated"].isna(), "state"] = "missing"
    found.loc[found["original"].isna(), "state"] = "new"
    columns = ["domain", "task", "adapter", "backbone", "key", "original", "repeated", "state"]
    return found.reset_index()[columns].sort_values(["domain", "adapter", "task", "key"], ignore_index=True)


def counted(compared: pd.DataFrame) -> str:
    """One line: how many rows there are, and how many in which state."""
    counts = compared["state"].value_counts()
    parts = [f"{counts[state]:,} {state}" for state in STATES if state in counts]
    return f"{len(compared):,} rows: {', '.join(parts) or 'none'}"


def comparison_as_json(compared: pd.DataFrame) -> dict[str, Any]:
    """How many rows are in which state, and those that are not equal, as plain values."""
    counts = compared["state"].value_counts()
    other = compared[compared["state"] != "equal"]
    return {"counts": {state: int(counts.get(state, 0)) for state in STATES}, "unequal": records_of(other)}


def unequal(compared: pd.DataFrame, most: int) -> Sequence[str]:
    """A line for each of the first `most` rows that are not equal."""
    other = compared[compared["state"] != "equal"].head(most)
    return [
        f"{row['state']}: {row['domain']}, task {row['task']}, {row['adapter']} on {row['backbone']}: "
        f"{_shown(row['original'])} originally, {_shown(row['repeated'])} now ({row['key'][:12]})"
        for row in other.to_dict("records")
    ]


def write_comparison(compared: pd.DataFrame, path: Path) -> None:
    """`compare_rows` as CSV, accuracies in full precision, empty where there is none."""
    text = io.StringIO()
    compared.to_csv(text, index=False, lineterminator="\n", quoting=csv.QUOTE_MINIMAL)
    write_whole(path, text.getvalue().encode())


def _shown(accuracy: float) -> str:
    return "none" if pd.isna(accuracy) else f"{accuracy:.6f}"
